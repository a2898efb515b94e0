"""Runs as arrays of Slurm jobs: launching, the tasks, and what they share."""

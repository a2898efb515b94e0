"""Numba kernels: numpy arrays in, numpy arrays out. No Arrow, no files, no configuration."""

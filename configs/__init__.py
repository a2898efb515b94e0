"""YAML shipped as package data: one file per pipeline, the domain stage tree, cluster examples."""

"""Kernels for the order of a mix."""

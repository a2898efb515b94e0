"""Compiling of kernels, and loading of compiled ones."""

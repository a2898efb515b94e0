"""Readers of single formats: from the bytes of a chunk to its records."""

"""Filtering: conditions over attributes, and input files rewritten without the rows that fail."""

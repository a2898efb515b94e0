"""The table of features: its columns, how it is read, compared, united and checked, and its provenance."""

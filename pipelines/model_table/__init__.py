"""The per-model feature table: its columns, what goes into them, how it is written, united and checked."""

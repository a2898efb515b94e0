"""The data of the report's page, read from an output folder and its input files."""

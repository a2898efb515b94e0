"""The sections of the report, and what they draw with."""

"""The sections of the report, a module for each, and the pieces of HTML that they share."""

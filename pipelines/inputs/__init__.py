"""Input files: which there are, what kind of bytes they hold, and the records and chunks they are cut into."""

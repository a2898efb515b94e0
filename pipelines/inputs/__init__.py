"""Input files, the kinds of bytes in them, and the chunks and records that they are cut into."""

"""Models of what a mix does: outcomes of mixes from their shares."""

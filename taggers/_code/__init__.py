"""Parts of the code tagger."""

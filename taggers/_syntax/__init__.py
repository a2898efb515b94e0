"""Parts of the syntax tagger."""

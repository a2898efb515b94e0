"""Tokenizers behind one interface: text in, one flat array of ids and its offsets out."""

"""The store of models and scores: its files, imports and checks."""

"""Mixes of token files: shares of tokens, the order of windows, manifests, and files for other trainers."""

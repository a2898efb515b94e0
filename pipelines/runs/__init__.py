"""One run: what it reads, where its results go, and what it writes about itself."""

"""`tagcorpus audit`: what a numeric column depends on besides the document's quality, from attributes alone."""

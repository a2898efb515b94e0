"""The cache of token ids in an output, and the parts it is made of."""

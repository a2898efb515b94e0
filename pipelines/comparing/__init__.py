"""`tagcorpus compare`: how two sets of documents differ, column by column, from attributes alone."""

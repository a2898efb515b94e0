"""The base of every tagger: parameters, batches, columns, required data, and the contract."""

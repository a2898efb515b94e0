"""What every tagger stands on: parameters, batches, columns, required data, and the contract they keep."""

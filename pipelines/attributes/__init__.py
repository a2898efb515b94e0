"""Attributes: the parts that taggers write, what sums them up, and the ledger of a run."""

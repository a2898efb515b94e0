"""The entropy of every group, of its kept documents alone."""

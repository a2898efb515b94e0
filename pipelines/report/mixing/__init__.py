"""The report's sections on mixes, models that were trained on them, and fits of their outcomes."""

"""Comparisons of predictors: the published protocol, the grouped one, the gain from added columns, decisions."""

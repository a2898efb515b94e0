"""Data sets, folds, and the predictors that learn from them."""

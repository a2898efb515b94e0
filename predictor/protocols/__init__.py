"""How predictors are compared: the published protocol, the grouped one, what columns add, decisions."""

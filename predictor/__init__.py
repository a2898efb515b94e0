"""The consumer of the per-model feature table: a store of models and their scores, and predictors of scores from both.

Nothing here reads documents or runs a tagger: the room takes tables and gives tables. It needs the extra
`predict`; importing this package loads none of it.
"""

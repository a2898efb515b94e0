"""Groups of documents (models, levels, values of a column), and the statistics of each."""

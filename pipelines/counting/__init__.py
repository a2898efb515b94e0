"""What `run entropy` is made of: the passes over a corpus, their working files, estimators, samples, the figure."""

"""Files of generations: samples of the evaluation harness, their tasks, and the models they are of."""

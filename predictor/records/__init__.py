"""What a store holds: models, checkpoints, makers, tasks, metrics, and results of the harness."""

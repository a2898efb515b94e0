"""How far a run is, for those who wait: progress records of the workers, the line on the terminal, the heartbeat on disk."""

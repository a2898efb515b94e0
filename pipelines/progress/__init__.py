"""How far a run is: progress records of workers, the line on the terminal, and the heartbeat on disk."""

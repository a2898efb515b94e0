"""State of the machine and of outputs: installation, self-tests, reachable services; `status`; pages of taggers."""

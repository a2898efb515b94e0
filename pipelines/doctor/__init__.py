"""What the machine has and can do: installation, self-tests, reachable services; and the status of outputs."""

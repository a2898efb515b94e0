"""What a run leaves behind and how it is read again: sidecar parts, ledger, summaries, results, rewritten inputs."""

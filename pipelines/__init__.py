"""Everything that composes: inputs, plan, steps, executors, sidecars, ledger, summaries."""

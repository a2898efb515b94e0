"""What predictions rest on: explanations, findings, correlations, figures, the published page."""

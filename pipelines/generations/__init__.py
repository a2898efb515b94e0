"""What `run features` does besides tagging: choosing documents, groups, domains and entropies of each."""

"""What `tagcorpus predict` does besides the prediction itself: reading tables, saying how far it is, writing results."""

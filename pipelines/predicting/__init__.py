"""The work of `tagcorpus predict` around the prediction: reading tables, showing progress, writing results."""

"""Training of small Llama models on a mix, by the Trainer of transformers."""

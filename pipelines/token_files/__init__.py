"""Token files for training: documents by group and side, Megatron's `.bin` and `.idx`, and their manifest."""

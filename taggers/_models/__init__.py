"""Models that taggers load: fastText files, Hugging Face models, the embedded domain model."""

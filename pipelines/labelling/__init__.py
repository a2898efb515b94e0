"""Labels by an LLM or a model: their cost, their requests and their counts."""

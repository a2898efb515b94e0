"""A student from LLM labels: a small model that says what the LLM would say, with figures of how often it does."""

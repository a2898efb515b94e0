"""Labels by an LLM or a model: what they cost, how they are asked for, and what came of it."""

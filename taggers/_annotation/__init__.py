"""The properties of a document that `annotate` asks for: schema, questions, answers."""

"""The stage tree of the domain classifier: its questions, its answers, and the file that holds it. Calls no endpoint."""

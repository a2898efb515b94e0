"""From files to documents: the plan of chunks, the reader of a chunk, and checks of both."""

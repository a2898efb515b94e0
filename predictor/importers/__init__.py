"""Files of other projects as rows of the store: one module a source. What each reads is in docs/importing.md.

Nothing is written here (store_import), and which module reads a file is decided in store_batch by the file's contents.
"""

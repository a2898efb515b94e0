"""Files of other projects as rows of the store: one module a source. docs/importing.md lists the sources.

These modules write nothing (store/load.py does). store/batch.py chooses the module by the file's contents.
"""

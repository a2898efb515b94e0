"""Folders, files and object stores: where a run reads and publishes."""

"""Names of outputs: which ones are files, and which ones nobody gives a folder."""

from __future__ import annotations

import os

from tagcorpus.errors import ConfigError

# Endings that nobody gives a folder: who writes one expects a file of that kind.
OTHER_SUFFIXES = (
    ".txt", ".tsv", ".tab", ".dat", ".xlsx", ".xls", ".ods", ".jsonl", ".ndjson", ".jsonlines", ".arrow", ".feather", ".pq", ".avro",
    ".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".html", ".htm", ".md", ".pdf", ".png", ".svg", ".yaml", ".yml", ".xml",
    ".db", ".sqlite", ".duckdb", ".pkl", ".npy", ".npz", ".h5", ".log",
)  # fmt: skip


def check_place(option: str, path: str | None, of_files: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for an `--output` that must be a folder (its ending is not in `of_files`) and is a file, or is called
    like one. A folder of such a name is accepted where it exists, or is written with a slash at its end."""
    if path is None or path.lower().endswith(of_files):
        return
    if not path:
        raise ConfigError(f"--{option} is empty (a shell variable that is not set?); the folder that you are in is .")
    must = "it must be a folder" + (f", or a file in {', '.join(of_files[:-1])} or {of_files[-1]}" if of_files else "")
    if os.path.isfile(path):
        raise ConfigError(f"--{option} {path} is an existing file; {must}")
    if path.lower().endswith(OTHER_SUFFIXES) and not os.path.isdir(path):
        raise ConfigError(f"--{option} {path}: {must} ({path}/ if you mean a folder of that name)")

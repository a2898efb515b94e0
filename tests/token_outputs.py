"""Outputs of `run tokenize` as tests need them: token files of random ids with their manifest, written without a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.pipelines.token_files.manifest import MANIFEST
from tagcorpus.pipelines.token_files.writing import write_index

EOS = 0


def write_tokens(
    folder: Path, groups: Mapping[str, list[int]], *, vocabulary: int = 100, held_out: bool = False, **changed: Any
) -> Path:
    """Token files with documents of 5 tokens and an EOS. groups: tokens of each of the group's training files."""
    rng = np.random.default_rng(1)
    value: dict[str, Any] = {
        "format": 1,
        "tokenizer": {"name": "toy", "fingerprint": "toy", "vocabulary": vocabulary},
        "eos": {"token": "<eos>", "id": EOS},
        "dtype": "uint16",
        "groups": {},
    }
    for group, files in groups.items():
        sides: dict[str, Any] = {}
        own = [("train", i, n) for i, n in enumerate(files)] + ([("held_out", 0, 120)] if held_out else [])
        for side, i, n in own:
            prefix = f"token_files/{group}/{side}-{i:05d}"
            ids = rng.integers(1, vocabulary, n, dtype=np.uint16)
            ids[5::6] = EOS
            lengths = np.diff([0, *range(6, n, 6), n]).astype(np.int32)
            (folder / prefix).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{prefix}.bin").write_bytes(ids.tobytes())
            with open(folder / f"{prefix}.idx", "wb") as sink:
                write_index(sink, lengths, "<u2")
            side_entry = sides.setdefault(side, {"documents": 0, "tokens": 0, "bytes": 0, "files": []})
            side_entry["documents"] += len(lengths)
            side_entry["tokens"] += n
            entries = {s: _entry(folder / f"{prefix}.{s}") for s in ("bin", "idx")}
            side_entry["files"].append({"prefix": prefix, "documents": len(lengths), "tokens": n, **entries})
        value["groups"][group] = sides
    (folder / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_bytes(sealed(value | changed))
    return folder


def _entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "digest": xxhash.xxh3_128_hexdigest(data)}

"""Whoever wrote a document, and in whichever format: the same document has the same tags.

By hand, larger: `TAGCORPUS_DIFFERENTIAL=2000 pytest tests/test_differential.py` writes 2,000 documents of each kind of id.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from profiles import chosen_by_default
from writers import IDS, WRITERS, Document, documents

import tagcorpus

N = int(os.environ.get("TAGCORPUS_DIFFERENTIAL", "24"))
SEED = 13
READS_ARRAYS = importlib.util.find_spec("tagcorpus.pipelines.formats.json_arrays") is not None

# What a format cannot express, and how the document reads then. Everything else must come back as it was.
LIMITS: dict[str, dict[str, str]] = {
    "csv": {"null text": "empty text", "null id": "empty id", "NUL in a text": "quarantined"},
}
LIMITS["tsv"] = LIMITS["csv"]


def format_of(name: str) -> str:
    return Path(name).suffixes[0][1:]


def expected(document: Document, row: int, name: str, language: str) -> tuple[int, str, int, str] | None:
    """(row, id, char_len, language) of a document in a file; None where it is in quarantine."""
    limits = LIMITS.get(format_of(name), {})
    text, id_ = document["text"], document["id"]
    if text is None:
        text = "" if "null text" in limits else None
    if text is None or ("\x00" in text and "NUL in a text" in limits):
        return None
    default_id = "" if "null id" in limits else f"{name}:{row}"
    return row, default_id if id_ is None else str(id_), len(text), language


@pytest.mark.parametrize("library", chosen_by_default(WRITERS, ("json",)))
def test_every_writer_and_format_gives_the_same_tags(library: str, tmp_path: Path) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    corpora = {}
    for ids in IDS:
        corpora[ids] = documents(N, SEED, ids)
        (tmp_path / "in" / ids).mkdir(parents=True)
        WRITERS[library](module, corpora[ids], tmp_path / "in" / ids)
    if not READS_ARRAYS:
        for path in (tmp_path / "in").rglob("array.json"):
            path.unlink()
    names = sorted(p.relative_to(tmp_path / "in").as_posix() for p in (tmp_path / "in").rglob("*.*"))
    result = tagcorpus.run(
        "tag",
        input=tmp_path / "in",
        output=tmp_path / "out",
        taggers="length,language",
        glob=["*", "*.json"],
        max_quarantined=0.99,
        workers=1,
    )
    assert result.exit_code == 0, result.messages
    tags: dict[str, list[Any]] = {n: [] for n in names}
    for row in tagcorpus.read(tmp_path / "out", ["length", "language"]).to_table().to_pylist():
        tags[row["input"]].append((row["row"], row["id"], row["char_len"], row["language"]))
    wrong = {}
    for name in names:
        corpus = corpora[name.split("/")[0]]
        languages = tagcorpus.tag([d["text"] or "" for d in corpus], ["language"])["language.language"].to_pylist()
        rows = [expected(d, i, name, g) for i, (d, g) in enumerate(zip(corpus, languages, strict=True))]
        differing = set(tags[name]) ^ {r for r in rows if r}
        if differing or len(tags[name]) != sum(r is not None for r in rows):
            wrong[name] = sorted(differing)[:6]
    assert not wrong

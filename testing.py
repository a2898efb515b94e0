"""For authors of taggers: the conformance test that every tagger of this package passes.

    from tagcorpus.testing import check_tagger

    def test_exclaim():
        check_tagger(Exclaim("!"))

The test says whether a pipeline can rely on a tagger. It does not check the values.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tagcorpus.errors import TagcorpusError
from tagcorpus.taggers import DocumentBatch, Tagger

SENTENCE = "However, the committee met on 14 March and agreed what it would do next. "
PICKLE_BYTES = 2_000
"""A tagger travels to every worker: parameters do, models do not."""

TEXTS = (
    "",
    " \t\n \u3000",
    "\n\n\n",
    "👩\u200d👧\u200d👦 🎉🎉 emoji and text, so what?",
    "東京は日本の首都であり、世界最大の都市の一つです。人口は約1400万人である。",
    "\x00",
    "before\x00after, with enough text around it to be taken for a real document",
    "\x01\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\x9f and so on, but why?",
    "<|endoftext|>",
    "Question: What is <|endoftext|>? Answer: ordinary text. <|fim_prefix|>",
    "\ufffd\ufeff\u2028\u2029e\u0301\u202e",
    "a",
    "word " * 60,
    "the same line again\n" * 30,
    "def f(x):\n    return x + 1\n\n\nprint(f(41))\n",
    SENTENCE * 5,
    SENTENCE * (200_000 // len(SENTENCE)),
    "z" * 5_000,
    "𝕊𝕥𝕪𝕝𝕖𝕕 ſtuff Kelvin İstanbul ı",
)
"""Documents that taggers often fail on: empty, blank, control characters, many scripts, special tokens, long."""


def check_tagger(tagger: Tagger, texts: Sequence[str] | None = None, *, tolerance: float = 0.0) -> None:
    """Raise AssertionError, saying what is wrong, unless the tagger keeps its contract on these texts (default: TEXTS).

    Its columns have meaning and unit; it raises on no text; it returns exactly its columns, one row a document, in order; a
    row does not depend on its neighbours, nor on how the batch was sliced or stored; twice the same is the same; it leaves
    the batch alone; and its pickle is small after use and works.

    A TagcorpusError is raised unchanged: the tagger cannot work on any text.

    tolerance  largest difference of a float between batches, for models whose sums depend on the batch
    """
    documents = list(TEXTS if texts is None else texts)
    version = tagger.version
    assert isinstance(version, str), f"version must be a text, got {version!r}"
    assert version, "version is empty"
    _check_columns(tagger)
    before = _fingerprint(tagger)
    batch = DocumentBatch.from_texts(documents)
    table = batch.table
    whole = _rows(tagger, batch, "all texts")
    assert (batch.table.equals(table), batch.texts) == (True, documents), "tag() changed the batch; it must not"
    assert _fingerprint(tagger) == before, "fingerprint() changed by use"
    _check_emptiness(tagger)

    def compare(rows: list[dict[str, Any]], expected: list[dict[str, Any]], case: str) -> None:
        for one, other in zip(rows, expected, strict=True):
            for name in other:
                same = _is_same(one[name], other[name], tolerance)
                assert same, f"{case}: column {name} is {_short(one[name])}, was {_short(other[name])}"

    compare(_rows(tagger, batch, "all texts, again"), whole, "the same batch a second time")
    backwards = DocumentBatch.from_texts(documents[::-1])
    compare(_rows(tagger, backwards, "all texts, backwards")[::-1], whole, "the texts in the opposite order")
    for text, row in zip(documents, whole, strict=True):
        alone = _rows(tagger, DocumentBatch.from_texts([text]), "one text")
        compare(alone, [row], f"{_short(text)} depends on its neighbours: on its own")
    half = len(documents) // 2
    for start, length in ((0, half), (half, len(documents) - half), (half, 0)):
        part = _rows(tagger, batch.slice(start, length), "a slice")
        compare(part, whole[start : start + length], f"the slice of {length} texts from {start} on")
    tables = [DocumentBatch.from_texts(part).table for part in (documents[:half], documents[half:])]
    compare(
        _rows(tagger, DocumentBatch(pa.concat_tables(tables)), "a table of two chunks"), whole, "texts in two chunks"
    )
    _check_pickle(tagger, documents, whole, compare)


def _check_columns(tagger: Tagger) -> None:
    schema = tagger.columns
    assert isinstance(schema, pa.Schema), f"columns must be a pyarrow.Schema, got {type(schema).__name__}"
    assert len(schema) > 0, "columns is empty"
    assert len(set(schema.names)) == len(schema), f"columns has a name twice: {', '.join(schema.names)}"
    for field in schema:
        assert field.name not in ("row", "sub", "id"), f"column {field.name} has the name of a key of the rows"
        for key in ("meaning", "unit"):
            text = (field.metadata or {}).get(key.encode(), b"").strip()
            assert text, f"column {field.name} has no {key} in its metadata: use tagcorpus.taggers.column"


def _check_emptiness(tagger: Tagger) -> None:
    empty = DocumentBatch.from_texts([])
    _rows(tagger, empty, "no texts")
    _rows(tagger, DocumentBatch(empty.table.schema.empty_table()), "no texts, in a table without chunks")


def _check_pickle(tagger: Tagger, documents: list[str], whole: list[dict[str, Any]], compare: Any) -> None:
    pickled = pickle.dumps(tagger)
    assert len(pickled) < PICKLE_BYTES, (
        f"the pickle after use has {len(pickled):,} bytes, more than {PICKLE_BYTES:,}: derive from "
        "tagcorpus.taggers.Parameters, and keep models in a functools.cached_property"
    )
    again = pickle.loads(pickled)
    assert again.version == tagger.version, f"out of its pickle it has version {again.version!r}"
    assert _fingerprint(again) == _fingerprint(tagger), "out of its pickle it has another fingerprint"
    compare(_rows(again, DocumentBatch.from_texts(documents), "all texts, out of a pickle"), whole, "out of its pickle")


def _rows(tagger: Tagger, batch: DocumentBatch, case: str) -> list[dict[str, Any]]:
    """The rows that the tagger makes of a batch, after a check of their form."""
    try:
        record_batch = tagger.tag(batch)
    except TagcorpusError:  # the tagger cannot work on any text
        raise
    except Exception as error:
        raised = f"{type(error).__name__}: {_short(str(error), 200)}"
        raise AssertionError(f"{case}: tag() raised {raised}, {_blamed(tagger, batch)}") from error
    assert isinstance(record_batch, pa.RecordBatch), (
        f"{case}: tag() returned {type(record_batch).__name__}, not a pyarrow.RecordBatch"
    )
    assert record_batch.schema.equals(tagger.columns, check_metadata=True), (
        f"{case}: tag() returned the columns {_listed(record_batch.schema)}, not {_listed(tagger.columns)} with their metadata"
    )
    assert record_batch.num_rows == batch.num_rows, (
        f"{case}: {batch.num_rows} documents gave {record_batch.num_rows} rows"
    )
    record_batch.validate(full=True)
    rows: list[dict[str, Any]] = record_batch.to_pylist()
    return rows


def _blamed(tagger: Tagger, batch: DocumentBatch) -> str:
    """The text on which the tagger raises."""
    for i, text in enumerate(batch.texts):
        try:
            tagger.tag(batch.slice(i, 1))
        except Exception:
            return f"on the text {_short(text)}"
    return "and on none of the texts alone"


def _fingerprint(tagger: Tagger) -> str:
    try:
        return json.dumps(tagger.fingerprint(), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"fingerprint() must be made of JSON values: {error}") from error


def _is_same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_is_same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}" for f in schema)


def _short(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."

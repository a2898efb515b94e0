"""code: the shape of a program's syntax tree, and how far names stand from their definitions, by tree-sitter.

Thirteen languages (`LANGUAGES`). A document's language is what its `lang` column says (a name, a file extension, a path, a
MIME type), otherwise the one that _code/detect.py finds. A document in another or an unknown language has nulls in all columns
but `code_language`. Broken code has a tree, too, and `error_node_ratio` measures the damage. No types, no scopes: a use belongs
to the last definition of the same name before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar

import pyarrow as pa

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.taggers._code.detect import detect
from tagcorpus.taggers._code.languages import LANGUAGES, check_installed, grammar_versions, known_language
from tagcorpus.taggers._code.walk import Measures, ParseTimeout, ParseTooLarge, measure
from tagcorpus.taggers._interface.base import OURS, PAPER, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch

_COLUMNS = (
    column(
        "code_language", pa.string(), "language it was parsed in; otherwise its column's text, or unknown", "name", OURS
    ),
    column("num_nodes", pa.int64(), "named nodes of the syntax tree", "nodes"),
    column("tree_depth_max", pa.int64(), "depth of the deepest named node; the root is at 0", "edges"),
    column("node_depth_mean", pa.float64(), "mean depth of the named nodes", "edges"),
    column("num_definitions", pa.int64(), "names that define a function or a variable", "names"),
    column("num_calls", pa.int64(), "calls of a plain name", "names"),
    column(
        "dist_to_def_median",
        pa.float64(),
        "from the definition's end to its use, over calls and variable uses; below 0 where the use comes first",
        "bytes of UTF-8",
    ),
    column("dist_to_def_90p", pa.float64(), "the 90th percentile of the same", "bytes of UTF-8"),
    column(
        "error_node_ratio",
        pa.float64(),
        "of named nodes and missing tokens, those that the grammar cannot make out or misses",
        "share of 1",
        "tree-sitter, and tagcorpus",
    ),
)
_LIST_COLUMNS = (
    column("node_depth", pa.list_(pa.int32()), "depth of every named node, in pre-order", "edges"),
    column("tree_depth", pa.list_(pa.int32()), "the running maximum of node_depth", "edges"),
    column("dist_to_def", pa.list_(pa.int64()), "of every named node; null where it is no use", "bytes of UTF-8"),
    column("node_type", pa.list_(pa.string()), "type of every named node, as the grammar calls it", "name"),
)


class DocumentTooLong(Exception):
    """A document of more than max_bytes."""


@dataclass(frozen=True)
class Code(Parameters):
    """Syntax trees of program code: size, depth, definitions, calls, distances to definitions, errors.

    language          "" for each document's own, or that of all: python, javascript, typescript, java, c, cpp, c_sharp, go, ruby,
                      php, scala, kotlin, rust
    column            the document column that names the language (a.b works); where it is missing or empty, the text decides
    lists             also four lists with one entry a node
    max_parse_steps   a step is a hundred operations of the parser, some 20 microseconds; a document that takes more gets nulls
                      and a quarantine line, the same ones on every machine. 2 MB of code take about 40,000
    max_parse_memory  bytes; a document whose parsing lets the process grow by more gets the same. 2 MB of code take 200 MB, text
                      that confuses a grammar may take any number of GB
    max_bytes         a longer document gets the same, unparsed

    Raises ConfigError for an unknown language, and where tree-sitter or a grammar is not installed.
    """

    language: str = ""
    column: str = "lang"
    lists: bool = False
    max_parse_steps: int = 1_000_000
    max_parse_memory: int = 2 << 30
    max_bytes: int = 16 << 20

    extra: ClassVar[str] = "code"
    status_columns: ClassVar[tuple[str, ...]] = ("code_language",)

    def __post_init__(self) -> None:
        if self.language and self.language not in LANGUAGES:
            if (known := known_language(self.language)) is None:
                raise ConfigError(unknown_name("language", self.language, LANGUAGES, "code.language"))
            object.__setattr__(self, "language", known)
        for name in ("max_parse_steps", "max_parse_memory", "max_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"code.{name} must be at least 1, got {getattr(self, name)}")

    @property
    def version(self) -> str:
        """Includes the versions of the grammars: another release may give another tree."""
        return ", ".join(["2", *(f"{name} {version}" for name, version in grammar_versions().items())])

    @property
    def columns(self) -> pa.Schema:
        return _SCHEMA_WITH_LISTS if self.lists else _SCHEMA

    @property
    def needs(self) -> tuple[str, ...]:
        """Document columns besides the text."""
        return (self.column,) if self.column and not self.language else ()

    def fingerprint(self) -> dict[str, Any]:
        """All parameters. ConfigError where a package is not installed, so that a run fails before it reads."""
        check_installed()
        parameters = super().fingerprint()
        return parameters | {"column": ""} if self.language else parameters

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises ParseTimeout, ParseTooLarge or DocumentTooLong for a document beyond the limits: its row is then quarantined."""
        check_installed()
        texts = batch.texts
        written = [None] * batch.num_rows if self.language else batch.column(self.column)
        for key in zip(texts, written, strict=True) if self._too_much else ():
            if failure := self._too_much.get(hash(key)):
                # The document comes again in a smaller part of its batch. Failing at once saves parsing the others in vain.
                raise failure[0](failure[1])
        rows = [self._row(text, name) for text, name in zip(texts, written, strict=True)]
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in self.columns]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self.columns, strict=True)]
        return pa.record_batch(arrays, schema=self.columns)

    @cached_property
    def _too_much(self) -> dict[int, tuple[type[Exception], str]]:
        """By a document's hash, the error that stopped its parsing."""
        return {}

    def _language(self, text: str, written: str | None) -> str:
        if self.language:
            return self.language
        if written is not None and written.strip():
            return known_language(written) or written.strip().lower()
        return detect(text)

    def _row(self, text: str, written: str | None) -> tuple[Any, ...]:
        language = self._language(text, written)
        if language not in LANGUAGES:
            return (language, *[None] * (len(self.columns) - 1))
        source = text.encode()
        if len(source) > self.max_bytes:
            raise DocumentTooLong(f"{len(source):,} bytes, more than code.max_bytes {self.max_bytes:,}")
        try:
            measures = measure(source, language, self.max_parse_steps, self.lists, self.max_parse_memory)
        except (ParseTimeout, ParseTooLarge) as error:
            failure = type(error), self._limit(error)
            self._too_much[hash((text, written))] = failure
            raise failure[0](failure[1]) from error
        row = (language, *_statistics(measures))
        if not self.lists:
            return row
        return (*row, measures.depths, list(accumulate(measures.depths, max)), measures.distances, measures.types)

    def _limit(self, error: Exception) -> str:
        if isinstance(error, ParseTimeout):
            return f"not parsed within code.max_parse_steps {self.max_parse_steps:,}"
        return f"parsing takes more memory than code.max_parse_memory {self.max_parse_memory:,}"


def _statistics(measures: Measures) -> tuple[Any, ...]:
    """The per-document columns after code_language."""
    distances = sorted(measures.use_distances)
    return (
        measures.n_nodes,
        measures.max_depth,
        measures.sum_depth / measures.n_nodes,
        measures.n_definitions,
        measures.n_calls,
        percentile(distances, 50),
        percentile(distances, 90),
        (measures.n_errors + measures.n_missing_tokens) / (measures.n_nodes + measures.n_missing_tokens),
    )


def percentile(ordered: Sequence[int], p: float) -> float | None:
    """By linear interpolation, as numpy.percentile; None of nothing.

    ordered  values, ascending
    Example  [1, 2], p=90 -> 1.9
    """
    if not ordered:
        return None
    position = (len(ordered) - 1) * (p / 100)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


_SCHEMA = columns_from(f"tagcorpus, over the lists of {PAPER}", *_COLUMNS)
_SCHEMA_WITH_LISTS = pa.schema([*_SCHEMA, *columns_from(PAPER, *_LIST_COLUMNS)])

TAGGER = Code

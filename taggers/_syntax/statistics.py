"""From the words of one parse to the columns of one document.

Definitions: the per-document statistics of the code published with "Not-Just-Scaling Laws" (arXiv 2503.03862). Statistics are
over words, so that a long sentence weighs more. A missing value is None and never 0: a document without words,
a parser without constituency trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tagcorpus.taggers._interface.base import OURS, PAPER, column, columns_from
from tagcorpus.taggers._syntax.trees import Constituents, Dependencies

CONTENT = frozenset({"NOUN", "VERB", "ADJ", "ADV"})


@dataclass(frozen=True)
class Parse:
    """One document's parse: `language` is the parser's code, None where it is unknown. Either half may be missing.

    status  why there are no words; "" where there are some
    """

    language: str | None = None
    dependencies: Dependencies | None = None
    constituents: Constituents | None = None
    status: str = ""

    def parse_status(self) -> str:
        """One of the values that the column parse_status documents."""
        has_words = [bool(half and half.words) for half in (self.dependencies, self.constituents)]
        if not any(has_words):
            return self.status or "no_words"
        return "parsed" if all(has_words) else "dependency_only" if has_words[0] else "constituency_only"


_HEAD, _ROOT = "distance of a word from its head in the dependency tree", "distance of a word from its sentence's root"
_DEPTH = "depth of a word in the constituency tree, ROOT's child at 0, its part of speech counted"
_TREE, _LENGTH = "largest word depth of a word's sentence", "words of a word's sentence"
_STATISTICS = (
    column("dep_head_dist_median", pa.float64(), f"median {_HEAD}", "words"),
    column("dep_head_dist_90p", pa.float64(), f"90th percentile of the {_HEAD}", "words"),
    column("dep_head_dist_max", pa.int64(), f"largest {_HEAD}", "words"),
    column("dep_root_dist_median", pa.float64(), f"median {_ROOT}", "words"),
    column("dep_root_dist_mean", pa.float64(), f"mean {_ROOT}", "words"),
    column("dep_root_dist_max", pa.int64(), f"largest {_ROOT}", "words"),
    column("const_tree_depth_max", pa.int64(), f"over words, maximum of the {_TREE}", "edges"),
    column("const_tree_depth_mean", pa.float64(), f"over words, mean of the {_TREE}", "edges"),
    column("const_word_depth_mean", pa.float64(), f"mean {_DEPTH}", "edges"),
    column("const_word_depth_std", pa.float64(), f"standard deviation (ddof 0) of the {_DEPTH}", "edges"),
    column("words_per_sent_mean", pa.float64(), f"over words, mean of the {_LENGTH}; of constituency trees", "words"),
    column("words_per_sent_std", pa.float64(), "standard deviation (ddof 0) of the same", "words"),
    column("num_words", pa.int64(), "words of the constituency trees", "words"),
    column("num_sentences", pa.int64(), "constituency trees", "sentences"),
    column("content_function_ratio", pa.float64(), "words with UPOS NOUN, VERB, ADJ or ADV, of all words", "share of 1"),
    column("parser_language", pa.string(), "language whose model parsed, or was missing; null for parses in columns", "code", OURS),
    column(
        "parse_status",
        pa.string(),
        "parsed = both kinds of tree; dependency_only, constituency_only; no_model for the language; no_words; no_parse in "
        "the columns",
        "status",
        OURS,
    ),
)  # fmt: skip
_STRINGS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.int32())
_LISTS = (
    column("words", _STRINGS, "words of the dependency trees, else of the constituency trees", "text"),
    column("upos", _STRINGS, "universal part of speech of each word of the dependency trees", "tag"),
    column("xpos", _STRINGS, "the language's own part of speech of each of `words`", "tag"),
    column("dist_to_head", _NUMBERS, _HEAD, "words"),
    column("dist_to_root", _NUMBERS, _ROOT, "words"),
    column("const_word_depth", _NUMBERS, _DEPTH, "edges"),
    column("const_tree_depth", _NUMBERS, _TREE, "edges"),
    column("num_words_sentence", _NUMBERS, _LENGTH, "words"),
)
SCHEMA = columns_from(PAPER, *_STATISTICS)
SCHEMA_WITH_LISTS = columns_from(PAPER, *_STATISTICS, *_LISTS)


def row(parse: Parse, lists: bool) -> tuple[Any, ...]:
    """The values of SCHEMA, or of SCHEMA_WITH_LISTS."""
    dependencies = parse.dependencies or Dependencies()
    trees = parse.constituents or Constituents()
    values = (
        *dependency_statistics(dependencies.to_head, dependencies.to_root),
        *constituency_statistics(trees),
        content_function_ratio(dependencies.upos),
        parse.language,
        parse.parse_status(),
    )
    if not lists:
        return values
    tags = dependencies.xpos if dependencies.words else trees.tags
    named = (dependencies.words or trees.words, dependencies.upos, tags, dependencies.to_head, dependencies.to_root)
    return (*values, *(v or None for v in (*named, trees.word_depths, trees.tree_depths, trees.sentence_words)))


def dependency_statistics(to_head: Sequence[int], to_root: Sequence[int]) -> tuple[float | None, ...]:
    """Median, 90th percentile (numpy linear), maximum of the first; median, mean, maximum of the second. None of nothing."""
    heads, roots = np.asarray(to_head, np.int64), np.asarray(to_root, np.int64)
    of_heads = (*np.percentile(heads, (50, 90)).tolist(), int(heads.max())) if heads.size else [None] * 3
    of_roots = (float(np.median(roots)), float(roots.mean()), int(roots.max())) if roots.size else [None] * 3
    return (*of_heads, *of_roots)


def constituency_statistics(trees: Constituents) -> tuple[float | None, ...]:
    """Tree depth maximum and mean, word depth mean and std, sentence length mean and std, words, sentences. None without words."""
    if not trees.word_depths:
        return (None,) * 8
    tree, word, length = (
        np.asarray(values, np.int64) for values in (trees.tree_depths, trees.word_depths, trees.sentence_words)
    )
    return (
        int(tree.max()),
        float(tree.mean()),
        float(word.mean()),
        float(word.std()),
        float(length.mean()),
        float(length.std()),
        len(word),
        trees.num_sentences,
    )


def content_function_ratio(upos: Sequence[str | None]) -> float | None:
    """Share of words that are tagged as content words; None where no word has a tag."""
    if not any(upos):
        return None
    return sum(tag in CONTENT for tag in upos) / len(upos)

"""The columns of the feature table: names, order, unit, range, and which standard deviation a `_std` is.

The one place that knows them; whoever writes, reads or checks such a table asks here. The definitions are those of the
table published with *Not-Just-Scaling Laws* (arXiv 2503.03862), spelled as there. No values and no files here.

A **stem** is one feature of a generation (`num_tokens`). It has a column of its mean over a model's generations
(`num_tokens_mean`) and one of their standard deviation (`num_tokens_std`). Stems with one value per model, not one per
generation, have a `_std` column too, and it is always empty. The five keyword ratios are pooled over all generations of
a model (matches by characters), so they have one column only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

ID = "id"
# A number by row, where rows were measured in different ways and united all the same.
RECIPE = "recipe"
Statistic = Literal["mean", "std", "ratio", "further"]


@dataclass(frozen=True)
class Stem:
    """One feature. `low`, `high`: what its mean can be at all, both included. `ddof`: of its standard deviation over
    the model's generations (0: divided by n, 1: by n - 1); None where there is one value per model, and no deviation."""

    name: str
    meaning: str
    unit: str
    low: float
    high: float
    ddof: int | None


@dataclass(frozen=True)
class Column:
    """One numeric column of the table; `low` and `high` are inclusive, infinite where there is no bound."""

    name: str
    stem: str
    statistic: Statistic
    unit: str
    low: float
    high: float
    ddof: int | None
    is_always_empty: bool


_ANY = math.inf
_PARSED = [
    ("const_parse_const_tree_depth_max", "largest depth of a constituency tree", "levels"),
    ("const_parse_const_tree_depth_mean", "depth of the sentence's constituency tree, mean over words", "levels"),
    ("const_parse_const_word_depth_mean", "depth of a word in its constituency tree, mean over words", "levels"),
    ("const_parse_const_word_depth_std", "the same, standard deviation over words", "levels"),
    ("const_parse_num_sentences", "sentences", "sentences"),
    ("const_parse_num_words", "words", "words"),
    ("const_parse_words_per_sent_mean", "length of the sentence a word is in, mean over words", "words"),
    ("const_parse_words_per_sent_std", "the same, standard deviation over words", "words"),
    ("dep_parse_dep_head_dist_90p", "distance of a word to its head, 90th percentile over words", "words"),
    ("dep_parse_dep_head_dist_max", "the same, maximum", "words"),
    ("dep_parse_dep_head_dist_median", "the same, median", "words"),
    ("dep_parse_dep_root_dist_max", "distance of a word to the root of its sentence, maximum over words", "words"),
    ("dep_parse_dep_root_dist_mean", "the same, mean", "words"),
    ("dep_parse_dep_root_dist_median", "the same, median", "words"),
]
DOMAINS = ("academic", "books", "code", "reference", "specific_datasets", "web")

STEMS: tuple[Stem, ...] = (
    Stem("char_len", "length", "characters", 0, _ANY, 1),
    *(Stem(name, meaning, unit, 0, _ANY, 0) for name, meaning, unit in _PARSED),
    Stem("content_function_ratio", "share of words that are nouns, verbs, adjectives or adverbs", "share", 0, 1, 1),
    *(Stem(f"domain_{d}_pct", f"generations whose domain is {d}", "%", 0, 100, None) for d in DOMAINS),
    # A regression's raw score, not clipped to the 0 to 5 it was trained on: nothing is impossible.
    Stem("edu_classifier", "educational value by a classifier", "score", -_ANY, _ANY, 1),
    Stem("entropy", "next-token entropy, mean over the distinct one-token contexts", "bits", 0, _ANY, None),
    Stem("num_tokens", "length", "tokens", 0, _ANY, 1),
    Stem("pct_english", "generations in English", "%", 0, 100, None),
    Stem("ttr", "distinct tokens by tokens", "share", 0, 1, 1),
    Stem("unique_tokens", "distinct tokens", "tokens", 0, _ANY, 1),
)

# In the published order, and with the published spelling: the tagger's own name is instruction_words.
RATIOS = (
    "question_words_ratio",
    "imperative_verbs_ratio",
    "conjunctions_ratio",
    "instructions_words_ratio",
    "numbers_ratio",
)
RATIO_UNIT = "matches per 100,000 characters"

# The first is at most the second in every generation, so also in the means over the same generations.
AT_MOST: tuple[tuple[str, str], ...] = (
    ("unique_tokens", "num_tokens"),
    ("const_parse_num_sentences", "const_parse_num_words"),
    ("const_parse_const_word_depth_mean", "const_parse_const_tree_depth_mean"),
    ("const_parse_const_tree_depth_mean", "const_parse_const_tree_depth_max"),
    ("dep_parse_dep_head_dist_median", "dep_parse_dep_head_dist_90p"),
    ("dep_parse_dep_head_dist_90p", "dep_parse_dep_head_dist_max"),
    ("dep_parse_dep_root_dist_median", "dep_parse_dep_root_dist_max"),
    ("dep_parse_dep_root_dist_mean", "dep_parse_dep_root_dist_max"),
)


@cache
def numeric_columns() -> dict[str, Column]:
    """Every column but `id`, by name, in the table's order: sorted means, sorted deviations, ratios."""
    means = [Column(f"{s.name}_mean", s.name, "mean", s.unit, s.low, s.high, None, False) for s in STEMS]
    deviations = [Column(f"{s.name}_std", s.name, "std", s.unit, 0, _widest(s), s.ddof, s.ddof is None) for s in STEMS]
    # No more matches than characters.
    ratios = [Column(name, name, "ratio", RATIO_UNIT, 0, 100_000, None, False) for name in RATIOS]
    ordered = [*sorted(means, key=lambda c: c.name), *sorted(deviations, key=lambda c: c.name), *ratios]
    return {c.name: c for c in ordered}


def columns() -> list[str]:
    """The header of the table, `id` first."""
    return [ID, *numeric_columns()]


@cache
def extended_columns() -> dict[str, Column]:
    """What `--extended` adds after the published columns, by name and in order. Bounds of 95 % intervals of means are not
    cut at what a mean can be, so only shares have bounds here."""
    added = [
        Column(name, name, "further", "generations", 0, _ANY, None, False)
        for name in ("generations", "generations_kept")
    ]
    for s in sorted(STEMS, key=lambda s: s.name):
        if s.ddof is not None:
            added.append(_extended(s, "n", "generations", 0))
            added.append(_extended(s, "median", s.unit, s.low, s.high))
            added.append(_extended(s, "se", s.unit, 0))
        elif s.name == "entropy":
            added += [_extended(s, name, unit, -_ANY if unit == "bits" else 0) for name, unit in _OF_ENTROPY.items()]
            continue
        elif s.name == "domain_academic_pct":
            added.append(Column("domain_n", "domain", "further", "generations", 0, _ANY, None, False))
        low, high = (0.0, 100.0) if s.ddof is None else (-_ANY, _ANY)
        added += [_extended(s, name, s.unit, low, high) for name in ("low95", "high95")]
    for name in RATIOS:
        added.append(Column(f"{name}_se", name, "further", RATIO_UNIT, 0, _ANY, None, False))
        added += [
            Column(f"{name}_{b}", name, "further", RATIO_UNIT, -_ANY, _ANY, None, False) for b in ("low95", "high95")
        ]
    return {c.name: c for c in added}


# Corrected estimates subtract, and may leave the possible range; nothing of that size does in practice.
_OF_ENTROPY = {
    "num_tokens": "tokens",
    "num_contexts": "distinct contexts",
    "median": "bits",
    "weighted": "bits",
    "miller_madow": "bits",
    "chao_shen": "bits",
    "chao_wang_jost": "bits",
    "coverage": "share",
    "budget_tokens": "tokens",
    "at_budget": "bits",
    "at_budget_low95": "bits",
    "at_budget_high95": "bits",
    "weighted_at_budget": "bits",
    "weighted_at_budget_low95": "bits",
    "weighted_at_budget_high95": "bits",
}


def _extended(stem: Stem, name: str, unit: str, low: float, high: float = _ANY) -> Column:
    return Column(f"{stem.name}_{name}", stem.name, "further", unit, low, high, None, False)


def _widest(stem: Stem) -> float:
    """The largest standard deviation that values between `low` and `high` can have: two values, one at either end."""
    return (stem.high - stem.low) / (math.sqrt(2) if stem.ddof else 2)


# The tagger that says which generations are kept.
FILTER = "repetition"

# The tagger behind a stem, and its column there.
SOURCES: dict[str, tuple[str, str]] = {
    "char_len": ("length", "char_len"),
    **{name: ("tokens", name) for name in ("num_tokens", "unique_tokens", "ttr")},
    "content_function_ratio": ("syntax", "content_function_ratio"),
    **{s.name: ("syntax", s.name.partition("_parse_")[2]) for s in STEMS if "_parse_" in s.name},
    "edu_classifier": ("quality", "edu_classifier"),
}

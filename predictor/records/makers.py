"""Makers of models: the groups that folds must not split.

A hub namespace names the account that uploaded a model. The maker is the company or team that pretrained its weights: Meta's
models are under facebook, meta-llama and huggyllama, and a tuned or converted model belongs to the maker of its base model.
makers.csv lists the makers of the published base models (92, and one with Brier scores only), with a source for each row. A
row `namespace/*` covers all other models of the namespace.
A store's own `maker` and `base_model` annotations come first.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError, folded, unknown_name

MAKER, BASE, NAMESPACE = "maker", "base_model", "organisation"
TABLE = "makers"  # of a store
COLUMNS = "id VARCHAR PRIMARY KEY, maker VARCHAR, base_model VARCHAR"
# Tables searched for a column to group by, in this order. Every store has the first two.
_TABLES = ("model_annotations", "dataset_info", TABLE, "checkpoints")
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Made:
    """base: the model whose weights this one began from, else ""; source: a URL that names the maker."""

    maker: str
    base: str
    source: str
    note: str


@cache
def table() -> Mapping[str, Made]:
    """makers.csv by id."""
    with open(Path(__file__).parent / "makers.csv", encoding="utf-8", newline="") as file:
        return {r["id"]: Made(r["maker"], r["base_model"], r["source"], r["note"]) for r in csv.DictReader(file)}


@cache
def _by_fold() -> Mapping[str, Made]:
    return {folded(id_): made for id_, made in table().items()}


def _made(model: str) -> Made | None:
    """The row of makers.csv of a model, in whatever case its id is spelled."""
    return _by_fold().get(folded(model))


def in_one_spelling(groups: Sequence[str], *, are_makers: bool) -> tuple[str, ...]:
    """Groups that people take for one under one name, the commonest: they differ by case or spaces, makers also by punctuation.

    Example  ["Acme AI", "acme-ai", "Acme AI"] -> ("Acme AI", "Acme AI", "Acme AI")
    """
    counts: dict[str, Counter[str]] = {}
    for group in groups:
        counts.setdefault(_plain(group, are_makers), Counter())[group] += 1
    names = {plain: min(own, key=lambda name: (-own[name], name)) for plain, own in counts.items()}
    return tuple(names[_plain(group, are_makers)] for group in groups)


def is_one(group: str, other: str, column: str) -> bool:
    """Whether two groups by a column are one, in the same sense."""
    are_makers = column in (MAKER, NAMESPACE)
    return _plain(group, are_makers) == _plain(other, are_makers)


def _plain(group: str, is_maker: bool) -> str:
    plain = folded(group)
    return (re.sub(r"[\W_]+", "", plain) or plain) if is_maker else plain


def organisation(model: str) -> str:
    """The namespace: `org` of `org/name`; of a bare name its first word, so that one maker's series is one group.

    Example  "Qwen/Qwen2-72B" -> "Qwen";  "llama2_220M_nl_40_code_60" -> "llama2"
    """
    if "/" in model:
        return model.split("/", 1)[0]
    return re.split(r"[-_]", model, maxsplit=1)[0] or model


def maker(model: str, declared: Mapping[str, str] = _NONE, bases: Mapping[str, str] = _NONE) -> str:
    """The maker of a model, or its namespace where no maker is known. declared, bases: the store's annotations `maker` and
    `base_model` by id.

    Example  "huggyllama/llama-7b" -> "Meta";  "me/tune" with base "Qwen/Qwen2-72B" -> "Alibaba";  "acme/one" -> "acme"
    """
    passed = set()
    while model not in declared and _made(model) is None and model in bases and model not in passed:
        passed.add(model)
        model = bases[model]
    if model in declared:
        return declared[model]
    made = _made(model) or _made(f"{organisation(model)}/*")
    return made.maker if made else organisation(model)


def group_word(column: str) -> str:
    """The plural word for groups by this column.

    Example  "maker" -> "makers";  "activation" -> "groups by activation"
    """
    return f"{column}s" if column in (MAKER, NAMESPACE) else f"groups by {column}"


def groups_of(con: Any, ids: Sequence[str], column: str) -> tuple[str, ...]:
    """The group of each model by `maker`, by `organisation` (the namespace), or by any annotation of the store; a model
    without a value is a group of its own. Spellings of one group are one group.

    con: of a store. Raises ConfigError for an unknown column.
    """
    if column == NAMESPACE:
        return in_one_spelling([organisation(m) for m in ids], are_makers=True)
    rows = con.execute(
        "SELECT column_name, table_name FROM duckdb_columns() WHERE database_name = current_database() AND column_name != 'id'"
    ).fetchall()
    tables = {name: t for table in reversed(_TABLES) for name, t in rows if t == table}

    def values(name: str) -> dict[str, Any]:
        if name not in tables:
            return {}
        rows = con.execute(f'SELECT id, "{name}" FROM {tables[name]} WHERE "{name}" IS NOT NULL').fetchall()
        return dict(rows)

    if column == MAKER:
        declared, bases = values(MAKER), values(BASE)
        return in_one_spelling([maker(m, declared, bases) for m in ids], are_makers=True)
    if column not in tables:
        raise ConfigError(unknown_name("column", column, sorted({MAKER, NAMESPACE, *tables}), "--groups"))
    own = values(column)
    return in_one_spelling([str(own.get(m, m)) for m in ids], are_makers=False)

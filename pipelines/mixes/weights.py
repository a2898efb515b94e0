"""Weights of groups and token budgets, read strictly; and the largest budget that a cap on epochs allows.

Weights are exact fractions until they become integers that sum to TOTAL, which the order of a mix needs.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import yaml

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.options.declaring.amounts import amount
from tagcorpus.pipelines.storage.outputs import folder_and_name
from tagcorpus.pipelines.storage.sealed import is_sealed

TOTAL = 1 << 31
"""As in kernels/mixes/blending.py, which imports Numba; a test compares."""
MOST_WINDOWS = 1 << 31
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|\.[0-9]+([eE][+-]?[0-9]{1,3})?|[0-9]+/[0-9]+")


def token_count(text: str, option: str) -> int:
    """Tokens of a budget. Raises ConfigError.

    Example  "1.5M" -> 1_500_000
    """
    count = amount(text, "count", option)
    if count <= 0:
        raise ConfigError(f"{option} {text}: give a number of tokens above 0")
    return count


def fraction(text: str, where: str) -> Fraction:
    """A weight above 0: a decimal number, a percentage, or a fraction such as 1/4, exactly. Raises ConfigError."""
    number = text.strip().removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(number) or number.endswith("/0"):
        raise ConfigError(f"{where}: {text!r} is not a decimal number, a percentage or a fraction such as 1/4")
    weight = Fraction(number) / (100 if "%" in text else 1)
    if weight <= 0:
        raise ConfigError(f"{where}: a weight is above 0, not {text.strip()}. To leave a group out, give it no weight")
    return weight


def from_flags(given: Sequence[str], known: Sequence[str]) -> dict[str, Fraction]:
    """The weights of `--weight GROUP=W`."""
    pairs = []
    for text in given:
        group, equals, weight = text.rpartition("=")
        if not equals:
            raise ConfigError(f"--weight {text}: say GROUP=W")
        pairs.append((group, weight))
    return _weights(pairs, known, "--weight")


def from_file(path: str, known: Sequence[str]) -> dict[str, Fraction]:
    """The weights of a YAML mapping (group: weight), of a CSV with the columns group and weight, or of a proposal of `mix propose`,
    whose shares of 0 are left out."""
    folder, name = folder_and_name(path)
    data = folder.read(name)
    if data is None:
        raise ConfigError(f"--weights {path}: there is no such file")
    try:
        text = data.decode("utf-8-sig")
        pairs = _csv_pairs(text, path) if path.lower().endswith(".csv") else _yaml_pairs(text, path, is_sealed(data))
    except (UnicodeDecodeError, yaml.YAMLError, csv.Error) as error:
        raise ConfigError(f"--weights {path} cannot be read: {' '.join(str(error).split())}") from None
    return _weights(pairs, known, f"--weights {path}")


def _yaml_pairs(text: str, path: str, is_proven: bool) -> list[tuple[str, str]]:
    # BaseLoader leaves every scalar as it is written, so 0.10 is exact and an absent value is not the word null.
    value: Any = yaml.load(text, Loader=yaml.BaseLoader)
    if isinstance(value, dict) and isinstance(value.get("shares"), dict):
        if not is_proven:
            raise ConfigError(
                f"--weights {path}: the proposal is damaged or was edited. For other shares, write a file with one line `GROUP: W` "
                "for each group"
            )
        return [(str(k), str(v)) for k, v in value["shares"].items() if v not in ("0", "0.0")]
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ConfigError(f"--weights {path}: the file must be a mapping, one line `GROUP: W` for each group")
    node: Any = yaml.compose(text, Loader=yaml.BaseLoader)  # a mapping keeps the last of equal keys, silently
    keys = [name.value for name, _ in node.value]
    if twice := [k for k in keys if keys.count(k) > 1]:
        raise ConfigError(f"--weights {path}: group {twice[0]!r} has two weights")
    return [(str(k), v) for k, v in value.items()]


def _csv_pairs(text: str, path: str) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if sorted(name for name in reader.fieldnames or () if name) != ["group", "weight"]:  # pandas' index has no name
        raise ConfigError(f"--weights {path}: the columns must be group and weight, not {reader.fieldnames}")
    rows = list(reader)
    if bad := next((row for row in rows if None in row or None in row.values()), None):
        raise ConfigError(f"--weights {path}: the row of group {bad['group']!r} does not have two cells")
    return [(row["group"], row["weight"]) for row in rows]


def _weights(pairs: Sequence[tuple[str, str]], known: Sequence[str], where: str) -> dict[str, Fraction]:
    weights: dict[str, Fraction] = {}
    for group, text in pairs:
        if group not in known:
            raise ConfigError(unknown_name("group", group, known, where))
        if group in weights:
            raise ConfigError(f"{where}: group {group!r} has two weights")
        weights[group] = fraction(text, f"{where}, group {group!r}")
    if not weights:
        raise ConfigError(f"{where}: no group has a weight")
    if len({"%" in text for _, text in pairs}) > 1:
        raise ConfigError(f"{where}: some weights are percentages and others are not; write all in one way")
    return weights


def by_temperature(tokens: Mapping[str, int], temperature: float) -> dict[str, Fraction]:
    """Weights proportional to tokens ** (1 / temperature); exactly the tokens for 1. Groups without tokens have none."""
    largest = max(tokens.values())
    return {
        group: Fraction(n) if temperature == 1 else Fraction((n / largest) ** (1 / temperature))
        for group, n in tokens.items()
        if n
    }


def integer_weights(weights: Mapping[str, Fraction]) -> dict[str, int]:
    """Weights as integers that sum to TOTAL, by largest remainder. A share may become 0."""
    total = sum(weights.values())
    exact = {group: w * TOTAL / total for group, w in weights.items()}
    whole = {group: int(e) for group, e in exact.items()}
    largest = sorted(exact, key=lambda group: (whole[group] - exact[group], group))
    for group in largest[: TOTAL - sum(whole.values())]:
        whole[group] += 1
    return whole


class Limit(NamedTuple):
    """The largest number of windows that the cap on epochs allows, and the group that sets it."""

    windows: int
    group: str


def limit(weights: Mapping[str, Fraction], windows: Mapping[str, int], epochs: float) -> Limit:
    """For exact weights. windows: that each group has.

    The order of a mix has the floor or the ceiling of share * windows for each group. So the limit is exact, although
    integer weights differ from exact ones by up to one part in TOTAL: `mix_of` checks the counts.
    """
    cap = Fraction(str(epochs))
    total = sum(weights.values())
    return min(Limit(int(int(cap * windows[g]) * total / w), g) for g, w in weights.items())

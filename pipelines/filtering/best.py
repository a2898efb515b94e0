"""The rule of `--top`, `--tokens` and `--draw`: as many documents as were asked for, those with the highest keys, overall or within
each value of a column.

A key is the value of a column, or a seeded number for a random choice; ties are broken by a seeded number, so that the count is exact
and does not depend on files, workers or executor.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import chunk_parts
from tagcorpus.pipelines.attributes.summary import from_ordered_keys, ordered_keys
from tagcorpus.pipelines.filtering.thresholds import Block, Collision, Key, Keys, mixed, reaches, thresholds
from tagcorpus.pipelines.options.declaring.amounts import amount, share
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

TOKENS = ("tokens", "num_tokens")
NO_GROUP = "(none)"
NO_VALUE = "no value"
_ONE = re.compile(r"1\.0+")  # one document, or all


@dataclass(frozen=True)
class Amount:
    """A share of the documents, a number of them, or a number of tokens; of each group, if there are groups."""

    share: float | None = None
    documents: int | None = None
    tokens: int | None = None

    @classmethod
    def read(cls, text: str, option: str) -> Amount:
        """`10%`, `0.1` or `5000`. Raises ConfigError for anything else."""
        if (part := share(text)) is not None:
            return cls(share=part)
        if not _ONE.fullmatch(text.strip()):
            with suppress(ConfigError):
                if (n := amount(text, "count", option)) > 0:
                    return cls(documents=n)
        raise ConfigError(f"{option} takes a share such as 10%, or a number of documents such as 5000, got {text!r}")

    def goal(self, n: int, size: int) -> int:
        """The size to keep of a group of n documents: documents, or tokens."""
        if self.tokens is not None:
            return self.tokens
        if self.share is not None:
            return math.floor(n * self.share + 0.5)
        assert self.documents is not None
        return min(self.documents, size)

    def __str__(self) -> str:
        if self.tokens is not None:
            return f"{self.tokens:,} tokens"
        return f"{100 * self.share:g}%" if self.share is not None else f"{self.documents:,} documents"


@dataclass(frozen=True)
class Best:
    """The rule. `find` gives it its thresholds before it judges.

    instances   owners of the columns
    amount      how much is kept
    by          (instance, column) whose highest values are kept; None: a random choice
    weight      (instance, column): a random choice in which documents count by this weight
    within      (instance, column) whose values are groups
    thresholds  by group, the key from which on documents are kept; None: no document is
    """

    instances: list[Instance]
    amount: Amount
    by: tuple[str, str] | None
    within: tuple[str, str] | None
    weight: tuple[str, str] | None
    seed: int
    thresholds: dict[str, Key | None] = field(default_factory=dict, hash=False)

    def fingerprint(self) -> dict[str, Any]:
        own = dataclasses.asdict(self)
        return {name: own[name] for name in ("amount", "by", "within", "weight", "seed", "thresholds")}

    def find(self, output: Folder, plan: Plan) -> tuple[Best, dict[str, Any]]:
        """The rule with its thresholds, and by group what is kept. Two passes over the attributes, as a rule.

        Raises ConfigError for values that cannot be ordered or weighed.
        """
        names: dict[str, int] = {}
        blocks = partial(self._blocks, output, plan, names)
        try:
            keys = thresholds(blocks, self.amount.goal)
        except Collision:
            raise ConfigError("two documents have the same key: run again with another --seed") from None
        by_group = {name: keys.get(number) for name, number in names.items()}
        rule = dataclasses.replace(self, thresholds=by_group)
        return rule, rule._manifest(output, plan)

    def judged(self, output: Folder, planned: PlannedFile, k: int) -> Iterator[tuple[int, str]]:
        """Row, and the reason for its removal (empty where it is kept), of every document of a chunk."""
        rows, groups, values, lots, _, is_there = self._columns(output, planned, k)
        is_kept = self._is_kept(groups, values, lots, is_there)
        reason = f"not in {self}"
        for row, there, kept in zip(rows.tolist(), is_there.tolist(), is_kept.tolist(), strict=True):
            yield row, "" if kept else reason if there else NO_VALUE

    def __str__(self) -> str:
        chosen = f"the top {self.amount} by {'.'.join(self.by)}" if self.by else f"a draw of {self.amount}"
        weighed = f" weighted by {'.'.join(self.weight)}" if self.weight else ""
        return chosen + weighed + (f" within {'.'.join(self.within)}" if self.within else "")

    def _is_kept(
        self, groups: Sequence[str], values: Keys, lots: Keys, is_there: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        keys = [self.thresholds.get(group) for group in groups]
        has_key = np.array([key is not None for key in keys], bool)
        least = np.array([key or (0, 0) for key in keys], np.uint64).reshape(-1, 2)
        kept: npt.NDArray[np.bool_] = is_there & has_key & reaches(values, lots, least[:, 0], least[:, 1])
        return kept

    def _blocks(self, output: Folder, plan: Plan, names: dict[str, int]) -> Iterator[Block]:
        for planned, k in plan.chunks:
            _, groups, values, lots, sizes, is_there = self._columns(output, planned, k)
            numbers = np.array([names.setdefault(group, len(names)) for group in groups], np.int64)
            yield Block(numbers[is_there], values[is_there], lots[is_there], sizes[is_there])

    def _columns(
        self, output: Folder, planned: PlannedFile, k: int
    ) -> tuple[npt.NDArray[np.int64], list[str], Keys, Keys, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Row, group, value, lot, size of every document of a chunk, and whether it can be kept."""
        needed: dict[str, list[str]] = {i.name: [] for i in self.instances}
        for owner in (self.by, self.within, self.weight, TOKENS if self.amount.tokens is not None else None):
            if owner is not None and owner[1] not in needed[owner[0]]:
                needed[owner[0]].append(owner[1])
        keys, parts = chunk_parts(output, planned, k, self.instances, needed)
        rows, subs = keys["row"].to_numpy(), keys["sub"].to_numpy()
        n = len(rows)
        lots = self._lots(planned.file.name, rows, subs)
        is_there = np.ones(n, bool)
        numbers = np.zeros(n)
        if self.by is not None:
            numbers, is_there = _numbers(parts[self.by[0]][self.by[1]], ".".join(self.by))
        elif self.weight is not None:
            weights, is_there = _numbers(parts[self.weight[0]][self.weight[1]], ".".join(self.weight))
            if (weights[is_there] < 0).any():
                raise ConfigError(f"--weight {'.'.join(self.weight)}: a weight is below 0")
            is_there &= weights > 0
            # Efraimidis and Spirakis 2006: the largest u^(1/w) are a weighted draw without replacement.
            uniform = (mixed(lots) >> np.uint64(11)).astype(np.float64) / 2.0**53
            numbers = np.log1p(-uniform) / np.where(weights > 0, weights, 1)
        sizes = np.ones(n, np.int64)
        if self.amount.tokens is not None:
            tokens, has_tokens = _numbers(parts[TOKENS[0]][TOKENS[1]], ".".join(TOKENS))
            sizes, is_there = np.where(has_tokens, tokens, 0).astype(np.int64), is_there & has_tokens
        groups = [""] * n
        if self.within is not None:
            texts = pc.fill_null(parts[self.within[0]][self.within[1]].cast(pa.string()), NO_GROUP)
            groups = texts.to_pylist()
        # -0.0 becomes 0.0
        return rows, groups, ordered_keys(numbers + 0.0), lots, sizes, is_there

    def _lots(self, file_name: str, rows: npt.NDArray[np.int64], subs: npt.NDArray[np.int32]) -> Keys:
        base = xxhash.xxh3_64_intdigest(f"{self.seed}:{file_name}".encode("utf-8", "surrogateescape"))
        places = mixed(rows.astype(np.uint64)) ^ (subs.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return mixed(places ^ np.uint64(base))

    def _manifest(self, output: Folder, plan: Plan) -> dict[str, Any]:
        groups: dict[str, dict[str, Any]] = {}
        without_value = 0
        for planned, k in plan.chunks:
            _, names, values, lots, sizes, is_there = self._columns(output, planned, k)
            is_kept = self._is_kept(names, values, lots, is_there)
            without_value += int((~is_there).sum())
            for name, there, kept, size in zip(names, is_there.tolist(), is_kept.tolist(), sizes.tolist(), strict=True):
                own = groups.setdefault(name, {"documents": 0, "kept": 0, "size_kept": 0})
                own["documents"] += there
                own["kept"] += kept
                own["size_kept"] += size * kept
        for name, own in groups.items():
            key = self.thresholds.get(name)
            if self.by is not None:
                own["lowest_kept"] = None if key is None else float(from_ordered_keys(np.array([key[0]], np.uint64))[0])
            if self.amount.tokens is None:
                del own["size_kept"]
            else:
                own["tokens_kept"] = own.pop("size_kept")
        return {
            "rule": str(self),
            "seed": self.seed,
            "without_value": without_value,
            "groups": dict(sorted(groups.items(), key=lambda item: (-item[1]["documents"], item[0]))),
        }


def _numbers(column: pa.ChunkedArray, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The values as float64, and which of them are numbers."""
    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    ):
        raise ConfigError(f"{name} is a column of {kind}: its values have no order as numbers")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    return np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf), ~np.isnan(numbers)

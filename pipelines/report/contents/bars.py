"""Features as bars: a column with its summary, the bars of its distribution, and the bar of each value.

A number has the summary's 50 equal bins as bars. An integer column with fewer than 50 different whole numbers has a bar for
each of them: with equal bins, bars and gaps would alternate. A flag has two bars. A text column has a bar for each of its
commonest values, and one for all others. Missing and infinite values are in no bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LABEL_BARS = 20
OTHERS = "(all others)"
NO_BAR = 255

Bins = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Feature:
    """A column with its bars.

    stats    the summary's values: n, missing, mean, ..., or distinct, or share_true
    edges    edges of a number's bars, one more than counts; for a column of few whole numbers, the numbers themselves
    labels   labels of a text column's or flag's bars; with `has_rest` the last bar is that of all other values
    counts   documents in each bar
    """

    instance: str
    column: str
    kind: Literal["number", "whole", "label", "flag"]
    meaning: str
    unit: str
    stats: dict[str, Any]
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    has_rest: bool = False

    @property
    def name(self) -> str:
        return f"{self.instance}.{self.column}"

    def bars_of(self, column: pa.ChunkedArray) -> Bins:
        """The bar of every value; NO_BAR for a value in no bar."""
        if self.kind == "label":
            return self._label_bars(column)
        if self.kind == "flag":
            bars = pc.if_else(column, 0, 1).fill_null(NO_BAR)
            return np.asarray(bars.to_numpy(), np.uint8)
        values = column.to_numpy().astype(np.float64)
        is_number = np.isfinite(values)
        edges = np.asarray(self.edges)
        if self.kind == "whole":
            bars = np.searchsorted(edges, values)
            is_number &= edges[np.minimum(bars, len(edges) - 1)] == values
        else:
            bars = np.searchsorted(edges, values, side="right") - 1
            bars[values == edges[-1]] = len(edges) - 2  # the last bin is closed
            is_number &= (values >= edges[0]) & (values <= edges[-1])
        return np.where(is_number, bars, NO_BAR).astype(np.uint8)

    def _label_bars(self, column: pa.ChunkedArray) -> Bins:
        named = self.labels[:-1] if self.has_rest else self.labels
        at = pc.index_in(column, pa.array(named, column.type)).fill_null(len(named) if self.has_rest else NO_BAR)
        return np.asarray(pc.if_else(column.is_null(), NO_BAR, at).to_numpy(), np.uint8)


def features_of(summary: Mapping[str, Any], types: Mapping[str, str], instance: str) -> Iterator[Feature]:
    """The features in one instance's part of a summary file, without columns of lists and columns without a value.

    types   the columns' Arrow types by name, as tagger.json has them
    """
    for column, stats in summary.items():
        name = (instance, column)
        source = f"; source: {stats['source']}" if "source" in stats else ""
        text = (f"{stats.get('meaning', '')}{source}", str(stats.get("unit", "")))
        plain = {k: v for k, v in stats.items() if k not in ("histogram", "top", "meaning", "unit", "source")}
        if "histogram" in stats:
            edges, counts = stats["histogram"]["edges"], stats["histogram"]["counts"]
            if "int" in types.get(column, "") and stats["max"] - stats["min"] < min(len(counts), 50):
                whole = range(int(stats["min"]), int(stats["max"]) + 1)
                at = np.searchsorted(edges, whole, side="right") - 1
                yield Feature(
                    *name, "whole", *text, plain, tuple(map(float, whole)), (), tuple(counts[min(i, len(counts) - 1)] for i in at)
                )  # fmt: skip
            else:
                yield Feature(*name, "number", *text, plain, tuple(edges), (), tuple(counts))
        elif "share_true" in stats and stats["n"]:
            yield Feature(
                *name, "flag", *text, plain, (), ("true", "false"), (stats["true"], stats["n"] - stats["true"])
            )
        elif stats.get("top"):
            named = list(stats["top"].items())[:LABEL_BARS]
            rest = stats["n"] - sum(n for _, n in named)
            if rest:
                named.append((OTHERS, rest))
            labels, counts = zip(*named, strict=True)
            yield Feature(*name, "label", *text, plain, (), labels, counts, rest > 0)

"""Blocks: every document belongs to one of BLOCKS parts of the corpus, by chance or by its cluster.

Leaving out a block at a time (jackknife), or drawing blocks again (bootstrap), says how much a statistic depends on which
documents are there, from sums per block alone. Documents that are alike must share a block: name their column with --cluster.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Rows, random_numbers, texts

BLOCKS = 256
# With fewer clusters than this, an interval is not to be relied on.
FEW_CLUSTERS = 20
INPUT = "input"


class Blocks:
    """cluster: `input`, or a column whose values are the clusters; None: each document is a cluster of its own."""

    def __init__(self, attributes: Attributes, cluster: str | None) -> None:
        self.cluster = cluster
        self.column: AttributeColumn | None = None
        if cluster not in (None, INPUT):
            self.column = attributes.column(str(cluster), "--cluster")
            if not (self.column.is_text or self.column.is_numeric):
                raise ConfigError(
                    f"--cluster {cluster}: the column must hold text or numbers, it holds {self.column.type}"
                )

    @property
    def columns(self) -> list[AttributeColumn]:
        return [self.column] if self.column else []

    def of(self, rows: Rows, purpose: int = 1) -> npt.NDArray[np.int64]:
        """The block of each row."""
        if self.column is not None:
            codes, values = texts(rows.values[self.column.label])
            return np.array([_block(v or "") for v in values], np.int64)[codes]
        if self.cluster == INPUT:
            return np.full(rows.n, _block(rows.planned.file.name), np.int64)
        return random_numbers(rows, purpose).integers(0, BLOCKS, rows.n)

    def described(self, n_used: int) -> str:
        """What the intervals are over."""
        if self.cluster is None:
            return f"over documents, in {n_used} random blocks"
        return f"over clusters ({self.cluster}), in {n_used} blocks"


def _block(text: str) -> int:
    return int(xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogateescape"))) % BLOCKS

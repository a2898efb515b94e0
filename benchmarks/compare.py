"""False discoveries of `tagcorpus compare`, planted shifts, and what two outputs of many rows cost.

    python benchmarks/compare.py --splits 200 --output OUT
    python benchmarks/compare.py --rows 10000000 100000000 --work DIR

Splits: the documents of an output go to A or B by chance (documents), or whole files do (files); whatever differs is a false
discovery. Planted: a document goes to A with a probability that rises with its rank in a column, so that Cliff's delta of the
column is about SHIFT. Each split runs all tests of the command, on counts that are made in memory.

Rows: two outputs of invented numbers, 1,000,000 rows to a part, as `benchmarks/audit.py` makes them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from audit import make_output, measured

from tagcorpus.pipelines.comparing import differences
from tagcorpus.pipelines.comparing.command import judged
from tagcorpus.pipelines.comparing.counts import Categories, Counted, add, empty
from tagcorpus.pipelines.distributions.attribute_columns import Attributes, texts
from tagcorpus.pipelines.distributions.binning import Sample, bins_of
from tagcorpus.pipelines.distributions.blocks import BLOCKS

FLOOR, SHIFT, LENGTH = 0.05, 0.1, "length.char_len"


class Table:
    """The columns of an output in memory: bins and categories are found once, and a split only counts."""

    def __init__(self, path: str) -> None:
        output = Attributes(path)
        columns = [c for c in output.columns if c.is_numeric or c.is_text]
        chunks = list(output.stream(columns))
        names = {f.file.name: i for i, f in enumerate(output.plan.files)}
        self.n_files = len(names)
        self.file = np.repeat([names[rows.planned.file.name] for rows in chunks], [rows.n for rows in chunks])
        self.places: dict[str, np.ndarray] = {}
        self.values: dict[str, list[str | None]] = {}
        self.empty: dict[str, Sample] = {}
        random = np.random.default_rng(0)
        for c in columns:
            if c.is_text:
                whole = pa.chunked_array([x for rows in chunks for x in rows.values[c.label].chunks])
                self.places[c.label], self.values[c.label] = texts(whole)
                continue
            values = np.concatenate([rows.numbers(c) for rows in chunks])
            sample = Sample(len(values))
            sample.add(values, random)
            if sample.n:
                self.empty[c.label] = sample
                bins = bins_of(sample)
                self.places[c.label] = np.where(np.isfinite(values), bins.of(np.nan_to_num(values)), -1)

    def counted(self, is_a: np.ndarray, has_clusters: bool) -> Counted:
        block = self.file % BLOCKS if has_clusters else None
        numbers, categories = {}, {}
        for label, places in self.places.items():
            for side, taken in enumerate((is_a, ~is_a)):
                own = None if block is None else block[taken]
                if label in self.values:
                    one = categories.setdefault(label, Categories(BLOCKS if has_clusters else 1))
                    one.add(side, self.values[label], places[taken], own)
                    continue
                two = numbers.get(label) or numbers.setdefault(label, empty(self.empty[label], has_clusters))
                kept = places[taken] >= 0
                add(two, side, places[taken][kept], None if own is None else own[kept])
        return Counted(numbers, categories, (int(is_a.sum()), int((~is_a).sum())), self.n_files if has_clusters else 0)


def splits(path: str, n: int, floor: float) -> None:
    table = Table(path)
    lengths = table.places[LENGTH]
    ranks = np.argsort(np.argsort(lengths, kind="stable"), kind="stable") / len(lengths)
    print(
        f"{len(lengths):,} documents of {table.n_files} files, {len(table.places)} columns, floor {floor:g}", flush=True
    )
    differences.REPLICATES = 2  # intervals are not looked at
    for design, has_clusters in (
        ("documents", False), ("files", True), ("files", False), ("documents", True), ("planted", False), ("planted", True)
    ):  # fmt: skip
        random = np.random.default_rng(3)
        wrong = with_length = 0
        for _ in range(n):
            draw = random.random(table.n_files)[table.file] if design == "files" else random.random(len(lengths))
            # With this slope, delta of the length is about SHIFT.
            is_a = draw < 0.5 + (3 * SHIFT / 2 * (ranks - 0.5) if design == "planted" else 0.0)
            columns = judged(table.counted(is_a, has_clusters), True, floor)
            differing = [name for name, c in columns.items() if c["differs"]]
            wrong += bool(differing)
            with_length += LENGTH in differing
        is_planted = design == "planted"
        result = f"length is among the findings of {with_length}" if is_planted else f"a false discovery in {wrong}"
        print(f"{design:10} {'with' if has_clusters else 'without'} clusters: {result} of {n}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=0)
    parser.add_argument("--output")
    parser.add_argument("--floor", type=float, default=FLOOR)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--work", type=Path, default=Path("compare-work"))
    options = parser.parse_args()
    if options.splits:
        splits(options.output, options.splits, options.floor)
    for rows in options.rows:
        a, b = (make_output(options.work / side, rows, seed) for seed, side in enumerate("ab", 1))
        for more in ([], ["--cluster", "input"]):
            print(
                json.dumps({"rows": rows, "options": more, **measured(["compare", str(a), str(b), *more])}), flush=True
            )


if __name__ == "__main__":
    main()

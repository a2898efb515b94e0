"""A table of gold labels, joined to the documents by id, or by input and row."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.errors import InputError, valid_text
from tagcorpus.pipelines.distributions.attribute_columns import Floats, Rows
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.predictor.records.plain_values import number, parse_json

KEYS = ("input", "row", "sub", "id")
GOLD = "gold"
READERS = (".csv", ".parquet", ".jsonl")


class Gold:
    """Gold labels in memory, and the scores of the documents that have one.

    path  CSV, Parquet or JSONL with `id` (or `input` and `row`, and `sub` where documents have one), and one column of numbers,
          called `gold` where there are several
    Raises InputError for a file that is not such a table.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        table = _read(path)
        self.by_id = "id" in table.column_names
        if not self.by_id and not {"input", "row"} <= set(table.column_names):
            raise InputError(f"--gold {path}: the table needs a column id, or the columns input and row")
        if twice := [name for name in table.column_names if table.column_names.count(name) > 1]:
            raise InputError(f"--gold {path}: the header has {twice[0]!r} more than once")
        numeric = [
            f.name
            for f in table.schema
            if f.name not in KEYS
            and (pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_boolean(f.type))
        ]
        if GOLD in table.column_names and GOLD not in numeric:
            raise InputError(
                f"--gold {path}: the column {GOLD!r} has values that are not numbers{_first_text(table[GOLD])}"
            )
        if GOLD not in numeric and len(numeric) != 1:
            there = ", ".join(table.column_names)
            raise InputError(f"--gold {path}: call the column of numbers {GOLD!r}; the table has {there}")
        self.name = GOLD if GOLD in numeric else numeric[0]
        values = np.asarray(pc.cast(table[self.name], pa.float64()).to_numpy(), np.float64)
        keys = _ids(table) if self.by_id else _places(table)
        if np.isinf(values).any():
            i = int(np.flatnonzero(np.isinf(values))[0])
            raise InputError(f"--gold {path}: row {i + 1:,}, column {self.name!r}: {values[i]} is not a finite number")
        usable = np.isfinite(values) & keys.is_valid().to_numpy(zero_copy_only=False)
        self._keys, self._values = keys.filter(pa.array(usable)), values[usable]
        if len(pc.unique(self._keys)) < len(self._keys):
            raise InputError(f"--gold {path}: a document has several rows; give one value for each document")
        self.n = len(self._keys)
        self._inputs = set() if self.by_id else set(table["input"].to_pylist())
        self._documents = np.zeros(self.n, np.int64)  # of the output, for each gold value
        self._matches: list[tuple[Floats, Floats]] = []
        self.places: dict[int, npt.NDArray[np.int64]] = {}
        """By the chunk's place in the plan, the rows that have a gold value and a score."""

    def look_up(self, rows: Rows, scores: Floats) -> None:
        """Keep the scores of the documents of a chunk that have a gold value."""
        if self.by_id:
            keys: Any = pc.cast(rows.keys["id"], pa.string()).combine_chunks()
        elif (name := valid_text(rows.planned.file.name)) in self._inputs:
            keys = _places(rows.keys.append_column("input", pa.array([name] * rows.n)))
        else:
            return
        at = pc.fill_null(pc.index_in(keys, value_set=self._keys), -1).to_numpy(zero_copy_only=False)
        np.add.at(self._documents, at[at >= 0], 1)
        places = np.flatnonzero((at >= 0) & np.isfinite(scores))
        if len(places):
            self._matches.append((scores[places], self._values[at[places]]))
            self.places[rows.rank] = places

    @property
    def n_joined(self) -> int:
        """Gold values that have a document."""
        return int((self._documents > 0).sum())

    @property
    def n_shared(self) -> int:
        """Gold values that have several documents, which share an id."""
        return int((self._documents > 1).sum())

    @property
    def pairs(self) -> tuple[Floats, Floats]:
        """Scores and gold values of the matches."""
        if not self._matches:
            return np.zeros(0), np.zeros(0)
        scores, values = zip(*self._matches, strict=True)
        return np.concatenate(scores), np.concatenate(values)


def _read(path: str) -> pa.Table:
    folder, name = os.path.split(path)
    data = Folder(folder or ".").read(name)
    if data is None:
        raise InputError(f"--gold {path}: there is no such file")
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(io.BytesIO(data)) as file:
                return file.read()
        if ending == ".jsonl":  # pyarrow.json would read texts that look like times as times
            rows = [parse_json(line) for line in data.decode("utf-8-sig").split("\n") if line.strip()]
            names = dict.fromkeys(name for row in rows for name in row)
            return pa.table({name: [row.get(name) for row in rows] for name in names})
        if ending == ".csv":
            import pyarrow.csv

            options = pyarrow.csv.ConvertOptions(column_types={"id": pa.string(), "input": pa.string()})
            return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)
    except (pa.ArrowException, ValueError, AttributeError) as error:
        raise InputError(f"--gold {path}: the table cannot be read ({error})") from error
    raise InputError(f"--gold {path}: name a table in {', '.join(READERS)}")


def _first_text(column: pa.ChunkedArray) -> str:
    """The first of the values that are texts and not numbers, in brackets; empty where there is none."""
    texts = (value for value in column.to_pylist() if isinstance(value, str))
    first = next((value for value in texts if number(value) is None and value.strip()), None)
    return "" if first is None else f" ({first!r:.60})"


def _ids(table: pa.Table) -> pa.Array:
    return pa.array(pc.cast(table["id"], pa.string()).to_pylist(), pa.string())


def _places(table: pa.Table) -> pa.Array:
    subs = table["sub"].to_pylist() if "sub" in table.column_names else [0] * table.num_rows
    rows = zip(table["input"].to_pylist(), table["row"].to_pylist(), subs, strict=True)
    return pa.array([None if i is None or r is None else f"{i}:{r}:{s or 0}" for i, r, s in rows], pa.string())

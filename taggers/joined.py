"""joined: tags that another output has for the same text or the same id. `tagcorpus join` makes the index and names it here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.base import OURS, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.digest import digests_of

_STATUSES = "joined; missing: not in the other output; ambiguous: there with several values"
STATUS = columns_from(OURS, column("join_status", pa.string(), _STATUSES, "label"))
STATUS_BY_ID = columns_from(
    OURS, column("join_status", pa.string(), f"{_STATUSES}; other_text: the id has another text there", "label")
)
TEXT_DIGEST, CHAR_LEN = "text_digest", "char_len"
"""Columns of an index by id that say which text the other output had under the id; null where nobody knows."""


@dataclass(frozen=True)
class Joined(Parameters):
    """Tags of another output for the same documents.

    index     folder that `tagcorpus join` makes
    instance  the instance of the other output whose columns these are; "" = how each document joined
    by        what tells documents apart
    """

    index: str = ""
    instance: str = ""
    by: Literal["text", "id"] = "text"

    version: ClassVar[str] = "1"

    @property
    def columns(self) -> pa.Schema:
        if not self.instance:
            return STATUS if self.by == "text" else STATUS_BY_ID
        schema, prefix = self._values.schema, f"{self.instance}."
        return pa.schema([f.with_name(f.name.removeprefix(prefix)) for f in schema if f.name.startswith(prefix)])

    def fingerprint(self) -> dict[str, Any]:
        return {"index": self._description["digest"], "instance": self.instance, "by": self.by}

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        places = batch.view(("joined", self.index, self.by), self._places)
        if not self.instance:
            statuses = np.select([places == place for place in STATUS_OF], list(STATUS_OF.values()), "joined")
            return pa.record_batch([pa.array(statuses.tolist(), pa.string())], schema=self.columns)
        names = [f"{self.instance}.{name}" for name in self.columns.names]
        return pa.record_batch(self._taken(places, names).columns, schema=self.columns)

    def _places(self, batch: DocumentBatch) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Row of each document in the index, or MISSING, AMBIGUOUS or OTHER_TEXT."""
        if self.by == "text":
            digests = digests_of(batch)
        else:
            digests = [xxhash.xxh3_128_hexdigest(i.encode()) for i in batch.table["id"].to_pylist()]
        keys = key_array(digests)
        low, high = self._keys["low"], self._keys["high"]
        places = np.searchsorted(high, keys["high"])
        rows = np.full(len(keys), MISSING)
        for i, place in enumerate(places):
            row = int(place)
            while row < len(high) and high[row] == keys["high"][i]:
                if low[row] == keys["low"][i]:
                    rows[i] = AMBIGUOUS if self._keys["is_ambiguous"][row] else row
                    break
                row += 1
        if self.by == "id":
            rows[self._has_other_text(batch, rows)] = OTHER_TEXT
        return rows

    def _has_other_text(
        self, batch: DocumentBatch, places: np.ndarray[Any, np.dtype[np.int64]]
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether the text of each document is known to differ from the one that had its tags: by digest, else by length."""
        name = self._values.schema.names[-1]
        if name not in (TEXT_DIGEST, CHAR_LEN):
            return np.zeros(len(places), np.bool_)
        own: list[Any] = digests_of(batch) if name == TEXT_DIGEST else batch.char_lengths.tolist()
        there = self._taken(places, [name]).column(0).to_pylist()
        return np.array([a is not None and a != b for a, b in zip(there, own, strict=True)], np.bool_)

    def _taken(self, places: np.ndarray[Any, np.dtype[np.int64]], names: list[str]) -> pa.RecordBatch:
        """The values of some columns in the rows; null where there is none."""
        size = self._description["batch_rows"]
        pieces: list[pa.Table] = []
        order: list[int] = []
        for number in np.unique(places[places >= 0] // size):
            here = np.flatnonzero((places >= 0) & (places // size == number))
            batch = self._values.get_batch(int(number)).select(names)
            pieces.append(pa.Table.from_batches([batch.take(pa.array(places[here] - number * size))]))
            order += here.tolist()
        rows = dict(zip(order, range(len(order)), strict=True))
        table = pa.concat_tables(pieces) if pieces else self._values.schema.empty_table().select(names)
        taken = table.combine_chunks().take(pa.array([rows.get(i) for i in range(len(places))], pa.int64()))
        return pa.record_batch([c.combine_chunks() for c in taken.columns], schema=taken.schema)

    @cached_property
    def _description(self) -> dict[str, Any]:
        try:
            description: dict[str, Any] = json.loads(Path(self.index, "index.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError("joined takes the index of an output: use `tagcorpus join NEWDATA TAGS`") from error
        return description

    @cached_property
    def _keys(self) -> np.ndarray[Any, Any]:
        keys: np.ndarray[Any, Any] = np.load(Path(self.index, "keys.npy"), mmap_mode="r")
        return keys

    @cached_property
    def _values(self) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.memory_map(str(Path(self.index, "values.arrow"))))


MISSING, AMBIGUOUS, OTHER_TEXT = -1, -2, -3
STATUS_OF = {MISSING: "missing", AMBIGUOUS: "ambiguous", OTHER_TEXT: "other_text"}
KEY = np.dtype([("high", np.uint64), ("low", np.uint64), ("is_ambiguous", np.bool_)])


def key_array(digests: list[str]) -> np.ndarray[Any, Any]:
    """Digests in hexadecimal as records of KEY."""
    halves = np.frombuffer(bytes.fromhex("".join(digests)), ">u8").reshape(-1, 2)
    keys = np.zeros(len(halves), KEY)
    keys["high"], keys["low"] = halves[:, 0], halves[:, 1]
    return keys


TAGGER = Joined

"""The sorting of documents: the group of each one, and its side (training or held out), decided by the document alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import chunk_parts
from tagcorpus.pipelines.counting.token_budget import mixed
from tagcorpus.pipelines.filtering.condition import Condition
from tagcorpus.pipelines.group_statistics.groups import WITHOUT_VALUE, as_id
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_files.columns import TEXT_HASH, Column

TRAIN, HELD_OUT = "train", "held_out"
SIDES = (TRAIN, HELD_OUT)
ALL = "all"
"""The group of all documents where nothing groups them."""


class Sorted(NamedTuple):
    """The documents of a chunk in order, with group and side."""

    row: npt.NDArray[np.int64]
    sub: npt.NDArray[np.int32]
    names: list[str]
    """Groups of the chunk, sorted."""
    group: npt.NDArray[np.int32]
    """[n_docs]: index into `names`; -1 for a document that is in no file."""
    is_held_out: npt.NDArray[np.bool_]

    def labels(self) -> npt.NDArray[np.int32]:
        """[n_docs]: 2 * group + side; below 0 for a document that is in no file."""
        return np.where(self.group < 0, -1, 2 * self.group + self.is_held_out).astype(np.int32)


@dataclass(frozen=True)
class Sorting:
    """What decides a document's group and side.

    group      the column of its group; None: its folder, or one group of all
    level      folders of the input's path that make a group; None: no such groups
    condition  documents for which it is not true are in no file
    share      of the documents that are held out; 0: none are
    seed       of the hash that decides
    cluster    the column whose value is hashed, in the place of the text
    """

    output: Folder
    plan: Plan
    group: Column | None = None
    level: int | None = None
    condition: Condition | None = None
    share: float = 0.0
    seed: int = 0
    cluster: Column | None = None

    @property
    def computed(self) -> list[Instance]:
        """Instances that this run computes."""
        columns = [c.instance for c in (self.group, self.cluster) if c is not None and c.is_of_documents]
        return list({i.name: i for i in [TEXT_HASH, *columns]}.values())

    def identity(self) -> dict[str, Any]:
        """As JSON, everything besides the documents that decides where they go."""
        columns = {"group": self.group, "cluster": self.cluster}
        named: dict[str, Any] = {
            role: [c.instance.identity(), c.column] for role, c in columns.items() if c is not None
        }
        condition = self.condition
        if condition is not None:
            identities = [i.identity() for i in condition.instances]
            named["where"] = [condition.fingerprint(), identities]
        return {"text": TEXT_HASH.identity(), "level": self.level, "share": self.share, "seed": self.seed, **named}

    def of_chunk(self, rank: int) -> Sorted:
        """Raises as `chunk_parts`."""
        planned, k = self.plan.chunks[rank]
        columns: dict[str, list[str]] = {TEXT_HASH.name: ["text_hash"]}
        instances = {TEXT_HASH.name: TEXT_HASH}
        for column in (self.group, self.cluster):
            if column is not None:
                instances[column.instance.name] = column.instance
                own = columns.setdefault(column.instance.name, [])
                own += [column.column] if column.column not in own else []
        keys, parts = chunk_parts(self.output, planned, k, list(instances.values()), columns)
        n = keys.num_rows
        names, group = self._groups(planned.file.name, parts, n)
        if self.condition is not None:
            reasons = [reason for _, reason in self.condition.judged(self.output, planned, k)]
            group = np.where([reason == "" for reason in reasons], group, -1).astype(np.int32)
        is_held_out = self._held_out(parts, n)
        return Sorted(keys["row"].to_numpy(), keys["sub"].to_numpy(), names, group, is_held_out)

    def _groups(self, file_name: str, parts: dict[str, pa.Table], n: int) -> tuple[list[str], npt.NDArray[np.int32]]:
        if self.group is None:
            return [self._folder(file_name) if self.level is not None else ALL], np.zeros(n, np.int32)
        values = pc.cast(parts[self.group.instance.name][self.group.column], pa.string())
        texts = [WITHOUT_VALUE if v is None else as_id(v) for v in values.to_pylist()]
        names = sorted(set(texts))
        numbers = {name: i for i, name in enumerate(names)}
        return names, np.array([numbers[t] for t in texts], np.int32)

    def _folder(self, file_name: str) -> str:
        assert self.level is not None
        return "/".join(file_name.split("/")[:-1][: self.level]) or file_name

    def _held_out(self, parts: dict[str, pa.Table], n: int) -> npt.NDArray[np.bool_]:
        if not self.share:
            return np.zeros(n, bool)
        hashes = parts[TEXT_HASH.name]["text_hash"].to_numpy().view(np.uint64).copy()
        if self.cluster is not None:
            values = pc.cast(parts[self.cluster.instance.name][self.cluster.column], pa.string()).to_pylist()
            for i, value in enumerate(values):
                if value is not None:  # a document without a cluster goes by its text
                    hashes[i] = xxhash.xxh3_64_intdigest(b"cluster " + value.encode())
        seed = np.uint64(xxhash.xxh3_64_intdigest(f"held out {self.seed}".encode()))
        return mixed(hashes ^ seed) < np.uint64(min(int(self.share * 2**64), 2**64 - 1))

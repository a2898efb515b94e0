"""Number of documents in a corpus whose id an earlier document has.

Ids are compared by their 64-bit xxh3 hash (among a thousand million ids a false duplicate is expected once in forty
runs) over as many passes as keep IDS_PER_PASS hashes in memory: each pass takes its share of the hash values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.pipelines.attributes.parts import Instance, each, part_name, part_of
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

IDS_PER_PASS = 16 << 20
_ROWS_AT_ONCE = 1 << 16


def count_duplicate_ids(folder: Folder, plan: Plan, instance: Instance, ids_per_pass: int = IDS_PER_PASS) -> int:
    """Documents minus distinct ids, over all files of the plan. `instance`: one whose parts are all published."""
    total, passes = passes_over_ids(folder, plan, instance, ids_per_pass)
    return total - sum(count() for count in passes)


def passes_over_ids(
    folder: Folder, plan: Plan, instance: Instance, ids_per_pass: int = IDS_PER_PASS
) -> tuple[int, list[Callable[[], int]]]:
    """The number of documents, and the passes, each of which counts the distinct ids of its share. Workers can call them."""
    names = [part_name(instance.name, planned.file.name, k) for planned, k in plan.chunks]
    total = sum(each(folder, lambda name: _rows(folder, name), names))
    passes = max(1, -(-total // ids_per_pass))
    return total, [functools.partial(_distinct, folder, plan, instance, taken, passes) for taken in range(passes)]


def _distinct(folder: Folder, plan: Plan, instance: Instance, taken: int, passes: int) -> int:
    def shares_of(chunk: tuple[PlannedFile, int]) -> list[npt.NDArray[np.uint64]]:
        return [hashes[hashes % passes == taken] for hashes in _hashes(folder, *chunk, instance)]

    shares = list(chain.from_iterable(each(folder, shares_of, plan.chunks)))
    if not shares:
        return 0
    id_hashes = np.concatenate(shares)
    id_hashes.sort()
    return int(np.count_nonzero(np.diff(id_hashes))) + (len(id_hashes) > 0)


def _rows(folder: Folder, name: str) -> int:
    with folder.open(name) as file:
        return int(pq.read_metadata(file).num_rows)


def _hashes(folder: Folder, planned: PlannedFile, k: int, instance: Instance) -> Iterator[npt.NDArray[np.uint64]]:
    for batch in part_of(folder, planned, k, instance, ["id"]).to_batches(_ROWS_AT_ONCE):
        ids = batch["id"].view(pa.binary()).to_pylist()
        yield np.fromiter(map(xxhash.xxh3_64_intdigest, ids), np.uint64, len(ids))

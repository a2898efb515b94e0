"""Summaries of instances that earlier runs computed on the same output: kept as long as they are true.

`run tag` with other taggers publishes the same summary/tag.json. What that file says of the instances of earlier runs is
taken over where their parts are there, and current for the plan of this run; what is stale is left out. An entry is a
function of the parts it was made from, so it carries a digest of their keys (`parts`), and nothing is read again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import xxhash

from tagcorpus.pipelines.outputs.reading import Recorded
from tagcorpus.pipelines.outputs.sidecars import Instance, part_key, standing
from tagcorpus.pipelines.sources.documents import Reading
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.pipelines.storage import Folder

IDENTITY = ("tagger", "version", "parameters", "needs")


def parts_digest(plan: Plan, reading: Reading, identity: dict[str, Any]) -> str:
    """xxh3-128 of the keys of all parts that an instance of this identity has under this plan."""
    keys = [part_key(planned, k, reading, identity) for planned, k in plan.ranges]
    return str(xxhash.xxh3_128_hexdigest("".join(keys).encode()))


def still_true(
    output: Folder, name: str, plan: Plan, reading: Reading, without: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Entries of the summary `name`, by instance: those whose parts are there and current, but for the instances in `without`."""
    found = {}
    for instance, entry in sorted(_instances(output.read(name)).items()):
        if instance in without:
            continue
        identity = {k: entry[k] for k in IDENTITY if k in entry}
        if entry.get("parts") != parts_digest(plan, reading, identity):
            continue
        tagger = Recorded(entry["version"], entry["parameters"], pa.schema([]), tuple(entry.get("needs", ())))
        recorded = Instance(instance, entry["tagger"], tagger)
        if not standing(output, plan, reading, [recorded]).pending(len(plan.ranges), [recorded]):
            found[instance] = entry
    return found


def _instances(data: bytes | None) -> dict[str, dict[str, Any]]:
    """Of a summary; nothing where there is none, or none that is whole."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {}
    found = value.get("instances") if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}

"""Summaries of instances that earlier runs computed on the same output: kept as long as they are true.

`run tag` with other taggers publishes the same summary/tag.json. What that file says of the instances of earlier runs is
taken over where their parts are there, and current for the plan of this run; what is stale is left out. An entry is a
function of the parts it was made from, so it carries a digest of their keys (`parts`), and nothing is read again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import xxhash

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.attributes.parts import Instance, part_key
from tagcorpus.pipelines.attributes.read import Recorded, recorded
from tagcorpus.pipelines.attributes.resuming import resume_state
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened

IDENTITY = ("tagger", "version", "parameters", "needs")


def parts_digest(plan: Plan, reader_options: ReaderOptions, identity: dict[str, Any]) -> str:
    """xxh3-128 of the keys of all parts that an instance of this identity has under this plan."""
    keys = [part_key(planned, k, reader_options, identity) for planned, k in plan.chunks]
    return str(xxhash.xxh3_128_hexdigest("".join(keys).encode()))


def still_true(
    output: Folder, name: str, plan: Plan, reader_options: ReaderOptions, without: Collection[str]
) -> tuple[dict[str, dict[str, Any]], list[Instance]]:
    """What the summary `name` has of instances whose parts are there and current, but for those in `without`: their entries,
    by instance; or, where the file was altered, the instances that it names, whose entries are to be made anew."""
    data = output.read(name)
    value = opened(data)
    entries: dict[str, dict[str, Any]] = {}
    damaged: list[Instance] = []
    for instance, entry in sorted(_instances(_object(data) if value is None else value).items()):
        if instance in without:
            continue
        if value is None:
            with contextlib.suppress(TagcorpusError, KeyError, IndexError):  # not one of the output's, or damaged, too
                made = recorded(output, instance, plan.files[0])
                if _is_current(output, plan, reader_options, made):
                    damaged.append(made)
            continue
        identity = {k: entry[k] for k in IDENTITY if k in entry}
        if entry.get("parts") != parts_digest(plan, reader_options, identity) or not _adds_up(entry):
            continue
        tagger = Recorded(entry["version"], entry["parameters"], pa.schema([]), tuple(entry.get("needs", ())))
        if _is_current(output, plan, reader_options, Instance(instance, entry["tagger"], tagger)):
            entries[instance] = entry
    return entries, damaged


def _is_current(output: Folder, plan: Plan, reader_options: ReaderOptions, instance: Instance) -> bool:
    return not resume_state(output, plan, reader_options, [instance]).pending(len(plan.chunks), [instance])


def _adds_up(entry: dict[str, Any]) -> bool:
    """Whether all columns of an entry count the same number of documents."""
    columns = entry.get("columns", {}).values()
    return len({c["n"] + c["missing"] + c.get("infinite", 0) for c in columns if "n" in c}) <= 1


def _object(data: bytes | None) -> dict[str, Any]:
    """The JSON object of a file that was altered; empty where the file is not JSON."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _instances(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    instances = value.get("instances")
    return {k: v for k, v in instances.items() if isinstance(v, dict)} if isinstance(instances, dict) else {}

"""Sidecar parts: one Parquet file per range and tagger instance, the only marker that a range is done.

A part holds `row`, `sub`, `id` and the instance's columns. Its footer carries the key of everything that decided its
content, and what the range counted; nothing in it depends on when, where or by how many workers it was made.
"""

from __future__ import annotations

import io
import json
import pickle
import platform
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.errors import ConfigError, InputError, speaking_of
from tagcorpus.pipelines.sources.documents import Reading
from tagcorpus.pipelines.sources.plan import TABLES, Plan, PlannedFile
from tagcorpus.pipelines.sources.ranges import Counts
from tagcorpus.pipelines.storage import Folder
from tagcorpus.taggers import Tagger
from tagcorpus.taggers._files import TaggerFile, file_of

ROW_GROUP_ROWS = 65_536
KEYS = (pa.field("row", pa.int64()), pa.field("sub", pa.int32()), pa.field("id", pa.string()))
PART_VERSION = 1


@dataclass(frozen=True)
class Instance:
    """A tagger in use: `name` is the folder its parts lie in, `tagger_name` the file it comes from."""

    name: str
    tagger_name: str
    tagger: Tagger
    chosen: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """By a file's name, what decides which of its rows are tagged at all; empty: all rows of all files are."""
    is_whole_enough: bool = False
    """With `chosen`: whether parts of all rows, as another run may have published them, are as good."""

    def choice_in(self, file_name: str) -> dict[str, Any]:
        """What is to be added to `identity` for the parts of a file: what decides which of its rows are tagged."""
        return {"chosen": self.chosen[file_name]} if file_name in self.chosen else {}

    def identity(self) -> dict[str, Any]:
        """What decides its output. `version` covers the code of a plug-in file too, so that parts of changed code are
        computed again; `needs` is there where the tagger reads more of a document than its text."""
        found: dict[str, Any] = {"tagger": self.tagger_name, "version": self.tagger.version}
        if code := file_of(self.tagger):
            found["version"] += f", code {code.digest}"
        with speaking_of(self.name, self.tagger_name):
            found["parameters"] = self.tagger.fingerprint()
        return found | ({"needs": list(needs)} if (needs := needed([self])) else {})

    def __reduce__(self) -> Any:
        """A tagger out of a plug-in file takes its file along: a worker has no other way to the code. The version goes with
        it too, as that of some depends on what is installed."""
        tagger = self.tagger
        rest = (dict(self.chosen), self.is_whole_enough)
        return _unpacked, (self.name, self.tagger_name, tagger.version, file_of(tagger), pickle.dumps(tagger), *rest)


def _unpacked(
    name: str,
    tagger_name: str,
    version: str,
    code: TaggerFile | None,
    pickled: bytes,
    chosen: dict[str, Any],
    is_whole_enough: bool,
) -> Instance:
    if code is not None:
        code.load()
    tagger: Tagger = pickle.loads(pickled)
    if tagger.version != version:
        raise ConfigError(
            f"node {platform.node()} would compute {name!r} with version {tagger.version} of the tagger {tagger_name!r}, the "
            f"launcher has {version}: results could differ; install the same packages there"
        )
    return Instance(name, tagger_name, tagger, chosen, is_whole_enough)


def needed(instances: Iterable[Instance]) -> tuple[str, ...]:
    """The document columns that these taggers read besides the text: what their `needs` name."""
    return tuple(sorted({c for i in instances for c in getattr(i.tagger, "needs", ())}))


@dataclass(frozen=True)
class StoredPart:
    key: str
    counts: Counts


def part_name(instance: str, file_name: str, k: int) -> str:
    return f"attributes/{instance}/{file_name}/part-{k:05d}.parquet"


def quarantine_name(file_name: str, k: int, instance: str = "") -> str:
    """The reader's entries of a range; with an instance, the rows that its tagger failed on. One owner per file, so
    that adding a tagger rewrites nobody else's lines."""
    return f"quarantine/{file_name}/part-{k:05d}{'.' if instance else ''}{instance}.jsonl"


def part_key(planned: PlannedFile, k: int, reading: Reading, identity: dict[str, Any]) -> str:
    """xxh3-128 of everything that decides a part's content."""
    r = planned.ranges[k]
    parts = {
        "part": PART_VERSION,
        "input": planned.file.name,
        "format": planned.file.format,
        "digest": r.digest,
        "first_row": r.first_row,
        "rows": r.rows,
        "start": r.start,
        "skipped": r.skipped,
        "broken": r.broken,
        "reading": reading.fingerprint(),
        "tagger": identity,
    }
    if needs := identity.get("needs"):
        # A line's digest covers all of it; of a table, each column has one.
        parts["columns"] = [(name, dict(r.columns).get(name)) for name in needs]
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())


def write_part(
    output: Folder, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], key: str, counts: Counts
) -> None:
    """Build the part whole in memory and publish it. Only the footer's `tagcorpus.*` entries tell parts apart."""
    metadata = {"tagcorpus.counts": json.dumps(counts.to_json(), sort_keys=True), "tagcorpus.key": key}
    table = pa.Table.from_batches(batches, pa.schema([*KEYS, *schema])).combine_chunks()
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP_ROWS,
        write_page_checksum=True,
    )
    output.publish(name, sink.getvalue())


def read_part(output: Folder, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """These columns of a published part, or all; its pages are held against their checksums.

    Raises InputError for a part that is not there, or is damaged.
    """
    try:
        with output.open(name) as file:
            return pq.read_table(
                file,
                columns=None if columns is None else list(columns),
                use_threads=False,
                page_checksum_verification=True,
            )
    except FileNotFoundError as error:
        raise InputError(f"{output}/{name} is missing: the run is incomplete, run it again") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system; Arrow's own, for bytes that make no sense, have no number
        raise InputError(
            f"{output}/{name} is damaged ({error}): remove it and run the pipeline again, which makes it anew"
        ) from error


def stored_part(output: Folder, name: str) -> StoredPart | None:
    """Key and counts of a published part; None where there is none, or where what lies there is no whole part."""
    try:
        with output.open(name) as file:
            metadata = pq.read_metadata(file).metadata or {}
        counts = Counts.from_json(json.loads(metadata[b"tagcorpus.counts"]))
        return StoredPart(metadata[b"tagcorpus.key"].decode(), counts)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Standing:
    """Where an output stands: what is `done` per (rank, instance), and how many parts are `stale`."""

    done: dict[tuple[int, str], Counts]
    stale: int

    def todo(self, n_ranks: int, instances: Iterable[Instance]) -> list[frozenset[str]]:
        """Names of the instances still to compute, per rank."""
        names = [i.name for i in instances]
        return [frozenset(n for n in names if (rank, n) not in self.done) for rank in range(n_ranks)]

    def pending(self, n_ranks: int, instances: Iterable[Instance]) -> list[int]:
        """Ranks with anything left to compute."""
        return [rank for rank, names in enumerate(self.todo(n_ranks, instances)) if names]


def standing(output: Folder, plan: Plan, reading: Reading, instances: Iterable[Instance]) -> Standing:
    """Compare every published part of these instances with what the plan asks for."""
    ranges = plan.ranges
    published = {i.name: set(output.files(f"attributes/{i.name}")) for i in instances}
    asked: list[tuple[int, Instance, str, set[str]]] = []
    for instance in instances:
        identity = instance.identity()
        for rank, (planned, k) in enumerate(ranges):
            name = part_name(instance.name, planned.file.name, k)
            if name in published[instance.name]:
                choices = [instance.choice_in(planned.file.name), *([{}] if instance.is_whole_enough else [])]
                keys = {part_key(planned, k, reading, identity | c) for c in choices}
                asked.append((rank, instance, name, keys))
    quarantined = set(output.files("quarantine")) if asked else set()
    done: dict[tuple[int, str], Counts] = {}
    with ThreadPoolExecutor(1 if output.is_local else 32) as pool:
        for (rank, instance, _, keys), stored in zip(
            asked, pool.map(lambda a: stored_part(output, a[2]), asked), strict=True
        ):
            planned, k = ranges[rank]
            is_whole = stored is not None and _needed(planned, k, instance, stored.counts) <= quarantined
            if stored and stored.key in keys and is_whole and not _is_misread(output, planned, k, stored.counts):
                done[rank, instance.name] = stored.counts
    return Standing(done, len(asked) - len(done))


def _is_misread(output: Folder, planned: PlannedFile, k: int, counts: Counts) -> bool:
    """Whether a part of a table is cut short or empty because of values that an earlier reader could not take: bytes in the
    place of text, or one value that it took for damage. Its quarantine shows that."""
    is_cut = counts.unreadable > 0 and not planned.ranges[k].broken
    is_refused = not counts.documents and counts.quarantined["text_not_string"] > 0
    if planned.file.format not in TABLES or not (is_cut or is_refused):
        return False
    entries = (output.read(quarantine_name(planned.file.name, k)) or b"").splitlines()
    if is_cut and entries:
        return b'"message":"damaged ' + planned.file.format.encode() + b" data: " in entries[-1]
    return bool(entries) and (b": b'" in entries[0] or b': b\\"' in entries[0])


def _needed(planned: PlannedFile, k: int, instance: Instance, counts: Counts) -> set[str]:
    """Quarantine files that must lie beside a part with these counts."""
    reasons = counts.quarantined
    by_tagger = any(r.startswith("tagger:") for r in reasons)
    by_reader = any(not r.startswith("tagger:") for r in reasons)
    reader = {quarantine_name(planned.file.name, k)} if by_reader else set()
    return reader | ({quarantine_name(planned.file.name, k, instance.name)} if by_tagger else set())


def claim(output: Folder, instances: Iterable[Instance], *, is_forced: bool = False) -> None:
    """Write down which tagger and parameters each instance name stands for in this output.

    Raises ConfigError when the name already stands for other parameters, unless `is_forced`: then it stands for these
    from now on, and parts of the others count as stale until they are replaced one by one.
    """
    for instance in instances:
        if is_forced or not is_claimed(output, instance) or _is_chosen_anew(output, instance):
            output.publish(_claim_name(instance), json.dumps(_claim(instance), indent=1).encode())


def release(output: Folder, instances: Iterable[Instance]) -> None:
    """Give back the names of instances that came to no part at all, so that a run refused at its first call (a wrong key,
    say) does not bind the next one to its parameters."""
    for instance in instances:
        if not any(n.endswith(".parquet") for n in output.files(f"attributes/{instance.name}")):
            output.remove(_claim_name(instance))


def is_claimed(output: Folder, instance: Instance) -> bool:
    """Whether the name stands for this instance already. Raises ConfigError when it stands for other parameters."""
    stored = _stored_claim(output, instance)
    identity = json.loads(json.dumps(instance.identity()))
    if stored is None or _is_other_version(stored, identity):
        return False
    if {k: stored.get(k) for k in identity} != identity:
        raise ConfigError(
            f"{output} already holds {instance.name!r} made by {_told(stored)}; now it is to be {_told(identity)}. "
            f"Give it a name of its own (--taggers NAME={instance.tagger_name}, --set NAME.parameter=value), "
            "or redo it with --overwrite"
        )
    return True


def _claim_name(instance: Instance) -> str:
    return f"attributes/{instance.name}/tagger.json"


def _claim(instance: Instance) -> dict[str, Any]:
    columns = [
        {"name": f.name, "type": str(f.type), **{k.decode(): v.decode() for k, v in (f.metadata or {}).items()}}
        for f in instance.tagger.columns
    ]
    return {**instance.identity(), **({"chosen": dict(instance.chosen)} if instance.chosen else {}), "columns": columns}


def _is_chosen_anew(output: Folder, instance: Instance) -> bool:
    stored = _stored_claim(output, instance)
    return bool(instance.chosen) and (stored or {}).get("chosen") != instance.chosen


def _stored_claim(output: Folder, instance: Instance) -> dict[str, Any] | None:
    """What the name stands for; None also where the file is damaged. Written anew then, it loses nothing: every part says
    by itself what made it."""
    try:
        found = json.loads(output.read(_claim_name(instance)) or b"null")
    except ValueError:
        return None
    is_whole = (
        isinstance(found, dict) and {"tagger", "version"} <= found.keys() and isinstance(found.get("parameters"), dict)
    )
    return found if is_whole else None


def _is_other_version(stored: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Another version of the same tagger with the same parameters, as far as both versions have them."""
    if stored["version"] == identity["version"] or stored["tagger"] != identity["tagger"]:
        return False
    before, now = stored["parameters"], identity["parameters"]
    return all(before[k] == now[k] for k in before.keys() & now.keys())


def _told(identity: dict[str, Any]) -> str:
    parameters = ", ".join(f"{k}={v!r}" for k, v in sorted(identity["parameters"].items()))
    return f"{identity['tagger']}({parameters})"


def remove_leftovers(output: Folder, plan: Plan, instances: Iterable[Instance]) -> None:
    """Remove parts and quarantine files of planned inputs beyond their last range, as left by a file that shrank."""
    for planned in plan.files:
        wanted = {f"part-{k:05d}" for k in range(len(planned.ranges))}
        folders = [f"attributes/{i.name}/{planned.file.name}" for i in instances] + [f"quarantine/{planned.file.name}"]
        for folder in folders:
            for name in output.files(folder):
                leaf = name.rsplit("/", 1)[-1]
                if name == f"{folder}/{leaf}" and leaf.startswith("part-") and leaf.split(".")[0] not in wanted:
                    output.remove(name)

"""`tagcorpus run filter`: the rows that a boolean sidecar column keeps, and the removed ones with their reason.

Every row that was read goes to exactly one of the two files, in input order and in the input's own format: JSONL lines
byte for byte (a removed one gains a `filter_reason`), tables with all their columns. Blank and quarantined rows go to
neither. A line with several documents is kept when all of them are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines import rewrite
from tagcorpus.pipelines.config import FilterOptions, Options
from tagcorpus.pipelines.documents import Reading
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.plan import Plan, PlannedFile
from tagcorpus.pipelines.results import publish_result
from tagcorpus.pipelines.sidecars import Instance, part_key, part_name
from tagcorpus.pipelines.storage import Folder
from tagcorpus.pipelines.summary import summarise
from tagcorpus.taggers import names

FILTER_VERSION = 1


def instances(options: Options) -> dict[str, str]:
    """The one instance whose column decides."""
    assert isinstance(options, FilterOptions)
    instance, separator, _ = options.keep.partition(".")
    if not separator or instance not in names():
        raise ConfigError(
            f"--keep takes TAGGER.COLUMN, got {options.keep!r}"
            if not separator
            else unknown_name("tagger", instance, names(), f"--keep {options.keep}")
        )
    return {instance: instance}


def run(job: Job, built: list[Instance]) -> Result:
    """Tag with the deciding instance, then write kept and removed rows of every file."""
    options = job.options
    assert isinstance(options, FilterOptions)
    (instance,) = built
    column = options.keep.partition(".")[2]
    booleans = [f.name for f in instance.tagger.columns if pa.types.is_boolean(f.type)]
    if not booleans:
        raise ConfigError(
            f"--keep takes a column of true and false, and {instance.name} has none, got {options.keep!r}; "
            "try repetition.is_kept"
        )
    if column not in booleans:
        raise ConfigError(unknown_name("boolean column", column, booleans, f"--keep {options.keep}"))
    plan = job.plan()
    if options.dry_run:
        return job.dry_run(plan, [instance])
    job.tag(plan, [instance])
    step = Filter(job.output, plan, job.reading, instance, column, options.overwrite)
    results = job.execute(
        [step], [[r] for r in range(len(plan.files))], lambda r: plan.files[r].file.name, "filter", plan.rows
    )
    files = [results[r][0] for r in range(len(plan.files))]
    removed: Counter[str] = Counter()
    for file in files:
        removed.update(file["removed"])
    filtered = {"keep": options.keep, "kept": sum(f["kept"] for f in files), "removed": dict(removed.most_common())}
    summary = summarise(job.output, plan, [instance], job.ledger.totals, "filter", {"filtered": filtered})
    publish_result(job, plan, [instance], summary)
    return job.finish(summary)


class Filter(PipelineStep):
    """Writes one file's kept and removed rows a rank; yields what it counted. Does nothing where that is done already."""

    type = "filter"
    name = "Filter"

    def __init__(
        self, output: Folder, plan: Plan, reading: Reading, instance: Instance, column: str, is_afresh: bool
    ) -> None:
        super().__init__()
        self.output, self.files, self.reading = output, plan.files, reading
        self.instance, self.column, self.is_afresh = instance, column, is_afresh

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        planned = self.files[rank]
        receipt = f"summary/filtered/{planned.file.name}.json"
        kept_name, removed_name = output_names(planned.file.name)
        key = self._key(planned)
        stored = {} if self.is_afresh else json.loads(self.output.read(receipt) or b"{}")
        if key and stored.get("key") == key and all(map(self._is_whole, stored["bytes"], stored["bytes"].values())):
            yield stored
            return
        with self.output.publishing(removed_name) as removed_sink, self.output.publishing(kept_name) as kept_sink:
            verdicts = self._verdicts(planned)
            kept, removed = rewrite.split(planned, self.reading, verdicts, kept_sink, removed_sink)
        value = {
            "key": key,
            "kept": kept,
            "removed": dict(sorted(removed.items())),
            "bytes": {n: self.output.size(n) for n in (kept_name, removed_name)},
        }
        self.output.publish(receipt, json.dumps(value, indent=1).encode())
        yield value

    def _is_whole(self, name: str, n_bytes: int) -> bool:
        return self.output.exists(name) and self.output.size(name) == n_bytes

    def _key(self, planned: PlannedFile) -> str:
        """Of everything that decides the two files; empty where that cannot be told without reading the input."""
        identity = self.instance.identity()
        keys = [part_key(planned, k, self.reading, identity) for k in range(len(planned.ranges))]
        # A table's parts only know the columns that tagging reads; these files hold all of them.
        file = planned.file.identity() if planned.file.format in ("parquet", "arrow") else {}
        if file is None:
            return ""
        return xxhash.xxh3_128_hexdigest(json.dumps([FILTER_VERSION, self.column, keys, file]).encode())

    def _verdicts(self, planned: PlannedFile) -> Iterator[dict[int, str]]:
        """Per range: row -> reason for its removal, empty where it is kept."""
        columns = ["row", self.column, *(["reason"] if "reason" in self.instance.tagger.columns.names else [])]
        for k in range(len(planned.ranges)):
            with self.output.open(part_name(self.instance.name, planned.file.name, k)) as file:
                table = pq.read_table(file, columns=columns, use_threads=False)
            # Of a line with several documents, every failing one has its say.
            told: dict[int, dict[str, None]] = {}
            for value in table.to_pylist():
                row, is_kept = value["row"], value[self.column]
                reason = "" if is_kept else value.get("reason") or f"not {self.instance.name}.{self.column}"
                if is_kept is None:
                    reason = "tagger_failed"
                told.setdefault(row, {}).update({reason: None} if reason else {})
            found = {row: "; ".join(reasons) for row, reasons in told.items()}
            for a, b in planned.ranges[k].skipped:
                found.update(dict.fromkeys(range(a, b), "filter_duplicate"))
            yield found


def output_names(file_name: str) -> tuple[str, str]:
    """Names of the kept and the removed rows of an input."""
    folder, _, leaf = file_name.rpartition("/")
    base = f"filtered/{folder}/" if folder else "filtered/"
    return f"{base}filtered_{leaf}", f"{base}removed_{leaf}"

"""`tagcorpus run filter`: the rows that a boolean attribute column, a condition over all columns, a published filter or a
number of the best documents keeps,
and the removed ones with their reason.

Every row that was read goes to exactly one of the two files, in input order and in the input's own format: JSONL lines
byte for byte (a removed one gains a `filter_reason`), tables with all their columns. Blank and quarantined rows go to
neither. A line with several documents is kept when all of them are. `--removed` puts the removed rows elsewhere or nowhere, and
`--ids` writes a list of rows in the place of copies (filtering/forms.py).
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import xxhash

from tagcorpus.errors import ConfigError, IncompleteError, ReplacedError, unknown_name
from tagcorpus.pipelines.attributes.parts import Instance, part_key, part_of
from tagcorpus.pipelines.attributes.results import file_digest, measured
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.filtering import presets, rewrite, where
from tagcorpus.pipelines.filtering.choosing import check_choice, choice, is_choice
from tagcorpus.pipelines.filtering.condition import Condition, references
from tagcorpus.pipelines.filtering.forms import FOLDER, Form, Target, check_place, form_of
from tagcorpus.pipelines.filtering.presets import PresetRule
from tagcorpus.pipelines.filtering.row_list import write_list
from tagcorpus.pipelines.inputs.streams import Damaged
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.runs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import is_sealed, opened, sealed
from tagcorpus.taggers import names

FILTER_VERSION = 1
MANIFEST = "summary/kept.json"  # not beside the filtered rows, which may be the input of a later run


class Rule(Protocol):
    """What decides over documents, and why."""

    @property
    def instances(self) -> Sequence[Instance]:
        """Whose parts it looks at."""
        ...

    def fingerprint(self) -> Any:
        """As JSON, what decides besides the parts."""
        ...

    def judged(self, output: Folder, planned: PlannedFile, k: int) -> Iterator[tuple[int, str]]:
        """Row, and the reason for its removal (empty where it is kept), of every document of a chunk."""
        ...


@dataclass(frozen=True)
class Flag:
    """The rule of `--keep`: a column of true and false, whose reason stands beside it if anywhere."""

    instance: Instance
    column: str

    @property
    def instances(self) -> list[Instance]:
        return [self.instance]

    def fingerprint(self) -> str:
        return self.column

    def judged(self, output: Folder, planned: PlannedFile, k: int) -> Iterator[tuple[int, str]]:
        columns = ["row", self.column, *(["reason"] if "reason" in self.instance.tagger.columns.names else [])]
        table = part_of(output, planned, k, self.instance, columns)
        for value in table.to_pylist():
            is_kept = value[self.column]
            reason = "" if is_kept else value.get("reason") or f"not {self.instance.name}.{self.column}"
            yield value["row"], "tagger_failed" if is_kept is None else reason


def instances(options: Options) -> dict[str, str]:
    """The one instance whose columns decide; none where a condition over what is there decides."""
    assert isinstance(options, FilterOptions)
    form_of(options)
    if is_choice(options):
        check_choice(options)
        return {}
    if options.preset is not None:
        other = "--where" if options.where is not None else f"--keep {options.keep}"
        if other != f"--keep {FilterOptions.keep}":
            raise ConfigError(f"--preset {options.preset} and {other} are two rules; give one of them")
        return {presets.TAGGER: presets.TAGGER}
    if options.where is not None:
        if options.keep != FilterOptions.keep:
            raise ConfigError(f"--keep {options.keep} and --where are two rules; give one of them")
        references(options.where)
        if options.parameters:
            raise ConfigError(
                f"--where computes nothing, so that parameters of {', '.join(options.parameters)} change nothing; "
                "give them to tagcorpus run tag"
            )
        return {}
    instance, separator, _ = options.keep.partition(".")
    if not separator or instance not in names():
        raise ConfigError(
            f"--keep takes TAGGER.COLUMN, got {options.keep!r}"
            if not separator
            else unknown_name("tagger", instance, names(), f"--keep {options.keep}")
        )
    return {instance: instance}


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Tag with the deciding instance, or look up the columns of a condition; write kept and removed rows of every file."""
    options = run.options
    assert isinstance(options, FilterOptions)
    form = form_of(options)
    check_place(form, run.output)
    manifest: dict[str, Any] | None = None
    if is_choice(options):
        plan = plan_of(run, inputs, engine, is_stored=False)
        chosen, before = choice(run.output, plan, inputs.reader_options, options)
        if options.dry_run:
            return dry_run(run, inputs, engine, plan, chosen.instances)
        run.ledger.enter(plan, chosen.instances, before.done, {})
        rule: Rule
        with run.display.phase("finding thresholds"):
            rule, manifest = chosen.find(run.output, plan)
    elif options.where is None:
        rule = _flag(built, options.keep) if options.preset is None else PresetRule(options.preset, *built)
        plan = plan_of(run, inputs, engine)
        if options.dry_run:
            return dry_run(run, inputs, engine, plan, rule.instances)
        engine.tag(plan, rule.instances)
    else:
        columns = where.resolve(references(options.where), where.known_columns(run.output), run.output, options)
        # Nothing is computed, so nothing that is there may change: as in a dry run, the plan is not stored.
        plan = plan_of(run, inputs, engine, is_stored=False)
        deciding, before = where.look_up(run.output, plan, inputs.reader_options, columns, options)
        rule = condition = Condition(options.where, deciding, columns)
        condition.check()
        if options.dry_run:
            return dry_run(run, inputs, engine, plan, rule.instances)
        run.ledger.enter(plan, rule.instances, before.done, {})
        run.ledger.enter_duplicate_ids(count_duplicate_ids(run.output, plan, deciding[0]))
    step = Filter(run.output, plan, inputs.reader_options, rule, options.overwrite, form)
    results = engine.execute(
        [step], [[r] for r in range(len(plan.files))], lambda r: plan.files[r].file.name, "filter", plan.rows
    )
    if form.place is not None:
        form.place.sweep(engine.suffixes())  # of workers that died
    files = [results[r][0] for r in range(len(plan.files))]
    run.ledger.fail(f["problem"] for f in files if "problem" in f)
    if n := sum(file.get("is_of_old_receipt", False) for file in files):
        run.display.say(
            f"filtered rows of {counted(n, 'file')} are written again: an earlier version kept no digest of them"
        )
    removed: Counter[str] = Counter()
    for file in files:
        removed.update(file["removed"])
    by = str(rule) if manifest else options.preset or " ".join((options.where or options.keep).split())
    filtered = {
        "keep": by,
        "kept": sum(f["kept"] for f in files),
        "removed": dict(removed.most_common()),
        **form.written(run.output, [planned.file.name for planned in plan.files]),
    }
    if manifest is not None:
        run.output.publish(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    with run.display.phase("summary"):
        summary = summarise(run.output, plan, rule.instances, run.ledger.totals, "filter", {"filtered": filtered})
    publish_result(run, plan, rule.instances, summary)
    if isinstance(rule, Condition) and not filtered["kept"]:
        run.repeat_at_the_end(where.values_there(summary, rule.columns))
    return run.finish(summary)


def _flag(built: Sequence[Instance], keep: str) -> Flag:
    (instance,) = built
    column = keep.partition(".")[2]
    booleans = [f.name for f in instance.tagger.columns if pa.types.is_boolean(f.type)]
    if not booleans:
        raise ConfigError(
            f"--keep takes a column of true and false, and {instance.name} has none, got {keep!r}; "
            "try repetition.is_kept"
        )
    if column not in booleans:
        raise ConfigError(unknown_name("boolean column", column, booleans, f"--keep {keep}"))
    return Flag(instance, column)


class Filter:
    """Writes one file's kept and removed rows a rank; yields what it counted. Does nothing where that is done already."""

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        reader_options: ReaderOptions,
        rule: Rule,
        is_afresh: bool,
        form: Form = Form(),  # noqa: B008 - frozen
    ) -> None:
        self.output, self.files, self.reader_options = output, plan.files, reader_options
        self.rule, self.is_afresh, self.form = rule, is_afresh, form

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[dict[str, Any]]:
        planned = self.files[rank]
        receipt = f"summary/filtered/{planned.file.name}.json"
        kept_to = self.form.kept(self.output, planned.file.name)
        removed_to = self.form.gone(self.output, planned.file.name)
        targets = [t for t in (kept_to, removed_to) if t is not None]
        key = self._key(planned)
        data = self.output.read(receipt)
        stored = opened(data) or {}
        is_current = not self.is_afresh and bool(key) and stored.get("key") == key
        if is_current and is_sealed(data) and all(self._is_whole(t, stored) for t in targets):
            yield stored
            return
        elsewhere = self._elsewhere(targets, stored if is_sealed(data) else {})
        identity = planned.file.identity()
        try:
            with contextlib.ExitStack() as stack:
                # The last that is entered is published first.
                sinks = {t.label: stack.enter_context(t.folder.publishing(t.name)) for t in reversed(targets)}
                removed_sink = None if removed_to is None else sinks[removed_to.label]
                kept, removed = self._write(planned, sinks[kept_to.label], removed_sink)
                if planned.file.identity() != identity:  # columns that no digest covers are read, too
                    raise IncompleteError(
                        f"{planned.file.path} changed while it was filtered; run the same command again"
                    )
                written = {t.label: measured(sinks[t.label]) for t in targets}
                value = {
                    "key": key,
                    "kept": kept,
                    "removed": dict(sorted(removed.items())),
                    "bytes": {name: n_bytes for name, (n_bytes, _) in written.items()},
                    "digests": {name: digest for name, (_, digest) in written.items()},
                    **({"elsewhere": elsewhere} if elsewhere else {}),
                }
                # Files of another form that an earlier filter of this output left here.
                for name in stored.get("bytes", {}).keys() - written.keys():
                    if name.startswith(f"{FOLDER}/"):
                        self.output.remove(name)
                # The receipt goes first: from now on it fits no earlier files, and these once they are there.
                self.output.publish(receipt, sealed(value))
        except Damaged as error:
            for target in [Target(self.output, receipt, receipt), *targets]:  # of an earlier content
                if target.folder.exists(target.name):
                    target.folder.remove(target.name)
            yield {"kept": 0, "removed": {}, "problem": f"{planned.file.name} was not filtered: {error}"}
            return
        if self.output.read(receipt) != sealed(value):
            raise ReplacedError(
                f"{self.output}/{receipt} is of another run, which filters with another rule on this output. Let that run end, "
                "then run the same command again"
            )
        yield {**value, "is_of_old_receipt": is_current and not is_sealed(data)}

    def _write(self, planned: PlannedFile, kept: BinaryIO, removed: BinaryIO | None) -> rewrite.Split:
        verdicts = self._verdicts(planned)
        if self.form.ids is None:
            return rewrite.split(planned, self.reader_options, verdicts, kept, removed)
        instance, only_kept = self.rule.instances[0], not self.form.removed
        return write_list(self.output, planned, instance, verdicts, kept, self.form.ids, only_kept)

    def _is_whole(self, target: Target, receipt: dict[str, Any]) -> bool:
        """Whether a filtered file is as its receipt says, to the last byte."""
        if not target.folder.exists(target.name) or target.folder.size(target.name) != receipt["bytes"][target.label]:
            return False
        return _digest(target) == str(receipt["digests"][target.label])

    def _elsewhere(self, targets: Sequence[Target], stored: dict[str, Any]) -> dict[str, list[str]]:
        """By label, the digests that files of earlier filters outside the output may have. A run may be killed when its receipt is
        there, and its files are not yet: such a file is still that of the receipt before.

        Raises ConfigError for a file that is about to be replaced, and that no filter of this output wrote.
        """
        known: dict[str, list[str]] = {label: list(digests) for label, digests in stored.get("elsewhere", {}).items()}
        for label, digest in stored.get("digests", {}).items():
            if not label.startswith(f"{FOLDER}/"):
                known[label] = [*known.get(label, []), digest]
        for target in targets:
            if target.folder is self.output:
                continue
            digests = known.pop(target.label, [])
            if not target.folder.exists(target.name):
                continue
            if (digest := _digest(target)) not in digests:
                raise ConfigError(
                    f"{target.label} (--removed) exists already, and no filter of {self.output} wrote it: name another "
                    "folder, or move that file away"
                )
            known[target.label] = [digest]
        return known

    def _key(self, planned: PlannedFile) -> str:
        """Of everything that decides the two files; empty where that cannot be told without reading the input."""
        identities = [i.identity() for i in self.rule.instances]
        keys = [part_key(planned, k, self.reader_options, i) for i in identities for k in range(len(planned.chunks))]
        # A table's parts only know the columns that tagging reads; these files hold all of them.
        file = planned.file.identity() if planned.file.is_table else {}
        if file is None:
            return ""
        parts = [FILTER_VERSION, self.rule.fingerprint(), keys, file, *self.form.fingerprint()]
        return xxhash.xxh3_128_hexdigest(json.dumps(parts).encode())

    def _verdicts(self, planned: PlannedFile) -> Iterator[dict[int, str]]:
        """Per chunk: row -> reason for its removal, empty where it is kept."""
        for k in range(len(planned.chunks)):
            # Of a line with several documents, every failing one has its say.
            reasons_of: dict[int, dict[str, None]] = {}
            for row, reason in self.rule.judged(self.output, planned, k):
                reasons_of.setdefault(row, {}).update({reason: None} if reason else {})
            verdicts = {row: "; ".join(reasons) for row, reasons in reasons_of.items()}
            for a, b in planned.chunks[k].skipped:
                verdicts.update(dict.fromkeys(range(a, b), "filter_duplicate"))
            yield verdicts


def _digest(target: Target) -> str:
    with target.folder.open(target.name) as file:
        return file_digest(file)


PIPELINE = Pipeline(instances, execute)

"""`tagcorpus run features`: generations of many models to the feature table, in one output folder and resumable at every step.

The steps: which files are which model's (generation_files/models.py); taggers and filter in one pass over all documents; domains of those that the
filter keeps (group_statistics/labels.py); the entropy of each model's kept documents (group_entropy/entropies.py); statistics, and the
table (feature_table/). What each column was measured with stands in its provenance; what is not computed is empty, and says
why. `--group-by` makes rows of folders or of a column's values instead of models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.results import recorded
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.feature_table.merge import check_ahead
from tagcorpus.pipelines.feature_table.methods import Recipe, recipe_of
from tagcorpus.pipelines.feature_table.provenance import Provenance, provenance_name, read_provenance
from tagcorpus.pipelines.generation_files import oddities
from tagcorpus.pipelines.group_statistics.column import look_for
from tagcorpus.pipelines.group_statistics.groups import Group, by_column, by_level, by_model, check_ids
from tagcorpus.pipelines.group_statistics.kept import choose
from tagcorpus.pipelines.group_statistics.labels import label
from tagcorpus.pipelines.group_statistics.selection import (
    DOMAIN,
    FILTER,
    Chosen,
    backend,
    chosen,
    grouping_of,
    level_of,
)
from tagcorpus.pipelines.group_statistics.statistics import GroupStatistics
from tagcorpus.pipelines.group_statistics.summarising import name_empty_rows, rows_of
from tagcorpus.pipelines.group_statistics.write import parquet_name, write_table
from tagcorpus.pipelines.labelling.backend import settle_backend
from tagcorpus.pipelines.labelling.budget import dry_run_entries
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import record_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_file, is_there
from tagcorpus.pipelines.token_ids.cache import Fill, TokenizerChoice
from tagcorpus.taggers._tokenizers.loading import fingerprint
from tagcorpus.taggers.domain import Domain

TABLE = "features.csv"
MAPPING = "plan/models.yaml"


def instances(options: Options) -> dict[str, str]:
    """Instance name -> tagger name: the filter, what was asked for, and the domain tagger where a backend was named."""
    assert isinstance(options, FeaturesOptions)
    level_of(options.group_by)
    if options.append_to is not None and not (options.output or "").lower().endswith(".csv"):
        raise ConfigError("--append-to FILE.csv needs --output OTHER.csv, where the united table goes")
    if options.output is not None and options.output.lower().endswith((".json", ".parquet")):
        raise ConfigError(f"--output {options.output}: the table is a CSV; name a file in .csv, or a folder")
    choice = chosen(options)
    parameters = options.parameters.get(DOMAIN, {})
    if DOMAIN in choice.instances:
        settle_backend(options, backend)
    elif parameters.get("backend") in (None, "auto"):
        # Parameters of a domain tagger that is not used are refused, but not the word that there is none.
        parameters.pop("backend", None)
        if not parameters:
            options.parameters.pop(DOMAIN, None)
    return {name: tagger for tagger, name in choice.instances.items()}


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """The whole chain; each step computes what is missing of it."""
    options = run.options
    assert isinstance(options, FeaturesOptions)
    chosen_instances = chosen(options)
    by_role = {i.tagger_name: i for i in built}
    labeller = by_role.pop(DOMAIN, None)
    grouping = grouping_of(options)
    tagging = [*by_role.values(), *([grouping] if grouping else [])]
    _check_table(run)
    messages = _mapping(run, inputs)
    plan = plan_of(run, inputs, engine)
    look_further = (
        look_for(run, inputs.reader_options, plan, grouping, str(options.group_by)) if grouping is not None else None
    )
    if options.dry_run:
        return _dry_run(run, inputs, engine, plan, tagging, labeller, chosen_instances)
    if options.append_to is not None:  # refused now rather than when all is computed
        _check_ahead(options, {**by_role, **({DOMAIN: labeller} if labeller else {})}, chosen_instances.has_entropy)
    if inputs.models is not None:
        run.output.publish(MAPPING, inputs.models.to_yaml().encode())
        for message in (*_same_content(plan), *oddities.in_numbers(plan)):
            run.display.announce(message)
            messages.append(message)
    before = engine.prepare(plan, tagging)
    groups = _groups(run, inputs, plan) if grouping is None else []
    fill = _fill(engine, plan, groups, by_role[FILTER], options) if chosen_instances.has_entropy else []
    engine.compute(plan, tagging, before, around=(fill, []), on_chunk=look_further)
    if grouping is not None:
        groups = by_column(run.output, plan, grouping, "value", str(options.group_by))
        if all(g.where is not None and g.where.value is None for g in groups):
            raise ConfigError(
                f"--group-by {options.group_by}: no document has such a column; name one of the input, or a folder's "
                "level (level:1)"
            )
    check_ids(groups)
    if labeller is not None:
        choice = choose(run.output, plan, by_role[FILTER], groups, options.domain_sample, options.seed)
        by_role[DOMAIN], more = label(engine, plan, labeller, choice)
        messages += more
    # Models answer the same prompts: an id should be there once in a file, not once in all.
    each = (Plan((planned,)) for planned in plan.files)
    run.ledger.enter_duplicate_ids(sum(count_duplicate_ids(run.output, one, by_role[FILTER]) for one in each))
    entropy = keys = None
    if chosen_instances.has_entropy:
        entropy, keys = _entropies(engine, plan, groups, by_role[FILTER], grouping, options)
    rows = rows_of(engine, plan, groups, _with_columns(by_role), chosen_instances.absent, keys, options)
    messages += name_empty_rows(run, inputs, rows)
    messages += _publish_table(
        run, plan, groups, rows, recipe_of(_with_columns(by_role), options.min_kept_share, entropy)
    )
    features = {
        "grouped_by": options.group_by or "model",
        "absent": chosen_instances.absent,
        "groups": [_group_entry(one) for one in rows],
    }
    every = [*tagging, *([by_role[DOMAIN]] if labeller else [])]
    with run.display.phase("summary"):
        summary = summarise(run.output, plan, every, run.ledger.totals, "features", {"features": features})
    # For the terminal; what is published does not know where it lies.
    summary["features"]["table"] = run.result_file or f"{run.output}/{TABLE}"
    result = run.finish(summary)
    result.messages[:0] = messages
    return result


def _check_table(run: Run) -> None:
    """Raise where the table would take the place of a file that no run of this pipeline has made: such as the published table,
    which cannot be made again. Ours have their provenance beside them, which is written before they are."""
    options, path = run.options, run.result_file
    assert isinstance(options, FeaturesOptions)
    if path is None:
        return
    is_appended = options.append_to is not None and os.path.realpath(options.append_to) == os.path.realpath(path)
    beside = provenance_name(path)
    is_recorded = recorded(run.output)

    def is_own(folder: Folder, name: str) -> bool:
        """A run that was killed leaves the provenance of the new table beside the old one."""
        if is_appended or not is_there(beside):
            return is_appended
        return not folder.is_local or isinstance(read_provenance(path), Provenance) or is_recorded(folder, name)

    reason = (
        "it has changed since `run features` wrote it"
        if is_there(beside)
        else f"`run features` has not made it ({os.path.basename(beside)} is not beside it)"
    )
    check_file(
        path,
        is_own,
        reason,
        remedy=f"name another file, or move that one away. To add rows to it: --append-to {path}",
    )


def _check_ahead(options: FeaturesOptions, by_role: Mapping[str, Instance], has_entropy: bool) -> None:
    """Raise where the table that rows are to be appended to was measured otherwise."""
    assert options.append_to is not None
    entropy = {"tokenizer": fingerprint(*_tokenizer(options)), "n": 1} if has_entropy else None
    recipe = recipe_of(_with_columns(by_role), options.min_kept_share, entropy)
    check_ahead(options.append_to, recipe, allow_mixed=options.allow_mixed)


def _with_columns(by_role: Mapping[str, Instance]) -> dict[str, Instance]:
    """Without the tagger that no column of the table comes from."""
    return {role: instance for role, instance in by_role.items() if role != "language"}


def _publish_table(
    run: Run, plan: Plan, groups: Sequence[Group], rows: Sequence[GroupStatistics], recipe: Recipe
) -> list[str]:
    """The table in the output, and where one file was asked for, there too, with the rows of `--append-to`. What the user
    should be told, and has been."""
    options = run.options
    assert isinstance(options, FeaturesOptions)
    settings: dict[str, Any] = {"is_extended": options.extended, "allow_mixed": options.allow_mixed}
    content = (rows, groups, plan, recipe, _parameters(options))
    messages = write_table(f"{run.output}/{TABLE}", *content, **settings)
    if run.result_file is not None:
        messages = write_table(run.result_file, *content, append_to=options.append_to, **settings)
        record_result(run)
    if not options.extended:
        # That of an earlier run with --extended must not be taken for this table's; one outside the output may be another's.
        run.output.remove(parquet_name(TABLE))
        if run.result_file is not None and is_there(parquet_name(run.result_file)):
            messages.append(
                f"{parquet_name(run.result_file)} is not of this run (--extended writes it): it may have other rows"
            )
    for message in messages:
        run.display.announce(message)
    return messages


def _groups(run: Run, inputs: Inputs, plan: Plan) -> list[Group]:
    options = run.options
    assert isinstance(options, FeaturesOptions)
    if (n := level_of(options.group_by)) is not None:
        return by_level(plan, n)
    assert inputs.models is not None
    planned = {p.file.name for p in plan.files}
    files = {m: [f.name for f in own if f.name in planned] for m, own in inputs.models.files.items()}
    if without := [m for m, names in files.items() if not names]:
        run.display.announce(
            f"--limit {options.limit} ends before the files of {len(without)} models, such as {without[0]}"
        )
    return by_model({m: names for m, names in files.items() if names}, plan)


def _mapping(run: Run, inputs: Inputs) -> list[str]:
    """Say which files are which model's, and what is odd about that."""
    if inputs.models is None:
        return []
    n = len(inputs.models.files)
    run.display.say(f"{n} model{'s' * (n != 1)}")
    for line in inputs.models.lines():
        run.display.say(f"  {line}")
    named = {file.path for file in inputs.set_aside}
    if older := {path: why for path, why in inputs.models.set_aside.items() if path not in named}:
        left = len(older)
        path, why = next(iter(older.items()))
        run.display.say(f"  {left} file{'s' * (left != 1)} set aside, such as {path} ({why})")
    notes = [*inputs.models.notes, *oddities.in_texts(inputs.models, inputs.reader_options)]
    for note in notes:
        run.display.announce(note)
    return notes


def _same_content(plan: Plan) -> Iterator[str]:
    """Files that hold the same rows: perhaps one model's generations, copied into another's folder."""
    seen: dict[tuple[str, ...], str] = {}
    for planned in plan.files:
        if planned.rows:
            digests = tuple(r.digest for r in planned.chunks)
            other = seen.setdefault(digests, planned.file.name)
            if other != planned.file.name:
                yield f"{other} and {planned.file.name} have the same content: is one a copy by mistake?"


def _tokenizer(options: FeaturesOptions) -> TokenizerChoice:
    return TokenizerChoice(options.entropy_tokenizer, options.entropy_pattern, options.entropy_engine)


def _fill(
    engine: Engine, plan: Plan, groups: Sequence[Group], filter_: Instance, options: FeaturesOptions
) -> list[Step]:
    """Where entropies are still to be computed, the pass that tags also keeps the token ids, so that nothing is tokenised twice."""
    from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork

    work = EntropyWork(engine, plan, groups, filter_, None, _tokenizer(options), options.memory)
    known = work.stored()
    # Groups of a column are known when all is read; a chunk that is computed anew changes all of them.
    lacking = [g.files for g in groups if g.id not in known] if groups else [[p.file.name for p in plan.files]]
    ranks = frozenset(work.unread(name for files in lacking for name in files))
    return [Fill(work.source, ranks)] if ranks else []


def _entropies(
    engine: Engine,
    plan: Plan,
    groups: Sequence[Group],
    filter_: Instance,
    grouping: Instance | None,
    options: FeaturesOptions,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Compute what is missing. What the entropies were computed with, and the key of each group's."""
    from tagcorpus.pipelines.counting.token_budget import Budget
    from tagcorpus.pipelines.group_entropy import entropies, entropy_work

    work = entropy_work.EntropyWork(engine, plan, groups, filter_, grouping, _tokenizer(options), options.memory)
    budget = None
    if options.token_budget is not None:
        budget = Budget(options.token_budget, options.replicates, options.seed)
    entropies.run(work, budget, options.extended, options.replicates)
    return {"tokenizer": work.tokenizer.fingerprint, "n": entropy_work.N}, work.keys


def _parameters(options: FeaturesOptions) -> dict[str, Any]:
    """What decided the table besides its methods."""
    keys = ("taggers", "group_by", "min_kept_share", "domain_sample", "token_budget", "replicates", "extended")
    more = ("text_column", "id_column", "resps_format", "limit", "sample", "seed")
    tasks = {"task": options.task} if options.task else {}
    return {k: getattr(options, k) for k in (*keys, *more)} | tasks


def _group_entry(one: GroupStatistics) -> dict[str, Any]:
    return {
        "id": one.id,
        "counts": one.counts,
        "empty": list(one.values.values()).count(None),
        "values": dict(one.values),
    }


def _dry_run(
    run: Run,
    inputs: Inputs,
    engine: Engine,
    plan: Plan,
    tagging: Sequence[Instance],
    labeller: Instance | None,
    chosen_instances: Chosen,
) -> Result:
    more: dict[str, Any] = {}
    if inputs.models is not None:
        more |= {"models": len(inputs.models.files), **{f"model {m}": len(f) for m, f in inputs.models.files.items()}}
    more["backend"] = chosen_instances.absent.get(DOMAIN, "")
    if labeller is not None:
        tagger = labeller.tagger
        assert isinstance(tagger, Domain)
        more |= dry_run_entries(engine, plan, tagger)
    return dry_run(run, inputs, engine, plan, tagging, more)


def _groupings(options: Options) -> list[Instance]:
    assert isinstance(options, FeaturesOptions)
    grouping = grouping_of(options)
    return [grouping] if grouping else []


PIPELINE = Pipeline(instances, execute, groupings=_groupings)

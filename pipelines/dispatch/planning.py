"""The plan of a run: its input files cut into chunks, with what an earlier run planned and no longer counts taken out."""

from __future__ import annotations

import os

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.ledger import broken_files
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.inputs.commits import is_superseded, planned_commits
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import Index, Indexed, Plan, has_results, load_plan, make_plan, plan_name
from tagcorpus.pipelines.readers.text_check import check_text
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.place import is_named_by
from tagcorpus.pipelines.runs.run import Run

COMPARED_BYTES = 1 << 20
SOON_BYTES = 512 << 20
"""Of local files of lines: half a second of two threads. A compressed byte counts for four."""


def is_soon_indexed(step: Index) -> bool:
    """Whether threads of this process index the files: their lines are counted without the interpreter's lock."""
    files = [task.file for task in step.tasks]
    are_lines = all(file.format == "jsonl" and file.is_local for file in files)
    return are_lines and sum(file.size() * (4 if file.compression else 1) for file in files) <= SOON_BYTES


def plan_of(run: Run, inputs: Inputs, engine: Engine, *, is_stored: bool = True) -> Plan:
    """Index what is not indexed yet. A dry run stores no plan, whatever `is_stored` says.

    Raises InputError where no text is found, ConfigError where a trial would replace results of the whole input.
    """
    options = run.options
    is_stored = is_stored and not options.dry_run
    if is_stored:
        _respect_earlier_plan(run, inputs)

    def index(step: Index, n: int) -> list[Indexed]:
        # Counting lines takes less time than the start of worker processes, which goes on meanwhile and needs a core of its own.
        is_soon = options.executor == "local" and engine.workers > 1 and is_soon_indexed(step)
        results = engine.execute(
            [step],
            [[r] for r in range(n)],
            lambda r: step.tasks[r].file.path,
            "indexing",
            0,
            workers=min(n, engine.workers - 1) if is_soon else None,
            threads=is_soon,
        )
        return [results[r][0] for r in range(n)]

    def check(plan: Plan) -> None:
        without_text = check_text(plan, inputs.reader_options, is_strict=options.strict_text)
        broken = broken_files(plan)
        for message in [*without_text, *broken]:
            run.display.say(message)
        # The verdict of a run that computes names broken files itself.
        run.repeat_at_the_end([*without_text, *(broken if options.dry_run else [])])

    return make_plan(
        run.output,
        inputs.files,
        inputs.reader_options,
        options.chunk_bytes,
        options.limit,
        index,
        is_stored=is_stored,
        may_recut=options.overwrite,
        check=check,
    )


def _respect_earlier_plan(run: Run, inputs: Inputs) -> None:
    """A trial must not replace the results of the whole, and files that are gone must not stay among the results."""
    options = run.options
    is_trial = options.limit is not None or inputs.reader_options.sample < 1
    paths = {f.path for f in inputs.files}
    names = {f.name: f for f in inputs.files}
    commits = planned_commits(inputs.files)
    set_aside = {file.path: reason for file, reason in inputs.set_aside.items()}
    set_aside |= inputs.models.set_aside if inputs.models is not None else {}
    for planned in load_plan(run.output, skip_damaged=True):
        file = planned.file
        if file.path in set_aside and file.path not in paths:
            run.output.remove(plan_name(file.name))
            run.display.say(f"{file.name} counted in an earlier run, and is now set aside: {set_aside[file.path]}")
            continue
        if file.name not in names and is_superseded(file, commits):  # an output reads a branch at one commit
            run.output.remove(plan_name(file.name))
            run.display.say(
                f"{file.name} is of another commit of {file.revision}: its rows no longer count among the results"
            )
            continue
        is_taking_over = is_trial and not planned.is_trial and file.path in paths
        if is_taking_over and not options.overwrite and has_results(run.output, file.name):
            raise ConfigError(
                f"{run.output} holds results of all of {file.name}; a trial (--limit, --sample) would replace "
                "them. Give it an --output of its own, or say --overwrite"
            )
        other = names.get(file.name)
        is_free = options.overwrite or file.path in paths or not has_results(run.output, file.name)
        if other is not None and not is_free and _are_two(file, other):
            raise ConfigError(
                f"{run.output} holds results of {file.path}, and {other.path} has the same name there and would replace them. Give "
                "it an --output of its own, or say --overwrite"
            )
        is_gone = file.is_local and not os.path.exists(file.path)
        if file.path not in paths and is_gone and is_named_by(options, file, inputs.files):
            run.output.remove(plan_name(file.name))
            run.display.say(f"{file.name} of an earlier run is gone: its rows no longer count among the results")


def _are_two(planned: InputFile, file: InputFile) -> bool:
    """Whether these are two local files that differ in size or at their beginning. A file that was moved, copied or linked is the
    same input."""
    if not (planned.is_local and file.is_local and os.path.exists(planned.path)):
        return False
    if planned.size() != file.size():
        return True
    with open(planned.path, "rb") as one, open(file.path, "rb") as other:
        return one.read(COMPARED_BYTES) != other.read(COMPARED_BYTES)

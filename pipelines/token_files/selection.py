"""The sorting that a run's options ask for: columns resolved, and checked against output and documents."""

from __future__ import annotations

from collections.abc import Callable

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import part_of
from tagcorpus.pipelines.filtering import where
from tagcorpus.pipelines.filtering.condition import Condition, references
from tagcorpus.pipelines.group_statistics.column import look_for
from tagcorpus.pipelines.group_statistics.groups import by_level
from tagcorpus.pipelines.group_statistics.selection import grouping_column, level_of
from tagcorpus.pipelines.options.commands.tokenize import TokenizeOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.token_files.columns import Column, attribute_of, looked_up
from tagcorpus.pipelines.token_files.sides import Sorting


def sorting_of(
    run: Run, inputs: Inputs, plan: Plan, options: TokenizeOptions
) -> tuple[Sorting, Callable[[int], None] | None]:
    """How documents are sorted, and what is to be called with each chunk that is read.

    Raises ConfigError for columns that are not there, and InputError for attributes that do not fit the input.
    """
    level = level_of(options.group_by)
    if level is not None:
        by_level(plan, level)  # raises for a level deeper than any folder
    group, look_further = (None, None)
    if options.group_by is not None and level is None:
        group, look_further = _column(run, inputs, plan, options, options.group_by, "--group-by")
    cluster = None
    if options.held_out_by is not None:
        cluster, _ = _column(run, inputs, plan, options, options.held_out_by, "--held-out-by")
    condition = None
    if options.where is not None:
        columns = columns_of_condition(run, options)
        deciding, _ = where.look_up(run.output, plan, inputs.reader_options, columns, options)
        condition = Condition(options.where, deciding, columns)
        condition.check()
    share = options.held_out or 0.0
    return Sorting(run.output, plan, group, level, condition, share, options.seed, cluster), look_further


def columns_of_condition(run: Run, options: TokenizeOptions) -> where.Columns:
    """The columns that --where names, by instance. Raises ConfigError for names that are not there."""
    if options.where is None:
        return {}
    return where.resolve(references(options.where), where.known_columns(run.output), run.output, options)


def _column(
    run: Run, inputs: Inputs, plan: Plan, options: TokenizeOptions, name: str, option: str
) -> tuple[Column, Callable[[int], None] | None]:
    """The attribute column of this name, else the document column."""
    attribute = attribute_of(run.output, name, option)
    if attribute is not None:
        [instance] = looked_up(run.output, plan, inputs.reader_options, [attribute], options, option)
        run.display.say(f"{option} {name}: the attribute column {attribute.instance}.{attribute.column}")
        return Column(instance, name, attribute.column), None
    instance = grouping_column(name)
    command = where.command_for(name, where.known_columns(run.output), options)
    first = (
        ""
        if command is None
        else f"{option} {name}: no document and no attribute in {run.output} has it. First {command}"
    )
    try:
        look_further = look_for(run, inputs.reader_options, plan, instance, name, option)
    except ConfigError as error:
        if first:
            raise ConfigError(first) from error
        raise
    if first and not look_further.is_seen:
        raise ConfigError(first)
    return Column(instance, name, "value"), look_further if option == "--group-by" else None


def check_values(column: Column | None, sorting: Sorting, option: str) -> None:
    """Raise ConfigError where no document has a value in a document column."""
    if column is None or not column.is_of_documents:
        return
    for planned, k in sorting.plan.chunks:
        values = part_of(sorting.output, planned, k, column.instance, ["value"])["value"]
        if values.null_count < len(values):
            return
    raise ConfigError(f"{option} {column.name}: no document has such a column; name one of the input, or an attribute")

"""`tagcorpus run tokenize`: token files for training, by group, with a held-out side.

Four passes. The first reads and tokenises documents into the token cache, with the columns that sort them. The second sorts
the tokens of each chunk into a piece, by group and side (token_files/work.py). The third looks up held-out n-grams in the
training documents (overlap.py). The fourth concatenates pieces to files (layout.py, writing.py). The manifest comes last.
"""

from __future__ import annotations

from collections.abc import Sequence

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.claims import claim
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.resuming import remove_leftovers
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.counting.phases import until_sound
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.filtering.condition import references
from tagcorpus.pipelines.group_statistics.selection import grouping_column, level_of
from tagcorpus.pipelines.options.commands.tokenize import TokenizeOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.token_files.manifest import (
    DECIDING,
    check_settings,
    corpus_key,
    current,
    empty_sides,
    figures,
)
from tagcorpus.pipelines.token_files.passes import write
from tagcorpus.pipelines.token_files.selection import check_values, columns_of_condition, sorting_of
from tagcorpus.pipelines.token_files.work import INSTANCE, Work
from tagcorpus.pipelines.token_ids.cache import Fill, TokenizerChoice, TokenSource
from tagcorpus.taggers._tokenizers.end_of_text import end_of_text
from tagcorpus.taggers._tokenizers.loading import load

MOST_UINT16 = 1 << 16


def instances(options: Options) -> dict[str, str]:
    """None: what sorts documents is no tagger of the user's. Checks options that go together."""
    assert isinstance(options, TokenizeOptions)
    level_of(options.group_by)
    for given, name in ((options.held_out_by, "--held-out-by"), (options.held_out_texts, "--held-out-texts")):
        if given and options.held_out is None:
            raise ConfigError(f"{name} needs --held-out SHARE")
    if options.where is not None:
        references(options.where)
    return {}


def groupings(options: Options) -> Sequence[Instance]:
    """Document columns that the reader must have, if they turn out to be document columns."""
    assert isinstance(options, TokenizeOptions)
    is_level = level_of(options.group_by) is not None
    names = [None if is_level else options.group_by, options.held_out_by]
    return [grouping_column(name) for name in names if name is not None]


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:  # noqa: ARG001
    """Tokenise, sort, concatenate; publish manifest and summary."""
    options = run.options
    assert isinstance(options, TokenizeOptions)
    tokenizer = load(options.tokenizer, options.pattern, options.engine)
    eos = end_of_text(options.tokenizer, options.eos)
    vocabulary = max(tokenizer.n_vocab, eos.id + 1)
    settings = {
        "tokenizer": {"name": options.tokenizer, "fingerprint": tokenizer.fingerprint, "vocabulary": vocabulary},
        "eos": {"token": eos.token, "id": eos.id},
        **{name: getattr(options, name) for name in DECIDING},
    }
    if not engine.starts_afresh:
        check_settings(run.output, settings)
    columns_of_condition(run, options)  # before anything is stored
    plan = plan_of(run, inputs, engine)
    sorting, look_further = sorting_of(run, inputs, plan, options)
    if options.dry_run:
        return dry_run(run, inputs, engine, plan, sorting.computed)
    run.display.say(f"tokens of {options.tokenizer}; end of text: {eos.token} (id {eos.id}, by {eos.source})")
    choice = TokenizerChoice(options.tokenizer, options.pattern, options.engine)
    source = TokenSource(run.output, plan, inputs.reader_options, choice, is_cached=True)
    before = engine.prepare(plan, sorting.computed)
    unread = frozenset(r for r in before.pending(len(plan.chunks), sorting.computed) if not source.has(r))
    fill = [Fill(source, unread)] if unread else []
    engine.compute(plan, sorting.computed, before, around=(fill, []), on_chunk=look_further)
    check_values(sorting.group, sorting, "--group-by")
    check_values(sorting.cluster, sorting, "--held-out-by")
    dtype = "<u2" if vocabulary <= MOST_UINT16 else "<i4"
    work = Work(run.output, plan, source, sorting, eos.id, dtype)
    key = corpus_key(work, settings)
    manifest = None if engine.starts_afresh else current(run.output, key, with_texts=options.held_out_texts)
    if manifest is None:
        claim(run.output, [work.instance], is_forced=True)
        more = {"is_afresh": engine.starts_afresh, "with_texts": options.held_out_texts}
        manifest = until_sound(run, lambda: write(engine, work, settings, key, **more))
    remove_leftovers(run.output, plan, [work.instance])
    summary = summarise(
        run.output, plan, [work.instance], run.ledger.totals, "tokenize", {"token_files": figures(manifest)}
    )
    publish_result(run, plan, [work.instance], summary)
    run.output.remove(f"spill/{INSTANCE}")
    run.output.remove_empty("spill")
    messages = list(empty_sides(manifest))
    for message in messages:
        run.display.announce(message)
    result = run.finish(summary)
    result.messages[:0] = messages
    return result


PIPELINE = Pipeline(instances, execute, groupings=groupings)

"""`tagcorpus run entropy`: the next-token entropy of every n-gram context of a corpus, exactly, in bounded memory.

Three passes over chunks and key ranges (counting/passes.py); what lies between them is in `spill/` until
the run has come to its end. With `method: lm` a language model's predictions take the place of the corpus' own counts,
and one pass is enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.claims import claim, release
from tagcorpus.pipelines.attributes.digests import recording
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Recorded, joined
from tagcorpus.pipelines.attributes.resuming import remove_leftovers
from tagcorpus.pipelines.attributes.summary import spread_columns, summarise
from tagcorpus.pipelines.counting.corpus import (
    VERSION,
    Corpus,
    Limits,
    check_disk,
    memory_bytes,
)
from tagcorpus.pipelines.counting.figure import drawn
from tagcorpus.pipelines.counting.passes import Score
from tagcorpus.pipelines.counting.phases import (
    clear,
    count,
    merge,
    sample_totals,
    spill_files,
    tidy,
    until_sound,
    watch_report,
)
from tagcorpus.pipelines.counting.summary import contexts_name, described, publish_contexts, summary_of
from tagcorpus.pipelines.counting.token_budget import Budget, at_budget, is_budget_met, renewed
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.options.commands.entropy import EntropyOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.sealed import opened
from tagcorpus.pipelines.token_ids.cache import TokenizerChoice, TokenSource
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._interface.base import PAPER, column, columns_from
from tagcorpus.taggers._tokenizers.interface import Tokenizer
from tagcorpus.taggers._tokenizers.loading import load

if TYPE_CHECKING:
    from tagcorpus.kernels.packing import Packing

LM_INSTANCE = "entropy-lm"
COLUMNS = columns_from(
    PAPER,
    column("entropy_mean", pa.float64(), "mean over the document's positions of the entropy of the next token", "bits"),
    column("entropy_std", pa.float64(), "standard deviation over the positions (ddof 0)", "bits"),
    column("entropy_min", pa.float64(), "smallest entropy at a position", "bits"),
    column("entropy_max", pa.float64(), "largest entropy at a position", "bits"),
    column("entropy_positions", pa.int64(), "positions with a full context and a next token", "positions"),
)


def instances(options: Options) -> dict[str, str]:
    """The language model's tagger, or none: counting is no tagger's work, since every document depends on all others."""
    assert isinstance(options, EntropyOptions)
    if options.method == "lm":
        if options.bracket is not None:
            raise ConfigError("--bracket is of --method counts: a language model's predictions have no counts")
        return {LM_INSTANCE: "lm_entropy"}
    memory_bytes(options.memory)
    several = (
        "--token-budget" if options.token_budget is not None else "--bracket" if options.bracket is not None else ""
    )
    if several and not options.token_cache:
        raise ConfigError(f"{several} reads the token ids several times: it does not go with --no-token-cache")
    return {}


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Count, merge, score; publish summary, attributes and figure, and the table of contexts where it is wanted."""
    options = run.options
    assert isinstance(options, EntropyOptions)
    if built:
        return _of_a_model(run, inputs, engine, built)
    tokenizer = load(options.tokenizer, options.pattern, options.engine)
    packed = _packed(options, tokenizer)
    plan = plan_of(run, inputs, engine)
    corpus, instance = _corpus(run, inputs, plan, packed, tokenizer)
    text_bytes = plan.n_bytes or sum(f.size() for f in inputs.files)
    if options.dry_run:
        needed = check_disk(run.output, text_bytes, packed.n, options.token_cache)
        return dry_run(run, inputs, engine, plan, [instance], {"disk_bytes_while_running": needed})
    run.display.say(f"{described(packed.n)}; tokens of {options.tokenizer}")
    before = engine.prepare(plan, [instance])
    pending = before.pending(len(plan.chunks), [instance])
    values = _stored(corpus, options)
    counts: dict[tuple[int, str], Counts] = dict(before.done)
    seconds: dict[int, float] = {}
    if pending or not values:
        check_disk(run.output, text_bytes, packed.n, options.token_cache)
        claim(run.output, [instance], is_forced=options.overwrite)
        if engine.starts_afresh:
            clear(corpus)
        try:
            values = _computed(run, engine, corpus, instance, tokenizer, pending, counts, seconds)
        except (Exception, KeyboardInterrupt):
            release(run.output, [instance])
            raise
        finally:
            run.ledger.enter(plan, [instance], counts, seconds)
        if isinstance(corpus.source, TokenSource):
            corpus.source.remove_leftovers()
        remove_leftovers(run.output, plan, [instance])
    else:
        run.ledger.enter(plan, [instance], counts, seconds)
    earlier = values.pop("token_budget", None)
    sampled = renewed(earlier)
    messages: list[str] = []
    upper = values.pop("bracket", None)
    if options.token_budget is not None:
        budget = Budget(options.token_budget, options.replicates, options.seed)
        is_met = is_budget_met(sampled, budget)
        if is_met and sampled is not earlier:
            messages.append("token budget: stored samples are kept, and their confidence intervals are computed anew")
        values["token_budget"] = sampled if is_met else at_budget(engine, corpus, budget, sample_totals)
    if options.bracket is not None:
        from tagcorpus.pipelines.counting import bracket

        share, seed = options.bracket, options.seed
        if upper is None or not bracket.is_met(upper, share, seed):
            upper = bracket.bracket(engine, corpus, share, seed, tokenizer.n_vocab)
        values["bracket"] = bracket.with_lower(upper, values["estimates"]["plug_in"], values["total_contexts"])
    engine.look_for_repeated_ids(plan, instance)
    columns = spread_columns(engine.each, run.output, plan, [instance])
    with run.display.phase("summary"):
        summary = summarise(run.output, plan, [instance], run.ledger.totals, instance.name, values, columns=columns)
    publish_result(run, plan, [instance], summary)
    tidy(run, corpus)
    run.repeat_at_the_end([*messages, *_oddities(run, values)])
    return run.finish(summary)


def _packed(options: EntropyOptions, tokenizer: Tokenizer) -> Packing:
    from tagcorpus.kernels.packing import packing

    try:
        return packing(options.ngram, tokenizer.n_vocab)
    except ValueError as error:
        raise ConfigError(f"--ngram {options.ngram} with tokenizer {options.tokenizer}: {error}") from error


def _corpus(run: Run, inputs: Inputs, plan: Plan, packed: Packing, tokenizer: Tokenizer) -> tuple[Corpus, Instance]:
    options = run.options
    assert isinstance(options, EntropyOptions)
    choice = TokenizerChoice(options.tokenizer, options.pattern, options.engine)
    source = TokenSource(run.output, plan, inputs.reader_options, choice, options.token_cache)
    within = Limits.within(memory_bytes(options.memory), packed.words)
    limits = Limits(
        options.chunk_positions or within.chunk_positions, options.interval_entries or within.interval_entries
    )
    name = run.summary_name
    corpus = Corpus(run.output, plan, inputs.reader_options, source, packed, name, limits, options.contexts)
    # Any change anywhere in the corpus changes every value: to a reader of the parts that is another version.
    version = f"{VERSION}+{corpus.key}"
    recorded = Recorded(version, {"n": packed.n, "tokenizer": tokenizer.fingerprint}, COLUMNS)
    return corpus, Instance(name, "entropy", recorded)


def _stored(corpus: Corpus, options: EntropyOptions) -> dict[str, Any]:
    """What the summary of an earlier run over the same corpus says of it; empty where that is not all that is wanted."""
    summary = opened(corpus.output.read(f"summary/{corpus.instance}.json")) or {}
    is_whole = summary.get("corpus") == corpus.key and not options.overwrite
    if options.contexts and not corpus.output.exists(contexts_name(corpus)):
        is_whole = False
    return {k: v for k, v in summary.items() if k not in ("pipeline", "counts", "instances")} if is_whole else {}


def _computed(
    run: Run,
    engine: Engine,
    corpus: Corpus,
    instance: Instance,
    tokenizer: Tokenizer,
    pending: Sequence[int],
    counts: dict[tuple[int, str], Counts],
    seconds: dict[int, float],
) -> dict[str, Any]:
    """All three passes, and what they come to."""

    def on_done(watch: Watch, rank: int, reports: list[Any]) -> None:
        report: ChunkReport = reports[0]
        seconds[rank] = report.seconds
        entries.update({(rank, name): entry for name, entry in report.digests.items()})
        counts[rank, instance.name] = report.counts[instance.name]
        watch_report(watch, report)

    def passes() -> dict[str, Any]:
        runs_before = count(engine, corpus)
        adds = merge(engine, corpus)
        left = [r for r in pending if (r, instance.name) not in counts]
        metas = [file.meta for file in spill_files(corpus)]
        values = {
            "corpus": corpus.key,
            "tokenizer": tokenizer.name,
            "num_documents": sum(m["documents"] for m in metas),
            "num_tokens": sum(m["tokens"] for m in metas),
            **summary_of(corpus, adds, tokenizer),
        }
        score = Score(corpus, instance, len(adds), runs_before)
        engine.over_chunks_here(corpus.plan, left, [score], "scoring documents", on_done=on_done)
        if corpus.with_contexts:
            publish_contexts(corpus, len(adds), tokenizer)
        return values

    todo = [frozenset[str]()] * len(corpus.plan.chunks)
    for rank in pending:
        todo[rank] = frozenset([instance.name])
    with recording(corpus.output, corpus.plan, todo) as entries:
        return until_sound(run, passes)


def _oddities(run: Run, summary: dict[str, Any]) -> Iterator[str]:
    """What the user should know of a result that is not what it looks like, and the figure that could not be drawn."""
    n = summary["n"]
    if not summary["total_contexts"]:
        yield (
            f"no entropy: not one of {summary['num_documents']:,} documents has more than {n} token{'s' * (n != 1)}, which is what "
            f"a context of {n} and a next token take"
        )
        return
    try:
        files = drawn(summary)
    except ImportError as error:
        yield f"no figure: {error} ({how_to_install('report', 'matplotlib', 'pillow')})"
    except OSError as error:
        yield f"no figure: the fonts of matplotlib cannot be read ({error}): install matplotlib again"
    else:
        for form, data in files.items():
            run.output.publish(f"summary/{run.summary_name}.{form}", data)


def _of_a_model(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """One pass, as any tagger's; the corpus' mean is over all positions of all documents."""
    import pyarrow.compute as pc  # 0.05 CPU seconds

    plan = plan_of(run, inputs, engine)
    if run.options.dry_run:
        return dry_run(run, inputs, engine, plan, built)
    engine.tag(plan, built)
    positions, parts = 0, []
    for table in joined(run.output, plan.files, built):
        positions += pc.sum(table["entropy_positions"]).as_py() or 0
        parts.append(pc.sum(pc.multiply(table["entropy_mean"], table["entropy_positions"])).as_py() or 0.0)
    more = {
        "weighted_mean_entropy": math.fsum(parts) / positions if positions else None,
        "total_contexts": positions,
    }
    with run.display.phase("summary"):
        summary = summarise(run.output, plan, built, run.ledger.totals, built[0].name, more)
    publish_result(run, plan, built, summary)
    return run.finish(summary)


def _summary_name(options: Options) -> str:
    assert isinstance(options, EntropyOptions)
    return LM_INSTANCE if options.method == "lm" else f"entropy-{options.ngram}gram"


PIPELINE = Pipeline(instances, execute, _summary_name)

"""`tagcorpus run entropy`: the next-token entropy of every n-gram context of a corpus, exactly, in bounded memory.

Three passes over ranges and intervals of the key space (counting/passes.py); what lies between them is in `spill/` until
the run has come to its end. With `method: lm` a language model's predictions take the place of the corpus' own counts,
and one pass is enough.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.errors import ConfigError, DamagedError, TagcorpusError
from tagcorpus.pipelines.counting import bracket
from tagcorpus.pipelines.counting.corpus import (
    VERSION,
    Corpus,
    Limits,
    check_disk,
    intervals,
    memory_bytes,
)
from tagcorpus.pipelines.counting.passes import Count, Merge, Score, counted
from tagcorpus.pipelines.counting.spill import RunFile
from tagcorpus.pipelines.counting.summary import Adds, contexts_name, described, publish_contexts, summary_of
from tagcorpus.pipelines.counting.token_budget import Budget, at_budget, is_budget_met, renewed
from tagcorpus.pipelines.execution.steps import RangeReport
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.options.of_pipelines import EntropyOptions, Options
from tagcorpus.pipelines.outputs.digests import recording
from tagcorpus.pipelines.outputs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.outputs.reading import Recorded, joined
from tagcorpus.pipelines.outputs.results import publish_result
from tagcorpus.pipelines.outputs.sidecars import Instance, claim, release, remove_leftovers
from tagcorpus.pipelines.outputs.summary import summarise
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.sealed import opened
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.pipelines.sources.ranges import Counts
from tagcorpus.pipelines.token_ids.cache import TokenizerChoice, TokenSource
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._base import PAPER, column, columns_from
from tagcorpus.taggers._tokenizer import Tokenizer, load

if TYPE_CHECKING:
    from tagcorpus.kernels.ngrams import Packing

T = TypeVar("T")

LM_INSTANCE = "entropy-lm"
COLUMNS = columns_from(
    PAPER,
    column("entropy_mean", pa.float64(), "mean over the document's positions of the entropy of the next token", "bits"),
    column("entropy_std", pa.float64(), "standard deviation over the positions (ddof 0)", "bits"),
    column("entropy_min", pa.float64(), "smallest entropy at a position", "bits"),
    column("entropy_max", pa.float64(), "largest entropy at a position", "bits"),
    column("entropy_positions", pa.int64(), "positions with a full context and a next token", "positions"),
)
ROUNDS = 3
"""How often damaged working files are made anew before the run gives up."""


def instances(options: Options) -> dict[str, str]:
    """The language model's tagger, or none: counting is no tagger's work, since every document depends on all others."""
    assert isinstance(options, EntropyOptions)
    if options.method == "lm":
        if options.bracket is not None:
            raise ConfigError("--bracket is of --method counts: a language model's predictions have no counts")
        return {LM_INSTANCE: "lm_entropy"}
    if options.ngram < 1:
        raise ConfigError(f"--ngram must be at least 1 (tokens of context; 1 is bigram entropy), got {options.ngram}")
    memory_bytes(options.memory)
    if options.token_budget is not None and (options.token_budget < 1 or options.replicates < 1):
        raise ConfigError(
            f"--token-budget and --replicates must be at least 1, got {options.token_budget} and {options.replicates}"
        )
    several = (
        "--token-budget" if options.token_budget is not None else "--bracket" if options.bracket is not None else ""
    )
    if several and not options.token_cache:
        raise ConfigError(f"{several} reads the token ids several times: it does not go with --no-token-cache")
    return {}


def run(job: Job, built: list[Instance]) -> Result:
    """Count, merge, score; publish summary, sidecars and figure, and the table of contexts where it is wanted."""
    options = job.options
    assert isinstance(options, EntropyOptions)
    if built:
        return _of_a_model(job, built)
    tokenizer = load(options.tokenizer, options.pattern, options.engine)
    packed = _packed(options, tokenizer)
    plan = job.plan()
    corpus, instance = _corpus(job, plan, packed, tokenizer)
    text_bytes = plan.n_bytes or sum(f.size() for f in job.files)
    if options.dry_run:
        needed = check_disk(job.output, text_bytes, packed.n, options.token_cache)
        return job.dry_run(plan, [instance], {"disk_bytes_while_running": needed})
    job.display.say(f"{described(packed.n)}; tokens of {options.tokenizer}")
    before = job.prepare(plan, [instance])
    pending = before.pending(len(plan.ranges), [instance])
    found = _stored(corpus, options)
    counts: dict[tuple[int, str], Counts] = dict(before.done)
    seconds: dict[int, float] = {}
    if pending or not found:
        check_disk(job.output, text_bytes, packed.n, options.token_cache)
        claim(job.output, [instance], is_forced=options.overwrite)
        if job.starts_afresh:
            clear(corpus)
        try:
            found = _computed(job, corpus, instance, tokenizer, pending, counts, seconds)
        except (Exception, KeyboardInterrupt):
            release(job.output, [instance])
            raise
        finally:
            job.ledger.enter(plan, [instance], counts, seconds)
        if isinstance(corpus.source, TokenSource):
            corpus.source.remove_leftovers()
        remove_leftovers(job.output, plan, [instance])
    else:
        job.ledger.enter(plan, [instance], counts, seconds)
    sampled = renewed(found.pop("token_budget", None))
    upper = found.pop("bracket", None)
    if options.token_budget is not None:
        budget = Budget(options.token_budget, options.replicates, options.seed)
        found["token_budget"] = (
            sampled if is_budget_met(sampled, budget) else at_budget(job, corpus, budget, sample_totals)
        )
    if options.bracket is not None:
        share, seed = options.bracket, options.seed
        if upper is None or not bracket.is_met(upper, share, seed):
            upper = bracket.bracket(job, corpus, share, seed, tokenizer.n_vocab, until_sound, tidy)
        found["bracket"] = bracket.with_lower(upper, found["estimates"]["plug_in"], found["total_contexts"])
    job.ledger.duplicate_ids = count_duplicate_ids(job.output, plan, instance)
    summary = summarise(job.output, plan, [instance], job.ledger.totals, instance.name, found)
    publish_result(job, plan, [instance], summary)
    messages = list(_oddities(job, found))
    tidy(job, corpus)
    result = job.finish(summary)
    result.messages[:0] = messages
    return result


def _packed(options: EntropyOptions, tokenizer: Tokenizer) -> Packing:
    from tagcorpus.kernels.ngrams import packing

    try:
        return packing(options.ngram, tokenizer.n_vocab)
    except ValueError as error:
        raise ConfigError(f"--ngram {options.ngram} with tokenizer {options.tokenizer}: {error}") from error


def _corpus(job: Job, plan: Plan, packed: Packing, tokenizer: Tokenizer) -> tuple[Corpus, Instance]:
    options = job.options
    assert isinstance(options, EntropyOptions)
    choice = TokenizerChoice(options.tokenizer, options.pattern, options.engine)
    source = TokenSource(job.output, plan, job.reading, choice, options.token_cache)
    within = Limits.within(memory_bytes(options.memory), packed.words)
    limits = Limits(
        options.chunk_positions or within.chunk_positions, options.interval_entries or within.interval_entries
    )
    name = job.summary_name = f"entropy-{packed.n}gram"
    corpus = Corpus(job.output, plan, job.reading, source, packed, name, limits, options.contexts)
    # Any change anywhere in the corpus changes every value: to a reader of the parts that is another version.
    version = f"{VERSION}+{corpus.key}"
    recorded = Recorded(version, {"n": packed.n, "tokenizer": tokenizer.fingerprint}, COLUMNS)
    return corpus, Instance(name, "entropy", recorded)


def _stored(corpus: Corpus, options: EntropyOptions) -> dict[str, Any]:
    """What the summary of an earlier run over the same corpus says of it; empty where that is not all that is wanted."""
    found = opened(corpus.output.read(f"summary/{corpus.instance}.json")) or {}
    is_whole = found.get("corpus") == corpus.key and not options.overwrite
    if options.contexts and not corpus.output.exists(contexts_name(corpus)):
        is_whole = False
    return {k: v for k, v in found.items() if k not in ("pipeline", "counts", "instances")} if is_whole else {}


def _computed(
    job: Job,
    corpus: Corpus,
    instance: Instance,
    tokenizer: Tokenizer,
    pending: Sequence[int],
    counts: dict[tuple[int, str], Counts],
    seconds: dict[int, float],
) -> dict[str, Any]:
    """All three passes, and what they come to."""

    def on_done(watch: Watch, rank: int, reports: list[Any]) -> None:
        report: RangeReport = reports[0]
        seconds[rank] = report.seconds
        entries[rank, instance.name] = report.digests[instance.name]
        counts[rank, instance.name] = report.counts[instance.name]
        _tell(watch, report)

    def passes() -> dict[str, Any]:
        runs_before = count(job, corpus)
        adds = merge(job, corpus)
        left = [r for r in pending if (r, instance.name) not in counts]
        score = Score(corpus, instance, len(adds), runs_before)
        job.over_ranges_here(corpus.plan, left, [score], "scoring documents", on_done=on_done)
        metas = [runs_of(corpus, r).meta for r in range(len(corpus.plan.ranges))]
        if corpus.with_contexts:
            publish_contexts(corpus, len(adds), tokenizer)
        return {
            "corpus": corpus.key,
            "tokenizer": tokenizer.name,
            "num_documents": sum(m["documents"] for m in metas),
            "num_tokens": sum(m["tokens"] for m in metas),
            **summary_of(corpus, adds, tokenizer),
        }

    todo = [frozenset[str]()] * len(corpus.plan.ranges)
    for rank in pending:
        todo[rank] = frozenset([instance.name])
    with recording(corpus.output, corpus.plan, todo) as entries:
        return until_sound(job, passes)


def until_sound(job: Job, body: Callable[[], T]) -> T:
    """Working files that turn out to be damaged are removed by whoever finds them; the body makes what is missing."""
    for _ in range(ROUNDS - 1):
        try:
            return body()
        except DamagedError as error:
            job.display.say(f"{error}; it is made anew")
    return body()


def count(job: Job, corpus: Corpus) -> list[int]:
    """The first pass, where it is missing. How many runs all ranges before each one have."""
    ranks = range(len(corpus.plan.ranges))
    missing = [r for r in ranks if counted(corpus, r) is None]
    if missing:
        over = job.over_ranges if isinstance(corpus.source, TokenSource) else job.over_ranges_here
        over(corpus.plan, missing, [Count(corpus)], "counting", on_done=lambda watch, _, found: _tell(watch, found[0]))
    return [0, *np.cumsum([len(runs_of(corpus, r).runs) for r in ranks]).tolist()]


def runs_of(corpus: Corpus, rank: int) -> RunFile:
    """What the first pass has made of a range. Raises DamagedError."""
    found = counted(corpus, rank)
    if found is None:
        raise DamagedError(f"{corpus.output}/{corpus.spill_name(rank)} is damaged or gone")
    return found


def merge(job: Job, corpus: Corpus) -> list[Adds]:
    """The second pass: what each interval adds to the summary."""
    files = [runs_of(corpus, r) for r in range(len(corpus.plan.ranges))]
    cuts = intervals(files, corpus.packing.bits, corpus.limits.interval_entries)
    results = job.execute(
        [Merge(corpus, cuts)],
        [[i] for i in range(len(cuts))],
        lambda i: f"interval {i} of {len(cuts)}",
        "merging",
        sum(run.n for file in files for run in file.runs),
        on_done=lambda watch, _rank, found: watch.done(found[0]["n_entries"], 0, 0),
    )
    return [results[i][0] for i in range(len(cuts))]


def sample_totals(job: Job, sample: Corpus) -> list[Adds]:
    """The first two passes over a sample, which need no third."""

    def passes() -> list[Adds]:
        count(job, sample)
        return merge(job, sample)

    try:
        return until_sound(job, passes)
    finally:
        tidy(job, sample)


def _tell(watch: Watch, report: RangeReport) -> None:
    (counts,) = report.counts.values()
    watch.done(counts.lines + counts.unreadable, counts.text_bytes, counts.quarantined_rows)


def clear(corpus: Corpus) -> None:
    """Remove the working files."""
    for name in ("", ".merged"):
        corpus.output.remove(f"spill/{corpus.instance}{name}")
    if not corpus.output.files("spill"):
        corpus.output.remove("spill")


def tidy(job: Job, corpus: Corpus) -> None:
    """The same where the figures are there already, or another error is on its way: what cannot be removed is only said."""
    try:
        clear(corpus)
    except TagcorpusError as error:
        job.display.say(f"the working files could not be cleaned up: {error}")


def _oddities(job: Job, found: dict[str, Any]) -> Iterator[str]:
    """What the user should know of a result that is not what it looks like, and the figure that could not be drawn."""
    n = found["n"]
    if not found["total_contexts"]:
        yield (
            f"no entropy: not one of {found['num_documents']:,} documents has more than {n} token{'s' * (n != 1)}, which is what "
            f"a context of {n} and a next token take"
        )
    elif importlib.util.find_spec("matplotlib") is None:
        yield f"no figure: it needs matplotlib ({how_to_install('report', 'matplotlib')})"
    else:
        from tagcorpus.pipelines.counting.figure import draw

        for kind in ("png", "svg"):
            with job.output.publishing(f"summary/{job.summary_name}.{kind}") as sink:
                draw(found, sink, kind)


def _of_a_model(job: Job, built: list[Instance]) -> Result:
    """One pass, as any tagger's; the corpus' mean is over all positions of all documents."""
    plan = job.plan()
    if job.options.dry_run:
        return job.dry_run(plan, built)
    job.summary_name = built[0].name
    job.tag(plan, built)
    positions, parts = 0, []
    for table in joined(job.output, plan.files, built):
        positions += pc.sum(table["entropy_positions"]).as_py() or 0
        parts.append(pc.sum(pc.multiply(table["entropy_mean"], table["entropy_positions"])).as_py() or 0.0)
    more = {
        "weighted_mean_entropy": math.fsum(parts) / positions if positions else None,
        "total_contexts": positions,
    }
    summary = summarise(job.output, plan, built, job.ledger.totals, built[0].name, more)
    publish_result(job, plan, built, summary)
    return job.finish(summary)

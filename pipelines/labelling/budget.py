"""The cost of an endpoint: bounded and limited before the first call, and billed at the end of the run.

Tokens are bounded, not estimated: they are counted where the model is OpenAI's and its ranks are on this machine; else a prompt has
at most one token for each byte of UTF-8. An answer has at most what the stage tree allows. Calls are bounded by the longest path through
the tree. Retries are not part of either bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import BudgetError, ConfigError
from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.bill import ALLOWED, Bill, add, in_words, spent
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.steps import Read
from tagcorpus.pipelines.labelling.backend import BACKEND
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm import caller

AUTO_CALLS = 1_000
"""Calls that a run may make where only the environment names the endpoint."""
LABEL_LESS = "label a part with --limit N or --sample FRACTION"


@dataclass(frozen=True)
class Cost:
    """Upper bound of a cost: documents, calls without retries, and tokens of these calls (prompts and answers)."""

    documents: int = 0
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.documents + other.documents, self.calls + other.calls, self.tokens + other.tokens)

    def described(self, tagger: EndpointTagger) -> str:
        bound = "one for each byte of UTF-8; English text has about a quarter"
        if tagger.tokenizer is not None:
            bound = f"counted as {tagger.model} does"
        if tagger.questions.answer_limit is None:
            bound += "; without answers, which the tree does not limit"
        return (
            f"{self.documents:,} document{'s' * (self.documents != 1)} to label, at most {self.calls:,} calls, not counting "
            f"retries, and at most {self.tokens:,} tokens ({bound})"
        )


class Ask(PipelineStep):
    """Yields the cost of a chunk's documents; with `is_cache_known`, without the documents in the cache."""

    type = "count"
    name = "Ask"

    def __init__(self, tagger: EndpointTagger, is_cache_known: bool = False) -> None:
        super().__init__()
        self.tagger, self.is_cache_known = tagger, is_cache_known

    def run(
        self,
        data: Iterable[TaggedBatch | ChunkEnd],
        rank: int = 0,  # noqa: ARG002
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Cost]:
        yield sum((self._cost(item.documents.texts) for item in data if isinstance(item, TaggedBatch)), Cost())

    def _cost(self, texts: Sequence[str]) -> Cost:
        questions = self.tagger.questions
        askable = [text for text in texts if not questions.is_short(text)]
        most = self.tagger.calls_at_most
        ahead = self.tagger.calls_ahead(askable) if self.is_cache_known else [most(text) for text in askable]
        tokens = [questions.most_tokens(text, n, self.tagger.tokenizer) for n, text in zip(ahead, askable, strict=True)]
        return Cost(sum(n > 0 for n in ahead), sum(ahead), sum(tokens))


def cost_of(
    engine: Engine,
    plan: Plan,
    tagger: EndpointTagger,
    pending: Sequence[int],
    is_cache_known: bool = False,
    chosen: Sequence[PipelineStep] = (),
) -> Cost:
    """Cost of the documents in these chunks, which are read for that. `chosen`: steps that pass on only the documents to
    label."""
    nothing: list[frozenset[str]] = [frozenset()] * len(plan.chunks)
    steps = [Read(plan, engine.reader_options, nothing), *chosen, Ask(tagger, is_cache_known)]
    # The cache is on this machine only.
    results = engine.over_chunks(plan, pending, steps, "counting documents", threads=is_cache_known)
    return sum((of_chunk[0] for of_chunk in results.values()), Cost())


def dry_run_entries(engine: Engine, plan: Plan, tagger: EndpointTagger) -> dict[str, Any]:
    """Entries of a dry run: the backend, and of an endpoint the cost of all documents at most."""
    entries: dict[str, Any] = {"backend": tagger.answered_by}
    if tagger.is_asking:
        cost = cost_of(engine, plan, tagger, range(len(plan.chunks)))
        entries |= {"documents_to_ask": cost.documents, "calls_at_most": cost.calls, "tokens_at_most": cost.tokens}
    return entries


@dataclass(frozen=True)
class Allowance:
    """The spending limit of a run. `message`: the announced cost. `before`: the spending of earlier runs on the output."""

    cost: Cost
    message: str
    before: Mapping[str, Any]
    max_requests: int


def budget(
    engine: Engine,
    plan: Plan,
    tagger: EndpointTagger,
    pending: Sequence[int],
    chosen: Sequence[PipelineStep] = (),
    label_less: str = LABEL_LESS,
) -> Allowance:
    """Say what the run can cost before the first call. BudgetError where that is more than `max_requests` leaves; ConfigError where
    it is much, and nobody but the environment named the endpoint.

    label_less  how to have fewer documents labelled, for these cases
    """
    run = engine.run
    before = _before(run)
    requests = before.get("requests", 0)
    tagger.grant(tagger.max_requests - requests)
    most = AUTO_CALLS if BACKEND in run.options.from_environment else None
    if most is not None:
        most = max(most, before.get(ALLOWED, 0))  # a run that was allowed may be resumed
    cost = cost_of(engine, plan, tagger, pending, chosen=chosen)
    if cost.calls + requests > tagger.max_requests or (most is not None and cost.calls > most):
        cost = cost_of(engine, plan, tagger, pending, is_cache_known=True, chosen=chosen)
    message = f"{tagger.model} at {tagger.fingerprint()['base_url']}: {cost.described(tagger)}"
    run.display.announce(message)
    is_over = cost.calls + requests > tagger.max_requests
    raised = f"--max-requests {cost.calls + requests}"
    if most is not None and cost.calls > most:
        raise ConfigError(
            f"{message}: that is more than {most:,} calls, and only the environment names this endpoint (OPENAI_API_KEY, "
            f"OPENAI_BASE_URL); no request was sent. To spend that, say --backend openai{f' {raised}' if is_over else ''}; to use "
            f"no endpoint, --backend fasttext; or {label_less}"
        )
    if is_over:
        earlier = f" ({requests:,} requests of earlier runs on this output count)" if requests else ""
        raise BudgetError(
            f"{message}: more calls than --max-requests {tagger.max_requests:,}{earlier}; no request was sent. "
            f"Allow it with {raised}, or {label_less}"
        )
    return Allowance(cost, message, before, tagger.max_requests)


@contextmanager
def asking(run: Run, tagger: EndpointTagger, allowance: Allowance | None) -> Iterator[None]:
    """While a tagger asks: what it waits for is said, and its bill is kept. At the end, whatever it is, the ledger and the terminal
    have the bill of the run, and that of all runs on the output. `allowance`: None where nothing is left to ask."""
    if allowance is None:
        yield
        if tagger.is_asking:
            _close(run, {}, _before(run))
        return
    tagger.begin()
    bill = Bill(run.output, run.name, allowance.cost.calls)
    run.heartbeat.carry(lambda: {"llm": bill.counts})
    try:
        with caller.listening(run.display.say, lambda usage: bill.enter(usage.as_json())):
            yield
    except BudgetError as error:
        raise BudgetError(_limit_reached(allowance, tagger.usage(), tagger.has_cache)) from error
    finally:
        tagger.close()
        if usage := tagger.usage():
            bill.enter(usage)
        bill.close()
        _close(run, bill.counts if usage else {}, allowance.before)


def _before(run: Run) -> dict[str, Any]:
    """Spending of earlier runs on the output; with --overwrite, none counts."""
    return {} if run.options.overwrite else spent(run.output, run.name)


def _close(run: Run, counts: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Enter the bill into the ledger, and say it."""
    if counts:
        run.display.say(in_words(counts))
    total: dict[str, Any] = {}
    add(total, before)
    add(total, {**counts, "runs": 1} if counts else {})
    run.ledger.enter_bill(counts, total if total.get("requests") else {})
    if before.get("requests"):
        run.display.say(f"all runs on this output: {in_words(total)}")


def _limit_reached(allowance: Allowance, usage: Mapping[str, Any], has_cache: bool) -> str:
    before = allowance.before.get("requests", 0)
    requests = before + usage.get("requests", 0)
    left = max(allowance.cost.calls - sum(usage.get("models", {}).values()), 1)
    earlier = f", {before:,} of them by earlier runs on this output" if before else ""
    cached = "; answers already paid for are in the cache" if has_cache else ""
    return (
        f"the limit of {allowance.max_requests:,} requests (--max-requests) is reached{earlier}; retries count. To go on, run the "
        f"same command with --max-requests {requests + left}{cached}"
    )

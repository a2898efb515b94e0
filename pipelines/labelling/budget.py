"""The cost of an endpoint: bounded and limited before the first call, and billed at the end of the run.

Tokens are bounded, not estimated: they are counted where the model is OpenAI's and its ranks are on this machine; else a prompt has
at most one token for each byte of UTF-8. An answer has at most what the stage tree allows. Calls are bounded by the longest path through
the tree. Retries are not part of either bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tagcorpus.errors import BudgetError, ConfigError, IncompleteError
from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.bill import ALLOWED, USD, Bill, add, dollars, in_words, spent
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.steps import Read
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.labelling.backend import BACKEND, BASE_URL
from tagcorpus.pipelines.labelling.prices import FORM, limits_of, price_for
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.heartbeat import at_work, json_object
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm import caller
from tagcorpus.taggers._llm.tokens import Grant, Price, Tokens

AUTO_CALLS = 1_000
"""Calls that a run may make where only the environment names the endpoint."""
ASKING = ("domain", "annotate", "features")
"""Pipelines that may ask an endpoint."""
LABEL_LESS = "label a part with --limit N or --sample FRACTION"


@dataclass(frozen=True)
class Cost:
    """Upper bound of a cost: documents, calls without retries, and tokens of these calls (prompts and answers)."""

    documents: int = 0
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.documents + other.documents, self.calls + other.calls, self.tokens + other.tokens)

    def usd(self, tagger: EndpointTagger, price: Price) -> float | None:
        """Money for these tokens at most; None where answers have no limit."""
        limit = tagger.questions.answer_limit
        if limit is None:
            return None
        return price.usd(Tokens(prompt=self.tokens - self.calls * limit, completion=self.calls * limit))

    def described(self, tagger: EndpointTagger, price: Price | None) -> str:
        bound = "one for each byte of UTF-8; English text has about a quarter"
        if tagger.tokenizer is not None:
            bound = f"counted as {tagger.model} does"
        if tagger.questions.answer_limit is None:
            bound += "; without answers, which the tree does not limit"
        return (
            f"{counted(self.documents, 'document')} to label, at most {self.calls:,} calls, not counting "
            f"retries, and at most {self.tokens:,} tokens ({bound}){self._money(tagger, price)}"
        )

    def _money(self, tagger: EndpointTagger, price: Price | None) -> str:
        usd = self.usd(tagger, price) if price else None
        return f", {dollars(usd)} at most ({price.described()})" if price and usd is not None else ""


class Ask:
    """Yields the cost of a chunk's documents; with `is_cache_known`, without the documents in the cache."""

    def __init__(self, tagger: EndpointTagger, is_cache_known: bool = False) -> None:
        self.tagger, self.is_cache_known = tagger, is_cache_known

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[Cost]:
        yield sum((self._cost(item.documents.texts) for item in data if isinstance(item, TaggedBatch)), Cost())

    def _cost(self, texts: Sequence[str]) -> Cost:
        return cost_of_texts(self.tagger, texts, self.is_cache_known)


def cost_of_texts(tagger: EndpointTagger, texts: Sequence[str], is_cache_known: bool) -> Cost:
    """Cost of these documents; with `is_cache_known`, without the questions whose answers are in the cache."""
    questions = tagger.questions
    askable = [text for text in texts if not questions.is_short(text)]
    ahead = tagger.calls_ahead(askable) if is_cache_known else [tagger.calls_at_most(text) for text in askable]
    tokens = [questions.most_tokens(text, n, tagger.tokenizer) for n, text in zip(ahead, askable, strict=True)]
    return Cost(sum(n > 0 for n in ahead), sum(ahead), sum(tokens))


def cost_of(
    engine: Engine,
    plan: Plan,
    tagger: EndpointTagger,
    pending: Sequence[int],
    is_cache_known: bool = False,
    chosen: Sequence[Step] = (),
) -> Cost:
    """Cost of the documents in these chunks, which are read for that. `chosen`: steps that pass on only the documents to
    label."""
    steps = [Read(plan, engine.reader_options), *chosen, Ask(tagger, is_cache_known)]
    # The cache is on this machine only.
    results = engine.over_chunks(plan, pending, steps, "counting documents", threads=is_cache_known)
    return sum((of_chunk[0] for of_chunk in results.values()), Cost())


def dry_run_entries(engine: Engine, plan: Plan, tagger: EndpointTagger) -> dict[str, Any]:
    """Entries of a dry run: the backend, and of an endpoint the cost of all documents at most."""
    entries: dict[str, Any] = {"backend": tagger.answered_by}
    if tagger.is_asking:
        cost = cost_of(engine, plan, tagger, range(len(plan.chunks)))
        entries |= {"documents_to_ask": cost.documents, "calls_at_most": cost.calls, "tokens_at_most": cost.tokens}
        entries |= _parts_of(cost, tagger, price_for(engine.run.options, tagger))
    return entries


def _parts_of(cost: Cost, tagger: EndpointTagger, price: Price | None) -> dict[str, Any]:
    """The tokens of prompts and of answers, and their money. A price that is unknown is asked for."""
    limit, is_counted = tagger.questions.answer_limit, tagger.tokenizer is not None
    answers = None if limit is None else cost.calls * limit
    usd = cost.usd(tagger, price) if price else None
    return {
        "prompt_tokens": cost.tokens - (answers or 0),
        "prompt_tokens_are": f"counted as {tagger.model} does" if is_counted else "a bound: one for each byte of UTF-8",
        "answer_tokens": answers,
        "usd_at_most": None if usd is None else round(usd, 6),
        "price": price.described() if price else f"unknown: say {FORM}",
    }


@dataclass(frozen=True)
class Allowance:
    """The spending limit of a run. `message`: the announced cost. `before`: the spending of earlier runs on the output."""

    cost: Cost
    message: str
    before: Mapping[str, Any]
    limits: Grant


def budget(
    engine: Engine,
    plan: Plan,
    tagger: EndpointTagger,
    pending: Sequence[int],
    chosen: Sequence[Step] = (),
    label_less: str = LABEL_LESS,
) -> Allowance:
    """`allowance` for the documents in these chunks.

    label_less  how to have fewer documents labelled, for errors
    """

    def cost(is_cache_known: bool) -> Cost:
        return cost_of(engine, plan, tagger, pending, is_cache_known, chosen)

    return allowance(engine.run, tagger, cost, label_less)


def allowance(run: Run, tagger: EndpointTagger, cost_by: Callable[[bool], Cost], label_less: str) -> Allowance:
    """Say what a run can cost before the first call. BudgetError where that is more than `max_requests` leaves; ConfigError where
    it is much, and nobody but the environment named the endpoint or a sum of money.

    cost_by  the cost, with or without the answers in the cache
    """
    limits = limits_of(run.options, tagger)
    if limits.usd is not None:
        _refuse_company(run)
    before = _before(run, limits.price)
    requests = before.get("requests", 0)
    usd = None if limits.usd is None else max(limits.usd - before.get(USD, 0.0), 0.0)
    tagger.grant(Grant(limits.requests - requests, usd, limits.price))
    most = AUTO_CALLS if {BACKEND, BASE_URL} & {*run.options.from_environment} and usd is None else None
    if most is not None:
        most = max(most, before.get(ALLOWED, 0))  # a run that was allowed may be resumed
    cost = cost_by(False)
    if cost.calls + requests > limits.requests or (most is not None and cost.calls > most):
        cost = cost_by(True)
    message = f"{tagger.model} at {tagger.fingerprint()['base_url']}: {cost.described(tagger, limits.price)}"
    run.display.announce(message if usd is None else f"{message}; the run stops at {dollars(usd)} (--budget-usd)")
    is_over = cost.calls + requests > limits.requests
    raised = f"--max-requests {cost.calls + requests}"
    if most is not None and cost.calls > most:
        consent = "say --backend openai" if BACKEND in run.options.from_environment else "name it with --base-url"
        raised = f" {raised}" if is_over else ""
        other = "; to use no endpoint, --backend fasttext" if BACKEND in run.options.from_environment else ""
        raise ConfigError(
            f"{message}: that is more than {most:,} calls, and only the environment names this endpoint (OPENAI_API_KEY, "
            f"OPENAI_BASE_URL); no request was sent. To spend that, {consent}{raised}{other}; or {label_less}"
        )
    if is_over:
        earlier = f" ({requests:,} requests of earlier runs on this output count)" if requests else ""
        raise BudgetError(
            f"{message}: more calls than --max-requests {limits.requests:,}{earlier}; no request was sent. "
            f"Allow it with {raised}, or {label_less}"
        )
    return Allowance(cost, message, before, limits)


@contextmanager
def asking(run: Run, tagger: EndpointTagger, allowance: Allowance | None) -> Iterator[None]:
    """While a tagger asks: what it waits for is said, and its bill is kept. At the end, whatever it is, the ledger and the terminal
    have the bill of the run, and that of all runs on the output. `allowance`: None where nothing is left to ask."""
    if allowance is None:
        yield
        if tagger.is_asking:
            _close(run, {}, _before(run, price_for(run.options, tagger)))
        return
    tagger.begin()
    bill = Bill(run.output, run.name, allowance.cost.calls, allowance.limits.price)
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


def _refuse_company(run: Run) -> None:
    """Raise IncompleteError where another run may spend on the output meanwhile: each sees only what was spent before it began."""
    for name in at_work(run.output):
        command = json_object(run.output, f"runs/{name}/command.json")
        if name != run.name and command.get("pipeline") in ASKING:
            raise IncompleteError(
                f"run {name} is at work in {run.output}, and both together could spend more than --budget-usd. No request was sent: run "
                "the same command when that run has ended"
            )


def _before(run: Run, price: Price | None) -> dict[str, Any]:
    """Spending of earlier runs on the output; with --overwrite, none counts."""
    return {} if run.options.overwrite else spent(run.output, run.name, price)


def _close(run: Run, counts: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Enter the bill into the ledger, and say it."""
    if counts:
        run.display.say(in_words(counts))
    total: dict[str, Any] = {}
    add(total, {**counts, "runs": 1} if counts else {})
    add(total, before)
    run.ledger.enter_bill(counts, total if total.get("requests") else {})
    if before.get("requests"):
        run.display.say(f"all runs on this output: {in_words(total)}")


def _limit_reached(allowance: Allowance, usage: Mapping[str, Any], has_cache: bool) -> str:
    before = allowance.before.get("requests", 0)
    requests = before + usage.get("requests", 0)
    left = max(allowance.cost.calls - sum(usage.get("models", {}).values()), 1)
    earlier = f", {before:,} of them by earlier runs on this output" if before else ""
    cached = "; answers already paid for are in the cache" if has_cache else ""
    limits = allowance.limits
    if limits.usd is not None and requests < limits.requests:
        money = allowance.before.get(USD, 0.0) + usage.get(USD, 0.0)
        each = money / max(requests, 1)
        return (
            f"{dollars(money)} of {dollars(limits.usd)} (--budget-usd) are spent, and the rest may not suffice for a request{earlier}. To go "
            f"on, run the same command with more: about {dollars(money + left * each)} for {left:,} calls at most{cached}"
        )
    return (
        f"the limit of {limits.requests:,} requests (--max-requests) is reached{earlier}; retries count. To go on, run the "
        f"same command with --max-requests {requests + left}{cached}"
    )

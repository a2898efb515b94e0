"""`--pilot N`: label N random documents, and say what all documents will cost, with an interval.

One pass over the input takes the sizes of every document and the texts of the sample. The sample is the N documents with the smallest
keyed hashes of what is sent about them: so it does not depend on workers and chunks, the sample of a larger N includes it, and
documents with equal text, which are paid for once, are one document. The labels are kept in the cache, where the run finds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.bill import USD, dollars
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.steps import Read
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.labelling.budget import allowance, asking, cost_of_texts
from tagcorpus.pipelines.labelling.forecast import Floats, Forecast, forecasts, moments_of
from tagcorpus.pipelines.labelling.prices import FORM, price_for
from tagcorpus.pipelines.options.commands.domain import AskingOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.caller import Receipt
from tagcorpus.taggers._llm.tokens import Price, Tokens
from tagcorpus.taggers._tokenizers.interface import Tokenizer

LEAST = 30
"""Documents of a pilot at least: with fewer, no interval can be trusted."""
SPARE = 2
"""So many times N documents are kept by the first pass: short documents and repeated ones are not in the sample."""
MARGIN = 20
OTHERS, LETTERS, MARKS = 0, 1, 2
_KINDS = np.full(256, OTHERS, np.uint8)
_KINDS[:128] = MARKS
_KINDS[np.frombuffer(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \n", np.uint8)] = LETTERS
KINDS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")


class Sizes(NamedTuple):
    """The documents of a chunk that are asked about: keyed hashes uint64 [n], sizes float64 [n, kinds], and (hash, text) of those that
    may be in the sample."""

    hashes: npt.NDArray[np.uint64]
    sizes: Floats
    candidates: list[tuple[int, str]]


def sizes_of(pieces: Iterable[str], tokenizer: Tokenizer | None = None) -> list[float]:
    """What is known of a document before anyone is asked: the tokens of what is sent, where the model's tokenizer is here; else its
    bytes of other alphabets, of letters, and of digits and marks, each of which has another number of tokens."""
    pieces = list(pieces)
    if tokenizer is not None:
        return [float(np.diff(tokenizer.encode_batch(pieces).offsets).sum())]
    data = "".join(pieces).encode("utf-8", "surrogatepass")
    counts = np.bincount(_KINDS[np.frombuffer(data, np.uint8)], minlength=3)
    return [float(count) for count in counts]


def hash_of(pieces: Iterable[str], seed: int) -> int:
    return xxhash.xxh3_64_intdigest("\0".join(pieces).encode("utf-8", "surrogatepass"), seed)


class Measure:
    """Yields the `Sizes` of a chunk. Documents whose hash is below `threshold` may be in the sample."""

    def __init__(self, tagger: EndpointTagger, threshold: int, seed: int) -> None:
        self.tagger, self.threshold, self.seed = tagger, threshold, seed

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[Sizes]:
        questions, tokenizer = self.tagger.questions, self.tagger.tokenizer
        hashes, sizes, candidates = [], [], []
        for item in data:
            for text in item.documents.texts if isinstance(item, TaggedBatch) else ():
                if questions.is_short(text):
                    continue
                pieces = questions.shown(text)
                hashes.append(key := hash_of(pieces, self.seed))
                sizes.append([float(len(pieces)), *sizes_of(pieces, tokenizer)])
                if key < self.threshold:
                    candidates.append((key, text))
        width = 1 + len(sizes_of((), tokenizer))
        yield Sizes(np.array(hashes, np.uint64), np.array(sizes, float).reshape(len(hashes), width), candidates)


class Population(NamedTuple):
    """All different documents that are asked about: the moments of their sizes, and the sample with its sizes."""

    moments: Floats
    sample: list[str]
    sizes: Floats


def population(engine: Engine, plan: Plan, tagger: EndpointTagger, n: int) -> Population:
    """Read the input once, and draw `n` of its documents."""
    threshold = min(2**64 * (SPARE * n + MARGIN) // max(plan.rows, 1), 2**64)
    steps: list[Step] = [
        Read(plan, engine.reader_options),
        Measure(tagger, threshold, engine.run.options.seed),
    ]
    results = engine.over_chunks(plan, range(len(plan.chunks)), steps, "measuring documents")
    chunks: list[Sizes] = [of_chunk[0] for _, of_chunk in sorted(results.items())]
    if not chunks or not sum(len(c.hashes) for c in chunks):
        raise InputError("the input has no document that is asked about, so a pilot has nothing to label")
    hashes, first = np.unique(np.concatenate([c.hashes for c in chunks]), return_index=True)
    sizes = np.concatenate([c.sizes for c in chunks])[first]
    texts = dict(pair for c in chunks for pair in c.candidates)
    chosen = [int(key) for key in hashes[:n] if int(key) in texts]
    return Population(moments_of(sizes), [texts[key] for key in chosen], sizes[: len(chosen)])


def pilot(run: Run, engine: Engine, plan: Plan, tagger: EndpointTagger) -> Result:
    """Label the sample, and return the Result with the forecast for all documents. Raises what a run raises."""
    options = run.options
    assert isinstance(options, AskingOptions)
    if not tagger.has_cache:
        raise ConfigError("--pilot keeps its labels in the cache of answers: leave out --no-llm-cache")
    if options.pilot < LEAST:
        raise ConfigError(f"--pilot {options.pilot}: a pilot needs {LEAST} documents at least")
    documents = population(engine, plan, tagger, options.pilot)
    allowed = allowance(
        run,
        tagger,
        lambda is_cache_known: cost_of_texts(tagger, documents.sample, is_cache_known),
        "take a smaller --pilot",
    )
    with asking(run, tagger, allowed):
        receipts = tagger.receipts(documents.sample)
        usage = tagger.usage()
    value = forecast_of(documents, receipts, price_for(options, tagger), usage.get(USD))
    ledger = run.write_ledger(0, pilot=value)
    return Result(
        run.pipeline,
        str(run.output),
        0,
        Counts(),
        {"pilot": {**value, "shown": in_words(value)}},
        ledger,
        run.messages(),
    )


def forecast_of(
    documents: Population, receipts: list[list[Receipt]], price: Price | None, spent: float | None = None
) -> dict[str, Any]:
    """The forecast as JSON: each kind of cost and the money with their intervals, and by stage.

    spent  money of the pilot: where replies without an answer were paid, all documents cost more by the same factor
    """
    cached_share = _cached_share(receipts)
    stages = list(Counter(r.stage for each in receipts for r in each))
    columns = [[_amounts(each, cached_share, stage) for each in receipts] for stage in stages]
    costs = np.array(columns, float).reshape(len(stages), len(receipts), len(KINDS))
    whole = costs.sum(0)
    money = [0.0 if price is None else price.usd(_tokens(row)) for row in whole.tolist()]
    kinds = np.column_stack([whole, *costs, np.array(money)])
    of_all = forecasts(kinds, documents.sizes, documents.moments)
    value: dict[str, Any] = {
        "documents": int(documents.moments[0, 0]),
        "labelled": len(receipts),
        **{name: _interval(each) for name, each in zip(KINDS, of_all, strict=False)},
        "stages": {},
        USD: None,
        "price": price.described() if price else f"unknown: say {FORM}",
    }
    for i, stage in enumerate(stages):
        own = of_all[len(KINDS) * (i + 1) :]
        value["stages"][stage] = {name: round(each.total) for name, each in zip(KINDS, own, strict=False)}
    if price is not None:
        answered = sum(price.usd(r.tokens) for each in receipts for r in each if r.is_paid)
        factor = max(spent / answered, 1.0) if spent and answered else 1.0
        total = of_all[-1]
        value[USD] = {
            "total": total.total * factor,
            "low": total.low * factor,
            "high": total.high * factor,
            "half_width_share": total.share,
        }
    return value


def _cached_share(receipts: list[list[Receipt]]) -> dict[str, float]:
    """By stage, the share of prompt tokens that the endpoint had cached, among questions that this run has paid for."""
    sums: dict[str, list[int]] = {}
    for receipt in (r for each in receipts for r in each if r.is_paid):
        own = sums.setdefault(receipt.stage, [0, 0])
        own[0] += receipt.tokens.cached
        own[1] += receipt.tokens.prompt
    return {stage: cached / prompt for stage, (cached, prompt) in sums.items() if prompt}


def _amounts(receipts: list[Receipt], cached_share: dict[str, float], stage: str) -> list[float]:
    amounts = [0.0] * len(KINDS)
    for receipt in receipts:
        if receipt.stage == stage:
            tokens = receipt.tokens
            cached = tokens.cached if receipt.is_paid else tokens.prompt * cached_share.get(stage, 0.0)
            for i, amount in enumerate((1, tokens.prompt, cached, tokens.completion)):
                amounts[i] += amount
    return amounts


def _tokens(amounts: list[float]) -> Tokens:
    _, prompt, cached, completion = amounts
    return Tokens(prompt, cached, completion)  # type: ignore[arg-type]  # means of cached tokens are no whole numbers


def _interval(of: Forecast) -> dict[str, float]:
    return {"total": round(of.total), "low": round(of.low), "high": round(of.high)}


def in_words(value: dict[str, Any]) -> list[str]:
    """The forecast as lines of a table."""
    names = {
        "calls": "calls",
        "prompt_tokens": "prompt tokens",
        "cached_tokens": "of them cached",
        "completion_tokens": "answer tokens",
    }
    lines = [
        f"forecast for {value['documents']:,} different documents from {value['labelled']:,} of them, with 95 % intervals"
    ]
    for name, label in names.items():
        each = value[name]
        lines.append(f"  {label:<15} {each['total']:>16,.0f}   {each['low']:,.0f} to {each['high']:,.0f}")
    if len(value["stages"]) > 1:
        lines += [
            f"    {stage}: {own['calls']:,} calls, {own['prompt_tokens']:,} prompt tokens ({own['cached_tokens']:,} cached), "
            f"{own['completion_tokens']:,} answer tokens"
            for stage, own in value["stages"].items()
        ]
    money = value[USD]
    if money is None:
        return [*lines, f"  money: the price is {value['price']}"]
    share = f"{100 * money['half_width_share']:.1f} %"
    return [
        *lines,
        f"  money: {dollars(money['total'])}, {dollars(money['low'])} to {dollars(money['high'])} (+/- {share})",
        f"  price: {value['price']}",
    ]

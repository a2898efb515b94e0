"""`tagcorpus run domain`: one domain label per document, by an LLM's stage tree or by the embedded fastText model.

Which of the two answers is decided here, once, before anything is read; workers only ever get the decision.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pyarrow.compute as pc
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import BudgetError, ConfigError, unknown_name
from tagcorpus.pipelines.execution.steps import RangeEnd, Read, TaggedBatch
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.options.of_pipelines import DomainOptions, Options
from tagcorpus.pipelines.outputs.reading import joined
from tagcorpus.pipelines.outputs.results import publish_main, publish_result
from tagcorpus.pipelines.outputs.rewrite import csv_line
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.outputs.summary import summarise
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.taggers import _llm
from tagcorpus.taggers.domain import NO_CACHE, Domain

PREDICTED = "predicted_domains.csv"
# Of these the paper's features are percentages.
DOMAINS = ("academic", "books", "code", "reference", "specific_datasets", "web")
ERROR = "error"
# The stage of a document that nobody was to label (`run features` labels those that are kept).
NOT_SELECTED = "not_selected"
LEFT_OUT = ("unknown", "incoherent", ERROR)
BACKENDS = ("auto", "openai", "fasttext")
# Ranges that are asked about at once: enough that the end of one does not leave the endpoint idle.
RANGES_AT_ONCE = 4
# Parameters that only the openai backend looks at; the embedded model has its own labels, and asks nobody.
OF_AN_LLM = ("base_url", "model", "tree", "concurrency", "max_requests", "max_attempts", "timeout_seconds", "backoff_seconds", "patience", "rpm", "tpm", "llm_cache")  # fmt: skip
# A larger share of unusable answers than this is a reason to look at the model, so it is told.
ODD_SHARE = 0.05
# With a larger share of answers off the menu the labels are not worth much: exit 3.
MOST_SHARE = 0.5
# What an estimate of tokens is made with: right for English, too low for most other scripts.
CHARACTERS_PER_TOKEN = 4


def instances(options: Options) -> dict[str, str]:
    """The one instance, with the backend decided in its parameters."""
    parameters = options.parameters.setdefault("domain", {})
    parameters["backend"] = decided(parameters)
    if parameters["backend"] == "fasttext":
        refuse_what_is_of_an_llm(parameters)
    return {"domain": "domain"}


def refuse_what_is_of_an_llm(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError where the embedded model is to heed what only an LLM would."""
    defaults = {f.name: f.default for f in fields(Domain)}
    if given := [n for n in OF_AN_LLM if n in parameters and parameters[n] != defaults[n]]:
        named = ", ".join(f"--{n.replace('_', '-')}" for n in given)
        raise ConfigError(
            f"{named} ({', '.join(f'domain.{n}' for n in given)}): only an LLM would heed that, and the embedded fasttext model "
            "was chosen. Name an endpoint (--backend openai, --base-url URL, OPENAI_BASE_URL or OPENAI_API_KEY), or leave it out"
        )


def decided(parameters: Mapping[str, Any]) -> str:
    """The backend: as given, or by whether an endpoint is configured."""
    given = parameters.get("backend", "auto")
    if given not in BACKENDS:
        raise ConfigError(unknown_name("backend", str(given), BACKENDS, "--backend, domain.backend"))
    if given != "auto":
        return str(given)
    is_configured = parameters.get("base_url") or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY")
    return "openai" if is_configured else "fasttext"


def run(job: Job, built: list[Instance]) -> Result:
    """Label, and publish predicted_domains.csv, the summary and the main result where one file was asked for."""
    options = job.options
    assert isinstance(options, DomainOptions)
    (instance,) = built
    tagger = instance.tagger
    assert isinstance(tagger, Domain)
    is_asking = tagger.backend == "openai"
    plan = job.plan()
    if options.dry_run:
        return _dry_run(job, plan, instance, tagger)
    messages: list[str] = []
    before = job.prepare(plan, [instance])
    pending = before.pending(len(plan.ranges), [instance])
    job.display.say(f"domains by {tagger.answered_by}")
    if is_asking and pending:
        messages.append(budget(job, plan, tagger, pending))
        job.workers = options.workers or RANGES_AT_ONCE
    with asking(job, tagger):
        job.compute(plan, [instance], before, threads=is_asking)
    found = label_counts(job, plan, instance)
    summary = summarise(job.output, plan, [instance], job.ledger.totals, "domain", {"domain": _told(tagger, found)})
    with job.output.publishing(PREDICTED) as sink:
        for block in predicted_csv(job, plan, instance, options.with_text):
            sink.write(block)
    if job.result_file is not None and job.result_file.lower().endswith(".csv"):
        publish_main(job, predicted_csv(job, plan, instance, options.with_text))
    else:
        publish_result(job, plan, [instance], summary)
    if not is_asking:
        return job.finish(summary)
    messages += oddities(job, tagger, found)
    result = job.finish(summary)
    result.messages[:0] = messages
    return result


@contextmanager
def asking(job: Job, tagger: Domain) -> Iterator[None]:
    """While a tagger asks: what it waits for is said. At the end, whatever it is, the ledger and the terminal have the bill."""
    try:
        with _llm.listening(job.display.say):
            yield
    finally:
        tagger.close()
        usage = tagger.usage()
        if usage:
            job.ledger.llm = usage
            job.display.say(bill(usage))


def bill(usage: Mapping[str, Any]) -> str:
    """Requests and tokens as a sentence."""
    said = (
        f"{usage['requests']:,} requests sent ({usage['retries']:,} retries), {usage['prompt_tokens']:,} prompt tokens "
        f"({usage['cached_tokens']:,} of them cached by the endpoint) and {usage['completion_tokens']:,} tokens of answers "
        f"({usage['reasoning_tokens']:,} of reasoning) by its count; {usage['cache_hits']:,} answers were here already"
    )
    models = sorted(name for name in usage["models"] if name)
    if usage["unusable"]:
        said += f"; {usage['unusable']:,} replies were no answer"
    return said + (f"; more than one model answered: {', '.join(models)}" if len(models) > 1 else "")


def spent_before(job: Job) -> int:
    """Requests of earlier runs on this output, back to the last one with --overwrite."""
    total = 0
    names = sorted({n.split("/")[1] for n in job.output.files("runs") if n.endswith("/command.json")} - {job.run_name})
    for name in [] if job.options.overwrite else reversed(names):
        ledger = _json(job.output.read(f"runs/{name}/ledger.json"))
        total += int(ledger.get("llm", {}).get("requests", 0))
        if _json(job.output.read(f"runs/{name}/command.json")).get("options", {}).get("overwrite"):
            break
    return total


def _json(data: bytes | None) -> dict[str, Any]:
    """An object; empty where there is none, or none that is whole."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Cost:
    """What asking can cost at most: documents, calls without retries, and characters sent (prompts included)."""

    documents: int = 0
    calls: int = 0
    characters: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.documents + other.documents, self.calls + other.calls, self.characters + other.characters)

    @property
    def tokens(self) -> int:
        return -(-self.characters // CHARACTERS_PER_TOKEN)

    def told(self) -> str:
        tokens = f"{self.tokens / 1e6:,.1f} million" if self.tokens >= 1e6 else f"{self.tokens:,}"
        return (
            f"{self.documents:,} document{'s' * (self.documents != 1)} to label, at most {self.calls:,} calls, not counting retries, "
            f"and about {tokens} tokens ({CHARACTERS_PER_TOKEN} characters each)"
        )


class Ask(PipelineStep):
    """Yields what asking about the documents of a range can cost; with `is_cache_known`, less what the cache answers."""

    type = "count"
    name = "Ask"

    def __init__(self, tagger: Domain, is_cache_known: bool = False) -> None:
        super().__init__()
        self.tagger, self.is_cache_known = tagger, is_cache_known

    def run(
        self,
        data: Iterable[TaggedBatch | RangeEnd],
        rank: int = 0,  # noqa: ARG002
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Cost]:
        yield sum((self._cost(item.documents.texts) for item in data if isinstance(item, TaggedBatch)), Cost())

    def _cost(self, texts: Sequence[str]) -> Cost:
        tree = self.tagger.stage_tree
        asked = [text for text in texts if not tree.is_short(text)]
        worst = self.tagger.worst_case_calls
        ahead = self.tagger.calls_ahead(asked) if self.is_cache_known else [worst] * len(asked)
        sizes = [
            n * min(len(text), tree.max_text_chars) + tree.prompt_chars(n) for n, text in zip(ahead, asked, strict=True)
        ]
        return Cost(sum(n > 0 for n in ahead), sum(ahead), sum(sizes))


def cost_of(
    job: Job,
    plan: Plan,
    tagger: Domain,
    pending: Sequence[int],
    is_cache_known: bool = False,
    chosen: Sequence[PipelineStep] = (),
) -> Cost:
    """What asking about the documents in these ranges can cost, found by reading them. `chosen`: steps that leave only
    those that are to be asked about."""
    nothing: list[frozenset[str]] = [frozenset()] * len(plan.ranges)
    steps = [Read(plan, job.reading, nothing), *chosen, Ask(tagger, is_cache_known)]
    # The cache is on this machine only.
    results = job.over_ranges(plan, pending, steps, "counting documents", threads=is_cache_known)
    return sum((found[0] for found in results.values()), Cost())


def budget(
    job: Job,
    plan: Plan,
    tagger: Domain,
    pending: Sequence[int],
    chosen: Sequence[PipelineStep] = (),
    label_less: str = "label a part with --limit N or --sample FRACTION",
) -> str:
    """Say what the run can cost before the first call; stop where that is more than allowed. Returns what was said.

    label_less  how to have fewer documents labelled, for that case
    """
    spent = spent_before(job)
    tagger.grant(tagger.max_requests - spent)
    cost = cost_of(job, plan, tagger, pending, chosen=chosen)
    if cost.calls + spent > tagger.max_requests:
        cost = cost_of(job, plan, tagger, pending, is_cache_known=True, chosen=chosen)
    told = f"{tagger.model} at {tagger.fingerprint()['base_url']}: {cost.told()}"
    job.display.announce(told)
    if cost.calls + spent > tagger.max_requests:
        earlier = f" ({spent:,} requests of earlier runs on this output count)" if spent else ""
        raise BudgetError(
            f"{told}: more calls than --max-requests {tagger.max_requests:,}{earlier}; nothing was asked. "
            f"Allow it with --max-requests {cost.calls + spent}, or {label_less}"
        )
    return told


def oddities(job: Job, tagger: Domain, found: Mapping[str, Any]) -> list[str]:
    """Say, and return, for how many documents the model gave no proper answer; those that got no label go into the ledger,
    where they count for the exit code as rows in quarantine do."""
    off_menu, errors, asked = found["off_menu"], found["errors"], found["asked"]
    told = []
    if off_menu > MOST_SHARE * asked:
        job.ledger.doubts.append("more than half of the answers are off the menu")
    if off_menu > ODD_SHARE * asked:
        told.append(
            f"{off_menu:,} of {asked:,} documents asked about got an answer that is none of the choices, which counts as the "
            f"negative one (column is_off_menu): is {tagger.model} the right model for this tree?"
        )
    if n := errors.total():
        why = errors.most_common(1)[0][0]
        others = "all others too, as no answers are kept" if tagger.llm_cache == NO_CACHE else "no others"
        told.append(
            f"{n:,} of {asked:,} documents asked about got no label (column error says why; most often: {shortened(why)}). The "
            f"same command does not ask about them again; with --overwrite it does, and about {others}"
        )
    job.ledger.unlabelled = errors.total()
    for message in told:
        job.display.announce(message)
    return told + _several_models(job, found["models"])


def _several_models(job: Job, models: Counter[str]) -> list[str]:
    """Say, and return, that the labels of an output are not all of one model."""
    if len(models) < 2:
        return []
    names = ", ".join(f"{shortened(name)!r} ({n:,} documents)" for name, n in models.most_common(5))
    message = f"more than one model answered (column answered_by): {names}{', ...' if len(models) > 5 else ''}"
    job.display.announce(message)
    return [message]


def shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _dry_run(job: Job, plan: Plan, instance: Instance, tagger: Domain) -> Result:
    more: dict[str, Any] = {"backend": tagger.answered_by}
    if tagger.backend == "openai":
        cost = cost_of(job, plan, tagger, range(len(plan.ranges)))
        more |= {"documents_to_ask": cost.documents, "calls_at_most": cost.calls, "tokens_at_most": cost.tokens}
    return job.dry_run(plan, [instance], more)


def label_counts(job: Job, plan: Plan, instance: Instance) -> dict[str, Any]:
    """Labels, how many of the labelled documents are English, how many documents a model was asked about, how many of these got
    an answer that is off the menu, why others got none, and which models answered, over all parts; without documents that were not
    selected."""
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    models: Counter[str] = Counter()
    english = asked = off_menu = 0
    for table in joined(job.output, plan.files, [instance]):
        table = table.filter(pc.fill_null(pc.not_equal(table["stage"], NOT_SELECTED), True))  # noqa: PLW2901
        asked += pc.sum(pc.greater(table["n_calls"], 0)).as_py() or 0
        off_menu += pc.sum(table["is_off_menu"]).as_py() or 0
        errors.update(table["error"].drop_null().to_pylist())
        if "answered_by" in table.column_names:
            models.update(name for names in table["answered_by"].drop_null().to_pylist() for name in names.split(", "))
        for prediction, language in zip(table["prediction"].to_pylist(), table["language"].to_pylist(), strict=True):
            label = ERROR if prediction is None else prediction
            labels[label] += 1
            english += label not in LEFT_OUT and language == "en"
    return {
        "labels": labels,
        "english": english,
        "asked": asked,
        "off_menu": off_menu,
        "errors": errors,
        "models": models,
    }


def percentages(labels: Mapping[str, int], english: int) -> dict[str, float | None]:
    """The CSV's domain_*_pct and pct_english: shares among documents whose label is not in LEFT_OUT, in percent.

    labels   documents per label; `english` of those that are not left out are in English
    returns  DOMAINS first, then further labels that a tree of the user's own may give; 0 for every domain and a missing
             pct_english where no document remains
    """
    further = sorted(set(labels) - {*DOMAINS, *LEFT_OUT})
    n = sum(labels.get(d, 0) for d in (*DOMAINS, *further))
    found: dict[str, float | None] = {
        f"domain_{d}_pct": 100 * labels.get(d, 0) / n if n else 0.0 for d in (*DOMAINS, *further)
    }
    return {**found, "pct_english": 100 * english / n if n else None}


def _told(tagger: Domain, found: dict[str, Any]) -> dict[str, Any]:
    labels = found["labels"]
    value = {
        "backend": tagger.answered_by,
        "labels": dict(sorted(labels.items(), key=lambda item: (-item[1], item[0]))),
        "percentages": percentages(labels, found["english"]),
    }
    if tagger.backend == "fasttext":
        from tagcorpus.taggers import _domain_fasttext

        value["agreement_with_reference"] = dict(_domain_fasttext.FIGURES)
    else:
        value |= {"asked": found["asked"], "off_menu": found["off_menu"]}
        value["answered_by"] = dict(sorted(found["models"].items()))
    return value


def predicted_csv(job: Job, plan: Plan, instance: Instance, with_text: bool) -> Iterator[bytes]:
    """id, language, prediction, backend (and text) of every document, in plan order; an empty prediction is an error."""
    columns = ["id", "language", "prediction", "backend", *(["text"] if with_text else [])]
    yield csv_line(columns).encode()
    for table in joined(job.output, plan.files, [instance], job.reading if with_text else None):
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        yield "".join(map(csv_line, rows)).encode()

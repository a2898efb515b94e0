"""`tagcorpus run domain`: one domain label per document, by an LLM's stage tree or by the embedded fastText model.

Which of the two answers is decided here, once, before anything is read; workers only ever get the decision.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import BudgetError, ConfigError, unknown_name
from tagcorpus.pipelines.config import DomainOptions, Options
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.plan import Plan
from tagcorpus.pipelines.reading import joined
from tagcorpus.pipelines.results import publish_file, publish_result
from tagcorpus.pipelines.rewrite import csv_line
from tagcorpus.pipelines.sidecars import Instance
from tagcorpus.pipelines.steps import RangeEnd, Read, TaggedBatch
from tagcorpus.pipelines.summary import summarise
from tagcorpus.taggers.domain import Domain

PREDICTED = "predicted_domains.csv"
# Of these the paper's features are percentages.
DOMAINS = ("academic", "books", "code", "reference", "specific_datasets", "web")
ERROR = "error"
LEFT_OUT = ("unknown", "incoherent", ERROR)
BACKENDS = ("auto", "openai", "fasttext")
# Ranges that are asked about at once: enough that the end of one does not leave the endpoint idle.
RANGES_AT_ONCE = 4


def instances(options: Options) -> dict[str, str]:
    """The one instance, with the backend decided in its parameters."""
    parameters = options.parameters.setdefault("domain", {})
    parameters["backend"] = decided(parameters)
    return {"domain": "domain"}


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
    before = job.prepare(plan, [instance])
    pending = before.pending(len(plan.ranges), [instance])
    job.display.say(f"domains by {tagger.answered_by}")
    if is_asking and pending:
        _budget(job, tagger, _to_ask(job, plan, tagger, pending))
        job.workers = options.workers or RANGES_AT_ONCE
    try:
        job.compute(plan, [instance], before, threads=is_asking)
    finally:
        tagger.close()
    found = label_counts(job, plan)
    summary = summarise(job.output, plan, [instance], job.ledger.totals, "domain", {"domain": _told(tagger, found)})
    with job.output.publishing(PREDICTED) as sink:
        for block in predicted_csv(job, plan, options.with_text):
            sink.write(block)
    if job.result_file is not None and job.result_file.lower().endswith(".csv"):
        publish_file(job.result_file, predicted_csv(job, plan, options.with_text))
    else:
        publish_result(job, plan, [instance], summary)
    return job.finish(summary, llm=tagger.usage()) if is_asking else job.finish(summary)


class Ask(PipelineStep):
    """Counts the documents of a range that would be asked about; yields that number."""

    type = "count"
    name = "Ask"

    def __init__(self, tagger: Domain) -> None:
        super().__init__()
        self.tagger = tagger

    def run(
        self,
        data: Iterable[TaggedBatch | RangeEnd],
        rank: int = 0,  # noqa: ARG002
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[int]:
        is_short = self.tagger.stage_tree.is_short
        yield sum(not is_short(text) for item in data if isinstance(item, TaggedBatch) for text in item.documents.texts)


def _to_ask(job: Job, plan: Plan, tagger: Domain, pending: Sequence[int]) -> int:
    """Documents in these ranges that would be asked about, counted by reading them."""
    nothing: list[frozenset[str]] = [frozenset()] * len(plan.ranges)
    results = job.over_ranges(plan, pending, [Read(plan, job.reading, nothing), Ask(tagger)], "counting documents")
    return sum(found[0] for found in results.values())


def _budget(job: Job, tagger: Domain, documents: int) -> None:
    """Say what the run can cost before the first call; stop where that is more than allowed."""
    calls = documents * tagger.worst_case_calls
    told = f"{tagger.model} at {tagger.fingerprint()['base_url']}: {documents:,} documents to label, at most {calls:,} calls"
    job.display.say(told)
    if calls > tagger.max_requests:
        raise BudgetError(
            f"{told}, more than --max-requests {tagger.max_requests:,}; nothing was asked. "
            f"Allow it with --max-requests {calls}, or label a part with --limit N or --sample FRACTION"
        )


def _dry_run(job: Job, plan: Plan, instance: Instance, tagger: Domain) -> Result:
    more: dict[str, Any] = {"backend": tagger.answered_by}
    if tagger.backend == "openai":
        documents = _to_ask(job, plan, tagger, range(len(plan.ranges)))
        more |= {"documents_to_ask": documents, "calls_at_most": documents * tagger.worst_case_calls}
    return job.dry_run(plan, [instance], more)


def label_counts(job: Job, plan: Plan) -> dict[str, Any]:
    """Labels, and how many of the labelled documents are English, over all parts."""
    labels: Counter[str] = Counter()
    english = 0
    for table in joined(job.output, plan.files, ["domain"]):
        for prediction, language in zip(table["prediction"].to_pylist(), table["language"].to_pylist(), strict=True):
            label = ERROR if prediction is None else prediction
            labels[label] += 1
            english += label not in LEFT_OUT and language == "en"
    return {"labels": labels, "english": english}


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
    return value


def predicted_csv(job: Job, plan: Plan, with_text: bool) -> Iterator[bytes]:
    """id, language, prediction, backend (and text) of every document, in plan order; an empty prediction is an error."""
    columns = ["id", "language", "prediction", "backend", *(["text"] if with_text else [])]
    yield csv_line(columns).encode()
    for table in joined(job.output, plan.files, ["domain"], job.reading if with_text else None):
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        yield "".join(map(csv_line, rows)).encode()

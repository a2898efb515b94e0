"""`tagcorpus run domain`: one domain label per document, by an LLM's stage tree or by the embedded fastText model.

Which of the two answers is decided here, once, before anything is read; workers only ever get the decision.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow.compute as pc
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.budget import BACKEND, asking, budget, cost_of, is_by_environment
from tagcorpus.pipelines.execution.some_rows import Whole
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.options.of_pipelines import DomainOptions, Options
from tagcorpus.pipelines.outputs.reading import joined
from tagcorpus.pipelines.outputs.results import publish_main, publish_result
from tagcorpus.pipelines.outputs.rewrite import csv_line
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.outputs.summary import summarise
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.pipelines.unlabelled import to_retry
from tagcorpus.taggers._llm import LONGER_CONTEXT
from tagcorpus.taggers.domain import Domain

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


def instances(options: Options) -> dict[str, str]:
    """The one instance, with the backend decided in its parameters."""
    parameters = options.parameters.setdefault("domain", {})
    if is_by_environment(parameters):
        options.from_environment.append(BACKEND)
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
    chosen: Sequence[PipelineStep] = []
    if options.retry_errors:
        before, chosen = to_retry(job, plan, instance, before)
    pending = before.pending(len(plan.ranges), [instance])
    job.display.say(f"domains by {tagger.answered_by}")
    allowance = None
    if is_asking and pending:
        allowance = budget(job, plan, tagger, pending, chosen)
        messages.append(allowance.message)
        job.workers = options.workers or RANGES_AT_ONCE
    with asking(job, tagger, allowance):
        job.compute(plan, [instance], before, threads=is_asking, around=(chosen, [Whole()]))
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


def oddities(job: Job, tagger: Domain, found: Mapping[str, Any]) -> list[str]:
    """Say, and return, for how many documents the model gave no proper answer; those that got no label go into the ledger,
    where they count for the exit code as rows in quarantine do."""
    off_menu, errors, asked = found["off_menu"], found["errors"], found["asked"]
    told = []
    if off_menu > ODD_SHARE * asked:
        told.append(
            f"{off_menu:,} of {asked:,} documents asked about got an answer that is none of the choices, which counts as the "
            f"negative one (column is_off_menu): is {tagger.model} the right model for this tree?"
        )
    allowed = job.ledger.allowed(job.options.max_quarantined) if job.options.max_quarantined is not None else 0
    if off_menu > max(MOST_SHARE * asked, allowed):
        job.ledger.doubts.append("more than half of the documents asked about are off the menu")
        told[-1] += " More than half are off the menu: exit 3, unless --max-quarantined allows that many"
    cut = job.ledger.llm.get("cut_prompts", 0)
    if cut:
        told.append(
            f"the endpoint counted fewer prompt tokens than {cut:,} of {asked:,} documents have at least: it drops a part of long "
            f"prompts without an error, so these labels are not of the whole document. {LONGER_CONTEXT}. Then label again with "
            "--overwrite, and with another --llm-cache if only the context has changed"
        )
    if cut > MOST_SHARE * asked:
        job.ledger.doubts.append("the endpoint shortened more than half of the documents")
    if n := errors.total():
        why = errors.most_common(1)[0][0]
        told.append(
            f"{n:,} of {asked:,} documents asked about got no label (column error says why; most often: {shortened(why)}). The "
            "same command does not ask about them again; with --retry-errors it does"
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

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
from tagcorpus.pipelines.dry_run import dry_run
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.some_rows import Whole
from tagcorpus.pipelines.inputs import Inputs
from tagcorpus.pipelines.options.of_pipelines import DomainOptions, Options
from tagcorpus.pipelines.outputs.reading import joined
from tagcorpus.pipelines.outputs.rewrite import csv_line
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.outputs.summary import summarise
from tagcorpus.pipelines.pipeline import Pipeline
from tagcorpus.pipelines.planning import plan_of
from tagcorpus.pipelines.result_file import publish_main, publish_result
from tagcorpus.pipelines.run import Result, Run
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.pipelines.unlabelled import Unlabelled, with_errors, without
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


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Label, and publish predicted_domains.csv, the summary and the main result where one file was asked for."""
    options = run.options
    assert isinstance(options, DomainOptions)
    (instance,) = built
    tagger = instance.tagger
    assert isinstance(tagger, Domain)
    is_asking = tagger.backend == "openai"
    plan = plan_of(run, inputs, engine)
    if options.dry_run:
        return _dry_run(run, inputs, engine, plan, instance)
    messages: list[str] = []
    before = engine.prepare(plan, [instance])
    retried = with_errors(run.output, plan, instance, before) if options.retry_errors else {}
    steps: tuple[Sequence[PipelineStep], Sequence[PipelineStep]] = ([], [])
    if options.retry_errors:
        n = sum(retried.values())
        run.display.say(f"{n:,} document{'s' * (n != 1)} without a label to be asked about again (--retry-errors)")
        before = without(before, retried)
        steps = ([Unlabelled(run.output, plan, inputs.reading, instance, retried)], [Whole()])
    pending = before.pending(len(plan.ranges), [instance])
    run.display.say(f"domains by {tagger.answered_by}")
    allowance = None
    if is_asking and pending:
        allowance = budget(engine, plan, tagger, pending, steps[0])
        messages.append(allowance.message)
    workers = workers_asking(options, is_asking=allowance is not None)
    with asking(run, tagger, allowance):
        engine.compute(plan, [instance], before, workers=workers, threads=is_asking, around=steps)
    found = label_counts(run, plan, instance)
    summary = summarise(run.output, plan, [instance], run.ledger.totals, "domain", {"domain": _told(tagger, found)})
    with run.output.publishing(PREDICTED) as sink:
        for block in predicted_csv(run, inputs, plan, instance, options.with_text):
            sink.write(block)
    if run.result_file is not None and run.result_file.lower().endswith(".csv"):
        publish_main(run, predicted_csv(run, inputs, plan, instance, options.with_text))
    else:
        publish_result(run, plan, [instance], summary)
    if not is_asking:
        return run.finish(summary)
    messages += oddities(run, tagger, found)
    result = run.finish(summary)
    result.messages[:0] = messages
    return result


def oddities(run: Run, tagger: Domain, found: Mapping[str, Any], again: str = "--retry-errors") -> list[str]:
    """Say, and return, for how many documents the model gave no proper answer; those that got no label go into the ledger,
    where they count for the exit code as rows in quarantine do.

    again  the option with which documents without a label are asked about again
    """
    off_menu, errors, asked = found["off_menu"], found["errors"], found["asked"]
    told = []
    if off_menu > ODD_SHARE * asked:
        told.append(
            f"{off_menu:,} of {asked:,} documents asked about got an answer that is none of the choices, which counts as the "
            f"negative one (column is_off_menu): is {tagger.model} the right model for this tree?"
        )
    allowed = run.ledger.allowed(run.options.max_quarantined) if run.options.max_quarantined is not None else 0
    if off_menu > max(MOST_SHARE * asked, allowed):
        run.ledger.doubt("more than half of the documents asked about are off the menu")
        told[-1] += " More than half are off the menu: exit 3, unless --max-quarantined allows that many"
    cut = run.ledger.llm.get("cut_prompts", 0)
    if cut:
        told.append(
            f"the endpoint counted fewer prompt tokens than {cut:,} of {asked:,} documents have at least: it drops a part of long "
            f"prompts without an error, so these labels are not of the whole document. {LONGER_CONTEXT}"
        )
    if cut > MOST_SHARE * asked:
        run.ledger.doubt("the endpoint shortened more than half of the documents")
    if n := errors.total():
        why = errors.most_common(1)[0][0]
        told.append(
            f"{n:,} of {asked:,} documents asked about got no label (column error says why; most often: {shortened(why)}). The "
            f"same command does not ask about them again; with {again} it does"
        )
    run.ledger.enter_unlabelled(errors.total())
    for message in told:
        run.display.announce(message)
    return told


def shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _dry_run(run: Run, inputs: Inputs, engine: Engine, plan: Plan, instance: Instance) -> Result:
    tagger = instance.tagger
    assert isinstance(tagger, Domain)
    more: dict[str, Any] = {"backend": tagger.answered_by}
    if tagger.backend == "openai":
        cost = cost_of(engine, plan, tagger, range(len(plan.ranges)))
        more |= {"documents_to_ask": cost.documents, "calls_at_most": cost.calls, "tokens_at_most": cost.tokens}
    return dry_run(run, inputs, engine, plan, [instance], more)


def label_counts(run: Run, plan: Plan, instance: Instance) -> dict[str, Any]:
    """Labels, how many of the labelled documents are English, how many documents a model was asked about, how many of these got
    an answer that is off the menu, and why others got none, over all parts; without documents that were not selected."""
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    english = asked = off_menu = 0
    for table in joined(run.output, plan.files, [instance]):
        table = table.filter(pc.fill_null(pc.not_equal(table["stage"], NOT_SELECTED), True))  # noqa: PLW2901
        asked += pc.sum(pc.greater(table["n_calls"], 0)).as_py() or 0
        off_menu += pc.sum(table["is_off_menu"]).as_py() or 0
        errors.update(table["error"].drop_null().to_pylist())
        for prediction, language in zip(table["prediction"].to_pylist(), table["language"].to_pylist(), strict=True):
            label = ERROR if prediction is None else prediction
            labels[label] += 1
            english += label not in LEFT_OUT and language == "en"
    return {"labels": labels, "english": english, "asked": asked, "off_menu": off_menu, "errors": errors}


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
    return value


def workers_asking(options: Options, *, is_asking: bool) -> int | None:
    """How many chunks are computed at once while an LLM is asked; None where none is."""
    return options.workers or RANGES_AT_ONCE if is_asking else None


def predicted_csv(run: Run, inputs: Inputs, plan: Plan, instance: Instance, with_text: bool) -> Iterator[bytes]:
    """id, language, prediction, backend (and text) of every document, in plan order; an empty prediction is an error."""
    columns = ["id", "language", "prediction", "backend", *(["text"] if with_text else [])]
    yield csv_line(columns).encode()
    for table in joined(run.output, plan.files, [instance], inputs.reading if with_text else None):
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        yield "".join(map(csv_line, rows)).encode()


PIPELINE = Pipeline(instances, execute, lambda _: "domain")

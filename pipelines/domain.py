"""`tagcorpus run domain`: one domain label per document, by an LLM's stage tree or by the embedded fastText model.

Which of the two answers is decided here, once, before anything is read; workers only ever get the decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import joined
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.filtering.rewrite import csv_line
from tagcorpus.pipelines.labelling.backend import settle_backend
from tagcorpus.pipelines.labelling.budget import dry_run_entries
from tagcorpus.pipelines.labelling.label_counts import label_counts, oddities, percentages
from tagcorpus.pipelines.labelling.label_documents import label_documents
from tagcorpus.pipelines.labelling.pilot import pilot
from tagcorpus.pipelines.options.commands.domain import DomainOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_main, publish_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers.domain import Domain

PREDICTED = "predicted_domains.csv"


def instances(options: Options) -> dict[str, str]:
    """The one instance, with the backend decided in its parameters."""
    settle_backend(options)
    return {"domain": "domain"}


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Label, and publish predicted_domains.csv, the summary and the main result where one file was asked for."""
    options = run.options
    assert isinstance(options, DomainOptions)
    (instance,) = built
    tagger = instance.tagger
    assert isinstance(tagger, Domain)
    plan = plan_of(run, inputs, engine)
    if options.dry_run:
        return dry_run(run, inputs, engine, plan, built, dry_run_entries(engine, plan, tagger))
    if options.pilot:
        return pilot(run, engine, plan, tagger)
    messages = label_documents(engine, plan, instance)
    label_totals = label_counts(run, plan, instance)
    domains = {"domain": _domain_summary(tagger, label_totals)}
    with run.display.phase("summary"):
        summary = summarise(run.output, plan, [instance], run.ledger.totals, "domain", domains)
    with run.output.publishing(PREDICTED) as sink:
        for block in predicted_csv(run, inputs, plan, instance, options.with_text):
            sink.write(block)
    if run.result_file is not None and run.result_file.lower().endswith(".csv"):
        publish_main(run, predicted_csv(run, inputs, plan, instance, options.with_text))
    else:
        publish_result(run, plan, [instance], summary)
    if tagger.backend != "openai":
        return run.finish(summary)
    messages += oddities(run, tagger, label_totals)
    result = run.finish(summary)
    result.messages[:0] = messages
    return result


def _domain_summary(tagger: Domain, label_totals: dict[str, Any]) -> dict[str, Any]:
    labels = label_totals["labels"]
    value = {
        "backend": tagger.answered_by,
        "labels": dict(sorted(labels.items(), key=lambda item: (-item[1], item[0]))),
        "percentages": percentages(labels, label_totals["english"]),
    }
    if tagger.backend != "openai":
        value["agreement_with_reference"] = tagger.figures
    else:
        value |= {"asked": label_totals["asked"], "off_menu": label_totals["off_menu"]}
        value["answered_by"] = dict(sorted(label_totals["models"].items()))
    return value


def predicted_csv(run: Run, inputs: Inputs, plan: Plan, instance: Instance, with_text: bool) -> Iterator[bytes]:
    """id, language, prediction, backend (and text) of every document, in plan order; an empty prediction is an error."""
    columns = ["id", "language", "prediction", "backend", *(["text"] if with_text else [])]
    yield csv_line(columns).encode()
    for table in joined(run.output, plan.files, [instance], inputs.reader_options if with_text else None):
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        yield "".join(map(csv_line, rows)).encode()


PIPELINE = Pipeline(instances, execute)

"""`tagcorpus run annotate`: the properties that a schema declares, for every document, by an endpoint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import joined
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.steps import Read
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.labelling.backend import note_endpoint
from tagcorpus.pipelines.labelling.budget import dry_run_entries
from tagcorpus.pipelines.labelling.label_counts import oddities
from tagcorpus.pipelines.labelling.label_documents import label_documents
from tagcorpus.pipelines.labelling.pilot import pilot
from tagcorpus.pipelines.options.commands.domain import AnnotateOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers._annotation.read import parse_schema, preset_names, read_schema
from tagcorpus.taggers._annotation.schema import Inquiry
from tagcorpus.taggers.annotate import Annotate

TAGGER = "annotate"


def instances(options: Options) -> dict[str, str]:
    """The one instance, with the name of its schema. ConfigError without a schema."""
    assert isinstance(options, AnnotateOptions)
    if options.ask and not options.show:
        raise ConfigError("--ask needs --show N")
    if TAGGER in options.parameters or not options.parameters:
        parameters = options.parameters.pop(TAGGER, {})
        schema = parameters.get("schema")
        if not isinstance(schema, str) or not schema:
            raise ConfigError(f"--schema is missing: name a file, or a packaged schema ({', '.join(preset_names())})")
        options.parameters[parse_schema(read_schema(schema), schema).name] = parameters
    (name,) = options.parameters
    note_endpoint(options, options.parameters[name])
    return {name: TAGGER}


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Annotate, and publish the summary and the main result where one file was asked for."""
    options = run.options
    assert isinstance(options, AnnotateOptions)
    (instance,) = built
    tagger = instance.tagger
    assert isinstance(tagger, Annotate)
    plan = plan_of(run, inputs, engine)
    if options.dry_run:
        shown = _shown(engine, plan, tagger, options) if options.show else []
        entries = dry_run_entries(engine, plan, tagger) | ({"shown": shown} if shown else {})
        return dry_run(run, inputs, engine, plan, built, entries)
    if options.pilot:
        return pilot(run, engine, plan, tagger)
    messages = label_documents(engine, plan, instance)
    counts = _answer_counts(run, plan, instance)
    totals = {"asked": counts["asked"], "errors": counts["errors"].total(), "answered_by": dict(sorted(counts["models"].items()))}  # fmt: skip
    with run.display.phase("summary"):
        more = {"annotation": totals}
        summary = summarise(
            run.output, plan, [instance], run.ledger.totals, TAGGER, more, reader_options=engine.reader_options
        )
    publish_result(run, plan, [instance], summary)
    messages += oddities(run, tagger, counts)
    result = run.finish(summary)
    result.messages[:0] = messages
    return result


def _answer_counts(run: Run, plan: Plan, instance: Instance) -> dict[str, Any]:
    """How many documents a model was asked about, why some got no values, and which models answered."""
    models: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    n_asked = 0
    for table in joined(run.output, plan.files, [instance]):
        n_asked += sum(n > 0 for n in table["n_calls"].to_pylist())
        errors.update(table["error"].drop_null().to_pylist())
        models.update(name for names in table["answered_by"].drop_null().to_pylist() for name in names.split(", "))
    return {"asked": n_asked, "off_menu": 0, "errors": errors, "models": models}


class _Texts:
    """Yields the first texts of a chunk that are asked about."""

    def __init__(self, tagger: Annotate, n: int) -> None:
        self.tagger, self.n = tagger, n

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[list[str]]:
        texts: list[str] = []
        for item in data:
            if isinstance(item, TaggedBatch) and len(texts) < self.n:
                texts += [text for text in item.documents.texts if not self.tagger.questions.is_short(text)]
        yield texts[: self.n]


def _shown(engine: Engine, plan: Plan, tagger: Annotate, options: AnnotateOptions) -> list[str]:
    """The prompts about the first documents, with the answers where the user asks for them."""
    texts: list[str] = []
    steps: list[Step] = [Read(plan, engine.reader_options), _Texts(tagger, options.show)]
    for rank in range(len(plan.chunks)):
        if len(texts) < options.show:
            texts += engine.over_chunks(plan, [rank], steps, "reading documents", threads=True)[rank][0]
    schema = tagger.questions
    inquiries: list[Inquiry | None] = [None] * len(texts)
    if options.ask:
        try:
            inquiries = [*tagger.inquire(texts[: options.show])]
        finally:
            tagger.close()
    shown = []
    for i, (text, inquiry) in enumerate(zip(texts[: options.show], inquiries, strict=False), 1):
        windows = schema.shown(text)
        for j, window in enumerate(windows):
            place = f", window {j + 1} of {len(windows)}" if len(windows) > 1 else ""
            lines = [f"--- document {i}{place}"]
            lines += [f"[{message['role']}]\n{message['content']}" for message in schema.messages(window)]
            if inquiry is not None and j < len(inquiry.answers):
                lines.append(f"[answer]\n{inquiry.answers[j]}")
            shown.append("\n".join(lines))
        if inquiry is not None:
            values = json.dumps(inquiry.values(), ensure_ascii=False)
            shown.append(f"[error]\n{inquiry.error}" if inquiry.error else f"[values]\n{values}")
    return shown


PIPELINE = Pipeline(instances, execute)

"""The pass that labels documents: it looks up the parts that are done, announces the cost, and computes the rest."""

from __future__ import annotations

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.batching.rounds import Rounds
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.some_rows import Whole
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.labelling.budget import LABEL_LESS, asking, budget
from tagcorpus.pipelines.labelling.unlabelled import to_retry
from tagcorpus.pipelines.options.commands.domain import AnnotateOptions, AskingOptions, DomainOptions
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger

# Chunks labelled at once by an LLM: the endpoint stays busy at the end of each.
CHUNKS_AT_ONCE = 4


def label_documents(
    engine: Engine,
    plan: Plan,
    instance: Instance,
    *,
    choose: Step | None = None,
    absent_stage: str = "",
    is_later_pass: bool = False,
    label_less: str = LABEL_LESS,
) -> list[str]:
    """Label the documents that have no label yet; with --retry-errors, also those that got an error.

    choose         passes on only the documents to label; None = all
    absent_stage   stage of the documents that are not chosen
    is_later_pass  whether an earlier pass has said the plan's size
    label_less     how the user can have fewer documents labelled
    Returns the message that announced the cost; no message where no request is needed. Raises ConfigError and BudgetError as
    `budget` does, before the first request.
    """
    run, tagger = engine.run, instance.tagger
    assert isinstance(tagger, EndpointTagger)
    assert isinstance(run.options, DomainOptions | FeaturesOptions | AnnotateOptions)
    answerer = tagger.subject
    is_asking = tagger.is_asking
    steps = [choose] if choose is not None else []
    before = engine.prepare(plan, [instance], size=answerer if is_later_pass else "")
    if run.options.retry_errors:
        before, steps = to_retry(engine, plan, instance, before, choose)
    pending = before.pending(len(plan.chunks), [instance])
    if not is_later_pass:
        run.display.say(answerer)
    allowance = workers = None
    if is_asking and pending:
        allowance = budget(engine, plan, tagger, pending, steps, label_less)
        workers = run.options.workers or CHUNKS_AT_ONCE
    with asking(run, tagger, allowance):
        batch = run.options.batch if isinstance(run.options, AskingOptions) and allowance is not None else None
        if batch is not None and isinstance(run.options, AskingOptions):
            rounds = Rounds(engine, tagger, batch, run.options.batch_tokens, may_retry=run.options.retry_errors)
            rounds.complete(plan, pending, steps)
        around = (steps, [Whole(absent_stage)])
        engine.compute(plan, [instance], before, workers=workers, threads=is_asking, around=around)
    return [allowance.message] if allowance is not None else []

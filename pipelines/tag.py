"""`tagcorpus run tag`: documents through any taggers, in one pass, with a summary of every column."""

from __future__ import annotations

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.summary import spread_columns, summarise
from tagcorpus.pipelines.dispatch.dry_run import dry_run
from tagcorpus.pipelines.dispatch.pipeline import Pipeline
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_file import publish_result
from tagcorpus.pipelines.runs.run import Run


def instances(options: Options) -> dict[str, str]:
    """Instance name -> tagger name."""
    assert isinstance(options, TagOptions)
    return instance_names(options.taggers)


def execute(run: Run, inputs: Inputs, engine: Engine, built: list[Instance]) -> Result:
    """Tag, summarise, and publish the main result where one file was asked for."""
    plan = plan_of(run, inputs, engine)
    if run.options.dry_run:
        return dry_run(run, inputs, engine, plan, built)
    engine.tag(plan, built)
    columns = spread_columns(engine.each, run.output, plan, built)
    with run.display.phase("summary"):
        summary = summarise(
            run.output, plan, built, run.ledger.totals, "tag", reader_options=inputs.reader_options, columns=columns
        )
    publish_result(run, plan, built, summary)
    return run.finish(summary)


PIPELINE = Pipeline(instances, execute)

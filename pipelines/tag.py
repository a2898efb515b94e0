"""`tagcorpus run tag`: documents through any taggers, in one pass, with a summary of every column."""

from __future__ import annotations

from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.options.of_pipelines import Options, TagOptions
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.pipelines.outputs.results import publish_result
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.outputs.summary import summarise


def instances(options: Options) -> dict[str, str]:
    """Instance name -> tagger name."""
    assert isinstance(options, TagOptions)
    return instance_names(options.taggers)


def run(job: Job, built: list[Instance]) -> Result:
    """Tag, summarise, and publish the main result where one file was asked for."""
    plan = job.plan()
    if job.options.dry_run:
        return job.dry_run(plan, built)
    job.tag(plan, built)
    summary = summarise(job.output, plan, built, job.ledger.totals, "tag", reading=job.reading)
    publish_result(job, plan, built, summary)
    return job.finish(summary)

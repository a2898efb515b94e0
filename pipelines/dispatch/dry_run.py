"""`--dry-run`: what a run would compute and about what it would cost, without writing anything or asking an LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.resuming import ResumeState, resume_state
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.estimate import estimate
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.run import Run

# Pipelines whose work is their taggers'; a dry run begins some of it to see what it costs.
PROBED = ("tag", "filter", "domain", "features")


def dry_run(
    run: Run,
    inputs: Inputs,
    engine: Engine,
    plan: Plan,
    instances: Sequence[Instance],
    more: Mapping[str, Any] | None = None,
) -> Result:
    """The Result of a run that only looked. more: further entries of its value."""
    before = ResumeState({}, 0)
    if not run.options.overwrite:
        before = resume_state(run.output, plan, inputs.reader_options, instances, is_onlooker=True)
    pending = before.pending(len(plan.chunks), instances)
    is_probed = run.pipeline in PROBED and not any(getattr(i.tagger, "worst_case_calls", 0) for i in instances)
    todo = before.todo(len(plan.chunks), instances)
    cost = estimate(run.output, plan, inputs.reader_options, instances, todo, is_probed=is_probed)
    value = {
        "files": len(plan.files),
        "rows": plan.rows,
        "chunks": len(plan.chunks),
        "chunks_to_compute": len(pending),
        "input_bytes": sum(f.size() for f in inputs.files),
        **cost,
        "instances": [i.name for i in instances],
        "workers": min(engine.workers, max(len(pending), 1)),
        "output": str(run.output),
        **(more or {}),
    }
    return Result(run.pipeline, str(run.output), 0, Counts(), {"dry_run": value}, "", run.messages())

"""What makes a pipeline: the taggers it uses, the name of its summary, and the function that does its work."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.run import Run


@dataclass(frozen=True)
class Pipeline:
    """The attribute PIPELINE of `tagcorpus.pipelines.<name>`.

    instances     instance name -> tagger name, checked; may complete the options' parameters
    execute       the work, with the built instances
    summary_name  file of the summary without its suffix; None = the name of the pipeline
    groupings     further instances, whose columns the reader must have
    """

    instances: Callable[[Options], dict[str, str]]
    execute: Callable[[Run, Inputs, Engine, list[Instance]], Result]
    summary_name: Callable[[Options], str] | None = None
    groupings: Callable[[Options], Sequence[Instance]] = lambda _options: ()


def pipeline_of(name: str) -> Pipeline:
    """The pipeline of this name; only its own module is imported."""
    pipeline: Pipeline = importlib.import_module(f"tagcorpus.pipelines.{name}").PIPELINE
    return pipeline

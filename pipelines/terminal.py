"""What the command line prints: configurations, and the result of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.dispatch.early_start import early_workers
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.load import check_sections, load_options, parameters_of
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.progress.wrapping import terminal_width


def run(pipeline: str, config_file: str | None, sets: Sequence[str], given: Mapping[str, Any]) -> int:
    """Run a pipeline for the command line: results to stdout, everything else to stderr. Returns the exit code."""
    # Python processes that libraries start, such as multiprocessing's resource tracker, import nothing from this folder.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    options = load_options(pipeline, config_file, sets, given)
    with early_workers(pipeline, options):
        return _run(pipeline, options)


def _run(pipeline: str, options: Options) -> int:
    from tagcorpus.pipelines.execution import late_pandas  # which imports pyarrow, as the others do

    late_pandas.postpone()
    from tagcorpus.pipelines.dispatch.conduct import Terminated, as_json
    from tagcorpus.pipelines.run import run_pipeline
    from tagcorpus.pipelines.runs.result_text import table

    display = Display()
    try:
        result = run_pipeline(pipeline, options, display)
    except KeyboardInterrupt:
        display.say(f"interrupted; {_going_on(options)}")
        return 130
    except Terminated:
        display.say(f"terminated; {_going_on(options)}")
        return 143
    result_file = options.output if (options.output or "").lower().endswith(options.RESULT_SUFFIXES) else None
    text = as_json(result) if options.json else table(result, result_file, terminal_width(sys.stdout))
    print(printable(text), file=sys.stdout)
    return result.exit_code


def _going_on(options: Options) -> str:
    again = "the same command without --overwrite" if options.overwrite else "the same command"
    return f"finished chunks are kept, {again} continues from there"


def config(pipeline: str, config_file: str | None, sets: Sequence[str]) -> str:
    """The effective options of a pipeline as YAML."""
    from tagcorpus.pipelines.dispatch.pipeline import pipeline_of
    from tagcorpus.pipelines.options.pages import to_yaml

    options = load_options(pipeline, config_file, sets)
    instances = pipeline_of(pipeline).instances(options)
    check_sections(options, instances)
    return to_yaml(options, {n: parameters_of(n, t, options.parameters.get(n, {})) for n, t in instances.items()})

"""The pipelines as functions of their options: what `tagcorpus run PIPELINE` and `tagcorpus.run` call."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tagcorpus.errors import TagcorpusError, is_lack_of_memory, out_of_memory, printable_values
from tagcorpus.pipelines.config import Options, load_options
from tagcorpus.pipelines.instances import build
from tagcorpus.pipelines.job import Job, Result
from tagcorpus.pipelines.outputs.sidecars import Instance, needed
from tagcorpus.pipelines.progress.display import Display

LISTS = ("input", "glob", "exclude", "tagger_module", "taggers")


class Terminated(BaseException):
    """SIGTERM: end cleanly, like Ctrl-C."""


def run(
    pipeline: str,
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Any,
) -> Result:
    """Run a pipeline; keyword options are the keys of `tagcorpus config PIPELINE`, tagger parameters among them as
    mappings (`tokens={"tokenizer": "cl100k_base"}`). Paths may be path objects; one value will do where a list is meant.

    Returns a Result whose exit_code is 0, 1 or 3. Raises TagcorpusError (its exit_code says which kind), and
    KeyboardInterrupt where it is interrupted: published parts stay, and the same call goes on from there.
    """
    nested: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            nested.update({f"{key}.{k}": _plain(v) for k, v in value.items()})
        else:
            found = _plain(value)
            nested[key] = [found] if key in LISTS and isinstance(found, str) else found
    effective = load_options(pipeline, config, sets, nested)
    return run_options(pipeline, effective, display or Display(quiet=True))


def _plain(value: Any) -> Any:
    """Path objects as strings, also within a list."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def run_options(
    pipeline: str, options: Options, display: Display, make_job: Callable[[str, Options, Display], Job] | None = None
) -> Result:
    """Run a pipeline whose options are already put together, as a Job or what `make_job` makes of it."""
    if options.executor == "slurm" and not options.dry_run and make_job is None:
        from tagcorpus.pipelines.slurm.launching import launch

        return launch(pipeline, options, display)
    module = importlib.import_module(f"tagcorpus.pipelines.{pipeline}")
    instances = build(options, module.instances(options))  # before anything is read, standard input above all
    body: Callable[[Job, list[Instance]], Result] = module.run
    job = (make_job or Job)(pipeline, options, display)
    job.reading = replace(job.reading, columns=needed(instances))
    try:
        with _termination():
            if not options.dry_run:
                job.write_command()
            job.connect()
            return body(job, instances)
    except (TagcorpusError, KeyboardInterrupt, Terminated, MemoryError, RuntimeError) as error:
        if isinstance(error, TagcorpusError) and error.exit_code in (4, 5) and job.ledger.totals.is_broken:
            error.exit_code = 1  # what is broken stays broken, however often the command is run
        is_without_memory = is_lack_of_memory(error)
        if isinstance(error, RuntimeError) and not is_without_memory:
            raise
        if not options.dry_run:
            _last_words(job, error)
        if is_without_memory:
            raise out_of_memory(error) from error
        raise
    finally:
        job.close()


def _last_words(job: Job, error: BaseException) -> None:
    """Ledger of a run that did not come to its end. A full disk must not hide the first error behind a second."""
    code = 143 if isinstance(error, Terminated) else 130 if isinstance(error, KeyboardInterrupt) else 1
    code = error.exit_code if isinstance(error, TagcorpusError) else code
    try:
        job.write_ledger(code, error=str(error) or type(error).__name__)
    except TagcorpusError:
        pass


@contextmanager
def _termination() -> Iterator[None]:
    """Turn SIGTERM into an exception while the run lasts (only the main thread may)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_signal: int, _frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def as_json(result: Result) -> str:
    """The result as one JSON object, for `--json`."""
    value = {
        "pipeline": result.pipeline,
        "output": result.output,
        "exit_code": result.exit_code,
        "counts": result.counts.to_json(),
        "messages": result.messages,
        "ledger": result.ledger,
        "summary": result.summary,
    }
    return json.dumps(printable_values(value), indent=1)

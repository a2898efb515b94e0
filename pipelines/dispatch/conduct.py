"""A run from its begin to its end: what it reads, writes and computes with, its errors, its last words."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from tagcorpus.errors import ConfigError, ReplacedError, TagcorpusError, is_lack_of_memory, out_of_memory, valid_values
from tagcorpus.pipelines.attributes.parts import needed
from tagcorpus.pipelines.dispatch.pipeline import pipeline_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.readers.plan import forget
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.instances import build
from tagcorpus.pipelines.runs.place import among_inputs, place_of
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.folder import sweep_temporary_folders
from tagcorpus.pipelines.storage.sealed import opened


class Terminated(BaseException):
    """SIGTERM: end cleanly, like Ctrl-C."""


def begin(
    pipeline: str,
    options: Options,
    display: Display,
    columns: Sequence[str],
    stack: ExitStack,
    make_inputs: Callable[..., Inputs] = Inputs,
    make_run: Callable[..., Run] = Run,
    make_engine: Callable[..., Engine] = Engine,
) -> tuple[Run, Inputs, Engine]:
    """What a run reads, writes and computes with. columns: those that taggers need; stack: ends what is begun here."""
    inputs = make_inputs(options, columns, display, stack)
    place = place_of(pipeline, options, inputs.files)
    if note := among_inputs(place, inputs.files):
        display.say(note)
    name_of = pipeline_of(pipeline).summary_name
    run = make_run(pipeline, options, display, place, summary_name=name_of(options) if name_of else pipeline)
    lines, unasked = inputs.set_aside_lines().values(), inputs.unasked()
    run.repeat_at_the_end(unasked, silent=[line for line in lines if line not in unasked])
    run.ledger.note(*inputs.set_aside_lines(None).values())
    return run, inputs, make_engine(run, inputs, stack)


def run_options(
    pipeline: str,
    options: Options,
    display: Display,
    *,
    make_inputs: Callable[..., Inputs] = Inputs,
    make_run: Callable[..., Run] = Run,
    make_engine: Callable[..., Engine] = Engine,
) -> Result:
    """Run a pipeline whose options are already put together. The factories are those of another executor."""
    definition = pipeline_of(pipeline)
    instances = build(options, definition.instances(options))  # before anything is read, standard input above all
    columns = needed([*instances, *definition.groupings(options)])
    stack = ExitStack()
    make = (make_inputs, make_run, make_engine)
    run, inputs, engine = begin(pipeline, options, display, columns, stack, *make)
    try:
        with _termination():
            if not options.dry_run:
                run.write_command([f.path for f in inputs.files])
            engine.connect()
            return definition.execute(run, inputs, engine, instances)
    except (TagcorpusError, KeyboardInterrupt, Terminated, MemoryError, RuntimeError) as error:
        if isinstance(error, ReplacedError):
            error.args = (f"{error}{_other_run(run)}",)
        if isinstance(error, TagcorpusError) and error.exit_code in (4, 5) and run.ledger.totals.is_broken:
            error.exit_code = 1  # what is broken stays broken, however often the command is run
        is_without_memory = is_lack_of_memory(error)
        if isinstance(error, RuntimeError) and not is_without_memory:
            raise
        if not options.dry_run:
            if isinstance(error, TagcorpusError):
                _forget(run, inputs, error)
            if not _is_withdrawn(run, error):
                _last_words(run, error)
        if is_without_memory:
            raise out_of_memory(error) from error
        raise
    finally:
        _clean_up(run, engine, stack)


def _clean_up(run: Run, engine: Engine, stack: ExitStack) -> None:
    """Remove this run's temporary files, and those that other runs left more than a day ago. The ledger already says how the
    run ended: a failure here is said and changes nothing about that."""
    for clean in (
        stack.close,
        run.heartbeat.stop,
        lambda: run.output.sweep(engine.suffixes()),
        sweep_temporary_folders,
    ):
        try:
            clean()
        except Exception as error:
            with suppress(Exception):
                run.display.say(f"something could not be cleaned up: {type(error).__name__}: {error}")


def _forget(run: Run, inputs: Inputs, error: TagcorpusError) -> None:
    """The plan of an input that does not fit it must not be believed again. A full disk must not hide the error."""
    with suppress(TagcorpusError):
        forget(run.output, inputs.files, error)


def _other_run(run: Run) -> str:
    """The newest other run on the output, in words: very likely the one that replaced what this run had made."""
    others = {n.split("/")[1] for n in run.output.files("runs") if n.endswith("/command.json")} - {run.name}
    if not others:
        return ""
    name = max(others)
    command = (opened(run.output.read(f"runs/{name}/command.json")) or {}).get("command")
    return f" (the newest other run there is {name}{f': {command}' if command else ''})"


def _is_withdrawn(run: Run, error: BaseException) -> bool:
    """Whether the run was refused (exit 2) before it did anything, so that nothing of it is left in the output."""
    if not isinstance(error, TagcorpusError) or error.exit_code != ConfigError.exit_code:
        return False
    with suppress(Exception):  # the error that refused the run is the one to show
        return run.withdraw()
    return False


def _last_words(run: Run, error: BaseException) -> None:
    """Ledger of a run that did not come to its end. A full disk must not hide the first error behind a second."""
    code = 143 if isinstance(error, Terminated) else 130 if isinstance(error, KeyboardInterrupt) else 1
    code = error.exit_code if isinstance(error, TagcorpusError) else code
    with suppress(TagcorpusError):
        run.write_ledger(code, error=str(error) or type(error).__name__)


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
        "without_documents": result.without_documents,
        "ledger": result.ledger,
        "summary": result.summary,
    }
    return json.dumps(valid_values(value), indent=1)

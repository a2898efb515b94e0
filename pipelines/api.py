"""The pipelines as functions of their options: what `tagcorpus run PIPELINE` and `tagcorpus.run` call."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal, Unpack, overload

from tagcorpus.errors import ReplacedError, TagcorpusError, is_lack_of_memory, out_of_memory, valid_values
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.inputs import Inputs
from tagcorpus.pipelines.instances import build
from tagcorpus.pipelines.options.declare import fields_of
from tagcorpus.pipelines.options.keywords import (
    DomainKeywords,
    EntropyKeywords,
    FeaturesKeywords,
    FilterKeywords,
    TagKeywords,
)
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.of_pipelines import OPTIONS, Options
from tagcorpus.pipelines.options.python_words import python_words
from tagcorpus.pipelines.outputs.sidecars import needed
from tagcorpus.pipelines.pipeline import pipeline_of
from tagcorpus.pipelines.place import place_of
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.run import Result, Run
from tagcorpus.pipelines.sealed import opened
from tagcorpus.pipelines.sources.plan import forget
from tagcorpus.pipelines.storage import own_suffix, sweep_temporary_folders


class Terminated(BaseException):
    """SIGTERM: end cleanly, like Ctrl-C."""


@overload
def run(
    pipeline: Literal["tag"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[TagKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["filter"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[FilterKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["domain"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[DomainKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["entropy"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[EntropyKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["features"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[FeaturesKeywords],
) -> Result: ...


def run(
    pipeline: str,
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Any,
) -> Result:
    """Run a pipeline; keyword options are the keys of `tagcorpus config PIPELINE`.

    pipeline  tag, filter, domain, entropy or features
    config    YAML file of options; sets: "KEY=VALUE" entries; both count less than a keyword
    options   docs/options.md lists them. Parameters of a tagger are a mapping under its name (`tokens={"tokenizer":
              "cl100k_base"}`), or under `parameters` by the name of any instance. Paths may be path objects; one value is
              accepted where a list is meant.

    Returns a Result whose exit_code is 0, 1 or 3. Raises TagcorpusError (its exit_code says which kind) in terms of these
    keywords, and KeyboardInterrupt where the run is interrupted: published parts stay, and the same call goes on from there.
    """
    with python_words():
        effective = load_options(pipeline, config, sets, _keys(pipeline, options), are_keywords=True)
        return run_options(pipeline, effective, display or Display(quiet=True))


def _keys(pipeline: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as values by dotted key."""
    lists = {o.key for o in fields_of(OPTIONS[pipeline]) if o.kind == list[str]} if pipeline in OPTIONS else set()
    keys: dict[str, Any] = {}
    for name, value in {**options, **options.get("parameters", {})}.items():
        if name == "parameters":
            continue
        if isinstance(value, Mapping):
            keys.update({f"{name}.{k}": _plain(v) for k, v in value.items()})
        else:
            plain = _plain(value)
            keys[name] = [plain] if name in lists and isinstance(plain, str) else plain
    return keys


def _plain(value: Any) -> Any:
    """Path objects as strings, also within a list."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


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
    run = make_run(pipeline, options, display, place, summary_name=pipeline_of(pipeline).summary_name(options))
    run.repeat_at_the_end(inputs.set_aside_lines())
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
    if options.executor == "slurm" and not options.dry_run and make_engine is Engine:
        from tagcorpus.pipelines.slurm.launching import launch

        return launch(pipeline, options, display)
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
            _last_words(run, error)
        if is_without_memory:
            raise out_of_memory(error) from error
        raise
    finally:
        _clean_up(run, stack)


def _clean_up(run: Run, stack: ExitStack) -> None:
    """Remove this run's temporary files, and those that other runs left more than a day ago. The ledger already says how the
    run ended: a failure here is said and changes nothing about that."""
    for clean in (stack.close, run.heartbeat.stop, lambda: run.output.sweep({own_suffix()}), sweep_temporary_folders):
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

"""The fork server of a large run starts while this process still imports its own modules and plans.

The server imports and loads what the run's workers share (`warm_up.py`), and every worker is a copy of it. Nothing here decides what
a run computes: a run that never asks for a worker ends the server, and a run without an early server starts one when it needs it.
No heavy import at module level.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterator, Sequence

from tagcorpus.pipelines.execution.scheduling import default_workers
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.processes import end_fork_server, is_fork_server_there, start_fork_server

LEAST_BYTES = 16 << 20
"""Of the input. For less text, no tagger starts Numba or gigatoken in each of two workers."""
WARM_UP = "TAGCORPUS_WARM_UP"
"""Environment variable of the fork server: the pipeline and its options for `warm_up.py`, as JSON."""
WORKER_MODULES = (
    "tagcorpus.pipelines.execution.worker_processes",
    "tagcorpus.pipelines.execution.steps",
    "tagcorpus.pipelines.dispatch.warm_up",
)
PIPELINES = ("tag", "entropy")


@contextlib.contextmanager
def early_workers(pipeline: str, options: Options) -> Iterator[None]:
    """Start the fork server now, if the run is sure to be large and to compute here; end it with the block.

    A fork server that exists already, of the program that calls us, is used as it is and not ended.
    """
    if pipeline not in PIPELINES or not is_large(options) or is_fork_server_there():
        yield
        return
    names = ("taggers", "parameters", "tokenizer", "pattern", "engine", "method")
    shared = {name: getattr(options, name) for name in names if hasattr(options, name)}
    start_fork_server(WORKER_MODULES, {WARM_UP: json.dumps({"pipeline": pipeline, **shared}, default=str)})
    try:
        yield
    finally:
        end_fork_server()


def is_large(options: Options) -> bool:
    """Whether a run has several workers on this machine and much input in local files. False where that takes more than a look."""
    if options.executor != "local" or options.dry_run or (options.workers or default_workers()) == 1:
        return False
    if options.limit is not None or options.sample is not None or options.tagger_module:
        return False
    output = options.work or options.output
    is_finished = output is not None and os.path.isdir(os.path.join(output, "summary")) and not options.overwrite
    return not is_finished and _has_bytes(options.input, LEAST_BYTES)


def _has_bytes(arguments: Sequence[str], n_bytes: int) -> bool:
    left = n_bytes
    for argument in arguments:
        for path in [argument] if os.path.exists(argument) else glob.iglob(argument):
            for size in _sizes(path):
                left -= size
                if left <= 0:
                    return True
    return False


def _sizes(path: str) -> Iterator[int]:
    """Sizes of a file, or of the files in a folder."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in files if os.path.isdir(path) else [path]:
        with contextlib.suppress(OSError):
            yield os.path.getsize(file)

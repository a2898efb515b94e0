"""Where Python processes that this package starts look for modules: not in the current folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Python processes that start within the block import nothing from the current folder.

    `python -c`, by which multiprocessing starts its fork server and its resource tracker, puts the current folder first on
    sys.path, and workers get a copy of this process's sys.path. A `queue.py` in a folder of data would be executed. A folder
    that the user chose keeps a place: each one in PYTHONPATH, and, behind all others, the folder of the script that runs.
    """
    path, chosen = list(sys.path), [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    changed = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(chosen)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    sys.path[:] = path_of_workers(path, chosen)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def path_of_workers(path: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """`path` without the current folder, unless it is one of `chosen`.

    The folder of the script that runs, or of this package, goes to the end: its files stand in for nobody else's.
    """
    try:
        here = os.path.realpath(os.curdir)
    except FileNotFoundError:  # somebody has removed it
        return [p for p in path if p]
    if here in map(os.path.realpath, chosen):
        return list(path)
    script = getattr(sys.modules["__main__"], "__file__", None)
    package = os.path.dirname(__file__)
    roots = [os.path.dirname(p) for p in (script, package) if p]
    left = [p for p in path if os.path.realpath(p) != here]
    return [*left, here] if len(left) < len(path) and here in map(os.path.realpath, roots) else left

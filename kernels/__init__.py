"""Numba kernels: numpy arrays in, numpy arrays out. No Arrow, no files, no configuration.

This package runs before any kernel imports numba, so it chooses the folder for compiled kernels: a folder of the user's cache
whose name has the versions that compiled them, otherwise the temporary folder. The working directory and the installation are
never used.
"""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import version


def _cache_folder() -> str:
    """A writable folder for compiled kernels."""
    name = f"numba-{version('numba')}-numpy-{version('numpy')}-py{platform.python_version()}-{platform.machine()}"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for root in (base if os.path.isabs(base) else "", os.path.join(tempfile.gettempdir(), f"tagcorpus-{os.getuid()}")):
        if not root:  # "~" of a user without a home
            continue
        folder = os.path.join(root, "tagcorpus", name)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return os.path.join(tempfile.gettempdir(), "tagcorpus", name)


os.environ.setdefault("NUMBA_CACHE_DIR", _cache_folder())


def compiled_since(seconds: float) -> bool:
    """Whether a process of this user has compiled a kernel after this time, in seconds since the epoch."""
    try:
        with os.scandir(os.environ["NUMBA_CACHE_DIR"]) as folders:
            return any(folder.stat().st_mtime >= seconds for folder in folders)
    except OSError:
        return False


# Each kernel runs on one thread, whatever the variable says. But numba cannot be imported with an invalid number.
if (
    not os.environ.get("NUMBA_NUM_THREADS", "1").strip().isdecimal()
    or int(os.environ.get("NUMBA_NUM_THREADS", "1")) < 1
):
    os.environ["NUMBA_NUM_THREADS"] = "1"

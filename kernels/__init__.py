"""Numba kernels: numpy arrays in, numpy arrays out. No Arrow, no files, no configuration.

This package runs before any kernel imports numba, so it is the place that says where compiled kernels are kept: in a
folder of the user's cache named by the versions that made them, else in the temporary folder, never in the working
directory or the installation.
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
# Kernels run on one thread each, whatever number is set; but numba cannot be imported with a number that is none.
if (
    not os.environ.get("NUMBA_NUM_THREADS", "1").strip().isdecimal()
    or int(os.environ.get("NUMBA_NUM_THREADS", "1")) < 1
):
    os.environ["NUMBA_NUM_THREADS"] = "1"

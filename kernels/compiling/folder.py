"""The folder for compiled kernels: in the user's cache, else in the temporary folder."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import version

VERSIONS = f"numba-{version('numba')}-numpy-{version('numpy')}-py{platform.python_version()}-{platform.machine()}"
"""What compiled the kernels, and what they call."""


def cache_folder() -> str:
    """The folder, which Numba uses, too. An empty NUMBA_CACHE_DIR would be the working directory."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        os.environ["NUMBA_CACHE_DIR"] = default_folder()
    return os.environ["NUMBA_CACHE_DIR"]


def default_folder() -> str:
    """A folder that can be written, where one of the two can be."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for root in (base if os.path.isabs(base) else "", os.path.join(tempfile.gettempdir(), f"tagcorpus-{os.getuid()}")):
        if not root:  # "~" of a user without a home
            continue
        folder = os.path.join(root, "tagcorpus", VERSIONS)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return os.path.join(tempfile.gettempdir(), "tagcorpus", VERSIONS)

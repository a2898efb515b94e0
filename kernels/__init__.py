"""Numba kernels: numpy arrays in, numpy arrays out. No Arrow, no files, no configuration.

This package runs before any kernel imports numba, so it chooses the folder for compiled kernels: a folder of the user's cache
whose name has the versions that compiled them, otherwise the temporary folder. The working directory and the installation are
never used.
"""

from __future__ import annotations

import os
import sys

from tagcorpus.kernels.compiling.folder import cache_folder

cache_folder()


def compiled_since(seconds: float) -> bool:
    """Whether a process of this user has compiled a kernel after this time, in seconds since the epoch."""
    try:
        with os.scandir(cache_folder()) as folders:
            return any(folder.stat().st_mtime >= seconds for folder in folders)
    except OSError:
        return False


# Each kernel runs on one thread, whatever the variable says. But numba cannot be imported with an invalid number.
if (
    not os.environ.get("NUMBA_NUM_THREADS", "1").strip().isdecimal()
    or int(os.environ.get("NUMBA_NUM_THREADS", "1")) < 1
):
    os.environ["NUMBA_NUM_THREADS"] = "1"
if "numba" in sys.modules:  # a program that imported it before tagcorpus
    sys.modules["numba"].config.reload_config()

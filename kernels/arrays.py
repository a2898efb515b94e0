"""Views, sizes and reuse of arrays, for the wrappers of kernels."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np

_KEPT_BYTES: Final = 1 << 28  # largest buffer of one kind that a thread keeps
_kept = threading.local()


def frozen(array: Any) -> Any:
    """The array as a read-only C-ordered view: kernels compile once for read-only and writable input."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def check_rows(words: int, keys: Any, values: Any) -> None:
    """Raises ValueError unless keys are uint64 [k, words] and values [k]: a kernel would read beyond the shorter one."""
    if keys.dtype != np.uint64 or keys.ndim != 2 or keys.shape[1] != words or values.shape != keys.shape[:1]:
        raise ValueError(
            f"keys must be uint64 [k, {words}] with one value each, got {keys.dtype} {list(keys.shape)} and values "
            f"{list(values.shape)}"
        )


def shortened(array: Any, length: int) -> Any:
    """The first rows of an array that has no other reference. The memory of the other rows is returned."""
    array.resize((length, *array.shape[1:]), refcheck=False)
    return array


def workspace(kind: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array with arbitrary content, valid until this thread asks for the same kind again.

    New memory costs more than the sort that fills it, since the system zeroes every page. So a thread keeps one buffer of a
    kind, unless it is larger than 256 MiB.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = getattr(_kept, kind, None)
    if buffer is None or len(buffer) < n_bytes:
        # A quarter more, so that the next somewhat larger batch fits too.
        buffer = np.empty(min(n_bytes + n_bytes // 4, max(n_bytes, _KEPT_BYTES)) + 7 & ~7, np.uint8)
        setattr(_kept, kind, buffer if len(buffer) <= _KEPT_BYTES else None)
    return buffer[:n_bytes].view(dtype).reshape(shape)


def drop_workspaces() -> None:
    """Returns this thread's buffers to the system, up to 256 MiB of each kind. Arrays that use a buffer keep it alive."""
    _kept.__dict__.clear()

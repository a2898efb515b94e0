"""Views, sizes and reuse of arrays, for the wrappers of kernels; for kernels, a hint about memory and words at any byte."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import config
from numba.core import types
from numba.extending import intrinsic

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


@intrinsic
def _prefetch(_: Any, array: Any, row: Any) -> Any:
    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context.make_array(signature.args[0])(context, builder, arguments[0])
        integer, flag = ir.IntType(64), ir.IntType(32)
        row = context.cast(builder, arguments[1], signature.args[1], types.uint64)
        columns = builder.extract_value(given.shape, 1) if signature.args[0].ndim == 2 else integer(1)
        place = builder.bitcast(builder.gep(given.data, [builder.mul(row, columns)]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(hint, [place, flag(1), flag(3), flag(1)])  # for writing; into every cache; data
        return context.get_dummy_value()

    return types.void(array, row), generated


def _nothing(array: Any, row: Any) -> None:
    """For kernels in plain Python."""


prefetch: Any = _nothing if config.DISABLE_JIT else _prefetch  # type: ignore[attr-defined]
"""prefetch(array, row): for writing, the cache line of array[row], which may be beyond the end; the array is C-ordered.

A counting sort writes to thousands of places in turn. The processor foresees only some dozens of such streams, so that without a
hint nearly every new cache line of a stream is a wait for memory. The hint changes no result.

Source   the LLVM language reference, llvm.prefetch
"""


def _byte_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Where the word at byte arguments[1] of the array begins."""
    given = context.make_array(signature.args[0])(context, builder, arguments[0])
    at = context.cast(builder, arguments[1], signature.args[1], types.uint64)
    return builder.bitcast(builder.gep(given.data, [at]), ir.IntType(64).as_pointer())


@intrinsic
def _word_at(_: Any, array: Any, at: Any) -> Any:
    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_byte_pointer(context, builder, signature, arguments), align=1)

    return types.uint64(array, at), generated


@intrinsic
def _put_word(_: Any, array: Any, at: Any, word: Any) -> Any:  # noqa: ARG001 - the third of the arguments
    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _byte_pointer(context, builder, signature, arguments), align=1)
        return context.get_dummy_value()

    return types.void(array, at, types.uint64), generated


def _plain_word_at(array: Any, at: Any) -> Any:
    return array[int(at) : int(at) + 8].view(np.uint64)[0]


def _plain_put_word(array: Any, at: Any, word: Any) -> None:
    array[int(at) : int(at) + 8] = np.array([word], np.uint64).view(np.uint8)


word_at: Any = _plain_word_at if config.DISABLE_JIT else _word_at  # type: ignore[attr-defined]
"""word_at(array, at): array[at : at + 8] of a C-ordered uint8 array as uint64. All eight bytes must be within the array."""
put_word: Any = _plain_put_word if config.DISABLE_JIT else _put_word  # type: ignore[attr-defined]
"""put_word(array, at, word): writes a uint64 to array[at : at + 8], which must be within the array."""

"""A hint to the processor: a stream of writes will soon come to its next cache line.

A counting sort writes to thousands of places in turn. The processor foresees only some dozens of such streams, so that without
a hint nearly every new cache line of a stream is a wait for memory. The hint changes no result.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import config
from numba.core import types
from numba.extending import intrinsic

_AHEAD: Final = 32  # bytes; measured: from 16 to 64 equally fast where few streams are busy, 32 the best where many are


@intrinsic
def _prefetch(_: Any, array: Any, row: Any) -> Any:
    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context.make_array(signature.args[0])(context, builder, arguments[0])
        integer, flag = ir.IntType(64), ir.IntType(32)
        stride = builder.extract_value(given.strides, 0)
        row = context.cast(builder, arguments[1], signature.args[1], types.uint64)
        place = builder.add(builder.ptrtoint(given.data, integer), builder.mul(row, stride))
        place = builder.inttoptr(builder.add(place, integer(_AHEAD)), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(hint, [place, flag(1), flag(3), flag(1)])  # for writing; into every cache; data
        return context.get_dummy_value()

    return types.void(array, row), generated


def _nothing(array: Any, row: Any) -> None:
    """For kernels in plain Python."""


prefetch: Any = _nothing if config.DISABLE_JIT else _prefetch  # type: ignore[attr-defined]
"""prefetch(array, row): for writing, the cache line _AHEAD bytes after array[row]. It may be beyond the end.

Source   the LLVM language reference, llvm.prefetch
"""

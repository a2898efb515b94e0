"""Sums of many float32 side by side, and eight bytes at once, for kernels: instructions that Numba does not choose by itself.

The values are those of plain float32 loops: each sum is formed in its own order. Widths are constants of the caller's code.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES: Final = 16
"""Sums that `sum_products` forms side by side."""
_variable: Any = cgutils.alloca_once_value
_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _place(builder: Any, array: Any, at: Any, kind: Any) -> Any:
    """A pointer to element `at`, as one to values of a kind."""
    return builder.bitcast(builder.gep(array.data, [at]), kind.as_pointer())


def _loaded(builder: Any, place: Any, align: int) -> Any:
    value = builder.load(place)
    value.align = align
    return value


@intrinsic
def _add_rows(_: Any, sums: Any, column: Any, matrix: Any, rows: Any, n: Any, width: Any) -> Any:
    if not isinstance(width, types.IntegerLiteral):
        return None
    vector = ir.VectorType(_FLOAT, width.literal_value)

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = {i: context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 3)}
        column = context.cast(builder, arguments[1], signature.args[1], types.int64)
        n = context.cast(builder, arguments[4], signature.args[4], types.int64)
        dimension = builder.extract_value(arrays[2].shape, 1)
        target = _place(builder, arrays[0], column, vector)
        total = _variable(builder, _loaded(builder, target, 4))
        with cgutils.for_range(builder, n) as loop:
            row = builder.sext(_loaded(builder, builder.gep(arrays[3].data, [loop.index]), 4), _LONG)
            at = builder.add(builder.mul(row, dimension), column)
            values = _loaded(builder, _place(builder, arrays[2], at, vector), 1)
            builder.store(builder.fadd(builder.load(total), values), total)
        builder.store(builder.load(total), target).align = 4
        return context.get_dummy_value()

    return types.void(sums, column, matrix, rows, n, width), generated


@intrinsic
def _put_product(_: Any, target: Any, at: Any, factor: Any, source: Any, first: Any, width: Any) -> Any:  # noqa: ARG001 - always float32
    if not isinstance(width, types.IntegerLiteral):
        return None
    vector = ir.VectorType(_FLOAT, width.literal_value)

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3))
        at, first = (context.cast(builder, arguments[i], signature.args[i], types.int64) for i in (1, 4))
        factors = ir.Constant(vector, ir.Undefined)
        for i in range(width.literal_value):
            factors = builder.insert_element(factors, arguments[2], _INT(i))
        values = builder.fmul(factors, _loaded(builder, _place(builder, source, first, vector), 1))
        builder.store(values, _place(builder, target, at, vector)).align = 4
        return context.get_dummy_value()

    return types.void(target, at, types.float32, source, first, width), generated


@intrinsic
def _sum_products(_: Any, totals: Any, factors: Any, at: Any, columns: Any, n: Any) -> Any:
    vector = ir.VectorType(_FLOAT, LANES)

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        totals, factors, columns = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 3)
        )
        at, n = (context.cast(builder, arguments[i], signature.args[i], types.int64) for i in (2, 4))
        total = _variable(builder, ir.Constant(vector, [0.0] * LANES))
        everywhere = ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
        with cgutils.for_range(builder, n) as loop:
            factor = _loaded(builder, builder.gep(factors.data, [builder.add(at, loop.index)]), 1)
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), factor, _INT(0))
            same = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)
            column = _loaded(builder, _place(builder, columns, builder.mul(loop.index, _LONG(LANES)), vector), 4)
            builder.store(builder.fadd(builder.load(total), builder.fmul(same, column)), total)
        builder.store(builder.load(total), _place(builder, totals, _LONG(0), vector)).align = 4
        return context.get_dummy_value()

    return types.void(totals, factors, at, columns, n), generated


@intrinsic
def _eight_bytes(_: Any, array: Any, at: Any) -> Any:

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], signature.args[1], types.int64)
        return _loaded(builder, _place(builder, data, at, _LONG), 1)

    return types.uint64(array, at), generated


add_rows: Any = _add_rows
"""add_rows(sums, column, matrix, rows, n, width): add to sums[column : column + width] these columns of n rows, one row after the other.

sums float32 [dimension]; matrix float32 [any, dimension], at any byte; rows int32
"""
put_product: Any = _put_product
"""put_product(target, at, factor, source, first, width): target[at + i] = factor * source[first + i] for i below width, all float32."""
sum_products: Any = _sum_products
"""sum_products(totals, factors, at, columns, n): totals[j] = the sum of factors[at + i] * columns[i, j] over i below n, in this order.

totals float32 [LANES]; factors float32, C-ordered, of which `at` counts single values; columns float32 [n, LANES]
"""
eight_bytes: Any = _eight_bytes
"""eight_bytes(array, at): uint64 of eight bytes of a uint8 array from any position on, the first byte lowest. All must be in the array."""

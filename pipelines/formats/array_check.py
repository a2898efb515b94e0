"""Checks that the offsets and indices of an Arrow array lie inside of its buffers.

Arrow's own validation ends at the first text that is not UTF-8, which costs only one row. This module checks the rest of
such an array.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tagcorpus.pipelines.inputs.values import is_list
from tagcorpus.taggers._interface.arrow import call


def check(array: pa.Array) -> None:
    """Raises ArrowInvalid."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        array.validate()
        _check_inside(array)


def _check_inside(array: pa.Array) -> None:
    """Check nested arrays. Arrow validates the offsets of a string array before its text."""
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        check(array.storage)
    elif pa.types.is_struct(type_):
        for i in range(type_.num_fields):
            check(array.field(i))
    elif pa.types.is_dictionary(type_):
        limits = call("min_max", array.indices).as_py()
        if array.indices.null_count < len(array) and not 0 <= limits["min"] <= limits["max"] < len(array.dictionary):
            raise pa.ArrowInvalid("an index lies outside of its dictionary")
        check(array.dictionary)
    elif is_list(type_) or pa.types.is_map(type_):
        if hasattr(array, "offsets") and not hasattr(array, "sizes"):
            offsets = array.offsets.to_numpy()
            if offsets[0] < 0 or (np.diff(offsets) < 0).any() or offsets[-1] > len(array.values):
                raise pa.ArrowInvalid("a list lies outside of its values")
        check(array.values)

"""Entries (a context and its next token) packed into integers, and the entropies of counted contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from tagcorpus.kernels.buckets import Ids

U64: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"
I64: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
F64: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


class Packing(NamedTuple):
    """The form of entries as integers."""

    n: int
    """Context length, tokens."""
    bits: int
    """Bits of one token id."""
    words: int
    """64-bit words of an entry, and of a context: 1 or 2."""


def packing(n: int, n_vocab: int) -> Packing:
    """The packing of n tokens of context over ids below n_vocab. Raises ValueError where 128 bits do not suffice."""
    if n < 1:
        raise ValueError(f"the context length n must be at least 1 token, got {n}")
    if not 1 <= n_vocab <= 2**32:
        raise ValueError(f"n_vocab must be from 1 to 2^32, got {n_vocab}")
    bits = max(1, (n_vocab - 1).bit_length())
    if (n + 1) * bits > 128:
        raise ValueError(
            f"{n} tokens of context and the next one, {bits} bits each for a vocabulary of {n_vocab}, need "
            f"{(n + 1) * bits} bits; an entry has at most 128: n can be at most {128 // bits - 1}"
        )
    return Packing(n, bits, 1 if (n + 1) * bits <= 64 else 2)


class Entropies(NamedTuple):
    """Contexts, ascending, with figures of their next-token distributions."""

    contexts: U64
    """uint64 [m, words], packed as the entries are (`Packing`), without the next token."""
    counts: I64
    """int64 [m]: positions that have the context and a token after it."""
    distinct: I64
    """int64 [m]: different next tokens."""
    entropy_bits: F64
    """float64 [m]: entropy of the next token, bits; 0.0 exactly where there is only one."""


def checked(ids: Ids, offsets: I64, packing: Packing) -> tuple[Ids, I64]:
    """Both arrays read-only, fit for the kernels. Raises ValueError where a kernel would read or write out of bounds."""
    if ids.dtype not in (np.uint16, np.uint32) or ids.ndim != 1:
        raise ValueError(f"ids must be uint16 or uint32 [n_tokens], got {ids.dtype} {list(ids.shape)}")
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        raise ValueError(f"offsets must be int64 [n_docs + 1], got {offsets.dtype} {list(offsets.shape)}")
    if offsets[0] < 0 or offsets[-1] > len(ids) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"offsets must ascend from 0 or more to at most {len(ids)}, the number of ids")
    used = ids[offsets[0] : offsets[-1]]
    if packing.bits < 8 * ids.itemsize and len(used) and int(used.max()) >> packing.bits:
        raise ValueError(f"token id {int(used.max())} does not fit into {packing.bits} bits: n_vocab was too small")
    from tagcorpus.kernels.arrays import frozen  # and Numba with it, which the process that plans does not need

    return frozen(ids), frozen(offsets)

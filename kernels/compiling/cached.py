"""`njit` for kernels: a compiled kernel comes out of the cache without the start of Numba's compiler.

Before `numba.njit` loads anything from its cache, it imports what compiling needs: the implementations of all functions that kernels
may use, and every package with an extension for Numba, among them scipy and awkward. That costs 0.3 to 0.5 CPU seconds in every
process. A compiled kernel needs none of it, if every symbol of its object code is known.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys
from numba.core.typeinfer import register_dispatcher

from tagcorpus.kernels.compiling.object_code import undefined_symbols

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(*signatures: Any, **options: Any) -> Callable[[Function], Function]:
    """`numba.njit(*signatures, **options)`, with a cache that starts no compiler for a kernel that it has."""
    is_cached = options.pop("cache", False)

    def compiled(function: Function) -> Function:
        dispatcher = numba.njit(**options)(function)
        if inspect.isfunction(dispatcher):  # NUMBA_DISABLE_JIT
            return function
        if is_cached:
            dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
            # Without it, the first call imports the extensions, whose types no kernel takes.
            dispatcher._compilation_chain_init_hook = lambda: None
        if signatures:
            with register_dispatcher(dispatcher):
                for signature in signatures[0] if isinstance(signatures[0], list) else signatures:
                    dispatcher.compile(signature)
            dispatcher.disable_compile()
        return cast(Function, dispatcher)

    return compiled


class _Cache(FunctionCache):
    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled kernel for this signature; None if the cache does not have it."""
        with self._guard_against_spurious_io_errors():
            key = self._index_key(signature, target.codegen())  # type: ignore[no-untyped-call]
            stored = self._cache_file.load(key)  # type: ignore[no-untyped-call]
            if stored is None:
                return None
            rtsys.initialize(target)  # makes the symbols of the memory manager known
            if not are_symbols_known(stored):
                target.refresh()
            return self._impl.rebuild(target, stored)


def are_symbols_known(stored: Any) -> bool:
    """Whether LLVM knows every symbol that a kernel of the cache refers to. LLVM ends the process where one is missing.

    False for object code that is not ELF, and for a form of the cache that another version of Numba may have.
    """
    try:
        _, kind, (object_code, _) = stored[0]
        symbols = undefined_symbols(object_code) if kind == "object" else None
    except (TypeError, ValueError, IndexError):
        return False
    return symbols is not None and all(llvm.address_of_symbol(symbol) for symbol in symbols)

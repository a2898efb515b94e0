"""`njit` for kernels: a compiled kernel comes out of the cache without the start of Numba's compiler.

Before `numba.njit` loads anything from its cache, it imports what compiling needs: the implementations of all functions that kernels
may use, and every package with an extension for Numba, among them scipy and awkward. That costs 0.3 to 0.5 CPU seconds in every
process. A compiled kernel needs none of it, if every symbol of its object code is known.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import llvmlite.binding as llvm
import numba

from tagcorpus.kernels.compiling.folder import VERSIONS, cache_folder
from tagcorpus.kernels.compiling.object_code import undefined_symbols

try:
    from numba.core.caching import FunctionCache
    from numba.core.dispatcher import Dispatcher
    from numba.core.runtime.nrt import rtsys
    from numba.core.serialize import dumps
    from numba.core.typeinfer import register_dispatcher
except ImportError:  # a release that has moved them
    FunctionCache = Dispatcher = object  # type: ignore[assignment,misc]

FOLDER: Final = Path(__file__).parents[1]
Function = TypeVar("Function", bound=Callable[..., Any])

_DIGEST_BYTES: Final = 32
_KEPT_STATES: Final = 20
_PARTS: Final = {
    FunctionCache: ("load_overload", "save_overload", "_index_key"),
    Dispatcher: ("compile", "disable_compile", "enable_caching", "_compilation_chain_init_hook"),
    llvm: ("address_of_symbol",),
}


def has_known_parts() -> bool:
    """Whether this release of Numba has the parts that `_Cache` replaces. They are not of its public interface."""
    return all(hasattr(owner, name) for owner, names in _PARTS.items() for name in names)


def njit(*signatures: Any, **options: Any) -> Callable[[Function], Function]:
    """`numba.njit(*signatures, **options)`, with a cache that starts no compiler for a kernel that it has."""
    if not has_known_parts():
        return cast(Callable[[Function], Function], numba.njit(*signatures, **options))
    is_cached = options.pop("cache", False)

    def compiled(function: Function) -> Function:
        dispatcher = numba.njit(**options)(function)
        if inspect.isfunction(dispatcher):  # NUMBA_DISABLE_JIT
            return function
        if is_cached:
            with contextlib.suppress(RuntimeError, OSError):  # sources that cannot be read, or no folder for a cache
                dispatcher._cache = _Cache(function)
            # Without it, the first call imports the extensions, whose types no kernel takes.
            dispatcher._compilation_chain_init_hook = lambda: None
        if signatures:
            with register_dispatcher(dispatcher):
                for signature in signatures[0] if isinstance(signatures[0], list) else signatures:
                    dispatcher.compile(signature)
            dispatcher.disable_compile()
        return cast(Function, dispatcher)

    return compiled


@functools.cache
def sources_stamp(folder: Path = FOLDER) -> str:
    """A digest of the sources of all kernels. A compiled kernel has the constants and the functions of other modules within it, and
    Numba itself compares the source of the kernel's own module only. Raises RuntimeError where there are no sources."""
    digest, paths = hashlib.sha256(), sorted(folder.rglob("*.py")) or sorted(folder.rglob("*.pyc"))
    if not paths:
        raise RuntimeError(f"no sources in {folder}")
    for path in filter(Path.is_file, paths):  # an editor's lock is a link to nothing
        source = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(source)}\n".encode() + source)
    return digest.hexdigest()


class _Cache(FunctionCache):
    """A folder for each state of the sources, wherever they lie: Ray unpacks them into a new folder for every cluster. In it one
    file for each kernel, signature and processor: a digest, then the key and the compiled kernel.

    Numba's own cache raises for a file that is damaged, or that a full disk refuses. It also writes an index before the kernel: a process
    that ends in between leaves the kernel of older sources behind an index of the new ones.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = hashlib.sha256(f"{VERSIONS} {sources_stamp()}".encode()).hexdigest()[:16]
        self._folder = Path(cache_folder(), f"kernels-{stamp}")
        self._name = f"{function.__module__}.{function.__qualname__}"

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled kernel for this signature; None if the cache does not have it whole."""
        key = self._index_key(signature, target.codegen())  # type: ignore[no-untyped-call]
        try:
            content = self._path(key).read_bytes()
            if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
                return None
            stored_key, stored = pickle.loads(content[_DIGEST_BYTES:])
        except OSError:
            return None
        if stored_key != key:
            return None
        rtsys.initialize(target)  # makes the symbols of the memory manager known
        if not are_symbols_known(stored):
            target.refresh()
        return self._impl.rebuild(target, stored)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write the compiled kernel. Where that is impossible, the next process compiles again."""
        if not self._impl.check_cachable(compiled):
            return
        key = self._index_key(signature, compiled.codegen)  # type: ignore[no-untyped-call]
        content = dumps((key, self._impl.reduce(compiled)))  # type: ignore[no-untyped-call]
        path = self._path(key)
        written = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            if not self._folder.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                _remove_oldest(self._folder.parent)
            written.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(written, path)
        except OSError:
            with contextlib.suppress(OSError):
                written.unlink()

    def _path(self, key: Any) -> Path:
        number = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return self._folder / f"{self._name}-{number}.kernel"


def _remove_oldest(folder: Path) -> None:
    """Keep the kernels of the newest states of the sources only."""
    states = sorted(folder.glob("kernels-*"), key=lambda path: path.stat().st_mtime)
    for state in states[:-_KEPT_STATES]:
        shutil.rmtree(state, ignore_errors=True)


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

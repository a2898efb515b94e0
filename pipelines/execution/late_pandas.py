"""pandas only where something uses it, and not because pyarrow looks whether it is installed.

pyarrow's first `pa.array` imports pandas (0.23 CPU seconds) to recognise what may be pandas objects. `postpone` lets that first
look find nothing. As soon as anything imports pandas, such as a tagger of somebody else, pyarrow looks again, and from then on
treats its objects as always. Only for processes that are this project's own: in others, whoever imports pyarrow decides.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "pandas"


def postpone() -> None:
    """Nothing happens where pandas is imported already or postponed already."""
    if NAME in sys.modules or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    import pyarrow as pa

    finder = _Finder()
    sys.meta_path.insert(0, finder)
    with finder.hiding():
        pa.array([])


class _Finder:
    """Finds pandas as the other finders do, but with a loader that makes pyarrow look again; finds none while it hides it."""

    def __init__(self) -> None:
        self._hidden_from: int | None = None  # a thread
        self._looking: int | None = None  # the thread whose question the other finders are to answer

    @contextlib.contextmanager
    def hiding(self) -> Iterator[None]:
        """For this thread, pandas is not installed."""
        self._hidden_from = threading.get_ident()
        try:
            yield
        finally:
            self._hidden_from = None

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        thread = threading.get_ident()
        if name != NAME or self._looking == thread:
            return None
        if self._hidden_from == thread:
            raise ModuleNotFoundError(f"{NAME} is not needed yet", name=NAME)
        self._looking = thread
        try:
            spec = importlib.util.find_spec(NAME)
        finally:
            self._looking = None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads as the loader it is given, and hands the module over to that one."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        import pyarrow as pa

        pa.array([0]).to_pandas()  # which needs pandas, so pyarrow imports it whatever its first look said

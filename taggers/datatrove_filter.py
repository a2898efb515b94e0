"""Any filter of datatrove as a tagger: its verdict and its reason as columns, and nothing is removed.

A filter is a class derived from datatrove's BaseFilter. It gets documents with a text and an id, without metadata. Changes that a
filter makes to a document (C4QualityFilter drops lines) are dropped: only the verdict counts. Filters that need more (URLFilter
needs an address) fail on every document, and say so.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError, unknown_name
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch

HOME = "datatrove.pipeline.filters"
PASSED = "passed"


@dataclass(frozen=True)
class DatatroveFilter(Parameters):
    """The verdict of a datatrove filter. By default of C4ParagraphFilter, which needs no further package: it asks for
    three lines of 200 characters.

    filter     a class in datatrove.pipeline.filters, or module:Class for one of any other module
    arguments  keyword arguments of the class; null for none

    Raises ConfigError for a class that is not there, is no filter, lacks packages, or does not take these arguments.
    """

    filter: str = "C4ParagraphFilter"
    arguments: dict[str, Any] | None = None

    columns: ClassVar[pa.Schema] = columns_from(
        "datatrove: the class in datatrove_filter.filter",
        column("is_kept", pa.bool_(), "the filter lets the document pass", "true or false"),
        column(
            "reason",
            pa.string(),
            "why the filter removes it (the filter's name where it gives no reason); passed where it does not",
            "name of a rule",
        ),
    )

    def __post_init__(self) -> None:
        filter_class = self._class
        if filter_class.__name__ == "SamplerFilter":
            raise ConfigError(
                "datatrove_filter.filter: SamplerFilter draws anew in every run, and a tag must be the same in every run; "
                "use --sample FRACTION --seed S"
            )
        try:
            inspect.signature(filter_class).bind(**(self.arguments or {}))
        except TypeError as error:
            known = ", ".join(p for p in inspect.signature(filter_class).parameters if p != "exclusion_writer")
            raise ConfigError(
                f"datatrove_filter.arguments do not fit {self.filter}: {error}. It takes {known or 'none'}"
            ) from error
        try:
            filter_class.__new__(filter_class)  # type: ignore[call-overload]  # here datatrove looks for packages that a filter needs
        except ImportError as error:
            raise ConfigError(_needs(self.filter, error)) from error

    @property
    def version(self) -> str:
        """Includes datatrove's release where the filter is one of its own."""
        return f"1, datatrove {version('datatrove')}" if self._class.__module__.startswith("datatrove.") else "1"

    def fingerprint(self) -> dict[str, Any]:
        """The class by module and name, however the parameter spells it, and its arguments."""
        return {"filter": f"{self._class.__module__}:{self._class.__name__}", "arguments": self.arguments or {}}

    @cached_property
    def _class(self) -> type[Any]:
        module_name, separator, name = self.filter.rpartition(":")
        try:
            module = importlib.import_module(module_name if separator else HOME)
        except ImportError as error:
            raise ConfigError(f"datatrove_filter.filter={self.filter}: {error}") from error
        base = importlib.import_module(f"{HOME}.base_filter").BaseFilter
        known = {n: c for n, c in vars(module).items() if _is_filter(c, base)}
        if name not in known:
            if hasattr(module, name):
                raise ConfigError(
                    f"datatrove_filter.filter must be a class derived from {HOME}.base_filter:BaseFilter, and {self.filter} is not"
                )
            raise ConfigError(unknown_name("filter", name, known, f"datatrove_filter.filter, in {module.__name__}"))
        filter_class: type[Any] = known[name]
        return filter_class

    @cached_property
    def _filter(self) -> Any:
        try:
            return self._class(**(self.arguments or {}))
        except ImportError as error:
            raise TaggerError(_needs(self.filter, error)) from error
        except Exception as error:
            raise TaggerError(f"{self.filter} cannot be made from {self.arguments}: {error}") from error

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """One row a document: whether the filter keeps it, and why not."""
        verdicts = list(self._verdicts(batch))
        kept = pa.array([is_kept for is_kept, _ in verdicts], pa.bool_())
        return pa.record_batch([kept, pa.array([r for _, r in verdicts], pa.string())], schema=self.columns)

    def _verdicts(self, batch: DocumentBatch) -> Iterator[tuple[bool, str]]:
        from datatrove.data import Document

        documents = [Document(t, i) for t, i in zip(batch.texts, batch.table["id"].to_pylist(), strict=True)]
        step = max(1, self._filter.batch_size)
        for start in range(0, len(documents), step):
            some = documents[start : start + step]
            try:
                verdicts = self._filter.filter_batch(some)
            except ImportError as error:  # no document is to blame: a package is missing, such as a word tokeniser
                raise TaggerError(_needs(self.filter, error)) from error
            for _, verdict in zip(some, verdicts, strict=True):
                is_kept, reason = verdict if isinstance(verdict, tuple) else (verdict, None)
                yield bool(is_kept), PASSED if is_kept else str(reason or self._class.__name__)


def _is_filter(value: Any, base: type[Any]) -> bool:
    return isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)


def _needs(name: str, error: ImportError) -> str:
    """The message for missing packages. Datatrove's own sentence names them and the pip command."""
    reason = " ".join(str(error).split()).removesuffix(".")
    if "pip install" not in reason and error.name:
        reason += f" (`pip install {error.name.partition('.')[0]}`)"
    if "fasttext" in reason:
        reason += ", in an environment of its own: it takes the place of the fasttext module that this package uses"
    return f"{name} cannot work here. {reason}"


TAGGER = DatatroveFilter

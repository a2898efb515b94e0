"""The Result of a finished run: its counts and summary, the paths of its files, and its tags as a table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tagcorpus.errors import InputError
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.storage.folder import Folder

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Besides the summary: what a pipeline writes into its output for people to open.
_FILES = {
    "domains": "predicted_domains.csv",
    "features": "features.csv",
    "provenance": "features.provenance.json",
    "filtered": "filtered",
}
_FILES_OF = {"domain": ("domains",), "features": ("features", "provenance"), "filter": ("filtered",)}
_SHOWN_COLUMNS = 40


@dataclass(repr=False)
class Result:
    """What a finished run says.

    pipeline           its name
    output             its output folder
    exit_code          0: all accounted for; 1: an input was broken; 3: too little is usable
    counts             rows and documents of the input, and rows in quarantine by reason
    summary            what summary/<pipeline>.json holds
    ledger             path of the run's ledger.json
    messages           what the run said at its end
    without_documents  the input files that gave no document: `input`, and `why`
    """

    pipeline: str
    output: str
    exit_code: int
    counts: Counts
    summary: dict[str, Any]
    ledger: str
    messages: list[str] = field(default_factory=list)
    without_documents: list[dict[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> dict[str, str]:
        """What was written: output, ledger, summary, and the pipeline's own files by a short name. Files that are not there
        (of a dry run, say) are left out."""
        folder = Folder(self.output)
        names = {"attributes": "attributes"} | {name: _FILES[name] for name in _FILES_OF.get(self.pipeline, ())}
        there = {name: folder.path(place) for name, place in names.items() if self._is_there(folder, place)}
        return {"output": self.output} | ({"ledger": self.ledger} if self.ledger else {}) | there

    @staticmethod
    def _is_there(folder: Folder, place: str) -> bool:
        return folder.exists(place) or next(iter(folder.files(place)), None) is not None

    def table(self, *, text: bool = False) -> pa.Table:
        """The rows of the run in memory: one for each document with the run's tags, or for `features` one for each model.

        text  also the column `text`, read from the input again
        Raises InputError where the run published no rows, as a dry run does not.
        """
        instances = list(self.summary.get("instances", {}))
        if not instances:
            raise InputError(f"this run of {self.pipeline} published no rows")
        if self.pipeline == "features":
            return _feature_table(Folder(self.output))
        from tagcorpus.pipelines.attributes.read import read

        return read(self.output, instances, text=text).to_table()

    def to_pandas(self, *, text: bool = False) -> pd.DataFrame:
        """`table()` as a pandas frame."""
        return self.table(text=text).to_pandas()

    def _head(self) -> str:
        bad = sum(self.counts.quarantined.values())
        return (
            f"{self.pipeline}: {self.counts.documents:,} documents, {bad:,} unusable rows, exit {self.exit_code}, "
            f"{_shown(self.output)}"
        )

    def __repr__(self) -> str:
        return f"Result({self._head()})"

    def _repr_html_(self) -> str:
        """The counts and a line for each column, for notebooks."""
        import html

        rows = [
            (f"{name}.{column}", own)
            for name, instance in self.summary.get("instances", {}).items()
            for column, own in instance.get("columns", {}).items()
        ]
        cells = "".join(_html_row(name, own) for name, own in rows[:_SHOWN_COLUMNS])
        more = (
            f"<p>{len(rows) - _SHOWN_COLUMNS} more columns in <code>.summary</code></p>"
            if rows[_SHOWN_COLUMNS:]
            else ""
        )
        header = "<tr><th>column<th>values<th>missing<th>mean<th>median<th>min<th>max<th>commonest</tr>"
        table = f"<table>{header}{cells}</table>{more}" if rows else ""
        return f"<p><b>{html.escape(self._head())}</b></p>{table}"


def _feature_table(folder: Folder) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    with folder.open("features.csv") as file:
        names = file.readline().decode().rstrip("\r\n").split(",")
        file.seek(0)
        kinds = {name: pa.string() if name == "id" else pa.float64() for name in names}
        return csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=kinds))


def _html_row(name: str, own: dict[str, Any]) -> str:
    import html

    numbers = [_figure(own.get(key)) for key in ("mean", "p50", "min", "max")]
    commonest = ", ".join(f"{value} {count:,}" for value, count in list(own.get("top", {}).items())[:3])
    cells = [name, f"{own.get('n', 0):,}", f"{own.get('missing', 0):,}", *numbers, commonest]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _shown(path: str) -> str:
    """A path relative to the current folder, where that is shorter."""
    if "://" in path:
        return path
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path

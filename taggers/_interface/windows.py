"""Windows: the places of a long document that a tagger reads. A document that fits into one window is read whole.

The middle window has as much text before it as behind it. Windows overlap where a document is shorter than all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.taggers._interface.batch import DocumentBatch

BEGIN: Final = "begin"
MIDDLE, END = "middle", "end"
POSITIONS = (BEGIN, MIDDLE, END)

Windows = Literal["begin", "begin,end", "begin,middle,end"]
"""The parameter `windows` of a tagger."""

Span = tuple[int, int]


def spans(n: int, size: int, windows: Iterable[str]) -> list[Span]:
    """Begin and end of each window in a sequence of `n`: the whole sequence, where it fits into one window of `size`."""
    if n <= size:
        return [(0, n)]
    starts = {BEGIN: 0, MIDDLE: (n - size) // 2, END: n - size}
    return [(starts[position], starts[position] + size) for position in windows]


def united(covered: Iterable[Span]) -> list[Span]:
    """The same places without overlaps, in order."""
    places: list[Span] = []
    for start, stop in sorted(covered):
        if places and start <= places[-1][1]:
            places[-1] = (places[-1][0], max(stop, places[-1][1]))
        else:
            places.append((start, stop))
    return places


def names_of(windows: Windows) -> tuple[str, ...]:
    """The windows of a parameter."""
    return tuple(windows.split(","))


def added_parameter(windows: Windows) -> dict[str, str]:
    """What a fingerprint says of the windows. The beginning alone is the published way, and is not named."""
    return {} if windows == BEGIN else {"windows": windows}


def with_windows(schema: pa.Schema, windows: Windows, aggregation: str, columns: Sequence[str]) -> pa.Schema:
    """The schema, whose metadata name the windows and the rule that makes one value of several. The beginning alone is not named."""
    if windows == BEGIN:
        return schema
    more: dict[bytes | str, bytes | str] = {"windows": windows.replace(",", ", "), "aggregation": aggregation}
    return pa.schema([f.with_metadata({**f.metadata, **more}) if f.name in columns else f for f in schema])


def bytes_of_spans(batch: DocumentBatch, covered: Iterable[Sequence[Span] | None]) -> npt.NDArray[np.int64]:
    """Bytes of UTF-8 of each document that are within its spans of characters; None: the whole document."""
    sizes: npt.NDArray[np.int64] = np.diff(batch.utf8[1])
    for d, document_spans in enumerate(covered):
        if document_spans is not None:
            text = batch.texts[d]
            sizes[d] = sum(len(text[start:stop].encode()) for start, stop in united(document_spans))
    return sizes


def bytes_read(batch: DocumentBatch, size: int, windows: Sequence[str]) -> npt.NDArray[np.int64]:
    """Bytes of each document that windows of `size` characters read."""
    return bytes_of_spans(batch, (spans(len(t), size, windows) if len(t) > size else None for t in batch.texts))


def mean_by_label(windows: Sequence[dict[str, float]]) -> list[tuple[str, float]]:
    """Mean probability of each label over the windows, the highest first, and equal ones in the order of the first window."""
    means: dict[str, Any] = {label: sum(w[label] for w in windows) / len(windows) for label in windows[0]}
    return sorted(means.items(), key=lambda item: -item[1])

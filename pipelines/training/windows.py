"""The windows of a mix as a data set of the Trainer: sample i is a function of the mix alone. Files are mapped, not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.pipelines.mixes.mix_file import Mix
from tagcorpus.pipelines.token_files.writing import SUFFIXES

_HEADER = 9 + 8 + 1 + 8 + 8


class Place(NamedTuple):
    """Where a document is. number: within its file, from 0."""

    group: str
    prefix: str
    number: int


class TokenStream:
    """The token files of one group and side, end to end."""

    def __init__(self, mix: Mix, group: str, files: list[dict[str, Any]]) -> None:
        folder = mix.token_folder(group)
        if not folder.is_local:
            raise ConfigError(f"{folder}: training maps token files, which must be local; copy the folder first")
        self.group, self._folder = group, folder
        self.prefixes = [f["prefix"] for f in files]
        dtype = {"uint16": "<u2", "int32": "<i4"}[mix.value["dtype"]]
        self._arrays = [
            np.memmap(folder.path(f["prefix"] + ".bin"), dtype, "r") if f["tokens"] else np.zeros(0, dtype)
            for f in files
        ]
        self._starts = np.cumsum([0, *(len(a) for a in self._arrays)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def ids(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Ids [start, end) of the stream."""
        parts = [self._arrays[f][max(start - at, 0) : end - at] for f, at in self._files(start, end)]
        return np.concatenate(parts).astype(np.int64)

    def documents(self, start: int, end: int) -> Iterator[Place]:
        """Documents that have a token among [start, end)."""
        for f, at in self._files(start, end):
            lengths = np.fromfile(
                self._folder.path(self.prefixes[f] + ".idx"), "<i4", offset=_HEADER, count=self._n_documents(f)
            )
            ends = np.cumsum(lengths, dtype=np.int64)
            first = int(np.searchsorted(ends, max(start - at, 0), side="right"))
            last = int(np.searchsorted(ends, min(end - at, len(self._arrays[f])) - 1, side="right"))
            for number in range(first, last + 1):
                yield Place(self.group, self.prefixes[f], number)

    def _n_documents(self, f: int) -> int:
        header = np.fromfile(self._folder.path(self.prefixes[f] + ".idx"), "u1", count=_HEADER)
        return int(header[18:26].view("<u8")[0])

    def _files(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Files that have ids of [start, end), and where each begins."""
        for f, at in enumerate(self._starts[:-1].tolist()):
            if at < end and start < at + len(self._arrays[f]):
                yield f, at


class Windows:
    """Samples of a mix: `ids` (a window, and the token after it), `group` and `sample`, its number."""

    def __init__(self, mix: Mix, n_samples: int, vocabulary: int) -> None:
        self.mix, self.n_samples, self.vocabulary = mix, n_samples, vocabulary
        self.length = mix.sequence_length
        self.streams = [TokenStream(mix, name, group["files"]) for name, group in mix.groups.items()]

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, i: int) -> dict[str, Any]:
        group, _, window = self.mix.order.sample(i)
        start = window * self.length
        ids = self.streams[group].ids(start, start + self.length + 1)
        check_ids(ids, self.vocabulary, f"group {self.streams[group].group!r}, window {window}")
        return {"ids": ids, "group": group, "sample": i}

    def documents(self, i: int) -> Iterator[Place]:
        group, _, window = self.mix.order.sample(i)
        start = window * self.length
        return self.streams[group].documents(start, start + self.length + 1)


def check_ids(ids: npt.NDArray[np.int64], vocabulary: int, where: str) -> None:
    """Raise TagcorpusError for an id that the model does not have."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        raise TagcorpusError(
            f"{where}: token id {max(int(ids.max()), -int(ids.min()))} is not below the model's vocabulary of {vocabulary:,}"
        )


def files_of_mix(mix: Mix) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """By group, name, size and digest of every file that training reads, with the held-out side."""
    for name, group in mix.groups.items():
        held_out = group["held_out"] or {"files": []}
        entries = [(f["prefix"] + s, f[s[1:]]) for f in [*group["files"], *held_out["files"]] for s in SUFFIXES]
        if "texts" in held_out:
            entries.append((held_out["texts"]["name"], held_out["texts"]))
        yield name, entries

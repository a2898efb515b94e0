"""The model that a folder of the LM evaluation harness is of: what the results file beside its samples says.

The harness writes `models/toy/mix-a` as the folder `models__toy__mix-a`, from which the name cannot be had back. The results
file has it, and `store import` reads it there, so the id in a feature table and the id in the store are the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tagcorpus.errors import InputError, TagcorpusError
from tagcorpus.pipelines.generation_files.model_files import HARNESS_FILE, stem
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.storage import remote
from tagcorpus.predictor.records.harness_results import is_id, is_results, model_of, samples_of

SHOWN_CANDIDATES = 4
_RESULTS = re.compile(r"results_(?P<time>.+)\.json")


class Named(NamedTuple):
    """A results file, the name it has for its model, why that is another model than the name says, and the samples of each task."""

    path: str
    name: str
    problem: str
    samples: Mapping[str, int]

    @property
    def is_id(self) -> bool:
        return is_id(self.name)


class ResultsBeside:
    """The results files of some folders, each of them listed and read once."""

    def __init__(self) -> None:
        self._by_folder: dict[str, dict[str, str]] = {}
        self._named: dict[str, Named | None] = {}

    def named(self, file: str, harness_folder: str = "") -> Named | None:
        """What the results file beside a model's file names, or the one in the harness's folder above it: that of the same
        time, or else the newest. None where there is none that names a model."""
        folder, _, leaf = file.rpartition("/")
        by_time = self._in(folder) or (self._in(harness_folder) if harness_folder else {})
        match = HARNESS_FILE.fullmatch(stem(leaf))
        time = stem(leaf)[match.start("day") :] if match else ""
        path = by_time.get(time) or (by_time[max(by_time)] if by_time else None)
        if path is None:
            return None
        if path not in self._named:
            self._named[path] = _named(path)
        return self._named[path]

    def _in(self, folder: str) -> dict[str, str]:
        if folder not in self._by_folder:
            self._by_folder[folder] = _results_in(folder)
        return self._by_folder[folder]


def _results_in(folder: str) -> dict[str, str]:
    """Time -> path of the results files in a folder."""
    try:
        if "://" in folder:
            fs, plain = remote.filesystem(folder)
            entries = remote.call_store(lambda: fs.ls(plain, detail=False), folder, "listed", InputError)
            names = [str(entry).rpartition("/")[2] for entry in entries]
        else:
            names = os.listdir(folder or "/")
    except (OSError, TagcorpusError):
        return {}  # who may read the samples may not always list what lies beside them
    return {m["time"]: f"{folder}/{name}" for name in sorted(names) if (m := _RESULTS.fullmatch(name))}


def _named(path: str) -> Named | None:
    try:
        with InputFile(path, path, "jsonl", "").open() as file:
            document: Any = json.loads(file.read())
    except (OSError, ValueError, RecursionError, TagcorpusError):
        return None
    if not is_results(document):
        return None
    name, problem = model_of(document)
    return Named(path, name, problem if is_id(name) else "", samples_of(document)) if name else None


def candidates(folder_name: str) -> list[str]:
    """The ids that a folder's name may stand for, where `__` is in it more than once."""
    parts = folder_name.split("__")
    split = [f"{'__'.join(parts[:i])}/{'__'.join(parts[i:])}" for i in range(1, len(parts))]
    plausible = [f"{parts[-2]}/{parts[-1]}", *split]
    return list(dict.fromkeys(one for one in plausible if is_id(one)))[:SHOWN_CANDIDATES]


def refuse_candidates(folder: str, named: Named | None) -> InputError:
    """For a folder whose model cannot be told."""
    name = folder.rstrip("/").rpartition("/")[2]
    if named is not None:
        path = [part for part in named.name.split("/") if part not in ("", ".", "..", "~")]
        ids = ["/".join(path[-2:]), path[-1]] if path else []
        ids = [one for one in dict.fromkeys(ids) if is_id(one)]
        why = f"{named.path} names the model by a path, {named.name!r}, which is not an id"
    else:
        ids = candidates(name)
        why = f"{folder} has `__` in its name more than once, and no results_*.json that names its model"
    which = f" ({', '.join(ids)}?)" if ids else ""
    one = ids[0] if ids else "ORG/MODEL"
    return InputError(
        f"{why}. Say which model it is{which}: --input {one}={folder}, or --models models.yaml with the line `{one}: {folder}`"
    )

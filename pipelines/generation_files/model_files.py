"""Which of a model's files are its generations: the newest samples of each task, and originals rather than filtered copies.

What the LM evaluation harness writes is known by its name, `samples_<task>_<time>`; `filtered_` in front is what the paper's
filter put there. Any other file simply counts. No file is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tagcorpus.errors import InputError
from tagcorpus.pipelines.inputs.input_files import COMPRESSIONS, FORMATS, InputFile
from tagcorpus.pipelines.options.models_file import SAY_IT

# The harness writes the time with dashes, as file names take no colons; seconds may have a fraction, or not.
HARNESS_FILE = re.compile(
    r"(?P<filtered>filtered_)?samples_(?P<task>.+)_"
    r"(?P<day>\d{4}-\d\d-\d\d)(?:T(?P<time>\d\d[-:]\d\d[-:]\d\d)(?:\.(?P<fraction>\d+))?)?"
)
FILTERED = "filtered_"


class Found(NamedTuple):
    """A file, whose it is, the folder that says so, its path below that, and whether it was named itself."""

    model: str
    folder: str
    rest: str
    file: InputFile
    is_named: bool


def task_of(name: str) -> str:
    """The task of a file that is named as the harness names samples; empty for other files."""
    match = HARNESS_FILE.fullmatch(stem(name.rpartition("/")[2]))
    return match["task"] if match else ""


def is_sample(name: str) -> bool:
    """Whether the harness names files so."""
    return task_of(name) != ""


def chosen_files(model: str, files: Sequence[Found], set_aside: dict[str, str], notes: list[str]) -> Iterator[Found]:
    """The model's files that count: all that were named, of the others the newest of each task of the harness, and no copy
    that a filter has made of a file that is there itself."""
    yield from (one for one in files if one.is_named)
    rest = [one for one in files if not one.is_named]
    matches = {id(one): HARNESS_FILE.fullmatch(stem(one.rest.rpartition("/")[2])) for one in rest}
    others = [one for one in rest if matches[id(one)] is None]
    samples = [(one, m) for one in rest if (m := matches[id(one)]) is not None]
    if others and samples:
        raise InputError(
            f"{files[0].folder.rstrip('=')} (model {model}) holds samples of the evaluation harness, {samples[0][0].rest}, and other "
            f"files, {others[0].rest}: which are its generations? Leave the others out with --exclude, or {SAY_IT}"
        )
    taken = list(_originals(others, set_aside))
    by_task: dict[str, list[tuple[Found, re.Match[str]]]] = {}
    for one, match in samples:
        by_task.setdefault(match["task"], []).append((one, match))
    for task in sorted(by_task):
        newest = max(_when(m) for _, m in by_task[task])
        last = [(one, m) for one, m in by_task[task] if _when(m) == newest]
        whole = [one for one, m in last if not m["filtered"]]
        best = whole or [one for one, _ in last]
        if len(best) > 1:
            raise InputError(
                f"{files[0].folder.rstrip('=')} (model {model}) holds two sets of samples of task {task} of the same time, {best[0].rest} and "
                f"{best[1].rest}: leave one out with --exclude"
            )
        taken.append(best[0])
        for one, match in by_task[task]:
            if one is not best[0]:
                is_old = _when(match) != newest
                set_aside[one.file.path] = f"{'older than' if is_old else 'filtered from'} {best[0].rest}"
    taken.sort(key=lambda one: one.rest)
    if all(one.rest.rpartition("/")[2].startswith(FILTERED) for one in taken) and taken:
        notes.append(
            f"{model}: its files are filtered already, {taken[0].rest}; what was removed then is not counted, and the share "
            "that is kept is that of the rest"
        )
    yield from taken


def _originals(files: Sequence[Found], set_aside: dict[str, str]) -> Iterator[Found]:
    """Without `filtered_x` where `x` lies beside it, or beside the folder `filtered` that it is in."""
    whole = {stem(one.rest): one.rest for one in files}
    for one in files:
        folder, _, leaf = one.rest.rpartition("/")
        if leaf.startswith(FILTERED):
            above = folder.removesuffix("filtered").rstrip("/")
            named = [f"{f}/{stem(leaf)[len(FILTERED) :]}".lstrip("/") for f in (folder, above)]
            if original := next((whole[n] for n in named if n in whole), None):
                set_aside[one.file.path] = f"filtered from {original}"
                continue
        yield one


def _when(match: re.Match[str]) -> tuple[str, str, str]:
    """In the order of time. A day alone is its midnight."""
    return (
        match["day"],
        (match["time"] or "00-00-00").replace(":", "-"),
        (match["fraction"] or "").ljust(9, "0"),
    )


def stem(name: str) -> str:
    """Without the suffixes of format and compression."""
    for suffixes in (COMPRESSIONS, FORMATS):
        base, suffix = os.path.splitext(name)
        if suffix.lower() in suffixes:
            name = base
    return name

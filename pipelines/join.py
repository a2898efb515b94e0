"""`tagcorpus join`: the tags of an output for data that was deduplicated, reshuffled or cut into other files since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.exporting.documents import TaggedFiles
from tagcorpus.pipelines.exporting.index import INDEX, build
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.run import run
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder

STATUS = "join"
NOTHING_JOINED = 3


def join(
    data: str,
    tags: str,
    by: Literal["text", "id"],
    output: str,
    taggers: Sequence[str] = (),
    text_column: str = "",
    id_column: str = "",
    workers: int | None = None,
) -> tuple[str, int]:
    """Write an output folder for `data` with the tags that the output `tags` has for the same documents.

    by       text: documents with the same text; id: documents with the same id
    output   the new output folder, on this machine or on a shared disk
    taggers  only these instances of `tags`
    Returns the text to print, and the exit code: 3 where no document joined.
    """
    if "://" in output:
        raise ConfigError(f"--output {output}: the index of a join needs a folder that is mounted here")
    check_folder("join", output, inputs=[tags])
    other = "id" if by == "text" else "text"
    if Path(output, "index", other, INDEX).exists():
        raise ConfigError(f"--output {output} has tags that were joined by {other}: name another folder")
    names = [name.strip() for entry in taggers for name in entry.split(",") if name.strip()]
    tagged = TaggedFiles(Folder(tags), names)
    if STATUS in tagged.names:
        names = [name for name in tagged.names if name != STATUS]
        tagged = TaggedFiles(Folder(tags), names)
    index = Path(output, "index", by)
    index.mkdir(parents=True, exist_ok=True)
    try:
        build(tagged, index, by)
    finally:
        with contextlib.suppress(OSError):  # not empty, but for a build that was refused
            os.removedirs(index)
    shared = {"index": str(index), "by": by}
    parameters: dict[str, dict[str, Any]] = {name: shared | {"instance": name} for name in tagged.names}
    entries = [f"{name}=joined" for name in (STATUS, *tagged.names)]
    done = run(
        "tag",
        input=data,
        output=output,
        taggers=entries,
        parameters=parameters | {STATUS: shared},
        text_column=text_column,
        id_column=id_column,
        workers=workers,
        display=Display(),
    )
    return _said(done, tagged.names)


def _said(done: Result, names: Sequence[str]) -> tuple[str, int]:
    statuses: dict[str, int] = done.summary["instances"][STATUS]["columns"]["join_status"]["top"]
    total = sum(statuses.values())
    n = {name: statuses.get(name, 0) for name in ("joined", "missing", "ambiguous")}
    lines = [
        f"joined      {n['joined']:,} of {total:,} documents: {', '.join(names)}",
        f"missing     {n['missing']:,}: not in the other output",
        f"ambiguous   {n['ambiguous']:,}: there several times with different tags",
        f"-> {done.output}/attributes; the column {STATUS}.join_status has the status of each document",
    ]
    return "\n".join(lines), done.exit_code or (0 if n["joined"] or not total else NOTHING_JOINED)

"""`tagcorpus join`: the tags of an output for data that was deduplicated, reshuffled or cut into other files since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from tagcorpus.errors import ConfigError, spelled_otherwise
from tagcorpus.pipelines.attributes.read import read
from tagcorpus.pipelines.exporting.documents import TaggedFiles
from tagcorpus.pipelines.exporting.index import INDEX, Compared, build
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.run import run
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.taggers.joined import CHAR_LEN, TEXT_DIGEST

STATUS = "join"
NOTHING_JOINED = 3
MOST_COMPARED = 100_000
"""Missing ids that are looked for in another spelling."""
TEXTS_UNKNOWN = "the other output has neither `digest` nor `length`, and its input is not there any more"

REMEDY = "            a space or a line end more is another text: join the texts as they were tagged, or tag these documents again"


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
        compared = build(tagged, index, by)
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
    lines = _said(done, tagged.names)
    statuses = _statuses(done)
    if compared is not None:
        lines[3:3] = [_texts(compared, n_other := statuses.get("other_text", 0)), *[REMEDY] * (n_other > 0)]
    if by == "id" and statuses.get("missing") and (clause := _spelling(tagged, output)):
        lines[1] += f"; {clause}"
    return "\n".join(lines), done.exit_code or (0 if statuses.get("joined") or not statuses else NOTHING_JOINED)


def _statuses(done: Result) -> dict[str, int]:
    """Documents by how they joined."""
    statuses: dict[str, int] = done.summary["instances"][STATUS]["columns"]["join_status"]["top"]
    return statuses


def _texts(compared: Compared, n_other: int) -> str:
    """The line about documents whose id is there with another text."""
    head = f"other text  {n_other:,}: the id is there, with another text; "
    if not compared.known:
        return f"{head}texts were not compared, since {TEXTS_UNKNOWN}"
    by = {TEXT_DIGEST: "by digest", CHAR_LEN: "by length"}[compared.fact]
    if compared.known < compared.keys:
        return f"{head}compared {by} for {compared.known:,} of {compared.keys:,} ids; of the others, {TEXTS_UNKNOWN}"
    return f"{head}compared {by}"


def _spelling(tagged: TaggedFiles, output: str) -> str:
    """The clause about missing ids that the other output spells otherwise; "" where there are none."""
    batches = read(output, [STATUS]).scanner(columns=["id"], filter=pc.field("join_status") == "missing").to_batches()
    missing = islice((str(id_) for batch in batches for id_ in batch["id"].to_pylist()), MOST_COMPARED)
    chunks = ((planned, k) for planned in tagged.files for k in range(len(planned.chunks)))
    return spelled_otherwise(missing, (id_ for at in chunks for id_ in tagged.tags(*at)["id"].to_pylist()))


def _said(done: Result, names: Sequence[str]) -> list[str]:
    statuses = _statuses(done)
    total = sum(statuses.values())
    n = {name: statuses.get(name, 0) for name in ("joined", "missing", "ambiguous")}
    return [
        f"joined      {n['joined']:,} of {total:,} documents: {', '.join(names)}",
        f"missing     {n['missing']:,}: not in the other output",
        f"ambiguous   {n['ambiguous']:,}: there several times with different tags",
        f"-> {done.output}/attributes; the column {STATUS}.join_status has the status of each document",
    ]

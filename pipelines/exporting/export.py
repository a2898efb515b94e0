"""`tagcorpus export`: documents and tags of an output folder for other programs."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import zstandard

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.results import check_result, publishing_export, recorded
from tagcorpus.pipelines.exporting import dolma
from tagcorpus.pipelines.exporting.documents import TaggedFiles
from tagcorpus.pipelines.exporting.json_lines import json_lines
from tagcorpus.pipelines.exporting.parquet import card, write_parquet
from tagcorpus.pipelines.options.declaring.common import LINES
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder, identity

DATASET = ("data/train.parquet", "README.md")


def export(
    output: str, target: str, form: str = "", taggers: Sequence[str] = (), storage_options: Sequence[str] = ()
) -> str:
    """Write the documents of `output` with their tags to `target`, and return the text to print.

    form  dataset or dolma for a folder; "" for a file, whose name says what it is
    Raises ConfigError for a target that exists already or whose form is not clear, and InputError as TaggedFiles does.
    """
    remote.use_given(storage_options, [output, target])
    names = [name.strip() for entry in taggers for name in entry.split(",") if name.strip()]
    tagged = TaggedFiles(Folder(output), names)
    kind = form or _form_of(target)
    if kind == "dolma":
        return _to_dolma(tagged, target)
    if kind == "dataset":
        table, readme = _in_folder(tagged, target, DATASET)
        with publishing_export(tagged.output, *table) as sink:
            as_json = write_parquet(tagged, sink)
        with publishing_export(tagged.output, *readme) as sink:
            sink.write(card(tagged, os.path.basename(target.rstrip("/"))).encode())
        return _said(tagged, " and ".join(f"{target}/{name}" for name in DATASET), as_json)
    (place,) = _places(tagged, [target])
    with publishing_export(tagged.output, *place) as sink:
        as_json = write_documents(tagged, target, sink)
    return _said(tagged, target, as_json)


def _places(tagged: TaggedFiles, paths: Iterable[str]) -> list[tuple[Folder, str]]:
    """Folders and names of exported files. Raises ConfigError where a file is not an earlier export, or is an input."""
    is_own, inputs = (
        recorded(tagged.output),
        {identity(planned.file.path): planned.file.path for planned in tagged.files},
    )
    own_inputs = ((path, inputs.get(identity(path))) for path in paths)
    return [check_result(path, tagged.output, is_own, [i] if i else [], option="OUT") for path, i in own_inputs]


def _in_folder(tagged: TaggedFiles, target: str, names: Iterable[str]) -> list[tuple[Folder, str]]:
    check_folder("export", target, option="OUT")
    return _places(tagged, [f"{target.rstrip('/')}/{name}" for name in names])


def write_documents(tagged: TaggedFiles, path: str, sink: BinaryIO) -> list[str]:
    """Write the documents with their tags as the ending of `path` says; return the fields that became JSON text."""
    if path.lower().endswith(".parquet"):
        return write_parquet(tagged, sink)
    with packed(sink, path) as lines:
        for line in json_lines(tagged):
            lines.write(line)
    return []


def _form_of(target: str) -> str:
    """ "file" where the name of the target says so. Raises ConfigError for any other name."""
    if target.lower().endswith((*LINES, ".parquet")):
        return "file"
    raise ConfigError(
        f"{target} does not say its form: name a file in {', '.join(LINES)} or .parquet, or a folder with --format dataset or dolma"
    )


def _to_dolma(tagged: TaggedFiles, target: str) -> str:
    """Attributes of every file under its own name, so that Dolma finds them beside `documents/`."""
    dolma.check(tagged)
    places = _in_folder(tagged, target, [planned.file.name for planned in tagged.files])
    for planned, place in zip(tagged.files, places, strict=True):
        suffix = {"gz": ".gz", "zst": ".zst"}.get(planned.file.compression, "")
        with publishing_export(tagged.output, *place) as sink, packed(sink, f".jsonl{suffix}") as lines:
            for line in dolma.attributes(tagged, planned):
                lines.write(line)
    left_out = dolma.list_columns(tagged)
    n = len(tagged.files)
    said = [f"{_n_documents(tagged):,} documents -> {target}/ ({counted(n, 'file')})"]
    if left_out:
        said.append(f"left out, since a span has one number: {', '.join(left_out)}")
    return "\n".join(said)


def _said(tagged: TaggedFiles, target: str, as_json: Sequence[str]) -> str:
    lines = [f"{_n_documents(tagged):,} documents -> {target}"]
    if as_json:
        lines.append(f"as JSON text, since their values have no common type: {', '.join(as_json)}")
    if _is_among_inputs(tagged, target):
        lines.append(f"the export is in a folder of input files: runs into {tagged.output} leave it out")
    return "\n".join(lines)


def _is_among_inputs(tagged: TaggedFiles, target: str) -> bool:
    """Whether the target is in a local folder of which several files are inputs."""
    roots = Counter(
        f.path.removesuffix(f.name)
        for f in (p.file for p in tagged.files)
        if f.is_local and f.path.endswith(f"/{f.name}")
    )
    return "://" not in target and any(n > 1 and os.path.abspath(target).startswith(root) for root, n in roots.items())


def _n_documents(tagged: TaggedFiles) -> int:
    return sum(tagged.n_documents(planned) for planned in tagged.files)


@contextlib.contextmanager
def packed(sink: BinaryIO, path: str) -> Iterator[BinaryIO]:
    """The sink with the compression that the name says. No time and no name goes into it, so equal rows give equal bytes."""
    if path.lower().endswith(".gz"):
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=sink, mtime=0) as packed:
            yield packed  # type: ignore[misc]
    elif path.lower().endswith(".zst"):
        with zstandard.ZstdCompressor(level=3).stream_writer(sink, closefd=False) as stream:
            yield stream
    else:
        yield sink

"""The plan: the chunks of every input file. An index pass makes the plan once. The output keeps it, and later runs use it while
the input is unchanged. Chunks depend only on the file and `chunk_bytes`, not on workers or executor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError, InputError, TagcorpusError
from tagcorpus.pipelines.formats import csv_records, json_arrays, lines, tables
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import DELIMITED, TEXT_FORMATS, InputFile
from tagcorpus.pipelines.inputs.records import ID_COLUMNS, DocumentFields
from tagcorpus.pipelines.inputs.streams import recognised
from tagcorpus.pipelines.options.declaring.dialect import Dialect
from tagcorpus.pipelines.readers import samples
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage import hub
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.remote import ahead
from tagcorpus.pipelines.storage.sealed import is_sealed, opened, sealed

PLAN_VERSION = 2
# A large uncompressed file is indexed in segments of this many chunks, several at a time.
CHUNKS_PER_SEGMENT = 16
MUCH_TEXT_BYTES = 4 << 20
"""For this much text of one process, Numba's and gigatoken's start costs less CPU than plain Python and tiktoken."""
ROOMS_OF_RESULTS = ("attributes", "quarantine", "tokens")
# Version of the plans of tables, whose digests cover only some columns.
TABLES_VERSION = 2


@dataclass(frozen=True)
class PlannedFile:
    """`is_trial`: the run uses only some rows of the file (--limit, --sample). `reader_options`: options that the keys of its
    parts depend on."""

    file: InputFile
    chunks: tuple[Chunk, ...]
    is_trial: bool = field(default=False, compare=False)
    reader_options: ReaderOptions = field(default=ReaderOptions(), compare=False)

    @property
    def rows(self) -> int:
        return sum(r.rows for r in self.chunks)


@dataclass(frozen=True)
class Plan:
    """All input files with their chunks. Rank r is the r-th chunk of all files in order."""

    files: tuple[PlannedFile, ...]

    @cached_property
    def chunks(self) -> list[tuple[PlannedFile, int]]:
        """(file, index of the chunk in the file) of every rank."""
        return [(f, k) for f in self.files for k in range(len(f.chunks))]

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def n_bytes(self) -> int:
        return sum(r.end - r.start for f in self.files for r in f.chunks if f.file.format in TEXT_FORMATS)

    def is_much_text(self, ranks: Iterable[int], workers: int) -> bool:
        """Whether each worker reads so many bytes in these chunks that a fast engine is worth its start. Tables have none."""
        chunks = ((planned, planned.chunks[k]) for planned, k in map(self.chunks.__getitem__, ranks))
        n_bytes = sum((c.end - c.start) * p.reader_options.sample for p, c in chunks if p.file.format in TEXT_FORMATS)
        return n_bytes >= MUCH_TEXT_BYTES * workers


@dataclass(frozen=True)
class IndexTask:
    """A whole file, or one segment [start, stop) of a large one."""

    file: InputFile
    start: int = 0
    stop: int | None = None
    max_rows: int | None = None


@dataclass(frozen=True)
class Indexed:
    chunks: list[Chunk]
    skipped: list[tuple[int, int]]
    file: InputFile
    """The file, with the format that its first bytes prove."""


class Index:
    """Cuts one file (or segment) per rank into chunks."""

    def __init__(self, tasks: Sequence[IndexTask], chunk_bytes: int, reader_options: ReaderOptions) -> None:
        self.tasks, self.chunk_bytes, self.reader_options = tasks, chunk_bytes, reader_options

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[Indexed]:
        task = self.tasks[rank]
        file, reader_options = task.file, self.reader_options
        if task.start == 0:
            file, problem = recognised(file)
            if problem:
                yield Indexed([Chunk(0, 0, 0, 0, xxhash.xxh3_128_hexdigest(b""), broken=problem)], [], file)
                return
        if file.format == "json":
            array = json_arrays.index(file, task.max_rows)
            file = task.file if array is None else file
        if file.format == "json":
            chunks = array or []
        elif file.is_table:
            chunks = tables.index(file, self.chunk_bytes, reader_options.fields.top_columns(), task.max_rows)
            optional = {c: reader_options.fields.further_columns([c]) for c in reader_options.columns}
            chunks = tables.with_further_columns(file, chunks, optional)
        elif file.is_delimited:
            chunks = csv_records.index(
                file, self.chunk_bytes, reader_options.max_line_bytes, task.max_rows, reader_options.csv
            )
        else:
            chunks = lines.index(file, self.chunk_bytes, task.start, task.stop, task.max_rows)
        _refuse_doubled_columns(file, chunks, reader_options)
        skipped: list[tuple[int, int]] = []
        if not file.is_delimited and task.start == 0 and samples.has_filters(file, chunks, reader_options):
            whole = chunks if task.stop is None else lines.index(file, self.chunk_bytes)
            skipped = samples.duplicates(file, whole, reader_options)
        yield Indexed(chunks, skipped, file)


def _refuse_doubled_columns(file: InputFile, chunks: Sequence[Chunk], reader_options: ReaderOptions) -> None:
    if not chunks or chunks[0].broken:
        return
    if file.is_table:
        names = tables.schema(file).names
    elif file.is_delimited:
        names = csv_records.header(file, reader_options.max_line_bytes, reader_options.csv)[0]
    else:
        return
    if name := reader_options.fields.doubled(names):
        option = "--id-column" if name == reader_options.fields.id_column or name in ID_COLUMNS else "--text-column"
        raise InputError(
            f"{file.path} has {names.count(name)} columns called {name!r}. Rename one of them, or name another column with {option}"
        )


USUAL_CHUNK_BYTES = 64 << 20
CHUNKS_OF_SMALL_INPUT, CHUNKS_OF_LARGE_INPUT = 32, 16_384
_POWERS = [1 << power for power in range(22, 63)]  # 4 MiB and more

RunIndex = Callable[[Index, int], list[Indexed]]
"""Runs an Index step over that many ranks and returns the result of each, in order."""


def make_plan(
    output: Folder,
    files: Sequence[InputFile],
    reader_options: ReaderOptions,
    chunk_bytes: int | None,
    limit: int | None,
    run_index: RunIndex,
    is_stored: bool = True,
    may_recut: bool = False,
    check: Callable[[Plan], None] = lambda _plan: None,
) -> Plan:
    """The plan for these files. Plans of unchanged files are taken from `output`. If `check` raises, no plan is stored.

    Without `chunk_bytes`, chunks are as large as those that `output` has, or as the size of all files asks for.

    Raises ConfigError if `output` has a plan with other `chunk_bytes`, since every part would be computed again; with
    `may_recut`, the files are cut anew.
    """
    if chunk_bytes is None:
        recorded = None if may_recut else _recorded_chunk_bytes(output)
        chunk_bytes = recorded or chunk_bytes_for(sum(f.size() for f in files))
    settings = {f.name: _settings(f, reader_options, chunk_bytes) for f in files}
    read_as = reader_options
    if not may_recut:
        _refuse_another_cut(output, files, chunk_bytes)
    if limit is not None:
        plan = Plan(tuple(_limited(files, reader_options, chunk_bytes, limit, run_index)))
        check(plan)
        for one in plan.files if is_stored else ():
            _store(output, one, None, settings[one.file.name])
        return plan
    is_local = output.is_local and all(f.is_local for f in files)
    looks = ahead(lambda f: _known(output, f, settings[f.name]), files, is_local=is_local)
    kept = {f.name: planned for f, planned in zip(files, looks, strict=True) if planned is not None}
    lacking = [p for p in kept.values() if p.file.is_table and not set(reader_options.columns) <= _planned_columns(p)]
    if lacking:
        # These tables are cut as before, with digests of more columns, so the parts of other taggers keep their keys.
        columns = {*reader_options.columns, *(c for p in lacking for c in _planned_columns(p))}
        reader_options = replace(reader_options, columns=tuple(sorted(columns)))
        for planned in lacking:
            del kept[planned.file.name]
    unknown = [f for f in files if f.name not in kept]
    # Taken before the bytes are read, so that the next run plans a file anew if it changes meanwhile.
    identities = dict(ahead(lambda f: (f.name, f.identity()), unknown, is_local=is_local))
    tasks = [t for f in unknown for t in _segments(f, chunk_bytes)]
    pieces: dict[str, list[Indexed]] = {}
    if tasks:
        for task, indexed in zip(tasks, run_index(Index(tasks, chunk_bytes, reader_options), len(tasks)), strict=True):
            pieces.setdefault(task.file.name, []).append(indexed)
    planned_anew = {
        f.name: PlannedFile(pieces[f.name][0].file, _joined(pieces[f.name]), is_trial=reader_options.sample < 1)
        for f in unknown
    }
    moved = [f for f in files if f.name in kept and _is_of_another_commit(kept[f.name].file, f)]
    kept = {f.name: _at(kept[f.name], f) for f in files if f.name in kept}
    every = kept | planned_anew
    plan = Plan(tuple(replace(every[f.name], reader_options=read_as) for f in files))
    check(plan)

    def store(planned: PlannedFile) -> None:
        _store(output, planned, identities[planned.file.name], settings[planned.file.name])

    if is_stored:
        list(ahead(store, planned_anew.values(), is_local=output.is_local))
        for file in moved:
            _store(output, kept[file.name], file.identity(), settings[file.name])
    return plan


def _is_of_another_commit(planned: InputFile, file: InputFile) -> bool:
    """Whether an unchanged file of the Hub is read at another commit than the plan says."""
    return hub.is_on_hub(file.path) and (planned.path, planned.revision) != (file.path, file.revision)


def _at(planned: PlannedFile, file: InputFile) -> PlannedFile:
    """A stored plan with the path at which the file is now."""
    return replace(planned, file=replace(planned.file, path=file.path, revision=file.revision))


def _settings(file: InputFile, reader_options: ReaderOptions, chunk_bytes: int) -> dict[str, Any]:
    fields = reader_options.fields
    return {
        **({"tables": TABLES_VERSION} if file.is_table else {}),
        "plan": PLAN_VERSION,
        "shard_bytes": chunk_bytes,
        "max_line_bytes": reader_options.max_line_bytes,
        "text_column": fields.text_column,
        "id_column": fields.id_column,
        "is_resps": fields.is_resps,
        "sample": reader_options.sample,
        "seed": reader_options.seed,
        **(
            {"csv": {"version": csv_records.CSV_VERSION, **reader_options.csv.fingerprint()}}
            if file.is_delimited
            else {}
        ),
    }


def chunk_bytes_for(total: int) -> int:
    """Bytes of a chunk for an input of `total` bytes: a power of two.

    A small input has up to 32 chunks of 4 MiB or more, so that several workers are busy. A large one has at most 16,384, since each
    chunk costs a part of every tagger. From 1 GiB to 1 TiB a chunk has 64 MiB, which a tagger of average speed needs ten seconds for.
    """
    smallest = next(size for size in _POWERS if size * CHUNKS_OF_SMALL_INPUT >= total)
    largest = next(size for size in _POWERS if size * CHUNKS_OF_LARGE_INPUT >= total)
    return max(min(smallest, USUAL_CHUNK_BYTES), largest)


def _chunk_bytes_of(output: Folder, plan: str) -> int | None:
    try:
        return int((opened(output.read(plan)) or {})["settings"]["shard_bytes"])
    except (KeyError, TypeError, ValueError):
        return None  # no plan, or none of this version


def _recorded_chunk_bytes(output: Folder) -> int | None:
    """Of the first plan that the output has, whichever file it is of: one run cuts all its files alike."""
    return next((size for name in output.files("plan") if (size := _chunk_bytes_of(output, name))), None)


def _refuse_another_cut(output: Folder, files: Sequence[InputFile], chunk_bytes: int) -> None:
    for file in files:
        was = _chunk_bytes_of(output, plan_name(file.name))
        if was is None:
            continue
        if was != chunk_bytes and has_results(output, file.name):
            raise ConfigError(
                f"{output} has {file.name} in chunks of chunk_bytes={was}, and chunk_bytes={chunk_bytes} would compute everything "
                f"again. Say --set chunk_bytes={was} to go on, or --overwrite"
            )
        return  # one run cuts all its files with one chunk_bytes


def has_results(output: Folder, file_name: str) -> bool:
    """Whether `output` has results of this input: a part, quarantined rows, or token ids."""
    return any(f"/{file_name}/" in name for room in ROOMS_OF_RESULTS for name in output.files(room))


def _planned_columns(planned: PlannedFile) -> set[str]:
    """The further columns whose digests a table's plan has."""
    return set.intersection(*({name for name, _ in r.columns} for r in planned.chunks)) if planned.chunks else set()


def plan_name(file_name: str) -> str:
    return f"plan/{file_name}.json"


def _known(output: Folder, file: InputFile, settings: dict[str, Any]) -> PlannedFile | None:
    data = output.read(plan_name(file.name))
    identity = file.identity()
    if data is None or identity is None:
        return None
    try:
        planned = _planned(data)
        stored = opened(data) or {}
        is_current = stored["identity"] == identity and stored["settings"] == settings
    except (ValueError, KeyError, TypeError):
        return None  # damaged or of another version, so it is made anew
    if planned.file.format == "json" and file.format == "jsonl":  # recognised by its first bytes
        file = replace(file, format="json")
    is_same = replace(planned.file, path=file.path) == file  # its path may have changed
    if not is_current or not is_same or not (is_sealed(data) or _shows_its_end(file)):
        return None
    return planned


def _planned(data: bytes | None) -> PlannedFile:
    """A stored plan. Raises ValueError, KeyError or TypeError if it is damaged or of another version.

    Earlier versions wrote no checksum. The chunks of such a plan must follow one another and fill the file.
    """
    value = opened(data)
    if value is None:
        raise ValueError("not as it was written")
    file = InputFile(value["input"], value["path"], value["format"], value["compression"], value.get("revision", ""))
    chunks = tuple(Chunk.from_json(r) for r in value["ranges"])
    if not is_sealed(data) and not _is_consistent(file, chunks, value["identity"]):
        raise ValueError("chunks that do not follow one another")
    return PlannedFile(file, chunks, value["is_trial"], _stored_reader_options(value["settings"]))


def _stored_reader_options(settings: dict[str, Any]) -> ReaderOptions:
    fields = DocumentFields(settings["text_column"], settings["id_column"], settings["is_resps"])
    csv = {name: value for name, value in settings.get("csv", {}).items() if name != "version"}
    return ReaderOptions(
        fields, settings["max_line_bytes"], settings.get("sample", 1.0), settings.get("seed", 0), csv=Dialect(**csv)
    )


def _is_consistent(file: InputFile, chunks: Sequence[Chunk], identity: dict[str, Any] | None) -> bool:
    """Whether the chunks follow one another from the first row on, up to the end of a file of lines."""
    row, position = 0, chunks[0].start if chunks and file.is_delimited else 0
    for r in chunks:
        if (r.first_row, r.start) != (row, position) or not 0 <= r.rows <= r.end - r.start:
            return False
        if file.is_table and r.rows != r.end - r.start:
            return False
        if not all(r.first_row <= a < b <= r.first_row + r.rows for a, b in r.skipped):
            return False
        row, position = row + r.rows, r.end
    is_known = identity is not None and file.format in ("jsonl", *DELIMITED) and not file.compression
    return not is_known or any(r.broken for r in chunks) or position == (identity or {})["size"]


def _shows_its_end(file: InputFile) -> bool:
    """Whether a plan without a checksum ends where its file ends, so that no chunk is missing. Plans of other formats are
    made anew, with the same chunks, and so are plans of files that begin as another format."""
    return file.format == "jsonl" and not file.compression and recognised(file) == (file, "")


def forget(output: Folder, files: Iterable[InputFile], error: TagcorpusError) -> None:
    """Remove the plan of the input that an error names as misplanned, so that the next run makes it anew."""
    for file in files:
        if error.misplanned and error.misplanned in (file.name, file.path):
            output.remove(plan_name(file.name))


def _store(output: Folder, planned: PlannedFile, identity: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    value = {
        "input": planned.file.name,
        "path": planned.file.path,
        **({"revision": planned.file.revision} if planned.file.revision else {}),
        "format": planned.file.format,
        "compression": planned.file.compression,
        "identity": identity,
        "settings": settings,
        "is_trial": planned.is_trial,
        "ranges": [r.to_json() for r in planned.chunks],
    }
    output.publish(plan_name(planned.file.name), sealed(value))


def load_plan(output: Folder, *, skip_damaged: bool = False) -> list[PlannedFile]:
    """Every planned file of an output, by name. Raises InputError if there is none, or one is damaged (the next run makes it
    anew). With `skip_damaged`, only the plans that can be read, perhaps none."""
    names = [n for n in output.files("plan") if n.endswith(".json")]
    if not names and not skip_damaged:
        raise InputError(f"{output} has no plan. It is not the output folder of a tagcorpus run")
    files = []
    for name in names:
        try:
            files.append(_planned(output.read(name)))
        except (ValueError, KeyError, TypeError) as error:
            if not skip_damaged:
                raise InputError(
                    f"{output}/{name} is damaged. Run the pipeline again, which makes it anew from the input"
                ) from error
    return files


def _segments(file: InputFile, chunk_bytes: int) -> list[IndexTask]:
    step = chunk_bytes * CHUNKS_PER_SEGMENT
    if file.format != "jsonl" or file.compression or file.size() <= step:
        return [IndexTask(file)]
    file_, problem = recognised(file)
    if problem or file_.format != file.format:
        return [IndexTask(file)]
    return [IndexTask(file, s, s + step) for s in range(0, file.size(), step)]


def _joined(pieces: list[Indexed]) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    rows = 0
    skipped = [s for p in pieces for s in p.skipped]
    for piece in pieces:
        for r in piece.chunks:
            first = rows + r.first_row
            within = tuple(
                (max(a, first), min(b, first + r.rows)) for a, b in skipped if a < first + r.rows and b > first
            )
            chunks.append(replace(r, first_row=first, skipped=within))
        rows += sum(r.rows for r in piece.chunks)
    return tuple(chunks)


def _limited(
    files: Sequence[InputFile], reader_options: ReaderOptions, chunk_bytes: int, limit: int, run_index: RunIndex
) -> Iterator[PlannedFile]:
    """The files with the first `limit` rows, and only these rows of the last one; the rest is not read."""
    left = limit
    for file in files:
        if left <= 0:
            return
        indexed = run_index(Index([IndexTask(file, max_rows=left)], chunk_bytes, reader_options), 1)
        planned = PlannedFile(indexed[0].file, _joined(indexed), is_trial=True, reader_options=reader_options)
        left -= planned.rows
        yield planned

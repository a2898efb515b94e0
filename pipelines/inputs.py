"""From `--input` arguments to a list of files: folders, globs, URLs, stdin; names by which outputs are called.

A file's name is its path relative to the root of the argument that brought it (a file's folder, a folder itself, a
glob's literal part), with `LABEL/` in front where the argument was `LABEL=PATH`. Two files of one name are refused.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tagcorpus.errors import InputError

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
FORMATS |= {".feather": "arrow", ".ipc": "arrow"}
# A folder may hold a results_*.json or a config.json beside its samples: those count only when they are named.
FOLDER_SUFFIXES = tuple(s for s in FORMATS if s != ".json")
COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
IGNORED_IN_FOLDERS = ("results_*", "removed_*", "*.tagcorpus")
MAGIC = {
    b"\x1f\x8b": ("jsonl", "gz"),
    b"\x28\xb5\x2f\xfd": ("jsonl", "zst"),
    b"PAR1": ("parquet", ""),
    b"ARROW1": ("arrow", ""),
}


@dataclass(frozen=True)
class InputFile:
    """One input file. `name` is what outputs are called by; `path` is where it lies (a local path or a URL)."""

    name: str
    path: str
    format: str
    compression: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    def open(self) -> BinaryIO:
        if self.is_local:
            return open(self.path, "rb")
        fs, path = fsspec.url_to_fs(self.path)
        found: BinaryIO = fs.open(path, "rb", block_size=8 << 20, cache_type="readahead")
        return found

    def size(self) -> int:
        """Bytes as stored (compressed)."""
        if self.is_local:
            return os.stat(self.path).st_size
        fs, path = fsspec.url_to_fs(self.path)
        return int(fs.info(path)["size"] or 0)

    def identity(self) -> dict[str, Any] | None:
        """What must be equal for the file to count as unchanged without reading it; None where a store offers
        nothing better than a size. The inode change time cannot be set back, so an edit is never overlooked."""
        if self.is_local:
            stat = os.stat(self.path)
            return {
                "size": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "ctime_ns": stat.st_ctime_ns,
                "inode": stat.st_ino,
            }
        fs, path = fsspec.url_to_fs(self.path)
        fs.invalidate_cache()
        info = fs.info(path)
        marks = {
            k: str(info[k]) for k in ("ETag", "etag", "LastModified", "mtime", "updated", "generation") if info.get(k)
        }
        return {"size": info["size"], **marks} if marks else None


def find(
    arguments: Sequence[str], globs: Sequence[str] = (), excludes: Sequence[str] = (), stdin_copy: str | None = None
) -> list[InputFile]:
    """All input files, in the order of the arguments and by name within one.

    `globs`/`excludes` filter the relative paths found in folders; `stdin_copy` is the local file that holds what `-`
    brought. Raises InputError for what is not there, matches nothing, or collides.
    """
    found: list[InputFile] = []
    for argument in arguments:
        label, path = _split_label(argument)
        if path == "-":
            if stdin_copy is None:
                raise InputError("--input - reads standard input, which this command cannot do")
            files = [_sniffed(stdin_copy)]
        else:
            files = list(_expand(path, globs, excludes))
        found += [InputFile(f"{label}/{f.name}" if label else f.name, f.path, f.format, f.compression) for f in files]
    seen: dict[str, str] = {}
    for file in found:
        if file.name in seen:
            raise InputError(
                f"two inputs have the same name {file.name!r}: {seen[file.name]} and {file.path}; "
                "tell them apart with --input LABEL=PATH"
            )
        seen[file.name] = file.path
    return found


def label_and_path(argument: str) -> tuple[str, str]:
    """`LABEL=PATH` apart; the label is empty where there is none."""
    return _split_label(argument)


def _split_label(argument: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w.\-]+(?:/[\w.\-]+)*)=(.+)", argument)
    # `data/lang=en/*.jsonl` is a path too, where such files are.
    if match and not os.path.exists(argument) and not (_is_glob(argument) and next(glob.iglob(argument), None)):
        return match[1], match[2]
    return "", argument


def _expand(path: str, globs: Sequence[str], excludes: Sequence[str]) -> Iterable[InputFile]:
    fs, plain = _filesystem(path)
    is_local = isinstance(fs, LocalFileSystem)

    def url(p: str) -> str:
        return p if is_local else str(fs.unstrip_protocol(p))

    try:
        if _is_glob(plain) and not fs.exists(plain):
            root = _literal_part(plain)
            matches = fs.glob(plain, detail=True).items()
            paths = sorted(p for p, i in matches if (os.path.isfile(p) if is_local else i["type"] == "file"))
            if not paths:
                raise InputError(f"no file matches {path!r} (--input)")
            return [_named(p[len(root) :].lstrip("/"), url(p)) for p in paths]
        if fs.isdir(plain):
            root = plain.rstrip("/")
            relative = sorted(p[len(root) :].lstrip("/") for p in fs.find(root))
            kept = [r for r in relative if _in_folder(r, globs, excludes)]
            if not kept:
                raise InputError(
                    f"no input file in {path!r} (--input): {len(relative)} files there, none of them with a known "
                    f"suffix ({', '.join(FOLDER_SUFFIXES)}, also with .gz or .zst) that --glob and --exclude let through"
                )
            for r in kept if is_local else ():
                if not os.path.isfile(f"{root}/{r}"):
                    raise InputError(
                        f"{root}/{r} (--input) is no file: a link that leads nowhere? --exclude leaves it out"
                    )
            return [_named(r, url(f"{root}/{r}")) for r in kept]
        if not fs.exists(plain):
            raise InputError(f"no such file or folder: {path!r} (--input)")
    except (OSError, ValueError) as error:
        raise InputError(f"{path!r} cannot be read (--input): {error}") from error
    return [_named(plain.rsplit("/", 1)[-1], url(plain))]


def _filesystem(path: str) -> tuple[Any, str]:
    if os.path.exists(path):  # even where the name looks like a URL
        return LocalFileSystem(), os.path.abspath(path)
    try:
        fs, plain = fsspec.url_to_fs(path)
    except (ImportError, ValueError) as error:
        protocol = path.split("://", 1)[0]
        extra = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}.get(protocol)
        how = f"pip install 'tagcorpus[{extra}]'" if extra else str(error)
        raise InputError(f"{path!r} cannot be opened (--input): {how}") from error
    return fs, plain


def _is_glob(path: str) -> bool:
    return any(c in path for c in "*?[")


def _literal_part(pattern: str) -> str:
    parts = pattern.split("/")
    literal = next(i for i, p in enumerate(parts) if _is_glob(p))
    return "/".join(parts[:literal])


def _in_folder(relative: str, globs: Sequence[str], excludes: Sequence[str]) -> bool:
    parts = relative.split("/")
    if any(p.startswith(".") for p in parts) or any(fnmatch.fnmatch(p, i) for p in parts for i in IGNORED_IN_FOLDERS):
        return False
    if _kind(relative, FOLDER_SUFFIXES) is None:
        return False
    if globs and not any(fnmatch.fnmatch(relative, g) for g in globs):
        return False
    return not any(fnmatch.fnmatch(relative, e) for e in excludes)


def _kind(name: str, suffixes: Iterable[str] = tuple(FORMATS)) -> tuple[str, str] | None:
    stem, suffix = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        suffix = os.path.splitext(stem)[1]
    if suffix not in suffixes or (compression and FORMATS[suffix] in ("parquet", "arrow")):
        return None
    return FORMATS[suffix], compression


def _named(name: str, path: str) -> InputFile:
    kind = _kind(name)
    if kind is None:
        raise InputError(
            f"{path!r} has no known suffix (--input): known are {', '.join(FORMATS)}, text formats also with .gz or .zst"
        )
    return InputFile(name, os.path.abspath(path) if "://" not in path else path, *kind)


def _sniffed(path: str) -> InputFile:
    with open(path, "rb") as file:
        head = file.read(8)
    for magic, (format_, compression) in MAGIC.items():
        if head.startswith(magic):
            return InputFile("stdin", path, format_, compression)
    return InputFile("stdin", path, "jsonl", "")


def spool_stdin(path: str) -> None:
    """Copy standard input to a local file, since ranges are read more than once."""
    with open(path, "wb") as sink:
        while block := sys.stdin.buffer.read(1 << 20):
            sink.write(block)

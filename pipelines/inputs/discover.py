"""From `--input` arguments to a list of files: folders, globs, URLs; names by which outputs are called.

A file's name is its path relative to the root of its argument: a file's folder, a folder itself, or a glob's literal
part. The name begins with `LABEL/` if the argument was `LABEL=PATH`. Two files of one name are refused, and so are names
that lead out of the output folder. A folder gives its files with a known suffix, except those that runs wrote into it.
Links to folders outside of it are followed. With `input_format`, files without a known suffix count as well.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError, TagcorpusError
from tagcorpus.pipelines.inputs.input_files import COMPRESSIONS, FORMATS, TEXT_FORMATS, InputFile
from tagcorpus.pipelines.inputs.standard_input import recognised
from tagcorpus.pipelines.storage import hub, remote
from tagcorpus.pipelines.storage.local_files import LocalFiles, local_path

KNOWN_SUFFIXES = f"{', '.join(FORMATS)}; text formats also with {', '.join(COMPRESSIONS)}"
IGNORED_IN_FOLDERS = ("results_*", "removed_*", "*.tagcorpus")
# Names that a run writes in its output folder.
ROOMS = (
    "plan",
    "attributes",
    "digests",
    "quarantine",
    "unread",
    "filtered",
    "summary",
    "runs",
    "predicted_domains.csv",
    "features.csv",
    "features.parquet",
)
SHOWN_KINDS = 8


def find(
    arguments: Sequence[str],
    globs: Sequence[str] = (),
    excludes: Sequence[str] = (),
    stdin_copy: str | None = None,
    *,
    outputs: Sequence[str] = (),
    skipped: Counter[str] | None = None,
    input_format: str = "",
) -> list[InputFile]:
    """All input files, in the order of the arguments and by name within one.

    globs, excludes  filters of the relative paths in folders
    stdin_copy       local file with a copy of standard input, the file of `-`
    outputs          files and folders that this run writes; they are not input, even in an input folder
    skipped          counts the files in folders that are left out, by kind (see `skipped_line`)
    input_format     format of files without a known suffix, as a suffix without its dot
    Raises InputError for a path that is missing, unreadable, matches nothing, or collides; ConfigError for an unknown format.
    """
    names = Names(input_format)
    skipped = Counter() if skipped is None else skipped
    inputs: list[InputFile] = []
    for argument in arguments:
        label, path = _split_label(argument)
        if path == "-":
            if stdin_copy is None:
                raise InputError("--input - reads standard input, which this command cannot do")
            files = [recognised(stdin_copy, names.given)]
        else:
            files = list(_expand(path, globs, excludes, outputs, skipped, names))
        inputs += [InputFile(f"{label}/{f.name}" if label else f.name, f.path, f.format, f.compression) for f in files]
    seen: dict[str, str] = {}
    for file in inputs:
        if not _is_plain(file.name):
            raise InputError(f"{file.path} (--input) would be called {file.name!r}. Name it without `..`")
        if file.is_local:
            _check_readable(file.path)
        if file.name in seen:
            raise InputError(
                f"two inputs have the same name {file.name!r}: {seen[file.name]} and {file.path}; "
                "tell them apart with --input LABEL=PATH"
            )
        seen[file.name] = file.path
    return inputs


def skipped_line(skipped: Counter[str]) -> str:
    """The kinds of files that `find` left out, in one line, the commonest first; empty if there are none."""
    if not skipped:
        return ""
    kinds = sorted(skipped.items(), key=lambda kind: (-kind[1], kind[0]))
    phrases = [f"{n:,} {kind}" for kind, n in kinds[:SHOWN_KINDS]]
    if more := sum(n for _, n in kinds[SHOWN_KINDS:]):
        phrases.append(f"{more:,} others")
    return "skipped in folders: " + ", ".join(phrases)


def label_and_path(argument: str) -> tuple[str, str]:
    """The label and the path of `LABEL=PATH`; the label is empty if there is none. Raises InputError for a label with `..`."""
    return _split_label(argument)


def _split_label(argument: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w.:@+\-]+(?:/[\w.:@+\-]+)*)=(.+)", argument)
    # `data/lang=en/*.jsonl` is a path if such files exist.
    if match and not os.path.exists(argument) and not (_is_glob(argument) and next(glob.iglob(argument), None)):
        if not _is_plain(match[1]):
            raise InputError(
                f"--input {argument}: the label {match[1]!r} leads out of the output folder; a label is like `en` or `org/en`"
            )
        return match[1], match[2]
    return "", argument


def _is_plain(name: str) -> bool:
    return not any(part in ("", ".", "..") for part in name.split("/"))


def _check_readable(path: str) -> None:
    try:
        _check_regular(path)  # first, because opening a named pipe would wait
        open(path, "rb").close()
    except OSError as error:
        raise InputError(
            f"{path} (--input) cannot be read: {error.strerror}. See to its permissions, or leave it out with --exclude"
        ) from error


def _check_regular(path: str) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise InputError(
        f"{path} (--input) is {kind}, and a run reads its files more than once. Read it as standard input: --input - < {path}"
    )


class Names:
    """Formats of files by their names; `given` is the format of names without a known suffix."""

    def __init__(self, input_format: str = "") -> None:
        self.given = _kind(f"x.{input_format.removeprefix('.')}") if input_format else None
        if input_format and self.given is None:
            raise ConfigError(
                f"--input-format {input_format!r} is not known. Name one of "
                f"{', '.join(dict.fromkeys(FORMATS.values()))}; text formats also with {', '.join(COMPRESSIONS)}, as jsonl.gz"
            )

    def kind(self, name: str) -> tuple[str, str] | None:
        """(format, compression) of a file that was named or that a glob matches."""
        if (kind := _kind(name)) is not None or self.given is None:
            return kind
        compression = COMPRESSIONS.get(os.path.splitext(name.lower())[1], "")
        if not compression:
            return self.given
        return (self.given[0], compression) if self.given[0] in TEXT_FORMATS else None

    def is_silent(self, name: str) -> bool:
        """Whether a file in a folder is read as `given`: its name has no suffix (part-00000), or a number as suffix."""
        stem, suffix = os.path.splitext(name.lower())
        if suffix in COMPRESSIONS:
            suffix = os.path.splitext(stem)[1]
        # Names of Hadoop's and Spark's own files (_SUCCESS) begin with an underscore.
        return self.given is not None and not name.startswith("_") and (not suffix or suffix[1:].isdigit())


def _expand(
    path: str,
    globs: Sequence[str],
    excludes: Sequence[str],
    outputs: Sequence[str],
    skipped: Counter[str],
    names: Names,
) -> Iterable[InputFile]:
    fs, plain = _filesystem(path)
    is_local = isinstance(fs, LocalFiles)

    def url(p: str) -> str:
        return p if is_local else str(fs.unstrip_protocol(p))

    try:
        if _is_glob(plain) and not fs.exists(plain):
            root = _literal_part(plain, is_local)
            matches = fs.glob(glob.escape(root) + plain[len(root) :], detail=True).items()
            paths = sorted(p for p, i in matches if (os.path.isfile(p) if is_local else i["type"] == "file"))
            written = _written_below(root, outputs, fs)
            paths = [p for p in paths if not _is_below(p[len(root) :].lstrip("/"), written)]
            if not paths:
                raise InputError(f"no file matches {path!r} (--input)")
            return [_named(p[len(root) :].lstrip("/"), url(p), names) for p in paths]
        # Before `isdir`: permission to read an object does not always include permission to list its folder.
        if not is_local and names.kind(plain) and fs.isfile(plain):
            return [_named(plain.rsplit("/", 1)[-1], url(plain), names)]
        if fs.isdir(plain):
            root = plain.rstrip("/")
            relative = sorted(
                _files_below(root, skipped) if is_local else (p[len(root) :].lstrip("/") for p in fs.find(root))
            )
            written = _written_below(root, outputs, fs) | _outputs_among(relative)
            kept = []
            for r in relative:
                kind = _why_not(r, written, globs, excludes, names)
                if kind is None:
                    kept.append(r)
                elif kind:
                    skipped[kind] += 1
            if not kept:
                if not relative:
                    raise InputError(f"no input file in {path!r} (--input): the folder is empty")
                raise InputError(
                    f"no input file in {path!r} (--input): none of {len(relative)} files has a known suffix "
                    f"({KNOWN_SUFFIXES}; .json only with one of these, or a --glob that ends in .json) and passes --glob and "
                    f"--exclude{'; ' if skipped else ''}{skipped_line(skipped)}"
                )
            for r in kept if is_local else ():
                if not os.path.exists(f"{root}/{r}"):
                    raise InputError(
                        f"{root}/{r} (--input) is not a file. Is it a link that leads nowhere? Leave it out with --exclude"
                    )
            return [_named(r, url(f"{root}/{r}"), names) for r in kept]
        if hub.is_on_hub(path):
            fs.info(plain)  # raises what `exists` hides: no access, no answer
        elif not fs.exists(plain):
            raise InputError(f"no such file or folder: {path!r} (--input)")
    except TagcorpusError:
        raise
    except Exception as error:
        if not is_local:
            raise remote.explain(error, path, "read", InputError) from error
        if not isinstance(error, OSError | ValueError):
            raise
        hint = ". Check the permissions" if isinstance(error, PermissionError) else ""
        raise InputError(f"{path!r} cannot be read (--input): {error}{hint}") from error
    if is_local:
        _check_regular(plain)
    return [_named(plain.rsplit("/", 1)[-1], url(plain), names)]


def _filesystem(path: str) -> tuple[Any, str]:
    if os.path.exists(path):  # even if the name looks like a URL
        return LocalFiles(), os.path.abspath(path)
    if "://" in path:
        return remote.filesystem(path)
    return LocalFiles(), os.path.abspath(os.path.expanduser(path))


def _is_glob(path: str) -> bool:
    return any(c in path for c in "*?[")


def _literal_part(path: str, is_local: bool) -> str:
    """The folders before the first pattern. An existing folder whose name looks like a pattern (`data[1]`) is not a pattern."""
    parts = path.split("/")
    literal = 0
    while literal < len(parts) - 1:
        if _is_glob(parts[literal]) and not (is_local and os.path.isdir("/".join(parts[: literal + 1]))):
            break
        literal += 1
    return "/".join(parts[:literal])


def _files_below(root: str, skipped: Counter[str]) -> Iterator[str]:
    """Relative paths of files that are not hidden. Links to folders are followed, and no folder is read twice."""
    top = os.path.realpath(root or "/")
    below_top = f"{top.rstrip('/')}/"
    seen = {top}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                relative = f"{folder}{entry.name}"
                if entry.name.startswith("."):
                    continue
                is_link = entry.is_symlink()
                if not (os.path.isdir(entry.path) if is_link else entry.is_dir()):
                    yield relative
                    continue
                real = os.path.realpath(entry.path)
                if real in seen or (is_link and (real.startswith(below_top) or below_top.startswith(f"{real}/"))):
                    skipped["link to a folder that is read already"] += 1
                    continue
                seen.add(real)
                waiting.append(f"{relative}/")


def _written_below(root: str, outputs: Sequence[str], fs: Any) -> set[str]:
    """Relative paths of the files and folders below `root` that this run writes."""
    paths = set()
    is_local = isinstance(fs, LocalFiles)
    for output in outputs:
        if not is_local and "://" not in output:
            continue
        if is_local:
            place, above = os.path.realpath(local_path(output)), os.path.realpath(root)
        else:
            place, above = fs._strip_protocol(output), root
        if place == above:
            paths |= set(ROOMS)
        elif place.startswith(f"{above.rstrip('/')}/"):
            paths.add(place[len(above.rstrip("/")) + 1 :])
    return paths


def _outputs_among(relative: Sequence[str]) -> set[str]:
    """Output folders of earlier runs, which hold both plan/ and attributes/; if the folder itself is one, its ROOMS."""
    with_plan, with_attributes = (
        {f"/{r}"[: f"/{r}".index(f"/{room}/")] for r in relative if f"/{room}/" in f"/{r}"}
        for room in ("plan", "attributes")
    )
    both = with_plan & with_attributes
    return {f[1:] for f in both if f} | (set(ROOMS) if "" in both else set())


def _is_below(relative: str, folders: set[str]) -> bool:
    return any(relative == f or relative.startswith(f"{f}/") for f in folders)


def _why_not(
    relative: str, written: set[str], globs: Sequence[str], excludes: Sequence[str], names: Names
) -> str | None:
    """The kind of a file that is left out; empty if nobody would miss the file, None if the file is input."""
    parts = relative.split("/")
    name = parts[-1].lower()
    if any(p.startswith(".") for p in parts):
        return ""
    if (globs and not any(fnmatch.fnmatch(relative, g) for g in globs)) or any(
        fnmatch.fnmatch(relative, e) for e in excludes
    ):
        return ""
    if _is_below(relative, written):
        return "written by tagcorpus"
    for pattern in IGNORED_IN_FOLDERS:
        if any(fnmatch.fnmatch(p, pattern) for p in parts):
            return pattern
    if names.is_silent(parts[-1]) or (names.given is not None and globs and _kind(name) is None):
        return None
    # A folder may hold a config.json beside its samples, so .json files count only if a glob names them.
    is_named = any(g.lower().endswith(".json") and fnmatch.fnmatch(relative, g) for g in globs)
    if _kind(name) is None or (name.endswith(".json") and not is_named):
        stem, suffix = os.path.splitext(name)
        before = os.path.splitext(stem)[1] if suffix in COMPRESSIONS else ""
        return f"{before}{suffix}" or "without a suffix"
    return None


def _kind(name: str) -> tuple[str, str] | None:
    stem, suffix = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        suffix = os.path.splitext(stem)[1]
    if suffix not in FORMATS or (compression and FORMATS[suffix] not in TEXT_FORMATS):
        return None
    return FORMATS[suffix], compression


def _named(name: str, path: str, names: Names) -> InputFile:
    kind = names.kind(name)
    if kind is None:
        raise InputError(
            f"{path!r} has no known suffix (--input). Name its format with --input-format; known suffixes are {KNOWN_SUFFIXES}"
        )
    return InputFile(name, os.path.abspath(path) if "://" not in path else path, *kind)

"""Where the results of a run go: a folder, and the file that `--output` names, if it names one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.results import check_result, recorded, written_files
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.inputs.input_files import COMPRESSIONS, FORMATS, InputFile
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.declaring.common import LINES, Options
from tagcorpus.pipelines.progress.heartbeat import at_work
from tagcorpus.pipelines.readers.plan import has_results, load_plan, plan_name
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder

OVERWRITE = (
    "name another file, move that one away, or let it be replaced with --overwrite (which computes everything anew)"
)


@dataclass(frozen=True)
class Place:
    """result_file: for the main result; None where the folder has all of it. folder: for everything."""

    result_file: str | None
    folder: Folder


def place_of(pipeline: str, options: Options, files: Sequence[InputFile]) -> Place:
    """The place that the options name, or the default folder. Raises ConfigError where another's results would be lost."""
    result_file, path = _paths(options)
    place = Place(result_file, check_folder("run", path, option="--output" if result_file is None else "--work"))
    if result_file is not None:
        # Feature tables have their provenance beside them.
        is_free = options.overwrite or pipeline == "features"
        is_own = recorded(place.folder) if not is_free else lambda *_: True
        check_result(result_file, place.folder, is_own, [file.path for file in files], remedy=OVERWRITE)
    if options.work is None and (options.output is None or result_file is not None):
        _check_default_folder(place, options, files)
    return place


def written_before(options: Options) -> list[str]:
    """Files that earlier runs and exports of the output folder, or of an input folder, wrote: not input, even in an input folder."""
    folders = [path for a in options.input if os.path.isdir(path := discover.label_and_path(a)[1])]
    with contextlib.suppress(ConfigError):  # `place_of` raises it again
        folders.append(_paths(options)[1])
    return [file for path in folders if "://" not in path for file in written_files(Folder(path))]


def among_inputs(place: Place, files: Sequence[InputFile]) -> str:
    """A sentence if the first run of an output folder writes among its input files; else empty."""
    if not place.folder.is_local or place.folder.exists("plan"):
        return ""
    roots = tuple(f"{root}/" for root in {place.folder.root, os.path.realpath(place.folder.root)})
    if not any(file.is_local and file.path.startswith(roots) for file in files):
        return ""
    return (
        f"{place.folder} has input files in it, and the folders attributes, plan, runs and summary go beside them. Later runs skip "
        "these folders; to keep them apart, give another --output"
    )


def is_named_by(options: Options, file: InputFile, files: Sequence[InputFile]) -> bool:
    """Whether an input of an earlier run is one that this run's arguments name, be it there still or not."""
    roots = (os.path.abspath(discover.label_and_path(a)[1]).rstrip("/") for a in options.input)
    literal = (r.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0] if "*" in r else r for r in roots)
    return file.path in {f.path for f in files} or any(file.path.startswith(f"{r}/") for r in literal)


def _paths(options: Options) -> tuple[str | None, str]:
    """Result file, if one is named, and folder."""
    output = options.output
    is_file = output is not None and output.lower().endswith(options.RESULT_SUFFIXES)
    if isinstance(options, TagOptions) and options.with_text:
        endings = (*LINES, ".parquet")
        if output is None or not output.lower().endswith(endings):
            raise ConfigError(
                f"--with-text goes with an --output that ends in {', '.join(endings[:-1])} or {endings[-1]}"
            )
    if options.work is not None and not is_file:
        raise ConfigError(f"--work goes with an --output that is a file ({', '.join(options.RESULT_SUFFIXES)})")
    if output is not None and not is_file:
        return None, output
    if options.work is not None:
        return output, options.work
    first = discover.label_and_path(options.input[0])[1]
    if first == "-":
        raise ConfigError("--input - (standard input) with an --output file needs --work FOLDER")
    if "://" in first:
        raise ConfigError("remote input needs --output FOLDER" + (" or --work FOLDER" if output else ""))
    if isinstance(options, FeaturesOptions):
        first = output or options.models or first
    return output, default_folder(first, options)


def _check_default_folder(place: Place, options: Options, files: Sequence[InputFile]) -> None:
    """Refuse a default folder with results of another input. A plan without results, left by a run that was refused or
    killed, does not count; but it may be the plan of a run at work."""
    others = (p.file for p in load_plan(place.folder, skip_damaged=True) if not is_named_by(options, p.file, files))
    for file in others:
        option = "--work" if place.result_file is not None else "--output"
        if has_results(place.folder, file.name):
            raise ConfigError(f"{place.folder} holds results of another input ({file.path}); give {option} FOLDER")
        if any(at_work(place.folder)):
            raise ConfigError(f"{place.folder} is in use by a run of another input ({file.path}); give {option} FOLDER")
        if not options.dry_run:
            place.folder.remove(plan_name(file.name))


def default_folder(first_input: str, options: Options) -> str:
    """./<first input's stem>.tagcorpus, with limit and sample in the name so that a trial never passes for the whole."""
    parts = [p for p in first_input.rstrip("/").split("/") if p not in ("", ".", "..")]
    is_glob = not os.path.exists(first_input)
    literal = next((p for p in reversed(parts) if not (is_glob and any(c in p for c in "*?["))), "corpus")
    stem = literal
    while os.path.splitext(stem)[1].lower() in {*FORMATS, *COMPRESSIONS}:
        stem = os.path.splitext(stem)[0]
    if options.limit is not None:
        stem += f".limit{options.limit}"
    if options.sample is not None and options.sample < 1:
        stem += f".sample{options.sample:g}-seed{options.seed}"
    return f"{stem}.tagcorpus"

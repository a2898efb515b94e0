"""Which files are which model's: from a folder of generations, or from a list, to model id -> files.

Folders are `<org>/<model>/**/file`, `<model>/file`, or those of the LM evaluation harness, `<org>__<model>/samples_<task>_<time>`
(of which the newest of each task counts; they may also lie in the model's own folder). Whose a folder of the harness is, the
results file beside the samples says. `LABEL=PATH` and a models file say the id themselves. Whatever can be understood in two
ways is refused, with the folder's name. No other file is opened.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tagcorpus.errors import InputError
from tagcorpus.pipelines.generation_files.model_files import Found, chosen_files, is_sample
from tagcorpus.pipelines.generation_files.model_names import Named, ResultsBeside, candidates, refuse_candidates
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.inputs.discover import IGNORED_IN_FOLDERS
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.options.models_file import SAY_IT, check_id

HARNESS_FOLDER = re.compile(r"(?P<org>.*?)__(?P<model>.+)")


@dataclass(frozen=True)
class Models:
    """Files by model id, both in order; `set_aside`: path -> why a file that lies there does not count; `notes`: what a
    user should know of the choice."""

    files: dict[str, tuple[InputFile, ...]]
    set_aside: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def all_files(self) -> list[InputFile]:
        return [file for files in self.files.values() for file in files]

    def without(self, set_aside: Mapping[str, str]) -> Models:
        """Without these files (path -> why), and with a note for each model that has no other."""
        if not any(file.path in set_aside for file in self.all_files()):
            return self
        files = {m: tuple(f for f in own if f.path not in set_aside) for m, own in self.files.items()}
        gone = [
            f"{m}: no row, for all of its files are set aside ({set_aside[self.files[m][0].path]})"
            for m, own in files.items()
            if not own
        ]
        return Models(
            {m: own for m, own in files.items() if own}, {**self.set_aside, **set_aside}, (*self.notes, *gone)
        )

    def lines(self) -> list[str]:
        """One line a model."""
        lines = []
        for model, files in self.files.items():
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            lines.append(f"{model}: {files[0].path}{more}")
        return lines

    def to_yaml(self) -> str:
        """As `--models` takes it."""
        paths = {model: [file.path for file in files] for model, files in self.files.items()}
        import yaml

        return yaml.safe_dump(paths, sort_keys=False, allow_unicode=True)


def find(
    arguments: Sequence[str],
    globs: Sequence[str] = (),
    excludes: Sequence[str] = (),
    stdin_copy: str | None = None,
    *,
    outputs: Sequence[str] = (),
    skipped: Counter[str] | None = None,
    input_format: str = "",
) -> Models:
    """The models of these arguments (as `discover.find` takes them), sorted by id.

    Raises InputError, as `discover.find` does, and for files without a model, models without files, two folders of one
    model, ids that differ by case only or cannot be ids, and files that are there twice.
    """
    located: list[Found] = []
    notes: list[str] = []
    results = ResultsBeside()
    for argument in arguments:
        files = discover.find(
            [argument], globs, excludes, stdin_copy, outputs=outputs, skipped=skipped, input_format=input_format
        )
        label, path = discover.label_and_path(argument)
        if label:
            check_id(label, f"--input {argument}")
            is_named = path == "-" or (len(files) == 1 and files[0].path in (path, os.path.abspath(path)))
            located += [Found(label, f"{label}=", f.name[len(label) + 1 :], f, is_named) for f in files]
            continue
        harness = {f for file in files if (f := _harness_folder(file.name)) and is_sample(file.name)}
        placed = [_placed(file, harness, results, notes) for file in files]
        _check_layout(placed, path)
        if not globs:
            _check_empty(placed, path, excludes)
        notes += _without_organisation(placed, path)
        located += placed
    by_model: dict[str, list[Found]] = {}
    for one in located:
        by_model.setdefault(one.model, []).append(one)
    _check_ids(by_model)
    chosen: dict[str, tuple[InputFile, ...]] = {}
    set_aside: dict[str, str] = {}
    counted: list[Found] = []
    for model in sorted(by_model):
        taken = list(chosen_files(model, by_model[model], set_aside, notes))
        counted += taken
        chosen[model] = tuple(replace(t.file, name=f"{model}/{t.rest}") for t in taken)
    _check_twice(counted)
    _check_names(chosen)
    return Models(chosen, set_aside, tuple(notes))


def _harness_folder(name: str) -> str:
    """The path down to the first folder that is named as the harness names them; empty where there is none."""
    folders = name.split("/")[:-1]
    return next(("/".join(folders[: i + 1]) for i, f in enumerate(folders) if HARNESS_FOLDER.fullmatch(f)), "")


def _placed(file: InputFile, harness: Collection[str], results: ResultsBeside, notes: list[str]) -> Found:
    """Whose the file is, by the folders between the input's root and it, or by the results file beside it. `harness`: folders
    that hold samples, and are named for it."""
    *folders, leaf = file.name.split("/")
    root = file.path[: -len(file.name)].rstrip("/")
    harness_folder = _harness_folder(file.name)
    i = harness_folder.count("/") if harness_folder in harness else None
    named = None
    if i is not None:
        named = results.named(file.path, f"{root}/{harness_folder}")
    elif is_sample(file.name):
        named = results.named(file.path)
    if not folders:
        if named is not None and named.is_id:
            _note(notes, named, named.name)
            return Found(named.name, root, leaf, file, False)
        raise InputError(
            f"no folder names the model of {file.path}. If a column names it, give --group-by COLUMN. If the file is of one "
            f"model, put it into <org>/<model>/ or <org>__<model>/, or {SAY_IT}"
        )
    if i is None:
        # `<model>/filtered/file` is no model called filtered.
        is_bare = len(folders) == 1 or folders[1] == "filtered"
        model, depth = (folders[0], 1) if is_bare else ("/".join(folders[:2]), 2)
    else:
        model, depth = _of_harness(folders, i, root, named)
    folder = "/".join([root, *folders[:depth]])
    check_id(model, folder)
    if named is not None:
        _note(notes, named, model)
    return Found(model, folder, "/".join([*folders[depth:], leaf]), file, False)


def _of_harness(folders: Sequence[str], i: int, root: str, named: Named | None) -> tuple[str, int]:
    """The id, and how many of the folders are the model's own and those above it. `i`: the harness's folder."""
    name, above = folders[i], "/".join(folders[:i])
    folder = "/".join([root, *folders[: i + 1]])
    if named is not None:
        if not named.is_id:
            raise refuse_candidates(folder, named)
        return named.name, i if above == named.name else i + 1
    org, _, rest = name.partition("__")
    model = "/".join(part for part in (org, rest) if part)
    if "__" in rest:
        # <org>/<model>/<org>__<model>/ and <org>/<org>__<model>/ say where the organisation's name ends.
        by_place = [
            c for c in candidates(name) if above in (c, c.partition("/")[0]) and c.replace("/", "__", 1) == name
        ]
        if len(by_place) != 1:
            raise refuse_candidates(folder, None)
        return by_place[0], i if above == by_place[0] else i + 1
    if i == 0:
        return model, 1
    if above == model:  # <org>/<model>/<org>__<model>/
        return model, i
    if above == org:  # <org>/<org>__<model>/
        return model, i + 1
    raise InputError(
        f"{root}/{above}/{name} can be understood in two ways: as {model}, by the name that the evaluation harness "
        f"gives, or as {'/'.join([*folders[:i], name][:2])}, by its place. Give {root}/{above} as --input, or {SAY_IT}"
    )


def _note(notes: list[str], named: Named, model: str) -> None:
    """Say where `store import` would not come to the same id."""
    note = ""
    if named.is_id and named.name != model:
        note = f"{model}: {named.path} names the model {named.name}, as `store import` takes it; rows and scores meet under one id"
    elif named.problem:
        note = f"{model}: {named.path}: {named.problem}; `store import` needs --model-id {model} for it"
    if note and note not in notes:
        notes.append(note)


def _check_layout(placed: Iterable[Found], path: str) -> None:
    """Raise where one folder is a model by some of its files, and an organisation by others."""
    folder_of = {one.model: one.folder for one in placed}
    for model, folder in folder_of.items():
        org = model.partition("/")[0]
        if org != model and org in folder_of:
            raise InputError(
                f"{folder_of[org]} (--input {path}) has files of its own, as a model's folder has, and also the folder "
                f"{folder}, as if it were an organisation: which is it? Move the files, leave some out with --exclude, or {SAY_IT}"
            )


def _without_organisation(placed: Sequence[Found], path: str) -> Iterator[str]:
    """A note where no id has an organisation: a folder given one level too deep loses it, and with it the store's id."""
    bare = {one.model: one.folder for one in placed}
    if not bare or any("/" in model for model in bare):
        return
    model, folder = min(bare.items())
    above = os.path.dirname(folder)
    yield (
        f"--input {path}: ids have no organisation, such as {model}. If {os.path.basename(above)} is the organisation, give "
        f"{os.path.dirname(above)} as --input; if they have none, all is well"
    )


def _check_empty(placed: Iterable[Found], path: str, excludes: Sequence[str]) -> None:
    """Raise for a folder where a model should be, and no generations are."""
    if "://" in path or not os.path.isdir(path):
        return
    root = os.path.abspath(path)
    known = {f"{folder}/" for one in placed for folder in (os.path.dirname(one.folder), one.folder)}
    orgs = {one.model.partition("/")[0] for one in placed if one.folder == f"{root}/{one.model}"}
    for folder in _folders(root, "", excludes):
        if f"{root}/{folder}/" not in known and not any(k.startswith(f"{root}/{folder}/") for k in known):
            raise _nothing(f"{root}/{folder}")
        if folder not in orgs or f"{root}/{folder}" in {one.folder for one in placed}:
            continue
        for model in _folders(root, f"{folder}/", excludes):
            if not any(k.startswith(f"{root}/{model}/") for k in known):
                raise _nothing(f"{root}/{model}")


def _nothing(folder: str) -> InputError:
    return InputError(
        f"{folder} looks like a model's folder and holds no generations that count (a known suffix, not results_*, not "
        "removed_*): a run that failed? Leave it out with --exclude, or remove it"
    )


def _folders(root: str, above: str, excludes: Sequence[str]) -> Iterator[str]:
    with os.scandir(f"{root}/{above}") as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    for name in names:
        relative = f"{above}{name}"
        is_left_out = any(fnmatch.fnmatch(r, e) for e in excludes for r in (relative, f"{relative}/x"))
        if not is_left_out and not any(fnmatch.fnmatch(name, p) for p in IGNORED_IN_FOLDERS):
            yield relative


def _check_ids(by_model: Mapping[str, Sequence[Found]]) -> None:
    """One folder a model, and ids that no filesystem and no reader of the table takes for one another."""
    seen: dict[str, str] = {}
    for model, files in by_model.items():
        folders = list(dict.fromkeys(one.folder for one in files))
        if len(folders) > 1:
            raise InputError(
                f"model {model} is in two places, {folders[0]} and {folders[1]}: leave one out with --exclude, or {SAY_IT}"
            )
        other = seen.setdefault(unicodedata.normalize("NFKC", model).casefold(), model)
        if other != model:
            raise InputError(
                f"models {other} ({by_model[other][0].folder}) and {model} ({files[0].folder}) differ by upper and lower case "
                f"only: if they are one, leave a folder out with --exclude; if not, give one another name: {SAY_IT}"
            )


def _check_twice(files: Iterable[Found]) -> None:
    seen: dict[str, Found] = {}
    for one in files:
        path = os.path.realpath(one.file.path) if one.file.is_local else one.file.path
        other = seen.setdefault(path, one)
        if other is not one:
            raise InputError(
                f"{one.file.path} (model {one.model}) and {other.file.path} (model {other.model}) are the same file; leave "
                "one out with --exclude"
            )


def _check_names(chosen: Mapping[str, Iterable[InputFile]]) -> None:
    seen: dict[str, str] = {}
    for files in chosen.values():
        for file in files:
            if seen.setdefault(file.name, file.path) != file.path:
                raise InputError(
                    f"{seen[file.name]} and {file.path} would both be called {file.name!r}: name the folder that holds "
                    "both, in the place of the files"
                )

"""Which files a filter writes of an input: copies of the rows, beside each other or in two folders, or a list of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder

FOLDER = "filtered"


@dataclass(frozen=True)
class Target:
    """One file that a filter writes. `label` is its name in receipts, which says where it is from the output folder."""

    folder: Folder
    name: str
    label: str


@dataclass(frozen=True)
class Form:
    """What is written.

    removed  the removed rows, too
    place    folder of the removed rows, if they are not beside the kept ones
    ids      the format of the list, if one is written in the place of copies
    """

    removed: bool = True
    place: Folder | None = None
    ids: Literal["jsonl", "parquet"] | None = None

    def fingerprint(self) -> list[str]:
        """What decides the files besides the rule; nothing for both copies beside each other."""
        return [] if self == Form() else [str(self.removed), str(self.place or ""), str(self.ids)]

    def kept(self, output: Folder, file_name: str) -> Target:
        """Where kept rows go, or the list."""
        name = list_name(file_name, self.ids) if self.ids else output_names(file_name)[0]
        return Target(output, name, name)

    def gone(self, output: Folder, file_name: str) -> Target | None:
        """Where removed rows go, if they have a file of their own."""
        name = output_names(file_name)[1]
        if not self.removed or self.ids:
            return None
        if self.place is None:
            return Target(output, name, name)
        own = name.removeprefix(f"{FOLDER}/")
        return Target(self.place, own, f"{self.place}/{own}")

    def written(self, output: Folder, file_names: list[str]) -> dict[str, list[str] | dict[str, str]]:
        """The files, or the folders of many, kept rows first; and what is in them, where that is not both copies. For the summary."""
        if len(file_names) == 1:
            targets = [self.kept(output, file_names[0]), self.gone(output, file_names[0])]
            names = [t.label for t in targets if t is not None]
        else:
            names = [f"{FOLDER}/", *([f"{self.place}/"] if self.place else [])]
        if self == Form():
            return {"written": names}
        rows = "kept rows" if not self.ids else "list of rows" if self.removed else "list of kept rows"
        return {"written": names, "content": dict(zip(names, [rows, "removed rows"], strict=False))}


def form_of(options: FilterOptions) -> Form:
    """The form that the options name. Raises ConfigError where they do not go together."""
    given = str(options.removed)
    is_switch = given.lower() in ("true", "false")
    if not given.strip():
        raise ConfigError("--removed takes true, false or a folder, got an empty text")
    if options.ids is not None and not is_switch:
        raise ConfigError(
            f"--removed {given} is a folder for copies, and --ids writes no copies: with --ids, --removed is true or false"
        )
    if is_switch:
        return Form(removed=given.lower() == "true", ids=options.ids)
    return Form(place=check_folder("run", given, option="--removed"))


def check_place(form: Form, output: Folder) -> None:
    """Raise ConfigError for a folder of removed rows within the output folder, whose names have meanings."""
    if form.place is not None and f"{form.place}/".startswith(f"{output}/"):
        raise ConfigError(
            f"--removed {form.place} is in the output folder; name a folder outside, or leave --removed out: the removed rows then "
            f"go to {output.path(FOLDER)}"
        )


def output_names(file_name: str) -> tuple[str, str]:
    """Names of the kept and the removed rows of an input."""
    return _beside(file_name, "filtered_"), _beside(file_name, "removed_")


def list_name(file_name: str, suffix: str) -> str:
    """Name of the list of an input's rows."""
    return f"{_beside(file_name, 'ids_')}.{suffix}"


def _beside(file_name: str, prefix: str) -> str:
    folder, _, leaf = file_name.rpartition("/")
    return f"{FOLDER}/{folder}/{prefix}{leaf}" if folder else f"{FOLDER}/{prefix}{leaf}"

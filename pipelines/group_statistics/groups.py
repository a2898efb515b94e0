"""What one row of a feature table stands for: a model's files, a folder of the input, or the documents with one value in a column.

A group is files of the plan and, where it is not all of their rows, what a part's column must say of a row. Nothing
is computed here, and no document is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance, part_of
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

# A column with more values than this is no grouping: perhaps an id.
MOST_GROUPS = 10_000
# Of a row that has no value in the column that groups.
WITHOUT_VALUE = "(none)"
_LONGEST_NAME = 150


@dataclass(frozen=True)
class Where:
    """Rows whose `column` in the part of of `instance` is `value`, as text; None: rows without one."""

    instance: Instance
    column: str
    value: str | None


@dataclass(frozen=True)
class Values:
    """The groups of one column, by number: group i is the rows whose `column` in the part of of `instance` is values[i]."""

    instance: Instance
    column: str
    values: tuple[str | None, ...]

    def numbers(self, column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """int32 [rows]: the number of each row's group; -1 where it is in none of them."""
        known = pa.array(self.values, pa.string())
        numbers = pc.index_in(pc.cast(column, pa.string()), value_set=known)
        return np.asarray(pc.fill_null(numbers, -1).to_numpy(), np.int32)


def values_of(groups: Sequence[Group]) -> Values | None:
    """The column whose values these groups are, numbered in this order; None where they are not of one column."""
    wheres = [g.where for g in groups if g.where is not None]
    if len(wheres) != len(groups) or len({(w.instance.name, w.column) for w in wheres}) != 1:
        return None
    return Values(wheres[0].instance, wheres[0].column, tuple(w.value for w in wheres))


@dataclass(frozen=True)
class Group:
    """One row of the table. `files`: names in the plan, in plan order; `where` None: all of their rows."""

    id: str
    files: tuple[str, ...]
    where: Where | None = None

    def chunks(self, plan: Plan) -> list[tuple[PlannedFile, int]]:
        """(file, index of the chunk in it), in plan order, so that partial results always meet in one order."""
        files = set(self.files)
        return [(planned, k) for planned, k in plan.chunks if planned.file.name in files]


def by_model(models: Mapping[str, Iterable[str]], plan: Plan) -> list[Group]:
    """A group for each model of `models` (id -> names of files in the plan), sorted by id in byte order."""
    names = [planned.file.name for planned in plan.files]
    files_of = {model: set(files) for model, files in models.items()}
    return [Group(model, tuple(n for n in names if n in files_of[model])) for model in sorted(files_of)]


def by_level(plan: Plan, level: int) -> list[Group]:
    """A group for each folder `level` parts deep, its subfolders included; a file that does not lie so deep belongs to the
    folder it is in, one in no folder is a group of its own. ConfigError for a level below 1, or deeper than any folder."""
    if level < 1:
        raise ConfigError(
            f"--group-by level:{level}: the level counts folders from the input's root and must be at least 1"
        )
    deepest = max((planned.file.name.count("/") for planned in plan.files), default=0)
    if level > max(deepest, 1):
        raise ConfigError(f"--group-by level:{level}: the folders of the input are at most {deepest} deep")
    files_of: dict[str, list[str]] = {}
    for planned in plan.files:
        folders = planned.file.name.split("/")[:-1]
        files_of.setdefault("/".join(folders[:level]) or planned.file.name, []).append(planned.file.name)
    return [Group(name, tuple(files_of[name])) for name in sorted(files_of)]


def by_column(output: Folder, plan: Plan, instance: Instance, column: str, called: str = "") -> list[Group]:
    """A group for each value that a part's column has, sorted; rows without one are a group called (none). A value that
    is empty, not printable or has spaces around it is called what it is in JSON. `called`: the column, in messages.

    Raises ConfigError for more than MOST_GROUPS values, InputError where a part is missing.
    """
    values: set[str] = set()
    has_missing = False
    for planned, k in plan.chunks:
        stored = part_of(output, planned, k, instance, [column])[column]
        values.update(pc.unique(pc.cast(stored.drop_null(), pa.string())).to_pylist())
        has_missing |= stored.null_count > 0
        check_number(called or column, len(values))
    if has_missing and WITHOUT_VALUE in values:
        raise ConfigError(
            f"--group-by {called or column}: {WITHOUT_VALUE} is a value of it, and also means rows without a value"
        )
    files = tuple(planned.file.name for planned in plan.files)
    groups = [Group(as_id(value), files, Where(instance, column, value)) for value in sorted(values)]
    return groups + [Group(WITHOUT_VALUE, files, Where(instance, column, None))] * has_missing


def as_id(value: str) -> str:
    """A value as the id of its group: as it is, or as JSON where a table could not have it for an id."""
    return value if _is_id(value) else json.dumps(value)


def _is_id(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable()


def check_number(column: str, n_values: int) -> None:
    """Raise ConfigError for more values than there may be groups."""
    if n_values > MOST_GROUPS:
        raise ConfigError(
            f"--group-by {column}: more than {MOST_GROUPS:,} values, each of which would be a row of the table; "
            "name a column with few values, such as a source or a language"
        )


def check_ids(groups: Sequence[Group]) -> None:
    """Raise ConfigError for ids that a table cannot have: empty, twice, with spaces around them or control characters."""
    seen: set[str] = set()
    for group in groups:
        if not _is_id(group.id):
            raise ConfigError(f"{group.id!r} is not an id for a row: empty, with spaces around it, or not printable")
        if group.id in seen:
            raise ConfigError(f"the id {group.id!r} stands for two groups; ids must be unique")
        seen.add(group.id)


def entropy_name(group_id: str) -> str:
    """Where the output keeps a group's entropy: JSON with the keys of an entropy summary (docs/entropy.md)."""
    return f"summary/features/{escaped(group_id)}.entropy.json"


def entropies_name(instance: str) -> str:
    """The same of all groups of a column, in one file: JSON with `groups`, by id."""
    return f"summary/features/{instance}.entropies.json"


def escaped(group_id: str) -> str:
    """An id as one file name: whatever is not a letter, a digit, `_`, `-` or `.` as %XX, long ones cut and told apart by a hash."""
    name = quote(group_id, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{hashlib.sha256(group_id.encode()).hexdigest()[:16]}"

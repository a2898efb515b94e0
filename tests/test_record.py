"""Every pipeline writes what the committed record says, and a comparison names what differs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from digests import differences, entry_of
from record import OUTPUTS, listed, make

RENEW = "as tests/record/digests.json has it; where that is meant: python tests/record.py --write "


@pytest.mark.usefixtures("undrawn")  # figures are not compared
@pytest.mark.parametrize("name", OUTPUTS)
def test_the_record(name: str, tmp_path: Path) -> None:
    lines = differences(listed()[name], make(name, tmp_path))
    assert not lines, "\n".join([f"{len(lines)} files are not {RENEW}{name}", *lines])


def test_every_output_is_in_the_record() -> None:
    assert list(listed()) == list(OUTPUTS)


def test_a_difference_is_named(tmp_path: Path) -> None:
    table = pa.table({"row": [0, 1, 2], "share": [0.5, 0.25, float("nan")]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    before = entry_of(path, tmp_path)
    assert differences({"a": before}, {"a": entry_of(path, tmp_path)}) == []

    def difference(other: pa.Table, **options: object) -> str:
        pq.write_table(other, path, **options)
        (line,) = differences({"a": before}, {"a": entry_of(path, tmp_path)})
        return line

    changed = table.set_column(1, "share", pa.array([0.5, 0.2500000000000001, float("nan")]))
    assert difference(changed).startswith("a: column 'share' differs, first in row 1 (of 3)")
    assert difference(table.rename_columns(["row", "part"])) == "a: other columns, from 'share' on"
    assert difference(table.slice(1)).startswith("a: 2 rows, 3 before")
    assert difference(table.replace_schema_metadata({"tagcorpus.key": "x"})) == "a: the metadata differs"
    assert difference(table, compression="zstd") == "a: the same content in other bytes"
    assert differences({"a": before}, {"b": before}) == ["a: is missing", "b: is new"]


def test_a_line_and_a_path(tmp_path: Path) -> None:
    entries = []
    for home, text in (("one", "b"), ("two", "b"), ("two", "c")):
        path = tmp_path / home / "out/plan/a.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{\n "path": "{tmp_path / home}/a",\n "name": "{text}"\n}}\n')
        entries.append({"a": entry_of(path, tmp_path / home)})
    assert differences(entries[0], entries[1]) == []
    assert differences(entries[0], entries[2]) == ["a: line 3 differs (of 4)"]

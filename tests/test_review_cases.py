"""Odd cases of several areas: a full standard output, columns of one name in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from profiles import one_by_default

import tagcorpus
from tagcorpus.errors import ConfigError

COMMAND = [sys.executable, "-P", "-m", "tagcorpus"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(("argument", "is_buffered"), one_by_default(("--help", True), ("taggers", False)))
def test_a_full_standard_output(argument: str, is_buffered: bool) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"}
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, argument], stdout=full, stderr=subprocess.PIPE, env=environment, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("tagcorpus: No space left on device: the target of standard output")


def test_a_standard_output_that_nobody_reads() -> None:
    command = ["bash", "-c", '{ "$@"; echo $? >&2; } | true', "bash", *COMMAND, "taggers"]
    done = subprocess.run(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": ""}, check=False)
    assert done.stderr in (b"0\n", b"1\n")


def test_two_columns_of_one_name_in_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["a", "bbb"]], columns=["text", "text"])
    with pytest.raises(ConfigError, match=r"has 2 columns called 'text'\. Rename or drop one"):
        tagcorpus.tag(frame, ["length"])


def test_two_columns_of_ids() -> None:
    table = pa.table([["a"], ["x"], ["y"]], names=["text", "id", "id"])
    with pytest.raises(ConfigError, match=r"has 2 columns called 'id'\. Rename or drop one"):
        tagcorpus.tag(table, ["length"])


def run_tag(folder: Path, name: str, data: bytes) -> tagcorpus.Result:
    (folder / name).write_bytes(data)
    return tagcorpus.run("tag", input=str(folder / name), output=str(folder / "out"), taggers=["length"], workers=1)


@pytest.mark.parametrize("bad", [b'{"text": "\xff"}', b'{"text": "a\0"}'])
@pytest.mark.parametrize("place", [0, 1])
def test_an_array_whose_element_is_not_text(tmp_path: Path, bad: bytes, place: int) -> None:
    elements = [b'{"text": "ok"}'] * 20
    elements.insert(place, bad)
    counts = run_tag(tmp_path, "a.json", b"[" + b",".join(elements) + b"]").counts
    assert (counts.documents, counts.quarantined.total()) == (20, 1)


def test_a_csv_whose_lines_end_in_carriage_returns(tmp_path: Path) -> None:
    result = run_tag(tmp_path, "a.csv", b"id,text\r1,a\r2,b\r")
    assert result.exit_code == 1
    assert any("its lines end in a carriage return alone" in message for message in result.messages)


def test_a_csv_with_a_header_alone(tmp_path: Path) -> None:
    result = run_tag(tmp_path, "a.csv", b"id,text\r\n")
    assert result.exit_code == 3
    assert any("no documents in the input: it is empty" in message for message in result.messages)

"""A command renews its result, and refuses to replace a result of other inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.report.page import BEGINNING
from tagcorpus.pipelines.runs.made_from import MadeFrom, made_from
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder


def made(out: Path, *labels: Path | str, **options: object) -> MadeFrom:
    return made_from(Folder(str(out)), "x.json", {"LABELS": [str(path) for path in labels]}, options)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A result of in/a.csv, with the seed 0."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in/a.csv").write_text("id,label\n1,x\n")
    made(tmp_path / "out", tmp_path / "in/a.csv", seed=0).publish()
    (tmp_path / "out/x.json").write_text("{}")
    return tmp_path


def test_ordinary_calls_are_not_refused(place: Path) -> None:
    out, table = place / "out", place / "in/a.csv"
    assert made(out, table, seed=0).note == ""
    assert made(out, f"{table.parent}/./a.csv", seed=0).note == ""
    shutil.copy(table, place / "moved.csv")
    assert made(out, place / "moved.csv", seed=0).note == ""
    (place / "other.csv").write_text("more")
    assert made(out, place / "other.csv", table, seed=0).note == ""  # more labels
    table.write_text("id,label\n1,x\n2,y\n")  # a table that grew
    (place / "link.csv").symlink_to(table)
    assert made(out, table, seed=0).note == made(out, place / "link.csv", seed=0).note == ""
    assert made(out, table, seed=0, new_option=5).note == ""  # of a later version
    table.unlink()
    assert made(out, table, seed=0).note == ""  # the command itself says what is missing
    assert made(out, seed=0).note == ""
    assert made(place / "new", place / "other.csv").note == ""


def test_other_options_renew_the_result_and_are_named(place: Path) -> None:
    note = made(place / "out", place / "in/a.csv", seed=1).note
    assert note.endswith("out/x.json, an earlier result with seed 0 (now 1)")
    for damaged in ("{", "{}"):
        (place / "out/.x.json.inputs").write_text(damaged)
        assert made(place / "out", place / "in/a.csv").note.endswith("that does not say what it was made from")


def test_other_inputs_are_refused(place: Path) -> None:
    (place / "b.csv").write_text("id,label\n7,x\n")
    (place / "a.csv").write_text("id,label\n8,x\n")
    for name, words in (("b.csv", "'b.csv'"), ("a.csv", "another 'a.csv'"), ("gone.csv", "'gone.csv'"), ("s3://b/a.csv", "another 'a.csv'")):  # fmt: skip
        with pytest.raises(
            ConfigError,
            match=rf"out/x\.json was made from 'a\.csv' \(LABELS\), and this call reads {words}\. Name another",
        ):
            made(place / "out", name if "://" in name else place / name)
    assert not {"in", str(place)} & set((place / "out/.x.json.inputs").read_text().split("/"))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("agreement", "agreement.json"),
        ("mix fit", "fit.json"),
        ("predict", "prediction/predict.json"),
        ("predict", "decision/decide.json"),
    ],
)
def test_a_result_that_was_moved_away_makes_room_for_another(tmp_path: Path, command: str, name: str) -> None:
    beside = f"{name.rpartition('/')[0]}/beside.csv".lstrip("/")
    out = Folder(str(tmp_path))
    out.publish(beside, b"a")
    with pytest.raises(ConfigError, match="did not write there"):
        check_folder(command, str(tmp_path), [name, beside])
    made_from(out, name, {"LABELS": ["gone.csv"]}).publish()
    check_folder(command, str(tmp_path), [name, beside])


def test_folders_are_known_by_their_runs_or_their_files(tmp_path: Path) -> None:
    one, out = tmp_path / "one", tmp_path / "out"
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    tagcorpus.run("tag", input=tmp_path / "a.jsonl", output=one, taggers="length", workers=1)
    for name in ("swarm", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mix.json").write_text(json.dumps({"name": name[:5]}))
    for name in ("one", "swarm"):
        made(out, tmp_path / name).publish()
        (out / "x.json").write_text("{}")
        (tmp_path / name).rename(tmp_path / "moved")
        assert made(out, tmp_path / "moved").note == ""
        with pytest.raises(ConfigError, match=r"and this call reads 'other'"):
            made(out, tmp_path / "other")
        shutil.rmtree(tmp_path / "moved")
        shutil.rmtree(out)


@pytest.mark.e2e
def test_a_page_is_that_of_its_folder(tmp_path: Path) -> None:
    """Two outputs of one name are two; a later run of the folder is of the same."""
    pytest.importorskip("plotly")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n')
        tagcorpus.run(
            "tag", input=tmp_path / f"{name}.jsonl", output=tmp_path / name / "t", taggers="length", workers=1
        )
    page = tmp_path / "page.html"
    assert invoke("report", str(tmp_path / "one/t"), "-o", str(page)).code == 0
    tagcorpus.run("tag", input=tmp_path / "one.jsonl", output=tmp_path / "one/t", taggers="keywords", workers=1)
    first = page.read_bytes()
    assert invoke("report", str(tmp_path / "one/t"), "-o", str(page)).code == 0
    assert page.read_bytes() != first
    ended = invoke("report", str(tmp_path / "two/t"), "-o", str(page))
    assert (ended.code, "was made from 't' (DIR), and this call reads another 't'" in " ".join(ended.err.split())) == (
        2,
        True,
    )
    for _ in range(2):
        assert invoke("report", str(tmp_path / "two/t")).code == 0
    (tmp_path / "sent.html").write_bytes(BEGINNING.encode())
    ended = invoke("report", str(tmp_path / "two/t"), "-o", str(tmp_path / "sent.html"))
    assert (ended.code, "does not say what it was made from" in " ".join(ended.err.split())) == (0, True)

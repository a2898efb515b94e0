"""`--output FILE`: where it goes, what it may replace, and names that are no file's and no folder's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tagcorpus
from tagcorpus.errors import ConfigError

TEXTS = ["one", "three", "seven"]
MINE = b"my own notes\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text("".join(json.dumps({"id": t, "text": t}) + "\n" for t in TEXTS))


def run(output: str, pipeline: str = "tag", **options: Any) -> None:
    given: dict[str, Any] = {"taggers": "length"} if pipeline == "tag" else {}
    result = tagcorpus.run(pipeline, input="a.jsonl", output=output, workers=1, **given | options)  # type: ignore[call-overload]
    assert result.exit_code == 0


def tree() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(Path().rglob("*")) if p.is_file()}


@pytest.mark.parametrize("pipeline", ["tag", "domain", "filter"])
@pytest.mark.parametrize("name", ["r.csv", "r.CSV", "r.json", "r.parquet"])
def test_a_file_of_the_users_is_not_replaced_unasked(pipeline: str, name: str) -> None:
    Path(name).write_bytes(MINE)
    before = tree()
    for how in ({}, {"work": "w"}, {"dry_run": True}):
        with pytest.raises(ConfigError, match=rf"output {name} exists already.*move that one away.*overwrite=True"):
            run(name, pipeline, **how)
    assert tree() == before


def test_overwrite_allows_it_and_the_file_is_ours_from_then_on() -> None:
    Path("r.csv").write_bytes(MINE)
    run("r.csv", overwrite=True)
    made = Path("r.csv").read_bytes()
    with Path("r.csv").open(newline="") as file:
        assert [r["char_len"] for r in csv.DictReader(file)] == ["3", "5", "5"]
    run("r.csv")
    assert Path("r.csv").read_bytes() == made


@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.parquet"])
def test_the_same_command_again(name: str) -> None:
    for _ in range(3):
        run(name)
    Path("a.jsonl").write_text('{"text": "another"}\n')  # what it replaces then is an earlier run's
    run(name)
    records = [json.loads(p.read_text()) for p in Path().glob("*/runs/*/result.json")]
    assert len(records) == 4
    assert Path(name).stat().st_size in {r["bytes"] for r in records}
    if name == "r.parquet":
        assert pq.read_table(name)["char_len"].to_pylist() == [7]


def test_what_the_user_corrected_is_the_users() -> None:
    run("r.csv")
    made = Path("r.csv").read_bytes()
    corrected = made.replace(b'"one"', b'"won"')
    assert len(corrected) == len(made)
    assert corrected != made
    Path("r.csv").write_bytes(corrected)
    with pytest.raises(ConfigError, match="exists already"):
        run("r.csv")
    assert Path("r.csv").read_bytes() == corrected
    Path("r.csv").write_bytes(made)
    run("r.csv")


def test_another_output_folders_file_is_anothers() -> None:
    run("r.csv", work="w1")
    with pytest.raises(ConfigError, match=r"exists already, and is not what a run with its results in .*w2"):
        run("r.csv", work="w2")
    with pytest.raises(ConfigError, match="exists already"):  # a trial does not take the place of the whole
        run("r.csv", limit=1)


def test_a_run_that_died_before_its_file_was_there_is_in_nobodys_way() -> None:
    run("r.csv", work="w")
    record = Path("w/runs/29990101T000000-tag-ffffff/result.json")
    record.parent.mkdir()
    record.write_text('{"file": "r.csv", "bytes": 5, "digest": "00"}')
    run("r.csv", work="w")
    record.write_text("{")  # cut short by a power failure, say
    run("r.csv", work="w")


def test_other_pipelines_of_the_folder_may_replace_it() -> None:
    run("r.csv")
    run("r.csv", "domain")
    assert Path("r.csv").read_bytes() == Path("a.tagcorpus/predicted_domains.csv").read_bytes()
    run("r.csv")
    assert b"char_len" in Path("r.csv").read_bytes()


def test_an_object_in_a_store(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    url = f"memory://{tmp_path.name}/r.csv"
    memory.pipe(url, MINE)
    with pytest.raises(ConfigError, match="exists already"):
        run(url, work="w")
    assert memory.cat(url) == MINE
    memory.rm(url)
    run(url, work="w")
    run(url, work="w")
    assert b"char_len" in memory.cat(url)


def test_a_folder_that_is_called_like_a_table() -> None:
    Path("r.csv").mkdir()
    with pytest.raises(ConfigError, match=r"^output r\.csv is a folder, and its ending asks for a file"):
        run("r.csv")


@pytest.mark.parametrize("name", ["r.txt", "r.TSV", "r.xlsx", "r.ndjson", "sub/r.csv.gz", "r.html", "r.duckdb"])
def test_a_name_that_is_a_files_makes_no_folder(name: str) -> None:
    before = tree()
    told = rf"^output {name}: it must be a folder, or a file in \.csv, \.json, \.parquet, \.jsonl, .* \({name}/ if you mean"
    with pytest.raises(ConfigError, match=told):
        run(name)
    assert tree() == before


def test_rows_that_are_kept_have_a_place_of_their_own() -> None:
    with pytest.raises(
        ConfigError, match=r"^output kept\.jsonl: it must be a folder.*the kept rows go to DIR/filtered/"
    ):
        run("kept.jsonl", "filter")


@pytest.mark.parametrize("options", [{"output": ""}, {"output": "r.csv", "work": ""}, {"output": "x", "input": ""}])
def test_an_empty_path_is_not_the_folder_one_is_in(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"is empty \(a shell variable that is not set\?\)"):
        tagcorpus.run("tag", **{"input": "a.jsonl", "taggers": "length", **options})  # type: ignore[call-overload]
    assert list(Path().iterdir()) == [Path("a.jsonl")]


@pytest.mark.parametrize("name", ["out", "out.v2", "2.0", "my.tagcorpus", "r.txt/", ".hidden"])
def test_a_name_that_is_a_folders(name: str) -> None:
    run(name)
    assert (Path(name) / "summary/tag.json").is_file()
    run(name.rstrip("/"))  # there already


@pytest.mark.parametrize(("option", "more"), [("output", {}), ("work", {"output": "r.csv"})])
def test_a_file_is_no_folder(option: str, more: dict[str, str]) -> None:
    Path("notes").write_bytes(MINE)
    with pytest.raises(ConfigError, match=f"^{option} notes is an existing file; it must be a folder"):
        run(**{"output": "x", option: "notes", **more})
    assert not Path("r.csv").exists()

"""The Python functions: `tag` in memory, `run` as the command line has it, `read` what a run left."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tagcorpus
from tagcorpus.errors import ConfigError, InputError

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")


def write(path: Path, texts: list[str], first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"d{first + i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def texts(n: int, mark: str = "t") -> list[str]:
    return [f"{mark}{i} " + "word " * (i % 7) for i in range(n)]


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    """60 and 40 documents, in several chunks of 1 KiB each."""
    write(tmp_path / "in/a.jsonl", texts(60))
    write(tmp_path / "in/deep/b.jsonl", texts(40, "u"), 60)
    return tmp_path / "in"


def tag_files(path: Path, output: Path, **options: Any) -> Any:
    return tagcorpus.run("tag", input=path, output=output, chunk_bytes=1024, **{"workers": 1, **options})


def rows(output: Path, instances: list[str] | None = None, **how: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tagcorpus.read(str(output), instances, **how).to_table().to_pylist()
    return found


# tag


def test_tag_a_list() -> None:
    found = tagcorpus.tag(["Why? 1 and 2", "", "\ud800"], ["length", "keywords"])
    assert found["row"].to_pylist() == [0, 1, 2]
    assert found["length.char_len"].to_pylist() == [12, 0, 1]
    assert found["keywords.question_words"].to_pylist() == [1, 0, 0]
    assert found["keywords.numbers"].to_pylist() == [2, 0, 0]


def test_tag_a_table_keeps_its_columns_and_order() -> None:
    table = pa.table({"key": pa.chunked_array([[7, 8], [9]]), "content": pa.chunked_array([["a"], ["bb", "ccc"]])})
    found = tagcorpus.tag(table, "chars=length")
    first = {"row": [0, 1, 2], "id": ["0", "1", "2"]}
    assert found.to_pydict() == {**first, **table.to_pydict(), "chars.char_len": [1, 2, 3]}
    assert tagcorpus.tag(table.combine_chunks().to_batches()[0], "length").num_rows == 3


def test_tag_takes_parameters_and_describes_its_columns() -> None:
    found = tagcorpus.tag(["    x"], ["tokens", "other=tokens"], {"other": {"tokenizer": "r50k_base"}})
    assert found["tokens.num_tokens"][0].as_py() < found["other.num_tokens"][0].as_py()
    assert found.schema.field("tokens.ttr").metadata[b"unit"]


def test_tag_agrees_with_run(two_files: Path, tmp_path: Path) -> None:
    names = ["length", "tokens", "keywords", "language", "repetition"]
    tag_files(two_files, tmp_path / "out", taggers=names)
    in_memory = tagcorpus.tag([*texts(60), *texts(40, "u")]).to_pylist()
    for stored, value in zip(rows(tmp_path / "out", names), in_memory, strict=True):
        for column, found in value.items():
            if column not in ("row", "id"):
                assert stored[column.partition(".")[2]] == found


def test_tag_of_many_and_of_none() -> None:
    assert tagcorpus.tag(["ab"] * 2500, "length")["length.char_len"].to_pylist() == [2] * 2500
    empty = tagcorpus.tag([])
    assert empty.num_rows == 0
    assert "repetition.is_kept" in empty.column_names


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (("one text",), InputError, "for one text, pass [text]"),
        ((["a", 1],), InputError, "row 1 is not a string or None but an int"),
        ((pa.table({"body": ["a"]}),), ConfigError, "no column text, content or raw_content in a pyarrow.Table"),
        ((["a"], ["langth"]), ConfigError, "unknown tagger 'langth' (taggers): did you mean 'length'?"),
        ((["a"], ["length"], {"lenght": {}}), ConfigError, "unknown instance 'lenght' (parameters): did you mean 'len"),
        ((["a"], ["length"], {"length": {"x": 1}}), ConfigError, "length has no parameters"),
    ],
)
def test_what_tag_refuses(arguments: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as raised:
        tagcorpus.tag(*arguments)
    assert told in str(raised.value)
    assert isinstance(raised.value, tagcorpus.TagcorpusError)


# run


def test_run(two_files: Path, tmp_path: Path) -> None:
    result = tag_files(two_files, tmp_path / "out", taggers="tokens", tokens={"tokenizer": "r50k_base"})
    assert (result.pipeline, result.exit_code, result.counts.documents) == ("tag", 0, 100)
    assert result.output == str(tmp_path / "out")
    assert json.loads(Path(result.ledger).read_text())["totals"]["documents"] == 100
    identity = json.loads((tmp_path / "out/attributes/tokens/tagger.json").read_text())
    assert "r50k" in json.dumps(identity["parameters"])
    assert result.summary["instances"]["tokens"]["columns"]["num_tokens"]["n"] == 100


def test_run_takes_the_same_config_as_the_command_line(two_files: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("taggers: [length]\nlimit: 7\n")
    result = tag_files(two_files, tmp_path / "out", config=str(config), sets=["limit=5"])
    assert result.counts.documents == 5
    assert list(result.summary["instances"]) == ["length"]


def test_run_prints_nothing(two_files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tag_files(two_files, tmp_path / "out", taggers="length", workers=2)
    assert capfd.readouterr() == ("", "")


def test_run_from_a_thread(two_files: Path, tmp_path: Path) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(tag_files(two_files, tmp_path / "out", taggers="length")))
    thread.start()
    thread.join()
    assert found[0].exit_code == 0


def test_run_from_a_script_without_a_main_guard(two_files: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, tagcorpus\n"
        "print('started', flush=True)\n"
        "result = tagcorpus.run('tag', input=sys.argv[1], output=sys.argv[2], taggers='length', workers=2,\n"
        "                       chunk_bytes=1024)\n"
        "print(result.counts.documents, __file__ == sys.argv[0])\n"
    )
    command = [sys.executable, str(script), str(two_files), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "started\n100 True\n"), done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pipeline": "tga"}, "unknown pipeline 'tga' (PIPELINE): did you mean 'tag'?"),
        ({"inputs": "x"}, "unknown key 'inputs' (inputs): did you mean 'input'?"),
        ({"limit": [3]}, "limit must be int or null, got [3]"),
        ({"input": None}, "input must be list[str], got None"),
        ({"input": []}, "no input: give input=PATH"),
        ({"tokens": {"tokeniser": "x"}}, "unknown parameter 'tokeniser'"),
        ({"input": "nowhere.jsonl"}, "no such file or folder: 'nowhere.jsonl' (input)"),
    ],
)
def test_what_run_refuses(two_files: Path, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    given = {"pipeline": "tag", "input": str(two_files), "output": str(tmp_path / "out"), **options}
    with pytest.raises(tagcorpus.TagcorpusError) as error:
        tagcorpus.run(given.pop("pipeline"), **given)
    assert told in str(error.value)
    assert error.value.exit_code == 2
    assert not (tmp_path / "out").exists()


# read


def test_read_joins_files_and_ranges(two_files: Path, tmp_path: Path) -> None:
    tag_files(two_files, tmp_path / "out", taggers="length,tokens")
    assert len(list((tmp_path / "out/attributes/length").rglob("*.parquet"))) > 4
    found = rows(tmp_path / "out", ["tokens", "length"], text=True)
    assert list(found[0]) == ["input", "row", "sub", "id", "num_tokens", "unique_tokens", "ttr", "char_len", "text"]
    assert [r["id"] for r in found] == [f"d{i}" for i in range(100)]
    assert [r["text"] for r in found] == [*texts(60), *texts(40, "u")]
    assert [(r["input"], r["row"]) for r in found] == [
        *(("a.jsonl", i) for i in range(60)),
        *(("deep/b.jsonl", i) for i in range(40)),
    ]
    assert all(r["char_len"] == len(r["text"]) for r in found)
    assert set(rows(tmp_path / "out")[0]) == set(found[0]) - {"text"}


def test_read_tells_equal_columns_apart(two_files: Path, tmp_path: Path) -> None:
    tag_files(two_files, tmp_path / "out", taggers="tokens,other=tokens,length", other={"tokenizer": "r50k_base"})
    (first, *_) = rows(tmp_path / "out", ["length", "tokens", "other"])
    assert set(first) >= {"char_len", "tokens.num_tokens", "other.num_tokens", "tokens.ttr", "other.ttr"}
    assert "num_tokens" in rows(tmp_path / "out", ["other"])[0]


def test_read_after_a_limit(two_files: Path, tmp_path: Path) -> None:
    tag_files(two_files, tmp_path / "out", taggers="length", limit=75)
    found = rows(tmp_path / "out", text=True)
    assert [r["text"] for r in found] == [*texts(60), *texts(15, "u")]


def test_read_after_a_sample(two_files: Path, tmp_path: Path) -> None:
    result = tag_files(two_files, tmp_path / "out", taggers="length", sample=0.4, seed=5)
    found = rows(tmp_path / "out", text=True)
    everything = {"a.jsonl": texts(60), "deep/b.jsonl": texts(40, "u")}
    assert 20 < len(found) == result.counts.documents < 60
    for row in found:
        assert row["text"] == everything[row["input"]][row["row"]]
        assert row["char_len"] == len(row["text"])


def test_read_joins_documents_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "samples_a.jsonl"
    lines: list[dict[str, Any]] = [{"doc_id": i, "resps": [[f"{i} a", f"{i} bb"], [f"{i} ccc"]]} for i in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tag_files(path, tmp_path / "out", taggers="length")
    found = rows(tmp_path / "out", text=True)
    assert [r["text"] for r in found] == [leaf for line in lines for request in line["resps"] for leaf in request]
    assert [r["sub"] for r in found] == [0, 1, 2] * 30
    assert found[2]["id"] == "0:1:0"


def test_read_with_quarantined_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n\nbroken\n{"text": "bb"}\n')
    tag_files(path, tmp_path / "out", taggers="length")
    assert [(r["row"], r["id"], r["text"]) for r in rows(tmp_path / "out", text=True)] == [
        (0, "a.jsonl:0", "a"),
        (3, "a.jsonl:3", "bb"),
    ]


def test_read_refuses_what_is_not_there_or_not_whole(two_files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no attributes: run"):
        tagcorpus.read(str(tmp_path / "none"))
    with pytest.raises(
        InputError, match=r"rows and no attributes: `tagcorpus join .*out/filtered .*out --output KEPT`"
    ):
        tagcorpus.read(str(tmp_path / "out/filtered"))
    tag_files(two_files, tmp_path / "out", taggers="length,tokens")
    with pytest.raises(InputError, match=r"unknown instance 'lenght' .*: did you mean 'length'"):
        tagcorpus.read(str(tmp_path / "out"), ["lenght"])
    (tmp_path / "out/attributes/length/deep/b.jsonl/part-00001.parquet").unlink()
    with pytest.raises(
        InputError, match=r"attributes/length/deep/b\.jsonl/part-00001\.parquet is missing: .* run it again"
    ):
        tagcorpus.read(str(tmp_path / "out"), ["length"])
    assert len(rows(tmp_path / "out", ["tokens"])) == 100
    tag_files(two_files, tmp_path / "out", taggers="length")
    assert len(rows(tmp_path / "out", ["length"])) == 100


# The main result as one file, and standard input


def test_result_files(two_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tag_files(two_files, "r.parquet", work="work", taggers="length,language")  # type: ignore[arg-type]
    tag_files(two_files, "sub/r.csv", work="work", taggers="length,language")  # type: ignore[arg-type]
    result = tag_files(two_files, "r.json", taggers="length,language")  # type: ignore[arg-type]
    wanted = tagcorpus.read("work", ["length", "language"]).to_table()
    assert pq.read_table("r.parquet").equals(wanted)
    with open("sub/r.csv", newline="", encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    assert list(found[0]) == wanted.column_names
    assert [(r["id"], int(r["char_len"])) for r in found] == [(r["id"], r["char_len"]) for r in wanted.to_pylist()]
    assert result.output == str(tmp_path / "in.tagcorpus")
    assert json.loads(Path("r.json").read_text()) == result.summary
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "in.tagcorpus", "r.json", "r.parquet", "sub", "work"]


def test_a_result_file_holds_what_csv_finds_hard(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ids = ['say "hi", twice', "two\nlines", "a\rb", "ä", ""]
    path.write_text("".join(json.dumps({"id": i, "text": "t"}) + "\n" for i in ids))
    tag_files(path, tmp_path / "r.csv", work=tmp_path / "work", taggers="length")
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as lines:
        assert [r["id"] for r in csv.DictReader(lines)] == ids


def test_work_needs_a_result_file(two_files: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^work goes with an output that is a file \(\.csv, "):
        tag_files(two_files, tmp_path / "out", work=tmp_path / "work")


@pytest.mark.parametrize("pack", [bytes, pytest.param(gzip.compress, marks=pytest.mark.e2e)])
def test_standard_input(tmp_path: Path, pack: Any) -> None:
    data = write(tmp_path / "a.jsonl", texts(9)).read_bytes()
    command = [COMMAND, "run", "tag", "-i", "-", "--taggers", "length"]
    done = subprocess.run([*command, "-o", str(tmp_path / "out")], input=pack(data), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "out")
    assert [r["char_len"] for r in found] == [len(t) for t in texts(9)]
    assert {r["input"] for r in found} == {"stdin"}
    refused = subprocess.run(command, input=b"", capture_output=True, check=False, cwd=tmp_path)
    assert refused.returncode == 2
    assert b"needs --output" in refused.stderr

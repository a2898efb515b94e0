"""`run filter --removed` and `--ids`: the same rows in other files, with the same guarantees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.filtering.row_list import SCHEMA
from tagcorpus.pipelines.runs.result_text import table

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")
KINDS = ["jsonl", "jsonl.gz", "csv", "parquet", "arrow"]
SHORT, LONG = "tiny text", "a text of more than twenty characters"
ROWS = [{"id": f"d{i}", "text": SHORT if i % 3 == 0 else f"{LONG} {i}"} for i in range(30)]
WHERE = {"where": "char_len > 20"}
REASON = "where: char_len > 20"


def write(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    elif kind == "arrow":
        with pa.ipc.new_file(path, pa.Table.from_pylist(ROWS).schema) as sink:
            sink.write_table(pa.Table.from_pylist(ROWS), max_chunksize=7)
    elif kind == "csv":
        path.write_text("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in ROWS))
    else:
        lines = "".join(json.dumps(r) + "\n" for r in ROWS).encode()
        import gzip

        path.write_bytes(gzip.compress(lines, mtime=0) if kind.endswith("gz") else lines)
    return path


def run(root: Path, pipeline: Any = "filter", **options: Any) -> Any:
    given = {"input": root / "in", "output": root / "out", "workers": 1, "chunk_bytes": 1024}
    return tagcorpus.run(pipeline, **{**given, **options})


def tagged(root: Path, *kinds: str) -> Path:
    for kind in kinds:
        write(root / f"in/a.{kind}", kind)
    run(root, "tag", taggers=["length"])
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pytest.importorskip("duckdb")
    return tagged(tmp_path, "jsonl")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def entries(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        whole = pq.read_table(path)
        assert whole.schema.equals(SCHEMA)
        listed: list[dict[str, Any]] = whole.to_pylist()
        return listed
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(name: str) -> list[dict[str, Any]]:
    return [
        {
            "input": name,
            "row": i,
            "sub": 0,
            "id": r["id"],
            "is_kept": i % 3 != 0,
            "reason": None if i % 3 else REASON,
        }
        for i, r in enumerate(ROWS)
    ]


# What is written


def test_the_same_removed_rows_in_another_folder(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    root = tagged(tmp_path, *KINDS)
    run(root, **WHERE)
    beside = tree(root / "out/filtered")
    assert len(beside) == 2 * len(KINDS)
    result = run(root, **WHERE, removed=str(root / "gone"))
    assert tree(root / "gone") == {n: d for n, d in beside.items() if n.startswith("removed_")}
    assert tree(root / "out/filtered") == {n: d for n, d in beside.items() if n.startswith("filtered_")}
    filtered = result.summary["filtered"]
    assert filtered["kept"] + sum(filtered["removed"].values()) == result.counts.read == 30 * len(KINDS)
    assert f"removed rows: {root / 'gone'}/" in table(result)
    nowhere = run(root, **WHERE, removed=False)
    assert tree(root / "out/filtered") == {n: d for n, d in beside.items() if n.startswith("filtered_")}
    assert nowhere.summary["filtered"]["removed"] == filtered["removed"]
    run(root, **WHERE)
    assert tree(root / "out/filtered") == beside


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_list_instead_of_copies(root: Path, form: str) -> None:
    run(root, **WHERE)
    result = run(root, **WHERE, ids=form)
    assert list(tree(root / "out/filtered")) == [f"ids_a.jsonl.{form}"]
    assert entries(root / f"out/filtered/ids_a.jsonl.{form}") == expected("a.jsonl")
    assert result.summary["filtered"]["kept"] == 20
    assert result.summary["filtered"]["removed"] == {REASON: 10}
    assert f"list of rows: {os.path.relpath(root)}" in table(result) or f"list of rows: {root}" in table(result)
    run(root, **WHERE, ids=form, removed="false")
    assert entries(root / f"out/filtered/ids_a.jsonl.{form}") == [e for e in expected("a.jsonl") if e["is_kept"]]


def test_a_list_has_every_document_and_every_repeat(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    samples = [
        {"doc_id": 0, "resps": [[LONG, SHORT]], "filter": "none"},
        {"doc_id": 1, "resps": [[LONG, LONG]], "filter": "none"},
        {"doc_id": 0, "resps": [[LONG, SHORT]], "filter": "strict"},
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/samples_x.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    run(tmp_path, "tag", taggers=["length"])
    copies = run(tmp_path, **WHERE).summary["filtered"]
    result = run(tmp_path, **WHERE, ids="jsonl").summary["filtered"]
    assert {k: result[k] for k in ("kept", "removed")} == {k: copies[k] for k in ("kept", "removed")}
    (path,) = (tmp_path / "out/filtered").iterdir()
    places = [(e["row"], e["sub"], e["is_kept"], e["reason"]) for e in entries(path)]
    assert places == [
        (0, 0, False, REASON),
        (0, 1, False, REASON),
        (1, 0, True, None),
        (1, 1, True, None),
        (2, 0, False, "filter_duplicate"),
    ]


@pytest.mark.parametrize(
    "rule",
    [
        {"keep": "repetition.is_kept"},
        {"preset": "gopher"},
        {"top": "30%", "by": "length.char_len"},
        {"draw": "7"},
    ],
    ids=["keep", "preset", "top", "draw"],
)
def test_every_rule_has_every_form(root: Path, rule: dict[str, Any]) -> None:
    run(root, **rule)
    out = root / "out/filtered"
    kept, removed = (entries(out / f"{n}_a.jsonl") for n in ("filtered", "removed"))
    assert len(kept) + len(removed) == 30
    listed = run(root, **rule, ids="jsonl").summary["filtered"]
    assert listed["kept"] == len(kept)
    assert [(e["id"], e["reason"]) for e in entries(out / "ids_a.jsonl.jsonl") if not e["is_kept"]] == [
        (r["id"], r["filter_reason"]) for r in removed
    ]
    run(root, **rule, removed=str(root / "gone"))
    assert entries(root / "gone/removed_a.jsonl") == removed
    assert entries(out / "filtered_a.jsonl") == kept


def test_tokens_with_a_list(root: Path) -> None:
    run(root, "tag", taggers=["tokens"], tokens={"tokenizer": "p50k_base"})
    result = run(root, tokens_at_most=60, ids="parquet").summary["filtered"]
    listed = entries(root / "out/filtered/ids_a.jsonl.parquet")
    assert 0 < sum(e["is_kept"] for e in listed) == result["kept"] < 30 == len(listed)


# What is done again, and what is not


class Killed(BaseException):
    """As if the process were gone: nothing of ours runs after it."""


FORMS: list[dict[str, Any]] = [{"ids": "jsonl"}, {"ids": "parquet"}, {"removed": False}, {"removed": "gone"}]


@pytest.mark.parametrize("form", FORMS, ids=["jsonl", "parquet", "false", "folder"])
def test_killed_at_each_file(root: Path, monkeypatch: pytest.MonkeyPatch, form: dict[str, Any]) -> None:
    """Another rule of the same form before, a kill before the n-th file, the same command again: the same bytes."""
    monkeypatch.chdir(root)
    other = {"where": "char_len <= 20"}
    run(root, **WHERE, **form)
    folders = [
        root / "out/filtered",
        root / "out/summary/filtered",
        *([root / "gone"] if "gone" in form.values() else []),
    ]
    undisturbed = [tree(f) for f in folders]
    replace = os.replace
    for n in range(4):
        run(root, **other, **form)
        done: list[str] = []

        def dying(source: str, target: str, n: int = n, done: list[str] = done) -> None:
            if "filtered" in target or "gone" in target:
                if len(done) == n:
                    raise Killed
                done.append(target)
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying)
            try:
                run(root, **WHERE, **form)
                is_killed = False
            except Killed:
                is_killed = True
        result = run(root, **WHERE, **form)
        assert result.exit_code == 0
        if n == 0 or not is_killed:
            assert tree(folders[0]) == undisturbed[0]
        assert [tree(f) for f in (folders[0], *folders[2:])] == [undisturbed[0], *undisturbed[2:]]
        if not is_killed:
            break
    assert not is_killed
    assert n >= 2
    before = {p: p.stat().st_ino for f in folders for p in f.rglob("*")}
    run(root, **WHERE, **form)
    assert {p: p.stat().st_ino for f in folders for p in f.rglob("*")} == before, "nothing is written again"


def test_files_of_another_form_are_removed(root: Path) -> None:
    run(root, **WHERE)
    run(root, where="char_len <= 20", ids="parquet")
    assert list(tree(root / "out/filtered")) == ["ids_a.jsonl.parquet"]
    run(root, **WHERE, removed=str(root / "gone"))
    gone = tree(root / "gone")
    run(root, **WHERE, ids="jsonl")
    assert tree(root / "gone") == gone, "nothing outside the output is removed"
    run(root, where="char_len <= 20", removed=str(root / "gone"))
    assert tree(root / "gone") != gone


def test_nobody_elses_file_is_replaced(root: Path) -> None:
    (root / "gone").mkdir()
    (root / "gone/removed_a.jsonl").write_text("mine")
    for more in ({}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="no filter of .* wrote it"):
            run(root, **WHERE, removed=str(root / "gone"), **more)
    assert (root / "gone/removed_a.jsonl").read_text() == "mine"
    (root / "gone/removed_a.jsonl").unlink()
    run(root, **WHERE, removed=str(root / "gone"))
    (root / "gone/removed_a.jsonl").write_text("changed")
    with pytest.raises(ConfigError, match="name another folder, or move that file away"):
        run(root, **WHERE, removed=str(root / "gone"))


# Options


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ids", "csv"], "csv"),
        (["--ids", "jsonl", "--removed", "gone"], "--ids writes no copies"),
        (["--removed", ""], "--removed takes true, false or a folder"),
        (["--removed", "a.jsonl"], "--removed a.jsonl is a file"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", "jsonl")
    result = invoke(["run", "filter", "--input", "a.jsonl", "--output", "out", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "out/attributes").exists()


@pytest.mark.parametrize("value", [True, "true", "TRUE"])
def test_true_is_the_default(root: Path, value: bool | str) -> None:
    run(root, **WHERE)
    before = {p: p.stat().st_ino for p in (root / "out/filtered").iterdir()}
    run(root, **WHERE, removed=value)
    assert {p: p.stat().st_ino for p in (root / "out/filtered").iterdir()} == before


@pytest.mark.parametrize(
    "condition",
    [
        "char_len > avg(char_len) OVER ()",
        "row_number() OVER (ORDER BY char_len) < 5",
        "char_len > max(char_len)",
        "char_len > median(char_len)",
        "count(*) > 3",
        "char_len > (SELECT avg(char_len) FROM length)",
        "char_len > 3 GROUP BY char_len",
    ],
)
def test_conditions_over_many_documents_name_the_way(root: Path, condition: str) -> None:
    """Windows and aggregates are not about one document. The sentence names the options that are."""
    with pytest.raises(ConfigError) as raised:
        run(root, where=condition)
    assert "--top" in str(raised.value)
    assert "--within" in str(raised.value)
    assert not (root / "out/filtered").exists()


@pytest.mark.e2e
@pytest.mark.parametrize("arguments", [["--ids", "parquet"], ["--removed", "gone"]], ids=["ids", "folder"])
def test_killed_with_minus_nine(root: Path, arguments: list[str]) -> None:
    """The command is killed at each publish point of the filter; the same command then ends with the undisturbed bytes."""
    code = (
        "import os, sys, signal\n"
        "replace, left = os.replace, [int(os.environ['DIE_AT'])]\n"
        "def dying(source, target):\n"
        "    if 'filtered' in str(target) or 'gone' in str(target):\n"
        "        left[0] -= 1\n"
        "        if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    replace(source, target)\n"
        "os.replace = dying\n"
        "from tagcorpus.cli import main\n"
        "sys.argv[0] = 'tagcorpus'\n"
        "main()\n"
    )
    command = [
        "run",
        "filter",
        "--input",
        "in",
        "--output",
        "out",
        "--where",
        "char_len > 20",
        "--workers",
        "1",
        *arguments,
    ]
    command += ["--set", "chunk_bytes=1024"]
    subprocess.run([COMMAND, *command], cwd=root, check=True, capture_output=True)
    undisturbed = tree(root / "out/filtered"), tree(root / "gone")
    for n in range(3 if "gone" in arguments else 2):
        for folder in ("out/filtered", "out/summary/filtered", "gone"):
            for path in (root / folder).glob("*"):
                path.unlink()
        import sys

        killed = subprocess.run(
            [sys.executable, "-c", code, *command], cwd=root, env={**os.environ, "DIE_AT": str(n)}, capture_output=True
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (tree(root / "out/filtered"), tree(root / "gone")) != undisturbed
        subprocess.run([COMMAND, *command], cwd=root, check=True, capture_output=True)
        assert (tree(root / "out/filtered"), tree(root / "gone")) == undisturbed

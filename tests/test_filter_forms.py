"""`run filter --removed` and `--ids`: the same rows in other files, with the same guarantees."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.read import recorded
from tagcorpus.pipelines.filter import Filter
from tagcorpus.pipelines.filtering.condition import Condition, references
from tagcorpus.pipelines.filtering.forms import Form, form_of
from tagcorpus.pipelines.filtering.row_list import SCHEMA
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.pipelines.readers.plan import Plan, load_plan
from tagcorpus.pipelines.runs.result_text import table
from tagcorpus.pipelines.storage.folder import Folder

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("duckdb")
    return tagged(tmp_path_factory.mktemp("tagged"), "jsonl")


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A tagged corpus."""
    shutil.copytree(whole, tmp_path / "root", copy_function=shutil.copy2)
    return tmp_path / "root"


def tree(folder: Path) -> dict[str, bytes]:
    """Every published file."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".tmp"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


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
    root, rule = tagged(tmp_path, *KINDS), "char_len > 20"
    counts = [(v["kept"], v["removed"]) for v in steps(root, rule, Form())]
    assert counts == [(20, {REASON: 10})] * len(KINDS)
    beside = tree(root / "out/filtered")
    kept = {n: d for n, d in beside.items() if n.startswith("filtered_")}
    removed = {n: d for n, d in beside.items() if n.startswith("removed_")}
    assert len(kept) == len(removed) == len(KINDS)
    values = steps(root, rule, Form(place=Folder(str(root / "gone"))))
    assert [(v["kept"], v["removed"]) for v in values] == counts
    assert (tree(root / "out/filtered"), tree(root / "gone")) == (kept, removed)
    assert [(v["kept"], v["removed"]) for v in steps(root, rule, Form(removed=False))] == counts
    assert tree(root / "out/filtered") == kept
    steps(root, rule, Form())
    assert tree(root / "out/filtered") == beside


def test_many_files_in_another_folder(root: Path) -> None:
    shutil.copytree(root / "in", root / "more/b")
    inputs = [str(root / "in/a.jsonl"), str(root / "more")]
    run(root, "tag", input=inputs, taggers=["length"])
    result = run(root, **WHERE, input=inputs, removed=str(root / "gone"))
    assert list(tree(root / "gone")) == ["b/removed_a.jsonl", "removed_a.jsonl"]
    filtered = result.summary["filtered"]
    assert filtered["kept"] + sum(filtered["removed"].values()) == result.counts.read == 60
    assert filtered["content"] == {"filtered/": "kept rows", f"{root}/gone/": "removed rows"}
    assert f"removed rows: {root}/gone/" in table(result)


def test_a_list_instead_of_copies(root: Path) -> None:
    result = run(root, **WHERE, ids="jsonl")
    assert list(tree(root / "out/filtered")) == ["ids_a.jsonl.jsonl"]
    assert entries(root / "out/filtered/ids_a.jsonl.jsonl") == expected("a.jsonl")
    assert result.summary["filtered"]["kept"] == 20
    assert result.summary["filtered"]["removed"] == {REASON: 10}
    assert f"list of rows: {root}/out/filtered/ids_a.jsonl.jsonl" in table(result)


@pytest.mark.parametrize("removed", [True, False])
def test_a_list_as_a_table(root: Path, removed: bool) -> None:
    value = step(root, "char_len > 20", Form(ids="parquet", removed=removed))
    assert (value["kept"], value["removed"]) == (20, {REASON: 10})
    listed = entries(root / "out/filtered/ids_a.jsonl.parquet")
    assert listed == [e for e in expected("a.jsonl") if e["is_kept"] or removed]


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
    copies = step(tmp_path, "char_len > 20", Form())
    value = step(tmp_path, "char_len > 20", Form(ids="jsonl"))
    assert (value["kept"], value["removed"]) == (copies["kept"], copies["removed"])
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
        pytest.param({"keep": "repetition.is_kept"}, marks=pytest.mark.e2e),
        pytest.param({"preset": "gopher"}, marks=pytest.mark.e2e),
        {"top": "30%", "by": "length.char_len"},
        pytest.param({"draw": "7"}, marks=pytest.mark.e2e),
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


@pytest.mark.e2e
def test_tokens_with_a_list(root: Path) -> None:
    run(root, "tag", taggers=["tokens"], tokens={"tokenizer": "p50k_base"})
    result = run(root, tokens_at_most=60, ids="parquet").summary["filtered"]
    listed = entries(root / "out/filtered/ids_a.jsonl.parquet")
    assert 0 < sum(e["is_kept"] for e in listed) == result["kept"] < 30 == len(listed)


# What is done again, and what is not


class Killed(BaseException):
    """As if the process were gone: nothing of ours runs after it."""


def step(root: Path, rule: str, form: Form) -> dict[str, Any]:
    """What `run filter --where` does with its one file."""
    (value,) = steps(root, rule, form)
    return value


def steps(root: Path, rule: str, form: Form) -> list[dict[str, Any]]:
    """The same with all files."""
    output = Folder(str(root / "out"))
    plan = Plan(tuple(load_plan(output)))
    condition = Condition(rule, [recorded(output, "length", plan.files[0])], {"length": ["char_len"]})
    filtering = Filter(output, plan, plan.files[0].reader_options, condition, False, form)
    return [value for rank in range(len(plan.files)) for value in filtering.run(rank=rank)]


@pytest.mark.parametrize(
    "name", ["folder", *(pytest.param(n, marks=pytest.mark.e2e) for n in ("jsonl", "parquet", "false"))]
)
def test_killed_at_each_file(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another rule of the same form, a kill before the n-th file, the same rule again: the bytes of an undisturbed run."""
    form = {
        "jsonl": Form(ids="jsonl"),
        "parquet": Form(ids="parquet"),
        "false": Form(removed=False),
        "folder": Form(place=Folder(str(root / "gone"))),
    }[name]
    a, b = "char_len > 20", "char_len <= 20"
    step(root, a, form)
    folders = [root / "out/filtered", root / "gone"]
    undisturbed = [tree(f) for f in folders]
    n_files = 3 if name == "folder" else 2
    replace = os.replace
    for n in range(n_files):
        step(root, b, form)
        assert [tree(f) for f in folders] != undisturbed
        done: list[str] = []

        def dying(source: str, target: str, n: int = n, done: list[str] = done) -> None:
            if len(done) == n:
                raise Killed
            done.append(target)
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying)
            with pytest.raises(Killed):
                step(root, a, form)
        assert [Path(t).name for t in done[:1]] == ["a.jsonl.json"][:n]
        value = step(root, a, form)
        assert (value["kept"], value["removed"]) == (20, {REASON: 10})
        assert [tree(f) for f in folders] == undisturbed
    before = {p: p.stat().st_ino for f in folders for p in f.rglob("*")}
    step(root, a, form)
    assert {p: p.stat().st_ino for f in folders for p in f.rglob("*")} == before, "nothing is written again"


def test_files_of_another_form_are_removed(root: Path) -> None:
    gone = Form(place=Folder(str(root / "gone")))
    step(root, "char_len > 20", Form())
    step(root, "char_len <= 20", Form(ids="parquet"))
    assert list(tree(root / "out/filtered")) == ["ids_a.jsonl.parquet"]
    step(root, "char_len > 20", gone)
    before = tree(root / "gone")
    step(root, "char_len > 20", Form(ids="jsonl"))
    assert tree(root / "gone") == before, "nothing outside the output is removed"
    step(root, "char_len <= 20", gone)
    assert tree(root / "gone") != before


def test_nobody_elses_file_is_replaced(root: Path) -> None:
    path = root / "gone/removed_a.jsonl"
    path.parent.mkdir()
    path.write_text("mine")
    for more in ({}, {"overwrite": True}):
        with pytest.raises(ConfigError, match=r"no filter of .* wrote it"):
            run(root, **WHERE, removed=str(root / "gone"), **more)
    assert path.read_text() == "mine"
    path.unlink()
    gone = Form(place=Folder(str(root / "gone")))
    step(root, "char_len > 20", gone)
    path.write_text("changed")
    with pytest.raises(ConfigError, match="name another folder, or move that file away"):
        step(root, "char_len > 20", gone)


# Options


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ids", "csv"], "csv"),
        (["--ids", "jsonl", "--removed", "gone"], "--ids writes no copies"),
        (["--removed", ""], "--removed takes true, false or a folder"),
        (["--removed", "a.jsonl"], "--removed a.jsonl is an existing file"),
        (["--removed", "out/filtered"], "out/filtered is in the output folder"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", "jsonl")
    result = invoke("run", "filter", "--input", "a.jsonl", "--output", "out", *arguments)
    assert result.code == 2
    assert sentence in result.err
    assert not (tmp_path / "out/attributes").exists()


def test_true_and_false_as_text() -> None:
    assert [form_of(FilterOptions(removed=v)) for v in (True, "true", "TRUE")] == [Form()] * 3
    assert [form_of(FilterOptions(removed=v)) for v in (False, "false")] == [Form(removed=False)] * 2
    assert Form().fingerprint() == []


def checked(root: Path, condition: str) -> None:
    """What a run does before it looks at any part."""
    references(condition)
    output = Folder(str(root / "out"))
    (planned,) = load_plan(output)
    Condition(condition, [recorded(output, "length", planned)], {"length": ["char_len"]}).check()


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
    with pytest.raises(ConfigError, match="use --top or --tokens, and --within for those of each group"):
        checked(root, condition)


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
        killed = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=root,
            env={**os.environ, "DIE_AT": str(n)},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (tree(root / "out/filtered"), tree(root / "gone")) != undisturbed
        subprocess.run([COMMAND, *command], cwd=root, check=True, capture_output=True)
        assert (tree(root / "out/filtered"), tree(root / "gone")) == undisturbed

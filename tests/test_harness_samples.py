"""Folders of the LM evaluation harness: what holds no generation is set aside and named, and one null costs one repeat."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import InputError
from tagcorpus.pipelines.attributes.parts import part_name, stored_part, write_part
from tagcorpus.pipelines.attributes.resuming import resume_state
from tagcorpus.pipelines.generation_files import harness
from tagcorpus.pipelines.generation_files.harness import is_likelihood
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.runs.result import Result

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "readers"
PROSE = Path(__file__).resolve().parents[1] / "examples/generations/harbour/prose-1b/samples.jsonl"
TEXTS = [json.loads(line)["text"] for line in PROSE.read_text().splitlines()]
TIME = "2026-11-28T15-07-54.787788"
PROMPT = {"gen_args_0": {"arg_0": "Q: 1 + 1?\nA:", "arg_1": {"until": ["\n"], "do_sample": False}}}
CONTINUATION = {"gen_args_0": {"arg_0": "1 + 1 is", "arg_1": " 2"}, "gen_args_1": {"arg_0": "1 + 1 is", "arg_1": " 3"}}


def sample(i: int, resps: Any, **more: Any) -> dict[str, Any]:
    """As lm_eval 0.4.13 logs one, without the digests."""
    return {"doc_id": i, "doc": {"q": f"{i} + {i}?"}, "target": "2", "resps": resps, "filter": "none", **more}


KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "mc": lambda i: sample(i, [[[f"-{i}.25", "False"]], [["-0.64", "True"]]], arguments=CONTINUATION),
    "roll": lambda i: sample(i, [[f"-{i}.4716"]], arguments={"gen_args_0": {"arg_0": "a page"}}),
    "gen": lambda i: sample(i, [[TEXTS[i], TEXTS[i + 4]]], arguments=PROMPT),
}


def write(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One model, evaluated on a multiple-choice task, which sorts first, a perplexity task and a generation task."""
    path = tmp_path / "results" / "toy-lab__mix-a"
    for task, kind in (("arc", "mc"), ("gsm8k", "gen"), ("wikitext", "roll")):
        write(path / f"samples_{task}_{TIME}.jsonl", [KINDS[kind](i) for i in range(4)])
    (path / f"results_{TIME}.json").write_text(json.dumps({"results": {}, "model_name": "toy-lab/mix-a"}))
    return path.parent


def run(pipeline: str, source: Path, output: Path, **options: Any) -> Result:
    result: Result = tagcorpus.run(pipeline, input=source, output=output, workers=1, **options)  # type: ignore[call-overload]
    return result


@pytest.mark.parametrize(
    ("pipeline", "options"), [("tag", {"taggers": "length"}), ("features", {"taggers": "length,keywords"})]
)
def test_a_folder_of_ordinary_samples(folder: Path, tmp_path: Path, pipeline: str, options: dict[str, str]) -> None:
    result = run(pipeline, folder, tmp_path / "out", **options)
    assert (result.exit_code, result.counts.documents, result.counts.quarantined_rows) == (0, 8, 0)
    (told,) = [m for m in result.messages if "set aside" in m]
    assert told.startswith("2 files set aside (log-likelihoods and no generation): ")
    assert f"samples_arc_{TIME}.jsonl" in told
    assert f"samples_wikitext_{TIME}.jsonl" in told
    assert told in json.loads(Path(result.ledger).read_text())["notes"]
    assert [p.name for p in (tmp_path / "out/plan").rglob("*.json")] == [f"samples_gsm8k_{TIME}.jsonl.json"]


def test_an_input_without_any_generation_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "toy-lab__mix-a" / f"samples_gsm8k_{TIME}.jsonl").unlink()
    for pipeline in ("tag", "features"):
        with pytest.raises(InputError, match=r"no generation in the input .* 2 files set aside .*samples_arc_"):
            run(pipeline, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_without_generations_gets_a_note_and_no_row(folder: Path, tmp_path: Path) -> None:
    write(folder / "toy-lab__mix-b" / f"samples_arc_{TIME}.jsonl", [KINDS["mc"](i) for i in range(4)])
    result = run("features", folder, tmp_path / "out", taggers="length")
    assert [row["id"] for row in result.summary["features"]["groups"]] == ["toy-lab/mix-a"]
    assert any(m.startswith("toy-lab/mix-b: no row, for all of its files are set aside") for m in result.messages)


def test_a_file_that_counted_before_leaves_the_results(folder: Path, tmp_path: Path) -> None:
    path = folder / "toy-lab__mix-a" / f"samples_arc_{TIME}.jsonl"
    likelihoods = path.read_text()
    write(path, [KINDS["gen"](i) for i in range(3)])
    assert run("tag", folder, tmp_path / "out", taggers="length").counts.documents == 14
    path.write_text(likelihoods)
    assert run("tag", folder, tmp_path / "out", taggers="length").counts.documents == 8
    assert len(tagcorpus.read(str(tmp_path / "out"), ["length"]).to_table()) == 8


@pytest.mark.parametrize(
    ("resps", "more", "expected"),
    [
        ([["-1234.5678"]], {}, True),
        ([["-12.3", "False"]], {}, True),
        ([[["-12.3", "False"]], [["-2.0", "True"]]], {}, True),
        ([[[-12.3, False]], [[-2.0, True]]], {}, True),
        ([-12.3], {}, True),
        ([[7]], {}, True),
        ([[True]], {}, True),
        ([["-inf"]], {}, True),
        ([["-1e-05"]], {}, True),
        ([["0.0"], None], {}, True),
        ([["-12.5"]], {"arguments": PROMPT}, False),  # an answer to a question of arithmetic
        ([["-12.5"]], {"arguments": [["Q: 1 + 1?", {"until": ["\n"]}]]}, False),
        ([[3.5]], {"arguments": PROMPT}, True),
        ([["42"]], {}, False),
        ([["-42"]], {}, False),
        ([["3.5"]], {}, False),
        ([["True"]], {}, False),
        ([["-1.0", "a text"]], {}, False),
        ([["-1.0 degrees"]], {}, False),
        ([[""]], {}, False),
        ([[None]], {}, False),
        ([], {}, False),
        (None, {}, False),
    ],
)
def test_what_is_a_likelihood(resps: Any, more: dict[str, Any], expected: bool) -> None:
    assert is_likelihood({"doc_id": 0, "resps": resps, **more}) is expected


@given(st.lists(st.tuples(st.floats(max_value=-1e-300, allow_nan=False), st.booleans()), min_size=1))
def test_every_negative_float_is_one(pairs: list[tuple[float, bool]]) -> None:
    assert is_likelihood({"resps": [[[str(number), str(is_greedy)]] for number, is_greedy in pairs]})
    assert is_likelihood({"resps": [[str(number)] for number, _ in pairs]})


@given(st.text().filter(lambda t: not t.startswith(("-", "0.0", "nan"))))
def test_other_texts_are_generations(text: str) -> None:
    assert not is_likelihood({"resps": [[text]]})


def looked_at(path: Path, **options: Any) -> bool:
    return bool(harness.without_generations(discover.find([str(path)]), ReaderOptions(DocumentFields(**options))))


LIKELIHOOD, TEXT = sample(0, [["-1.5"]]), sample(1, [["a text"]])


@pytest.mark.parametrize(
    ("name", "records", "expected"),
    [
        ("a.jsonl", [LIKELIHOOD] * 300, True),
        ("a.jsonl", [LIKELIHOOD] * 300 + [TEXT], False),  # nothing is judged by how it begins
        ("a.jsonl", [sample(0, [[None]]), LIKELIHOOD], True),
        ("a.jsonl", [sample(0, [[None]])], False),
        ("a.jsonl", [TEXT, LIKELIHOOD], False),
        ("a.jsonl", [{"text": "-1.5"}], False),
        ("a.jsonl", [{"text": "x", "resps": [["-1.5"]]}], False),
        ("a.jsonl", [], False),
        (f"samples_arc_{TIME}.jsonl", [LIKELIHOOD] * 3, True),
        (f"filtered_samples_arc_{TIME}.jsonl", [LIKELIHOOD] * 3, True),
    ],
)
def test_which_files_are_set_aside(tmp_path: Path, name: str, records: list[Any], expected: bool) -> None:
    assert looked_at(write(tmp_path / name, records)) is expected


def test_every_format_is_looked_at(tmp_path: Path) -> None:
    lines = "".join(json.dumps(LIKELIHOOD) + "\n" for _ in range(3)).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf\n" + lines))
    assert looked_at(tmp_path / "a.jsonl.gz")
    pq.write_table(pa.table({"doc_id": [0, 1], "resps": [[["-1.5"]], [["-2.5"]]]}), tmp_path / "samples_arc.parquet")
    assert looked_at(tmp_path / "samples_arc.parquet")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines)[:-9])  # told when it is read
    assert not looked_at(tmp_path / "b.jsonl.gz")
    (tmp_path / "c.jsonl").write_bytes(b"\xff\n\nnot json\n" + lines)
    assert looked_at(tmp_path / "c.jsonl")
    assert not looked_at(tmp_path / "c.jsonl", text_column="filter")


def test_one_null_costs_one_repeat(tmp_path: Path) -> None:
    records = [sample(0, [["ok", None]]), sample(1, [["a"], "b", [["-1.0", "False"]]]), sample(2, [[None, 3]])]
    path = write(tmp_path / "a.jsonl", records)
    result = run("tag", path, tmp_path / "out", taggers="length")
    counts = result.counts
    assert result.exit_code == 0
    assert (counts.lines, counts.read, counts.documents) == (3, 2, 3)
    assert dict(counts.quarantined) == {"repeat_not_string": 2, "text_not_string": 1}
    lines = (tmp_path / "out/quarantine/a.jsonl/part-00000.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(e["row"], e.get("sub"), e.get("place"), e["reason"]) for e in entries] == [
        (0, 1, "resps[0][1]", "repeat_not_string"),
        (1, 2, "resps[2][0]", "repeat_not_string"),
        (2, None, None, "text_not_string"),
    ]
    table = tagcorpus.read(str(tmp_path / "out"), ["length"]).to_table()
    assert table.column("id").to_pylist() == ["0:0:0", "1:0:0", "1:1:0"]
    assert table.column("sub").to_pylist() == [0, 0, 1]
    assert run("tag", path, tmp_path / "out", taggers="length").counts == counts


def test_only_parts_that_lack_a_repeat_are_made_anew(tmp_path: Path) -> None:
    """A part of an earlier version, which lost the whole sample, is computed again; every other one is kept."""
    from tagcorpus.pipelines.options.load import load_options
    from tagcorpus.pipelines.readers.plan import Plan, load_plan
    from tagcorpus.pipelines.runs.instances import build
    from tagcorpus.pipelines.storage.folder import Folder

    cases: dict[str, tuple[list[Any], int]] = {
        "samples": ([sample(0, [["ok", None]]), TEXT], 1),  # as it was: one document
        "lost": ([sample(0, [[None]]), TEXT], 1),
        "plain": ([{"text": 3}, {"text": "x"}], 1),
    }
    (instance,) = build(load_options("tag", None, [], {"taggers": ["length"]}), {"length": "length"})
    for name, (records, documents) in cases.items():
        path = write(tmp_path / f"{name}.jsonl", records)
        run("tag", path, tmp_path / name, taggers="length")
        output = Folder(str(tmp_path / name))
        part = part_name("length", path.name, 0)
        stored = stored_part(output, part)
        assert stored is not None
        old = stored.counts
        old.documents, old.read = documents, 1
        old.quarantined.clear()
        old.quarantined["text_not_string"] = 1
        write_part(output, part, instance.tagger.columns, [], stored.key, old)
        found = resume_state(output, Plan(tuple(load_plan(output))), ReaderOptions(), [instance])
        assert found.stale == (name == "samples"), name


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_shared_cases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no generation in the input"):
        run("tag", CASES / "32-lm-eval-rolling-loglikelihood.jsonl", tmp_path / "a", taggers="length")
    mixed = run("tag", CASES / "34-lm-eval-mixed-tasks-folder", tmp_path / "b", taggers="length")
    assert (mixed.exit_code, mixed.counts.documents, len(mixed.messages)) == (0, 1, 1)
    null = run("tag", CASES / "35-lm-eval-one-null-of-two.jsonl", tmp_path / "c", taggers="length")
    assert (null.exit_code, null.counts.documents, null.counts.quarantined_rows) == (0, 2, 1)

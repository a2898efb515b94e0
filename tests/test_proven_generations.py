"""Generations that are not what a model wrote alone, and files without all of their samples, are named by `run features`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.pipelines.generation_files import oddities
from tagcorpus.pipelines.generation_files.models import Models, find
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions

TIME = "2026-11-28T15-07-54.787788"
PROSE = Path(__file__).resolve().parents[1] / "examples/generations/harbour/prose-1b/samples.jsonl"
TEXTS = [json.loads(line)["text"] for line in PROSE.read_text().splitlines()]
PROMPT = "Tell me a story."


def write(folder: Path, texts: list[str], arguments: Any = None, **results: Any) -> Models:
    place = folder / "acme__a"
    place.mkdir(parents=True)
    rows = [{"doc_id": i, "resps": [[t]], "filter": "none", "arguments": arguments} for i, t in enumerate(texts)]
    (place / f"samples_free_{TIME}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / f"results_{TIME}.json").write_text(json.dumps({"model_name": "acme/a", "results": {}, **results}))
    return find([str(folder)])


def said(models: Models) -> str:
    return "; ".join(oddities.in_texts(models, ReaderOptions()))


@pytest.mark.parametrize(
    "arguments", [{"gen_args_0": {"arg_0": PROMPT, "arg_1": {"until": []}}}, [[PROMPT, {"until": []}]], [PROMPT]]
)
def test_generations_that_begin_with_their_prompt(tmp_path: Path, arguments: Any) -> None:
    models = write(tmp_path, [f"{PROMPT} {text}" for text in TEXTS], arguments)
    assert said(models).startswith("generations of acme/a (12 of 12) begin with their prompt")


@pytest.mark.parametrize(("before", "after"), [("", "</s>"), ("<|im_start|>assistant\n", ""), ("", "<|endoftext|>\n")])
def test_generations_with_marks_of_a_template(tmp_path: Path, before: str, after: str) -> None:
    models = write(tmp_path, [f"{before}{text}{after}" if i % 2 else text for i, text in enumerate(TEXTS)])
    assert said(models).startswith("generations of acme/a (6 of 12) begin or end with a mark")


def test_one_text_many_times(tmp_path: Path) -> None:
    assert said(write(tmp_path, TEXTS[:1] * 12)).startswith(
        "generations of acme/a (12 of 12) are one and the same text"
    )


@pytest.mark.parametrize("arguments", [None, [[PROMPT, {}]], {"gen_args_0": {"arg_0": "", "arg_1": {}}}])
def test_ordinary_generations_have_no_line(tmp_path: Path, arguments: Any) -> None:
    assert said(write(tmp_path, [*TEXTS, "a < b and <b>bold</b>", "[1] INST", ""], arguments)) == ""


def counted(models: Models, n: int) -> list[str]:
    from tagcorpus.pipelines.inputs.chunks import Chunk

    (file,) = models.all_files()
    return list(oddities.in_numbers(Plan((PlannedFile(file, (Chunk(0, 1, 0, n + 4, "", ((2, 6),)),)),))))


def test_other_numbers_of_samples_than_the_results_count(tmp_path: Path) -> None:
    models = write(tmp_path, TEXTS, **{"n-samples": {"free": {"original": 99, "effective": 12}}})
    assert counted(models, 12) == []
    assert counted(models, 11) == [
        f"acme/a/samples_free_{TIME}.jsonl has 11 samples, and results_{TIME}.json counts 12 (n-samples): is the file whole?"
    ]


@pytest.mark.e2e
def test_a_run_says_so(tmp_path: Path) -> None:
    write(tmp_path / "in", [f"{text}</s>" for text in TEXTS], **{"n-samples": {"free": {"effective": 1000}}})
    result = tagcorpus.run("features", input=tmp_path / "in", output=tmp_path / "out", taggers="length", workers=1)
    assert result.exit_code == 0
    assert [m.partition(": ")[0].partition(" (")[0] for m in result.messages] == [
        "generations of acme/a",
        f"acme/a/samples_free_{TIME}.jsonl has 12 samples, and results_{TIME}.json counts 1,000",
    ]

"""Large runs: which ones start their fork server early, what it loads, and that nothing of it changes a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugins import tree

from tagcorpus.pipelines.counting.phases import LEAST_ENTRIES, entries_at_once
from tagcorpus.pipelines.counting.spill import BLOCK_ENTRIES
from tagcorpus.pipelines.dispatch import early_start
from tagcorpus.pipelines.dispatch.early_start import LEAST_BYTES, WARM_UP, early_workers, is_large
from tagcorpus.pipelines.dispatch.planning import SOON_BYTES, is_soon_indexed
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.readers.plan import Index, IndexTask
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.remote import REQUESTS_AT_ONCE, ahead


def sparse(path: Path, n_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(n_bytes)
    return path


@pytest.fixture(name="options")
def large_input(tmp_path: Path) -> TagOptions:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    sparse(tmp_path / "in" / "a.jsonl", LEAST_BYTES // 2)
    sparse(tmp_path / "in" / "deep" / "b.jsonl", LEAST_BYTES // 2)
    return TagOptions(input=[str(tmp_path / "in")], output=str(tmp_path / "out"), workers=2)


def test_a_large_run_is_known_at_a_look(options: TagOptions, tmp_path: Path) -> None:
    assert is_large(options)
    assert is_large(replace(options, input=[f"{tmp_path}/in/*.jsonl", f"{tmp_path}/in/deep/b.jsonl"]))
    assert not is_large(replace(options, input=[f"{tmp_path}/in/a.jsonl"]))
    assert not is_large(replace(options, input=["s3://bucket/a.jsonl", "-", str(tmp_path / "absent")]))


@pytest.mark.parametrize(
    "changed",
    [
        {"workers": 1},
        {"executor": "ray"},
        {"dry_run": True},
        {"limit": 10},
        {"sample": 0.1},
        {"tagger_module": ["a.py"]},
    ],
)
def test_a_run_that_may_need_no_workers_here_starts_none_early(
    options: TagOptions, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[object] = []
    monkeypatch.setattr(early_start, "start_fork_server", lambda *arguments: starts.append(arguments))
    monkeypatch.setattr(early_start, "end_fork_server", lambda: None)
    monkeypatch.setattr(early_start, "is_fork_server_there", lambda: False)
    with early_workers("tag", options):
        assert len(starts) == 1
    with early_workers("tag", replace(options, **changed)):
        assert len(starts) == 1


def test_a_finished_run_starts_none_early(options: TagOptions, tmp_path: Path) -> None:
    (tmp_path / "out" / "summary").mkdir(parents=True)
    assert not is_large(options)
    assert is_large(replace(options, overwrite=True))


def test_only_lines_on_this_machine_are_indexed_in_threads(tmp_path: Path) -> None:
    def is_soon(*files: InputFile) -> bool:
        return is_soon_indexed(Index([IndexTask(file) for file in files], 1 << 22, ReaderOptions()))

    path = str(sparse(tmp_path / "a", SOON_BYTES // 4))
    lines = InputFile("a", path, "jsonl", "")
    assert is_soon(*[lines] * 4)
    assert not is_soon(*[lines] * 5)
    assert is_soon(replace(lines, compression="zst"))
    assert not is_soon(*[replace(lines, compression="zst")] * 2)
    assert not is_soon(lines, replace(lines, format="parquet"))
    assert not is_soon(replace(lines, path="s3://bucket/a"))


@given(st.integers(1, 10**9), st.integers(LEAST_ENTRIES, 10**8), st.integers(1, 300))
def test_key_ranges_are_equal_shares_of_the_workers(n_entries: int, limit: int, workers: int) -> None:
    at_once = entries_at_once(n_entries, limit, workers)
    assert at_once <= limit
    shared = min(workers, n_entries // LEAST_ENTRIES)
    if shared <= 1:
        assert at_once == limit
    elif at_once < limit:
        # `key_ranges` fills each range up to a block below the number.
        n_ranges = -(-n_entries // (at_once - BLOCK_ENTRIES))
        assert n_ranges >= n_entries / limit
        assert n_ranges % shared == 0 or at_once == limit


@pytest.mark.parametrize("is_local", [True, False])
def test_looks_ahead_come_in_order_and_a_few_at_a_time(is_local: bool) -> None:
    begun: list[int] = []

    def items() -> Any:
        for i in range(100):
            begun.append(i)
            yield i

    results = ahead(lambda i: i * i, items(), is_local=is_local)
    assert next(results) == 0
    assert len(begun) == (1 if is_local else REQUESTS_AT_ONCE)
    assert list(results) == [i * i for i in range(1, 100)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda i: 1 // i, [1, 2, 0, 3], is_local=is_local))


def child(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return done.stdout


LOADED = """
import sys
import tagcorpus.pipelines.dispatch.warm_up
print(*(m for m in ("numba", "gigatoken", "pandas", "tagcorpus.pipelines.counting.passes") if m in sys.modules))
"""


@pytest.mark.e2e
def test_the_server_loads_what_workers_share() -> None:
    assert child(LOADED) == "\n"
    tag = json.dumps({"pipeline": "tag", "taggers": ["length,tokens", "words=keywords"], "parameters": {}})
    assert child(LOADED, **{WARM_UP: tag}) == "numba gigatoken\n"
    choice = {"tokenizer": "p50k_base", "pattern": "p50k_base", "engine": "auto", "method": "counts"}
    entropy = json.dumps({"pipeline": "entropy", **choice})
    assert child(LOADED, **{WARM_UP: entropy}) == "numba gigatoken tagcorpus.pipelines.counting.passes\n"
    assert child(LOADED, **{WARM_UP: json.dumps({"pipeline": "tag", "taggers": ["absent"], "parameters": {}})}) == "\n"


@pytest.mark.e2e
def test_a_large_run_has_the_bytes_of_one_worker(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    words = np.array(
        [
            "the",
            "of",
            "and",
            "Question:",
            "12",
            "some",
            "committee",
            "meté",
            "again",
            "what",
            "Do",
            "or",
            "3.5",
            "tokens",
        ]
    )
    with (tmp_path / "a.jsonl").open("w", encoding="utf-8") as file:
        while file.tell() < LEAST_BYTES + 1000:
            file.write(json.dumps({"text": " ".join(rng.choice(words, 2000))}, ensure_ascii=False) + "\n")
    outputs = []
    for pipeline in ("tag", "entropy"):
        options = ["--taggers", "length,tokens,keywords"] if pipeline == "tag" else ["--ngram", "1"]
        for workers in ("1", "2"):
            outputs.append(tmp_path / f"{pipeline}-{workers}")
            command = [sys.executable, "-m", "tagcorpus", "run", pipeline, "--input", tmp_path / "a.jsonl", *options]
            command += ["--output", outputs[-1], "--workers", workers, "--set", "chunk_bytes=4194304"]
            subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        assert tree(outputs[-2], "attributes", "summary", "plan") == tree(outputs[-1], "attributes", "summary", "plan")

"""Two runs in one process, in threads or one inside the other, leave each other's temporary files alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.pipelines.dispatch import conduct
from tagcorpus.pipelines.execution.worker_pool import WorkerPool
from tagcorpus.pipelines.storage.folder import Folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "document number {i}"}}\n' for i in range(50)))
    return path


def test_a_run_that_ends_keeps_what_another_is_writing(corpus: Path, tmp_path: Path) -> None:
    output = Folder(str(tmp_path / "out"))
    with output.publishing("x/half.parquet") as sink:
        sink.write(b"one half, ")
        assert tagcorpus.run("tag", input=corpus, output=tmp_path / "out", taggers="length", workers=1).exit_code == 0
        sink.write(b"the other")
    assert output.read("x/half.parquet") == b"one half, the other"


def test_workers_of_two_runs_have_suffixes_of_their_own(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[set[str]] = []
    monkeypatch.setattr(Folder, "sweep", lambda _, suffixes: swept.append(suffixes))
    for name in ("one", "two"):
        tagcorpus.run("tag", input=corpus, output=tmp_path / name, taggers="length", workers=1)
    assert len(swept) == 2
    assert not swept[0] & swept[1]
    assert WorkerPool().suffix != WorkerPool().suffix


def test_threads_on_one_output(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ends while the other is about to publish: every publication of the second waits until the first has closed."""
    has_closed = threading.Event()
    clean_up = conduct._clean_up

    def closing(*run: Any) -> None:
        clean_up(*run)
        has_closed.set()

    monkeypatch.setattr(conduct, "_clean_up", closing)
    local = Folder._local
    first = threading.get_ident()

    def slow(folder: Folder, target: str) -> object:
        block = local(folder, target)
        if threading.get_ident() == first or has_closed.is_set():
            return block
        sink = block.__enter__()
        has_closed.wait(20)

        class Held:
            def __enter__(self) -> object:
                return sink

            def __exit__(self, *error: Any) -> object:
                return block.__exit__(*error)

        return Held()

    monkeypatch.setattr(Folder, "_local", slow)
    options: dict[str, Any] = {"input": str(corpus), "output": str(tmp_path / "out"), "workers": 1}
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: tagcorpus.run("tag", taggers="tokens", **options))
        assert tagcorpus.run("tag", taggers="length", **options).exit_code == 0
        assert other.result().exit_code == 0
    for name in ("length", "tokens"):
        assert tagcorpus.read(str(tmp_path / "out"), [name]).to_table().num_rows == 50

"""Every exit code, through the command line: 0, 1, 2, 3, 4, 5, 130 and 143, and which one wins."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess

import pytest
import zstandard
from click.testing import CliRunner
from plugins import Corpus, empty_corpus, ended, jsonl, known_here, temporary, tree

from tagcorpus.cli import main

__all__ = ["empty_corpus", "known_here"]  # fixtures


def ledger_code(corpus: Corpus) -> int:
    (run_folder,) = (corpus.out / "runs").iterdir()
    found: int = json.loads((run_folder / "ledger.json").read_text())["exit_code"]
    return found


@pytest.mark.parametrize(
    ("rows", "code", "told"),
    [
        (["one", "two"], 0, ""),
        (["one", "!exit!"], 0, "1 on which marks raised SystemExit"),
        (["one", b"bad"] + [b"bad"] * 10, 3, "more than the 10 rows allowed (--max-quarantined)"),
        (["one", "!llm!"], 4, "the endpoint kept failing"),
        (["one", "!budget!"], 5, "the budget is spent"),
        (["one", "!tagger!"], 1, "my model is gone (7)"),
    ],
)
def test_code_of_a_run(corpus: Corpus, rows: list[object], code: int, told: str) -> None:
    corpus.write("a.jsonl", rows)
    result = corpus.invoke()
    assert result.code == code
    assert told in result.err
    assert "Traceback" not in result.err
    assert ledger_code(corpus) == code


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--taggers", "langth"], "did you mean 'length'?"),
        (["--set", "marks.sufix=x"], "did you mean 'suffix'?"),
        (["--max-quarantined", "-1"], "--max-quarantined must be at least 0, or inf, got -1"),
        (["--max-quarantined", "nan"], "--max-quarantined must be at least 0, or inf, got nan"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--no-such-option"], "No such option"),
        (["--input", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_usage(corpus: Corpus, options: list[str], told: str) -> None:
    corpus.write("a.jsonl", ["one"])
    result = corpus.invoke(*options)
    assert result.code == 2
    assert told in result.err
    assert not (corpus.out / "attributes").exists()


def test_tagger_that_cannot_work_at_all(corpus: Corpus) -> None:
    corpus.write("a.jsonl", ["one", "two"])
    corpus.taggers = "length,broken"
    result = corpus.invoke()
    assert result.code == 1
    assert "tagger 'broken' fails on every document: OSError: model.bin is not there" in result.err
    assert not list(corpus.out.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("allowed", "code"), [(None, 3), ("0", 3), ("11", 3), ("12", 0), ("0.1", 3), ("0.11", 3), ("0.12", 0), ("0.5", 0)]
)
def test_how_much_may_be_quarantined(corpus: Corpus, allowed: str | None, code: int) -> None:
    """12 of 100 lines are bad; blank ones are lines as well."""
    corpus.write("a.jsonl", [b""] * 8 + [f"text {i}" for i in range(80)] + [b"bad"] * 12)
    result = corpus.invoke(*(["--max-quarantined", allowed] if allowed else []))
    assert result.code == code
    assert "12 rows are in quarantine" in result.err


def test_none_may_be_quarantined_and_none_is(corpus: Corpus) -> None:
    corpus.write("a.jsonl", ["one"])
    assert corpus.invoke("--max-quarantined", "0").code == 0


def test_default_allows_one_percent_of_many(corpus: Corpus) -> None:
    corpus.chunk_bytes = 1 << 20
    corpus.write("a.jsonl", ["x"] * 1988 + [b"bad"] * 12)
    assert corpus.invoke().code == 0


def broken(corpus: Corpus) -> None:
    whole = zstandard.compress(jsonl(["broken off"]))
    (corpus.root / "data/z.jsonl.zst").write_bytes(whole[:-6])


def test_broken_wins_over_quarantined(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [b"bad"] * 20)
    broken(corpus)
    assert corpus.invoke().code == 1


@pytest.mark.parametrize(("text", "code"), [("!llm!", 4), ("!budget!", 5)])
def test_incomplete_wins_over_quarantined_and_broken_over_both(corpus: Corpus, text: str, code: int) -> None:
    corpus.write("a.jsonl", [b"bad"] * 20)
    corpus.write("zz.jsonl", [text])
    assert corpus.invoke().code == code
    broken(corpus)
    assert corpus.invoke().code == 1


def test_incomplete_run_keeps_the_other_ranges(corpus: Corpus) -> None:
    corpus.write("a.jsonl", ["!llm!"])
    corpus.write("b.jsonl", ["fine"])
    assert corpus.invoke().code == 4
    assert (corpus.out / "attributes/marks/b.jsonl/part-00000.parquet").is_file()
    assert not (corpus.out / "attributes/marks/a.jsonl").exists()


@pytest.mark.usefixtures("corpus")
def test_interrupt_before_the_run_has_begun() -> None:
    result = CliRunner().invoke(main, ["taggers", "interrupted"])
    assert result.exit_code == 130


# The row at which a run waits is in the last and smallest chunk, which no worker begins before the others.
WAITS = [f"{i} " + "x" * (90 if i < 88 else 8) + ("!wait!" if i == 89 else "") for i in range(90)]


def until_it_waits(corpus: Corpus, workers: int) -> subprocess.Popen[str]:
    """A run that has come to the row at which it waits for ever."""
    fifo = corpus.root / "fifo"
    os.mkfifo(fifo)
    told = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = corpus.start(workers=workers, env={"PLUGIN_WAITING": str(fifo)})
    readable, _, _ = select.select([told], [], [], 60)
    os.close(told)
    assert readable, ended(process)
    return process


@pytest.mark.parametrize(
    ("workers", "to_group", "signal_", "code", "word"),
    [
        (2, True, signal.SIGINT, 130, "interrupted"),
        *(
            pytest.param(*case, marks=pytest.mark.e2e)
            for case in [
                (1, False, signal.SIGINT, 130, "interrupted"),
                (2, False, signal.SIGINT, 130, "interrupted"),
                (1, False, signal.SIGTERM, 143, "terminated"),
                (2, False, signal.SIGTERM, 143, "terminated"),
                (2, True, signal.SIGTERM, 143, "terminated"),
            ]
        ),
    ],
)
def test_signals_end_cleanly(corpus: Corpus, workers: int, to_group: bool, signal_: int, code: int, word: str) -> None:
    corpus.write("a.jsonl", [*WAITS])
    process = until_it_waits(corpus, workers)
    (os.killpg if to_group else os.kill)(process.pid, signal_)
    result = ended(process)  # all workers have closed stderr: none is left
    assert result.code == code
    assert f"{word}; finished chunks are kept, the same command continues from there" in result.err
    assert "Traceback" not in result.err
    assert ledger_code(corpus) == code
    assert temporary(corpus.out) == []
    parts = {p: p.stat().st_mtime_ns for p in corpus.out.rglob("*.parquet")}
    assert parts
    resumed = corpus.invoke()
    assert resumed.code == 0
    assert f"{len(parts)} of" in resumed.err
    assert {p: p.stat().st_mtime_ns for p in parts} == parts
    afresh = tree(corpus.out)
    assert corpus.invoke("--overwrite").code == 0
    assert tree(corpus.out) == afresh

"""Outputs that commit a604fc3 left behind, whole and half finished, are resumed: nothing is computed again, nothing differs.

A copied output is tried as it is (its plan does not know the copied inputs, and is made anew from their bytes), and moved: with
a plan that stands for the copied inputs, as if nothing had been copied.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from digests import Entry, differences, entries_of, files_of
from old_outputs import CASES, FOLDER, Case, adopt_inputs, language_model, options_of, unpack

import tagcorpus
from tagcorpus.pipelines.runs.result import Result

# What is expensive, and is therefore not made again.
COMPUTED = ("attributes/", "quarantine/", "tokens/", "contexts/", "filtered/", "summary/filtered/", "summary/features/")
# Receipts of filtered rows have digests now. Rows without are written once more, to the same bytes: nothing else proves them.
# Rows that cannot be read are published with every part of their chunk.
WRITTEN_AGAIN = ("filtered/", "summary/filtered/", "quarantine/")
# Taggers whose values changed: `language` reads text with control characters, and has a column that says so.
CHANGED = ("attributes/language/", "summary/tag", "summary/features", "summary/filter.")
# Intervals at a token budget are wider: samples of one corpus share documents.
WIDENED = ("summary/entropy-", "features.csv", "features.parquet", "features.provenance.json", "summary/features/")
# Parts of an endpoint's labels have a column more, `answered_by`. Old ones stay as they are.
WITHOUT_A_COLUMN = ("attributes/domain/", "summary/domain")
# What later versions add: digests of parts' footers, digests in receipts, and in the plans of some formats how they are read.
ADDED = ("digests/", "summary/filtered/", "plan/b.csv.json", "plan/c.parquet.json", "plan/d.arrow.json")
TRIED = [(name, *kind) for name in CASES for kind in (("complete", False), ("half", True))]
TRIED += [("domain", "complete", True), ("domain", "half", False)]
IN_DEFAULT_RUN = [("tag", "complete"), ("filter", "half"), ("domain_openai", "half"), ("features", "complete")]
Stamps = dict[str, tuple[int, int, int]]


def stamps(output: Path) -> Stamps:
    """Tells of every computed file whether it was published again."""
    stats = {
        n: p.stat() for n, p in files_of(output).items() if n.startswith(COMPUTED) and not n.endswith("tagger.json")
    }
    return {n: (s.st_ino, s.st_mtime_ns, s.st_size) for n, s in stats.items()}


def is_part(name: str) -> bool:
    return name.startswith("attributes/") and name.endswith(".parquet")


def computed_chunks(result: Result) -> set[tuple[str, int]]:
    """Input and number of every chunk that a run did not only resume, by its ledger."""
    ledger = json.loads(Path(result.ledger).read_text())
    assert ledger["ranges_done"] == ledger["ranges_planned"] == len(ledger["ranges"]) > 0
    return {(r["input"], r["range"]) for r in ledger["ranges"] if not r.get("is_resumed")}


def chunks_of(parts: set[str]) -> set[tuple[str, int]]:
    """Input and number of the ranges that these parts belong to."""
    names = (p.removeprefix("attributes/").partition("/")[2] for p in parts)
    return {(n.rpartition("/")[0], int(n.rpartition("part-")[2].removesuffix(".parquet"))) for n in names}


def same_columns(complete: dict[str, Entry], ended: dict[str, Entry]) -> int:
    """How many parts have all columns of the old ones, with the same values, and but the later one besides."""
    pairs = [(e["columns"], ended[n]["columns"]) for n, e in complete.items() if is_part(n)]
    return sum(old == {c: d for c, d in new.items() if c != "answered_by"} for old, new in pairs)


def answers(folder: Path) -> int:
    """How many answers of a language model the cache holds."""
    with contextlib.closing(sqlite3.connect(folder / "llm.sqlite")) as connection:
        (n,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    return int(n)


def resume(case: Case) -> list[Result]:
    """All runs of a case again, in the current folder."""
    results = []
    for step in range(len(case.steps)):
        pipeline, options = options_of(case, step)
        results.append(tagcorpus.run(pipeline, **options))  # type: ignore[call-overload]
        assert results[-1].exit_code == 0, results[-1].messages
    return results


@pytest.mark.parametrize(
    ("name", "state", "is_moved"),
    [pytest.param(*t, marks=[] if t[:2] in IN_DEFAULT_RUN else pytest.mark.e2e) for t in TRIED],
)
def test_resumed(name: str, state: str, is_moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    whole = unpack(tmp_path / "whole", name, "complete")
    work = unpack(tmp_path / "work", name, state)
    monkeypatch.chdir(work)
    if is_moved:
        adopt_inputs(work / "out")
    before = stamps(work / "out")
    # Some files are published early and completed later, such as the entropies of a model, by those of random samples.
    complete, at_first = entries_of(whole / "out", whole), entries_of(work / "out", work)
    finished = [n for n in before if at_first[n] == complete[n]]
    assert len(finished) >= len(before) - 1
    n_answers = answers(work) if case.is_asking else 0
    with language_model(case.is_asking) as calls:
        results = resume(case)

    after = stamps(work / "out")
    again = [n for n in finished if after.get(n) != before[n]]
    assert [n for n in again if not n.startswith((*WRITTEN_AGAIN, *CHANGED))] == [], "computed again"
    ended = entries_of(work / "out", work)
    if case.is_asking:
        assert same_columns(complete, ended) == sum(map(is_part, complete)) > 0
    left_out = (*ADDED, *CHANGED, *WIDENED, *(WITHOUT_A_COLUMN if case.is_asking else ()))
    is_same = ({n: e for n, e in side.items() if not n.startswith(left_out)} for side in (complete, ended))
    assert differences(*is_same) == []
    missing = {n for n in stamps(whole / "out") if n not in before}
    assert after.keys() - before.keys() == missing, "only what was missing is made"
    assert bool(missing) == (state == "half")
    computed = {n for n in missing if is_part(n)} | {n for n in again if n.startswith(CHANGED) and is_part(n)}
    assert set().union(*map(computed_chunks, results)) == chunks_of(computed)
    if case.is_asking:
        assert len(calls) == answers(whole) - n_answers == answers(work) - n_answers
        assert n_answers > 0
        assert bool(calls) == (state == "half")


def test_every_archive_has_a_case() -> None:
    assert {p.name.removesuffix(".tar.zst") for p in FOLDER.iterdir()} == set(CASES)
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 1 << 20

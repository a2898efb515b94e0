"""Shares of labels with intervals: against the reference of prediction-powered inference, by simulation, and through the command."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slurm_commands import invoke

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.labels.share_intervals import (
    Counts,
    calls_for,
    llm_only,
    power,
    prediction_powered,
    variance_ratio,
)
from tagcorpus.pipelines.labels.shares import shares


def counts_of(y: Any, f: Any, n: int) -> Counts:
    """The first n documents are audited."""
    a, b = y[:n].astype(bool), f[:n].astype(bool)
    return Counts(
        len(y), int(f.sum()), int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum()), int((~a & ~b).sum())
    )


def test_the_estimate_is_that_of_the_reference() -> None:
    ppi = pytest.importorskip("ppi_py")
    generator = np.random.default_rng(0)
    y = (generator.random(20_000) < 0.3).astype(float)
    f = np.where(generator.random(20_000) < 0.8, y, 1 - y)
    n = 400
    counts = counts_of(y, f, n)
    lam = power(counts)
    ours = prediction_powered(counts)
    # The reference's unlabelled documents are all others, ours all documents: the same estimate at lambda * N / (N - n).
    other = ppi.ppi_mean_pointestimate(y[:n], f[:n], f[n:], lam=lam * (1 - n / len(y)))
    assert ours.share == pytest.approx(float(np.squeeze(other)), abs=1e-9)
    low, high = ppi.ppi_mean_ci(y[:n], f[:n], f[n:], alpha=0.05, lam=lam)
    assert ours.width == pytest.approx(float(np.squeeze(high - low)), rel=0.03)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_intervals_hold_the_truth(share: float) -> None:
    generator = np.random.default_rng(1)
    y = (generator.random(5_000) < share).astype(float)
    f = np.where(generator.random(5_000) < 0.9, y, 1 - y)
    truth = float(y.mean())
    holds = narrower = 0
    for _ in range(300):
        order = generator.permutation(len(y))
        counts = counts_of(y[order], f[order], 300)
        own = prediction_powered(counts)
        holds += own.low <= truth <= own.high
        narrower += own.width < llm_only(counts).width
    assert 0.92 <= holds / 300 <= 0.98
    assert narrower > 290


def test_a_student_that_says_nothing_changes_nothing() -> None:
    counts = Counts(1000, 500, 25, 25, 25, 25)
    assert power(counts) == 0
    assert variance_ratio(counts) == 1
    assert prediction_powered(counts) == llm_only(counts)


def test_all_documents_audited_leave_no_doubt() -> None:
    assert prediction_powered(Counts(100, 20, 20, 0, 10, 70)).width == 0


def test_the_plan_gives_the_width() -> None:
    counts = Counts(10_000_000, 3_000_000, 100, 20, 15, 265)
    for width in (0.1, 0.05, 0.02):
        n = calls_for(width, counts)
        scaled = [
            round(c * n / counts.audited) for c in (counts.both, counts.student_only, counts.llm_only, counts.neither)
        ]
        assert prediction_powered(Counts(counts.documents, counts.student, *scaled)).width == pytest.approx(
            width, rel=0.03
        )


def test_no_disagreement_does_not_prove_that_there_is_none() -> None:
    counts = Counts(1_000_000, 500_000, 30, 0, 0, 30)
    assert calls_for(0.02, counts) > 300
    assert prediction_powered(counts).width > 0.01


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[str, dict[str, str]]:
    generator = random.Random(3)
    truth = {str(i): "a" if generator.random() < 0.7 else "b" for i in range(2000)}
    rows = [
        {"id": i, "prediction": label if generator.random() < 0.9 else "ab"[label == "a"], "text": f"document {i}"}
        for i, label in truth.items()
    ]
    return write(tmp_path / "student.csv", rows), truth


def test_draw_label_estimate(corpus: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    student, truth = corpus
    done = invoke("shares", student, "--draw", "300", "--output", str(tmp_path / "sample.csv"))
    assert done.code == 0, done.err
    with (tmp_path / "sample.csv").open(newline="") as file:
        sample = list(csv.DictReader(file))
    assert len({row["id"] for row in sample}) == 300
    assert sample[0]["text"] == f"document {sample[0]['id']}"
    audit = write(tmp_path / "audit.csv", [{"id": row["id"], "label": truth[row["id"]]} for row in sample])
    document = json.loads(shares(student, audit, width=2.0, as_json=True))
    own = document["shares"]["a"]
    assert own["low"] <= sum(label == "a" for label in truth.values()) / len(truth) <= own["high"]
    assert own["high"] - own["low"] < own["llm_only"]["high"] - own["llm_only"]["low"]
    assert 300 < document["calls"] < document["calls_llm_only"] < 2000
    done = invoke("shares", student, audit)
    assert done.code == 0, done.err
    assert "2,000 documents labelled by the student, 300 of them audited" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_refusals(corpus: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    student, _ = corpus
    with pytest.raises(ConfigError, match=r"^name the audit's labels"):
        shares(student)
    with pytest.raises(ConfigError, match=r"^--draw N needs --output"):
        shares(student, draw=5)
    with pytest.raises(ConfigError, match=r"has only 2,000 documents"):
        shares(student, draw=5000, output=str(tmp_path / "s.csv"))
    with pytest.raises(ConfigError, match=r"the audit sample is a CSV; name a file in \.csv"):
        shares(student, draw=5, output=str(tmp_path / "s.jsonl"))
    with pytest.raises(ConfigError, match=r"is the file of --draw N; the shares are printed"):
        shares(student, student, output=str(tmp_path / "s.csv"))
    assert not list(tmp_path.glob("s.*"))
    other = write(tmp_path / "other.csv", [{"id": "x", "label": "a"}])
    with pytest.raises(InputError, match=r"^1 of 1 documents of .* have no label in"):
        shares(student, other)

"""Agreement of labels: figures against plain definitions, joins, and what the command says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.labels import matrix as mx
from tagcorpus.pipelines.labels.agreement import agreement
from tagcorpus.pipelines.labels.label_table import ERROR, OFF_MENU, read_labels

LABELS = st.sampled_from("abcd")
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60)


def table(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".csv":
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@settings(max_examples=60)
@given(PAIRS)
def test_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    gold, labels = zip(*pairs, strict=True)
    matrix = mx.matrix_of(pairs, ())
    counts = matrix.counts.astype(float)
    names = list(matrix.gold)
    assert matrix.counts.tolist() == metrics.confusion_matrix(gold, labels, labels=names).tolist()
    expected = metrics.f1_score(gold, labels, labels=names, average=None, zero_division=0)
    assert np.allclose(np.nan_to_num(mx.f1(counts)), expected)
    kappa = float(mx.kappa(counts))
    if len({*gold, *labels}) > 1:
        assert kappa == pytest.approx(metrics.cohen_kappa_score(gold, labels))
    else:
        assert np.isnan(kappa)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40))
def test_weighted_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    matrix = mx.matrix_of([(str(a), str(b)) for a, b in pairs], ())
    if len(matrix.gold) < 2:
        return
    # Labels that nobody used are left out of both; scikit-learn weights by place, so give it all places.
    gold, labels = zip(*pairs, strict=True)
    expected = metrics.cohen_kappa_score(gold, labels, weights="quadratic", labels=list(range(6)))
    assert float(mx.kappa(matrix.counts.astype(float), mx.squared_weights(matrix.gold))) == pytest.approx(expected)


def test_fleiss_kappa_of_the_published_example() -> None:
    """The table of Fleiss 1971 as it is often printed: 10 subjects, 14 raters, 5 categories; kappa 0.210."""
    rows = "0 0 0 0 14 / 0 2 6 4 2 / 0 0 3 5 6 / 0 3 9 2 0 / 2 2 8 1 1 / 7 7 0 0 0 / 3 2 6 3 0 / 2 5 3 2 2 / 6 5 2 1 0 / 0 2 2 3 7"
    counts = np.array([[float(n) for n in row.split()] for row in rows.split("/")])
    assert mx.fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_intervals_hold_the_truth() -> None:
    """A matrix of known kappa, drawn 300 times with 200 documents: the 95 % interval holds it in 92 to 98 %."""
    truth = np.array([[50, 8, 2], [6, 20, 4], [1, 3, 6]], float)
    kappa = float(mx.kappa(truth))
    generator = np.random.default_rng(0)
    holds = 0
    for seed in range(300):
        counts = generator.multinomial(200, truth.ravel() / truth.sum()).reshape(3, 3)
        matrix = mx.Matrix(("a", "b", "c"), ("a", "b", "c"), counts)
        value = mx.with_intervals(matrix, {"kappa": mx.kappa}, seed, draws=400)["kappa"]
        holds += value["low"] <= kappa <= value["high"]
    assert 0.92 <= holds / 300 <= 0.98


def test_proportions_have_intervals_at_the_ends_too() -> None:
    shares = mx.proportions(mx.matrix_of([("a", "a")] * 5 + [("b", "b")] * 5, ()))
    assert shares["accuracy"]["value"] == 1
    assert 0.6 < shares["accuracy"]["low"] < 0.8
    assert shares["recall"][0]["low"] == pytest.approx(0.5655, abs=1e-3)  # Wilson 1927, 5 of 5


def test_few_documents_have_no_interval() -> None:
    matrix = mx.matrix_of([("a", "a")] * 10 + [("b", "a")] * 5, ())
    assert mx.with_intervals(matrix, {"kappa": mx.kappa}, 0)["kappa"] == {"value": 0.0, "low": None, "high": None}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_documents_join_by_id_whatever_their_order(tmp_path: Path, suffix: str) -> None:
    gold = [{"id": str(i), "label": "ab"[i % 2]} for i in range(40)]
    given_rows = [{"id": str(i), "prediction": "ab"[i % 2] if i % 10 else "b"} for i in range(5, 45)]
    random.Random(0).shuffle(given_rows)
    first, second = table(tmp_path / f"p{suffix}", given_rows), table(tmp_path / f"g{suffix}", gold)
    document = json.loads(agreement(first, second, as_json=True))
    assert document["documents"]["joined"] == 35
    assert document["documents"]["only_in_labels"] == 5
    assert document["documents"]["only_in_gold"] == 5
    assert document["accuracy"]["value"] == pytest.approx(32 / 35)
    assert [d["id"] for d in document["differences"]] == [str(i) for i in sorted([10, 20, 30], key=str)]


def test_keys_with_several_labels_are_left_out(tmp_path: Path) -> None:
    rows = [{"id": "a", "label": "x"}, {"id": "a", "label": "y"}, {"id": "b", "label": "x"}, {"id": "b", "label": "x"}]
    own = read_labels(table(tmp_path / "t.jsonl", rows), "id")
    assert own.labels.keys() == {"b"}
    assert own.doubled == {"a": 2}


def test_errors_and_answers_off_the_menu_are_columns(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "prediction": "a", "is_off_menu": False},
        {"id": "2", "prediction": None, "is_off_menu": False},
        {"id": "3", "prediction": "a", "is_off_menu": True},
        {"id": "4", "prediction": "unknown", "is_off_menu": False},
    ]
    gold: list[dict[str, Any]] = [{"id": i, "label": "a"} for i in "1234"]
    document = json.loads(agreement(table(tmp_path / "p.jsonl", rows), table(tmp_path / "g.jsonl", gold), as_json=True))
    assert document["matrix"]["given"] == ["a", "unknown", OFF_MENU, ERROR]
    assert document["matrix"]["counts"] == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert document["accuracy"]["value"] == 0.25
    assert document["without_unknown"]["accuracy"]["value"] == 1.0


def test_agreement_within_groups_can_be_none(tmp_path: Path) -> None:
    """Right overall, and useless inside each group: the label only tells the groups apart."""
    generator = random.Random(1)
    gold: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for i in range(400):
        source = "web" if i % 2 else "books"
        likely = "low" if source == "web" else "high"
        other = "high" if likely == "low" else "low"
        gold.append({"id": str(i), "label": likely if generator.random() < 0.9 else other, "source": source})
        labels.append({"id": str(i), "label": likely})
    first, second = table(tmp_path / "p.jsonl", labels), table(tmp_path / "g.jsonl", gold)
    document = json.loads(agreement(first, second, within=["source"], as_json=True))
    assert document["kappa"]["low"] > 0.7
    assert {g: round(own["kappa"]["value"], 6) for g, own in document["within"]["source"].items()} == {
        "books": 0,
        "web": 0,
    }


def test_ordinal_labels(tmp_path: Path) -> None:
    gold = [{"id": str(i), "label": i % 6} for i in range(60)]
    near = [{"id": str(i), "label": min(5, i % 6 + 1)} for i in range(60)]
    first, second = table(tmp_path / "p.jsonl", near), table(tmp_path / "g.jsonl", gold)
    document = json.loads(agreement(first, second, ordinal=True, as_json=True))
    assert document["matrix"]["gold"] == ["0", "1", "2", "3", "4", "5"]
    assert document["weighted_kappa"]["value"] > 0.8 > document["kappa"]["value"]
    words = table(tmp_path / "w.jsonl", [{"id": "1", "label": "good"}])
    with pytest.raises(
        ConfigError, match=r"^--ordinal takes labels that are numbers, and the gold label of '1' is 'good'"
    ):
        agreement(words, words, ordinal=True)


def test_repeats(tmp_path: Path) -> None:
    rows = [{"id": str(i), "label": "ab"[i % 2]} for i in range(50)]
    again = [row | ({"label": "b"} if int(row["id"]) < 5 else {}) for row in rows]
    first, second = table(tmp_path / "p.jsonl", rows), table(tmp_path / "q.jsonl", again)
    document = json.loads(agreement(first, first, repeats=[second], as_json=True))
    assert document["repeats"]["all_equal"] == pytest.approx(47 / 50)
    assert document["repeats"]["fleiss_kappa"]["low"] < document["repeats"]["fleiss_kappa"]["value"] < 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,label\n1,a\n2\n", "line 3 has 1 cells, the header 2"),
        ('id,label\n1,"a\n', "cannot be read"),
        ("id,text\n1,a\n", "no column label, prediction, gold, domain; name one with --column. Columns: id, text"),
        ("", "has no rows"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises((InputError, ConfigError), match=message.replace("(", r"\(")):
        read_labels(str(tmp_path / "t.csv"), "id")


def test_nothing_in_common(tmp_path: Path) -> None:
    first, second = (table(tmp_path / f"{n}.jsonl", [{"id": n, "label": "x"}]) for n in "ab")
    with pytest.raises(InputError, match=r"share no document: 1 are only in the first, 1 only in the second"):
        agreement(first, second)


def test_labels_of_another_spelling_are_named(tmp_path: Path) -> None:
    rows = [{"id": n, "label": label} for n, label in enumerate(["web", "code", "web", "unknown"])]
    given = table(tmp_path / "given.jsonl", rows)
    gold = table(tmp_path / "gold.jsonl", [{**row, "label": str(row["label"]).title()} for row in rows[:3]] + rows[3:])
    page = agreement(given, gold)
    assert "labels only in LABELS: code, web\n  labels only in GOLD: Code, Web\n" in page
    assert "count as two labels" in page
    assert "labels only in" not in agreement(given, given)
    # A rare label that one side alone uses is not another spelling.
    assert "labels only in" not in agreement(given, table(tmp_path / "some.jsonl", rows[1:2] + rows[3:]))


def test_an_output_folder_against_a_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    texts = [
        "def f(x):\n    return x\n" * 8,
        "Chapter 1. She opened the door and looked out into the rain. " * 8,
        "a" * 90,
    ]
    gold = [{"text": t, "label": label} for t, label in zip(texts, ["code", "books", "incoherent"], strict=True)]
    source = table(tmp_path / "in.jsonl", gold)
    tagcorpus.run("domain", input=source, output=tmp_path / "out", domain={"backend": "fasttext"})
    done = invoke("agreement", str(tmp_path / "out"), source, "--by", "text", "--output", str(tmp_path / "ag"))
    assert done.code == 0, done.err
    assert "3 documents with both labels: prediction against gold label" in done.out
    assert {p.name for p in (tmp_path / "ag").iterdir()} == {
        ".agreement.json.inputs",
        "agreement.json",
        "matrix.csv",
        "differences.csv",
        "matrix.png",
    }
    assert max(len(line) for line in done.out.splitlines() if not line.startswith("->")) <= 80

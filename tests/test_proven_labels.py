"""Labels and audits that would be compared as something else than they are; and tables that are read although they look odd."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from slurm_commands import invoke

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.labels.agreement import agreement
from tagcorpus.pipelines.labels.label_table import read_labels
from tagcorpus.pipelines.labels.shares import random_p, shares

Rows = list[dict[str, Any]]


def lines(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def text(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ([True, False], ["true", "false"]),
        ([True, False], ["True", "FALSE"]),
        ([3, 0], ["3.0", "0.0"]),
        ([3.0, -1.0], ["3", "-1"]),
        (["v1.0", "1.05"], ["v1.0", "1.05"]),
    ],
)
def test_types_and_text_are_the_same_labels(tmp_path: Path, typed: list[Any], written: list[str]) -> None:
    given = lines(tmp_path / "a.jsonl", [{"id": f"d{i}", "label": typed[i % 2]} for i in range(8)])
    gold = text(tmp_path / "b.csv", "id,label\n" + "".join(f"d{i},{written[i % 2]}\n" for i in range(8)))
    assert json.loads(agreement(given, gold, as_json=True))["accuracy"]["value"] == 1
    assert len({own.label for own in read_labels(given, "id").labels.values()}) == 2


def test_blank_lines_and_rows_without_a_label_are_read(tmp_path: Path) -> None:
    assert len(read_labels(text(tmp_path / "a.csv", "id,label\nd0,x\n\nd1,y\n\n"), "id").labels) == 2
    table = read_labels(lines(tmp_path / "b.jsonl", [{"id": "d0"}, {"id": "d1", "label": "x"}]), "id")
    assert {key: own.label for key, own in table.labels.items()} == {"d0": "(error)", "d1": "x"}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the header has 'label' more than once"):
        read_labels(text(tmp_path / "a.csv", "id,label,label\nd0,x,y\n"), "id")


def test_an_id_of_several_texts_is_not_a_copy(tmp_path: Path) -> None:
    rows: Rows = [{"id": "0", "text": t, "label": "web"} for t in ("one", "one", "two")]
    table = read_labels(lines(tmp_path / "a.jsonl", [*rows, {"id": "1", "text": "three", "label": "web"}]), "id")
    assert (list(table.labels), dict(table.doubled)) == (["1"], {"0": 2})
    with pytest.raises(InputError, match="has each id several times"):
        read_labels(lines(tmp_path / "b.jsonl", rows), "id")
    assert list(read_labels(lines(tmp_path / "c.jsonl", rows[:2]), "id").labels) == ["0"]


def test_equal_ids_of_other_texts_are_counted(tmp_path: Path) -> None:
    one = lines(tmp_path / "a.jsonl", [{"id": i, "text": f"own {i}", "label": "x"} for i in range(9)])
    other = lines(
        tmp_path / "b.jsonl", [{"id": i, "text": f"{'own' if i else 'no'} {i}", "label": "x"} for i in range(9)]
    )
    assert "1 with another text in LABELS than in GOLD" in agreement(one, other)
    assert "another text" not in agreement(one, one)
    assert "1 audited documents have another text in the corpus" in shares(one, other)


# Shares


def corpus(folder: Path) -> tuple[str, list[str], random.Random]:
    draws = random.Random(3)
    labels = [draws.choice("ab") for _ in range(1000)]
    return lines(folder / "s.jsonl", [{"id": f"d{i}", "label": y} for i, y in enumerate(labels)]), labels, draws


def audit(folder: Path, chosen: list[int], labels: list[Any]) -> str:
    return lines(folder / "audit.jsonl", [{"id": f"d{i}", "label": labels[i]} for i in chosen])


def test_an_audit_of_one_label_is_said_to_be_no_random_sample(tmp_path: Path) -> None:
    student, labels, draws = corpus(tmp_path)
    chosen = [i for i, y in enumerate(labels) if y == "a"][:100]
    assert "not a simple random sample" in shares(student, audit(tmp_path, chosen, labels))
    assert "not a simple random sample" not in shares(student, audit(tmp_path, draws.sample(range(1000), 100), labels))
    assert "not a simple random sample" not in shares(student, audit(tmp_path, list(range(1000)), labels))


def test_p_of_a_random_sample_is_uniform() -> None:
    draws = random.Random(4)
    labels = [*"a" * 300, *"b" * 500, *"c" * 190, *"d" * 10]
    every = Counter(labels)
    p = [random_p(every, Counter((y, y) for y in draws.sample(labels, 200))) for _ in range(400)]
    assert sum(v < 0.1 for v in p) / 400 == pytest.approx(0.1, abs=0.04)


def test_documents_without_a_label_are_in_no_share(tmp_path: Path) -> None:
    student, labels, draws = corpus(tmp_path)
    chosen = draws.sample(range(1000), 120)
    errors = dict.fromkeys(chosen[:40])
    own = json.loads(
        shares(student, audit(tmp_path, chosen, [errors.get(i, y) for i, y in enumerate(labels)]), as_json=True)
    )
    assert (set(own["shares"]), own["audited"], own["without_label"]) == ({"a", "b"}, 80, 40)
    assert sum(entry["llm_only"]["share"] for entry in own["shares"].values()) == pytest.approx(1)


def test_labels_that_share_no_spelling_are_refused(tmp_path: Path) -> None:
    student, labels, draws = corpus(tmp_path)
    with pytest.raises(InputError, match=r"has the labels 'a', 'b', and .* has 'A', 'B'"):
        shares(student, audit(tmp_path, draws.sample(range(1000), 50), [y.upper() for y in labels]))


@pytest.mark.parametrize("n", ["0", "-1"])
def test_no_sample_of_nothing(tmp_path: Path, n: str) -> None:
    student, *_ = corpus(tmp_path)
    result = invoke("shares", student, "--draw", n, "--output", str(tmp_path / "o.csv"))
    assert (result.code, f"--draw must be at least 1, got {n}" in result.err) == (2, True)
    with pytest.raises(ConfigError, match="at least one document"):
        shares(student, draw=int(n), output=str(tmp_path / "o.csv"))

"""Tables of labels and gold values that a lenient reader would read as something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagcorpus.errors import InputError
from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.labels.agreement import agreement
from tagcorpus.pipelines.labels.label_table import in_two_spellings, otherwise_spelled, read_labels
from tagcorpus.pipelines.labels.shares import shares
from tagcorpus.pipelines.readers.text_check import _doubled


def file(path: Path, *lines: str) -> str:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def labels(path: str) -> dict[str, str]:
    return {key: own.label for key, own in read_labels(path, "id").labels.items()}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "label": "x", "label": "y"}', "the key 'label' has two values"),
        ('{"id": "a", "id": "b", "label": "y"}', "the key 'id' has two values"),
        ('{"id": "a", "label": ["x"]}', "the column 'label' holds"),
        ('{"id": "a", "label": {"x": 1}}', "the column 'label' holds"),
    ],
)
def test_a_row_without_one_label_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        labels(file(tmp_path / "l.jsonl", line, '{"id": "c", "label": "x"}'))


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    table = pa.table([["a"], ["x"], ["y"]], names=["id", "label", "label"])
    pq.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(InputError, match="the header has 'label' more than once"):
        labels(str(tmp_path / "l.parquet"))


def test_ids_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    rows = [
        '{"id": 1180591620717411303425, "label": "x"}',
        '{"id": 1180591620717411303426, "label": "y", "label": "y"}',
    ]
    assert labels(file(tmp_path / "a.jsonl", *rows)) == {"1180591620717411303425": "x", "1180591620717411303426": "y"}
    assert labels(file(tmp_path / "b.jsonl", '\ufeff{"id": 3.0, "label": "\\ud800"}')) == {"3": "\ufffd"}
    assert labels(file(tmp_path / "c.csv", "id,label", "a, web ", "b,  ", "c,-0.0")) == {
        "a": "web",
        "b": "(error)",
        "c": "0",
    }
    pq.write_table(pa.table({"id": [b"a"], "label": [b"x"]}), tmp_path / "d.parquet")
    assert labels(str(tmp_path / "d.parquet")) == {"a": "x"}


@pytest.mark.parametrize("word", ["True", "TRUE", "true", "t", "1"])
def test_an_answer_off_the_menu_has_no_label(tmp_path: Path, word: str) -> None:
    path = file(tmp_path / "l.csv", "id,label,is_off_menu", f"a,x,{word}", "b,x,FALSE", "c,x,0", "d,x,")
    assert labels(path) == {"a": "(off menu)", "b": "x", "c": "x", "d": "x"}


def two(tmp_path: Path, given: dict[str, str], n: int = 60) -> tuple[str, str]:
    """Labels and gold labels of n documents. given: by gold label, what the first quarter of the labels has in its place."""
    gold = ["web" if i % 3 else "a_b" for i in range(n)]
    own = [given.get(label, label) if i < n // 4 else label for i, label in enumerate(gold)]
    paths = [tmp_path / "given.csv", tmp_path / "gold.csv"]
    files = [
        file(p, "id,label", *(f"d{i},{y}" for i, y in enumerate(ys))) for p, ys in zip(paths, (own, gold), strict=True)
    ]
    return files[0], files[1]


def test_one_spelling_more_is_named(tmp_path: Path) -> None:
    assert "two spellings of a label count as two labels: 'Web' and 'web'" in agreement(*two(tmp_path, {"web": "Web"}))
    assert "a label count as two labels: 'a-b' and 'a_b'" in agreement(*two(tmp_path, {"a_b": "a-b"}))
    assert "spelling" not in agreement(*two(tmp_path, {}))
    assert "spelling" not in agreement(*two(tmp_path, {"web": "books"}))


def test_a_share_of_a_label_in_two_spellings_is_refused(tmp_path: Path) -> None:
    student = file(tmp_path / "s.csv", "id,label", *(f"d{i},{'a-b' if i % 2 else 'web'}" for i in range(80)))
    audit = file(tmp_path / "a.csv", "id,label", *(f"d{i},{'a_b' if i % 2 else 'web'}" for i in range(40)))
    with pytest.raises(InputError, match=r"has the label 'a-b', and .* has 'a_b': spell the labels in the same way"):
        shares(student, audit)


def test_labels_that_are_alike() -> None:
    assert otherwise_spelled(["C", "c", "Web"], ["C", "c", "web"]) == {"Web": "web"}
    assert in_two_spellings(["specific datasets", "Specific-Datasets", "web", "web"]) == [
        ["Specific-Datasets", "specific datasets"]
    ]


@pytest.mark.parametrize(("gold", "shown"), [("high", "high"), ("50%", "50%"), ("1,5", "1,5")])
def test_gold_labels_that_are_not_numbers_are_not_replaced_by_another_column(
    tmp_path: Path, gold: str, shown: str
) -> None:
    path = file(tmp_path / "g.csv", "id,gold,words", "a,3,10", f'b,"{gold}",20')
    with pytest.raises(InputError, match=f"the column 'gold' has values that are not numbers .'{shown}'"):
        Gold(path)
    assert Gold(file(tmp_path / "h.csv", "id,score", "a,3", "b,2")).name == "score"


def test_ids_that_look_like_times_stay_as_they_are(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "2020-01-01T00:00:00Z", "gold": 1}, {"gold": 2.5, "id": "0012"}]
    gold = Gold(file(tmp_path / "g.jsonl", *map(json.dumps, rows)))
    assert gold._keys.to_pylist() == ["2020-01-01T00:00:00Z", "0012"]
    with pytest.raises(InputError, match="the key 'gold' has two values"):
        Gold(file(tmp_path / "h.jsonl", '{"id": "a", "gold": 1, "gold": 5}'))


@pytest.mark.parametrize(("scale", "is_named"), [(1, True), (100_000, False)])
def test_keyword_ratios_that_are_shares_are_named(tmp_path: Path, scale: int, is_named: bool) -> None:
    rows = [f"a/{m},{0.001 * i * scale},{0.002 * i * scale}" for i, m in enumerate("bcd", 1)]
    text, _ = report(file(tmp_path / "f.csv", "id,question_words_ratio,conjunctions_ratio", *rows), None, as_json=True)
    assert ("share_not_ratio" in {f["check"] for f in json.loads(text)["findings"]}) == is_named


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('{"text": "a", "text": "b"}', "text"),
        ('\ufeff{"id": 1, "m": {"id": 3}, "text": "a", "id": 2}', "id"),
        ('{"text": "a", "text": "a"}', ""),
        ('{"text": "a", "m": {"text": "b"}, "n": 1, "n": 2}', ""),
        ('{"text": "a", "x": NaN', ""),
    ],
)
def test_a_text_that_is_there_twice(line: str, key: str) -> None:
    assert _doubled(line.encode(), DocumentFields()) == key

"""Summaries against numpy, over every kind of value a column can hold."""

from __future__ import annotations

import functools
import json
import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tagcorpus
from tagcorpus.pipelines.attributes import summary
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_key, part_name, write_part
from tagcorpus.pipelines.attributes.summary import (
    PERCENTILES,
    from_ordered_keys,
    order_statistics,
    ordered_keys,
    percentiles,
    summarise,
)
from tagcorpus.pipelines.execution import engine
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.runs.duplicates import passes_over_ids
from tagcorpus.pipelines.storage.folder import Folder

Floats = npt.NDArray[np.float64]
finite = st.floats(allow_nan=False, allow_infinity=False)
tied = st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0, 5e-324, -5e-324, 1e300])
anything = st.one_of(finite, tied, st.sampled_from([math.inf, -math.inf]))
some_floats = arrays(np.float64, st.integers(1, 60), elements=st.one_of(finite, tied))


def cut(values: Floats, pieces: int) -> list[Floats]:
    return np.array_split(values, pieces)


@given(arrays(np.float64, st.integers(0, 60), elements=anything))
def test_keys_keep_the_order(values: Floats) -> None:
    keys = ordered_keys(values)
    assert np.array_equal(from_ordered_keys(keys).view(np.uint64), values.view(np.uint64))
    assert np.array_equal(values[np.argsort(keys, kind="stable")], np.sort(values))


@given(arrays(np.float64, st.integers(1, 60), elements=anything), st.integers(1, 4))
def test_order_statistics(values: Floats, pieces: int) -> None:
    ranks = list(range(len(values)))
    assert order_statistics(lambda: cut(values, pieces), ranks) == np.sort(values).tolist()


@given(arrays(np.float64, st.integers(1, 60), elements=st.one_of(st.floats(-1e300, 1e300), tied)), st.integers(1, 4))
@example(np.array([-0.0]), 1)
@example(np.array([5e-324, -5e-324]), 2)
def test_percentiles_are_numpys(values: Floats, pieces: int) -> None:
    found = percentiles(lambda: cut(values, pieces), len(values), PERCENTILES)
    assert found == np.percentile(values, PERCENTILES).tolist()


def test_percentiles_between_extremes_stay_finite() -> None:
    values = np.array([-1.7e308, 1.7e308])
    found = percentiles(lambda: [values], 2, [25, 50])
    assert found == pytest.approx([-0.85e308, 0.0])


class Columns:
    """Stands for a tagger: a summary asks it for its columns only."""

    version = "1"

    def __init__(self, schema: pa.Schema) -> None:
        self.columns = schema

    def tag(self, batch: Any) -> pa.RecordBatch:
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        return {}


def summary_of(root: Path, parts: list[dict[str, pa.Array]], kept_rows: int = 1000) -> dict[str, Any]:
    """Publish these parts and summarise them."""
    schema = pa.schema([(name, a.type) for name, a in parts[0].items()])
    instance = Instance("x", "columns", Columns(schema))
    chunks, first = [], 0
    for part in parts:
        n = len(next(iter(part.values())))
        chunks.append(Chunk(first, first + n, first, n, "00"))
        first += n
    planned = PlannedFile(InputFile("a.jsonl", "a.jsonl", "jsonl", ""), tuple(chunks))
    output = Folder(str(root))
    for k, part in enumerate(parts):
        n = chunks[k].rows
        keys = [pa.array(np.arange(n)), pa.array(np.zeros(n, np.int32)), pa.array([""] * n, pa.string())]
        batch = pa.record_batch([*keys, *part.values()], schema=pa.schema([*KEYS, *schema]))
        key = part_key(planned, k, ReaderOptions(), instance.identity())
        write_part(output, part_name("x", "a.jsonl", k), schema, [batch], key, Counts())
    counts = Counts(lines=first, quarantined=Counter({"not_json": 2}))
    found = summarise(output, Plan((planned,)), [instance], counts, "tag", kept_rows=kept_rows)
    published = json.loads(output.read("summary/tag.json") or b"")
    assert published.pop("checksum")
    assert published == found
    columns: dict[str, Any] = found["instances"]["x"]["columns"]
    return columns


@given(values=some_floats, pieces=st.integers(1, 3), kept=st.sampled_from([0, 1000]))
@example(values=np.array([1e17]), pieces=1, kept=0)
@example(values=np.array([0.0, 5e-324]), pieces=1, kept=0)
@example(values=np.array([-1.7e308, 1.7e308, 3.0]), pieces=2, kept=0)
@example(values=np.array([1e200, 3e200, 2e200, 7.0]), pieces=2, kept=0)
def test_numbers_against_numpy(
    tmp_path_factory: pytest.TempPathFactory, values: Floats, pieces: int, kept: int
) -> None:
    parts = [{"v": pa.array(c)} for c in cut(values, pieces)]
    found = summary_of(tmp_path_factory.mktemp("s"), parts, kept)["v"]
    assert (found["n"], found["missing"]) == (len(values), 0)
    assert (found["min"], found["max"]) == (values.min(), values.max())
    size = max(float(np.abs(values).max()), 1e-300)  # below that there are too few digits to divide by
    scaled = values / size
    assert found["mean"] / size == pytest.approx(scaled.mean(), abs=1e-12)
    if len(values) == 1:
        assert found["std"] is None
    elif found["std"] is None:
        assert scaled.std(ddof=1) * 2 > np.finfo(float).max / size
    elif size > 1e-140:  # below, the squares are no float64, for numpy neither
        assert found["std"] / size == pytest.approx(scaled.std(ddof=1), abs=1e-9)
    assert sum(found["histogram"]["counts"]) == len(values)
    edges = found["histogram"]["edges"]
    assert len(edges) == len(found["histogram"]["counts"]) + 1
    assert edges[0] <= values.min()
    assert edges[-1] >= values.max()
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.percentile(values, PERCENTILES)
    for p, e in zip(PERCENTILES, expected, strict=True):
        assert found[f"p{p}"] == e or not np.isfinite(e)


@pytest.mark.parametrize("kept", [0, 1000])
def test_missing_and_infinite_values(tmp_path: Path, kept: int) -> None:
    inf, nan = math.inf, math.nan
    parts = [
        {"v": pa.array([1.0, None, inf, nan], from_pandas=False), "none": pa.array([None, nan, inf, -inf])},
        {"v": pa.array([-inf, 3.0, None, inf], from_pandas=False), "none": pa.array([None] * 4, pa.float64())},
    ]
    found = summary_of(tmp_path, parts, kept)
    v = found["v"]
    assert (v["n"], v["missing"], v["infinite"]) == (2, 3, 3)
    assert (v["mean"], v["std"], v["min"], v["max"], v["p50"]) == (2.0, pytest.approx(math.sqrt(2)), 1.0, 3.0, 2.0)
    assert found["none"] == {"n": 0, "missing": 6, "infinite": 2}


def test_histogram(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=500)
    found = summary_of(tmp_path, [{"v": pa.array(values[:200]), "c": pa.array([7] * 200)},
                                  {"v": pa.array(values[200:]), "c": pa.array([7] * 300)}])  # fmt: skip
    counts, edges = np.histogram(values, bins=50)
    assert found["v"]["histogram"] == {"edges": edges.tolist(), "counts": counts.tolist()}
    counts, edges = np.histogram([7] * 500, bins=50)
    assert found["c"]["histogram"] == {"edges": edges.tolist(), "counts": counts.tolist()}


def test_types(tmp_path: Path) -> None:
    parts = [
        {
            "flag": pa.array([True, None, False, True]),
            "text": pa.array(["b", "a", None, "b"]),
            "long": pa.array(["b", "é", None, "b"], pa.large_string()),
            "small": pa.array([1, 2, None, 250], pa.uint8()),
            "half": pa.array([0.5, None, 1.5, 2.5], pa.float32()),
            "list": pa.array([[1], [], None, [2]]),
        },
        {
            "flag": pa.array([None], pa.bool_()),
            "text": pa.array(["c"]),
            "long": pa.array([None], pa.large_string()),
            "small": pa.array([None], pa.uint8()),
            "half": pa.array([3.5], pa.float32()),
            "list": pa.array([[1]], pa.list_(pa.int64())),
        },
    ]
    found = summary_of(tmp_path, parts)
    assert found["flag"] == {"n": 3, "missing": 2, "true": 2, "share_true": 2 / 3}
    assert found["text"] == {"n": 4, "missing": 1, "distinct": 3, "top": {"b": 2, "a": 1, "c": 1}}
    assert list(found["text"]["top"]) == ["b", "a", "c"]
    assert found["long"]["top"] == {"b": 2, "é": 1}
    assert (found["small"]["n"], found["small"]["missing"], found["small"]["max"]) == (3, 2, 250)
    assert (found["half"]["mean"], found["half"]["missing"]) == (2.0, 1)
    assert found["list"] == {"n": 4, "missing": 1, "list_values": 3}


def test_no_rows_at_all(tmp_path: Path) -> None:
    empty = {"v": pa.array([], pa.float64()), "flag": pa.array([], pa.bool_()), "text": pa.array([], pa.string())}
    found = summary_of(tmp_path, [empty])
    assert found["v"] == {"n": 0, "missing": 0}
    assert found["flag"] == {"n": 0, "missing": 0, "true": 0, "share_true": None}
    assert found["text"] == {"n": 0, "missing": 0, "distinct": 0, "top": {}}


def test_csv(tmp_path: Path) -> None:
    summary_of(tmp_path, [{"v": pa.array([1.0, 2.0]), "text": pa.array(["a", "b"])}])
    header, v, text = (tmp_path / "summary/tag.csv").read_text().splitlines()
    assert header.startswith("instance,column,n,missing,infinite,mean,std,min,max,p1,")
    assert v.startswith("x,v,2,0,,1.5,0.7071067811865476,1.0,2.0,1.01,")
    assert text.startswith("x,text,2,0,,")
    assert text.endswith(",2")


def test_what_workers_do_after_the_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers summarise the columns of large runs and count their repeated ids. Summary and ledger are those of one process."""
    lines = b"".join(
        json.dumps({"id": f"{i % 80}", "text": f"it is not {'a word ' * (i % 7)}{i}"}).encode() + b"\n"
        for i in range(90)
    )
    (tmp_path / "a.jsonl").write_bytes(lines)
    titles: list[str] = []
    each = Engine.each

    def noted(self: Engine, functions: Any, title: str) -> list[Any]:
        titles.extend(title for _ in functions)
        return each(self, pickle.loads(pickle.dumps(functions)), title)

    monkeypatch.setattr(Engine, "each", noted)
    options: dict[str, Any] = {
        "input": str(tmp_path / "a.jsonl"),
        "taggers": ["length", "keywords", "language"],
        "workers": 1,
    }
    alone = tagcorpus.run("tag", output=str(tmp_path / "alone"), **options)
    assert titles == []
    monkeypatch.setattr(summary, "SPREAD_ROWS", 90)
    monkeypatch.setattr(engine, "passes_over_ids", functools.partial(passes_over_ids, ids_per_pass=40))
    spread = tagcorpus.run("tag", output=str(tmp_path / "spread"), **options)
    assert titles == ["looking for repeated ids"] * 3 + ["summary"] * 14
    assert [json.loads(Path(run.ledger).read_bytes())["duplicate_ids"] for run in (alone, spread)] == [10, 10]
    for name in ("tag.json", "tag.csv"):
        assert (tmp_path / "spread" / "summary" / name).read_bytes() == (
            tmp_path / "alone" / "summary" / name
        ).read_bytes()

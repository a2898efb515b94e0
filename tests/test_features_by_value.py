"""`run features --group-by COLUMN`: all groups at once give what each gives alone, whatever the limits; names are checked early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.kernels.packing import packing
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.summary import percentiles
from tagcorpus.pipelines.counting import phases
from tagcorpus.pipelines.counting.corpus import BASE_BYTES, Corpus, KeyRange
from tagcorpus.pipelines.counting.token_budget import Budget, places
from tagcorpus.pipelines.dispatch.conduct import begin
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.group_entropy.by_value import (
    Everything,
    MergeNumbers,
    N,
    NumberedSource,
    PairSource,
    _put_together,
    sizes,
)
from tagcorpus.pipelines.group_entropy.entropies_by_value import Together
from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork
from tagcorpus.pipelines.group_entropy.of_groups import _counted, _Held, value_of
from tagcorpus.pipelines.group_entropy.samples_by_value import draw
from tagcorpus.pipelines.group_statistics import column
from tagcorpus.pipelines.group_statistics.groups import Group, Values, Where, by_column, values_of
from tagcorpus.pipelines.group_statistics.kept import choose
from tagcorpus.pipelines.group_statistics.medians import median, medians_of
from tagcorpus.pipelines.group_statistics.moments import Moments
from tagcorpus.pipelines.group_statistics.rows import ChunkRows
from tagcorpus.pipelines.group_statistics.selection import GroupingColumn
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.token_ids.cache import TokenizerChoice
from tagcorpus.taggers import load

BUDGET = Budget(150, 3, 0)
WORDS = "the cat and a dog went over hill to see what number of mice it would be then"


def documents() -> Iterator[dict[str, Any]]:
    """Groups of very unequal sizes in every chunk: kept and removed documents, one without a value, one with an odd one."""
    words = WORDS.split()
    dice = np.random.default_rng(7)
    for i in range(150):
        value = ["large", "large", "large", "middle", "middle", "small", "removed", None][dice.integers(8)]
        text = "x" if value == "removed" else " ".join(dice.choice(words, int(dice.integers(14, 40))))
        yield {"id": i, "text": text, "meta": {"of": value}}
    yield {"id": 150, "text": " ".join(words), "meta": {"of": " odd\n"}}
    yield {"id": 151, "text": " ".join(words), "meta": {"of": ""}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("values")
    lines = [json.dumps(d) + "\n" for d in documents()]
    (folder / "in").mkdir()
    (folder / "in" / "a.jsonl").write_text("".join(lines[:100]))
    (folder / "in" / "b.jsonl").write_text("".join(lines[100:]))
    return folder / "in"


def features(source: Path, output: Path, **options: Any) -> Result:
    given = {"group_by": "meta.of", "taggers": ["length", "entropy"], "chunk_bytes": 3000, "workers": 1, **options}
    result: Result = tagcorpus.run("features", input=source, output=output, **given)
    return result


@pytest.fixture(scope="module")
def done(source: Path) -> Path:
    output = source.parent / "out"
    budget = {"token_budget": BUDGET.tokens, "replicates": BUDGET.replicates}
    features(source, output, extended=True, **budget)
    return output


class Opened:
    """An output that is there, as the steps of a run see it."""

    def __init__(self, source: Path, output: Path) -> None:
        given = {
            "input": [str(source)],
            "output": str(output),
            "group_by": "meta.of",
            "chunk_bytes": 3000,
            "workers": 1,
        }
        options = load_options("features", None, (), given)
        assert isinstance(options, FeaturesOptions)
        self.stack = ExitStack()
        run, inputs, self.engine = begin("features", options, Display(quiet=True), ("meta.of",), self.stack)
        self.output, self.reader_options = run.output, inputs.reader_options
        self.filter = Instance("repetition", "repetition", load("repetition"))
        self.grouping = Instance("group-meta.of", "document column", GroupingColumn("meta.of"))
        self.plan: Plan = plan_of(run, inputs, self.engine)
        self.groups = by_column(self.output, self.plan, self.grouping, "value")
        choice = TokenizerChoice("p50k_base")
        self.work = EntropyWork(self.engine, self.plan, self.groups, self.filter, self.grouping, choice, "1GB")
        values = values_of(self.groups)
        assert values is not None
        self.values = values
        self.documents = NumberedSource(self.work.source, self.filter, values)
        self._held: dict[int, _Held] = {}

    def held(self, number: int) -> _Held:
        """A group's documents by themselves."""
        if number not in self._held:
            self._held[number] = self._gathered(number)
        return self._held[number]

    def _gathered(self, number: int) -> _Held:
        ids: list[int] = []
        offsets = [0]
        place: list[list[int]] = [[] for _ in range(BUDGET.replicates)]
        for rank in range(len(self.plan.chunks)):
            opened = self.documents.open(rank)
            for batch, numbers in opened:
                for d in np.flatnonzero(numbers == number):
                    ids += batch.ids[batch.offsets[d] : batch.offsets[d + 1]].tolist()
                    offsets.append(len(ids))
                    one = slice(d, d + 1)
                    for r in range(BUDGET.replicates):
                        place[r] += places(opened.file_name, batch.row[one], batch.sub[one], BUDGET.seed, r).tolist()
        arrays = [np.array(p, np.uint64) for p in place]
        return _Held(np.array(ids, np.uint16), np.array(offsets, np.int64), arrays)


@pytest.fixture(scope="module")
def opened(source: Path, done: Path) -> Iterator[Opened]:
    found = Opened(source, done)
    yield found
    found.stack.close()


def alone(opened: Opened) -> dict[str, dict[str, Any]]:
    """What the groups' documents come to, counted group by group as a model's are."""
    work = opened.work
    corpus = Corpus(
        opened.output,
        opened.plan,
        opened.reader_options,
        work.source,
        packing(1, work.tokenizer.n_vocab),
        "",
        work.limits,
    )
    found = {}
    for number, group in enumerate(opened.groups):
        held = opened.held(number)
        adds, middle = _counted(held.ids, held.offsets, corpus)
        size = {"num_documents": len(held.offsets) - 1, "num_tokens": len(held.ids)}
        value = value_of(work.keys[group.id], work.tokenizer.fingerprint, size, [adds], middle)
        if len(held.ids) >= BUDGET.tokens:
            value["token_budget"] = held.at(BUDGET, corpus)
        found[group.id] = json.loads(json.dumps(value))
    return found


def test_groups_counted_together_are_what_each_is_alone(opened: Opened) -> None:
    stored = opened.work.stored()
    assert list(stored) == ['""', '" odd\\n"', "large", "middle", "removed", "small", "(none)"]
    assert stored == alone(opened)
    assert "token_budget" in stored["large"]
    assert "token_budget" not in stored["removed"]
    assert stored["removed"]["num_documents"] == 0


def test_small_runs_give_the_same_bits(opened: Opened) -> None:
    before, opened.work.memory = opened.work.memory, BASE_BYTES + 4_000  # some fifty positions at a time
    found = Together(opened.work, opened.values, {}).compute(opened.groups, BUDGET)
    opened.work.memory = before
    assert {name: json.loads(json.dumps(value)) for name, value in found.items()} == alone(opened)
    assert not opened.output.files("spill")


@pytest.mark.parametrize("is_sample", [False, True])
def test_groups_that_lie_in_several_intervals_give_the_same_bits(opened: Opened, is_sample: bool) -> None:
    n = len(opened.groups)
    packed = packing(N, opened.work.tokenizer.n_vocab)
    source = PairSource(opened.documents, Everything(n), np.uint16)
    corpus = Corpus(opened.output, opened.plan, opened.reader_options, source, packed, "cut", opened.work.limits)
    phases.count(opened.engine, corpus)
    # Some hold whole groups, some parts of two, some nothing.
    bounds = [None, *((g << packed.bits | t) << packed.bits for g in range(n) for t in (0, 300, 1500)), None]
    cuts = [KeyRange(a, b) for a, b in pairwise(bounds)]
    step = MergeNumbers(corpus, cuts, is_sample)
    found = _put_together(corpus, {i: list(step.run(rank=i)) for i in range(len(cuts))}, n, is_sample)
    phases.clear(corpus)
    each = alone(opened)
    for group, own in zip(opened.groups, found, strict=True):
        wanted = each[group.id] | each[group.id]["estimates"]
        told = json.loads(json.dumps(own))
        assert told == {key: wanted[key] for key in told}


@pytest.mark.parametrize("held_documents", [0, 5, 10_000])
def test_samples_end_where_the_budget_does(opened: Opened, held_documents: int) -> None:
    size = sizes(opened.engine, opened.documents)
    exact = int(np.median(size[1]))  # one group has exactly as many
    for budget in (BUDGET, replace(BUDGET, tokens=exact)):
        samples = draw(opened.engine, opened.documents, size, budget, held_documents=held_documents)
        for number in range(len(opened.groups)):
            held = opened.held(number)
            assert samples.sampled[number] == (len(held.ids) >= budget.tokens)
            for r, place in enumerate(held.places):
                taken = samples.is_all[r, number] | (place < samples.below[r, number])
                tokens = np.cumsum(np.diff(held.offsets)[np.argsort(place)])
                n = int((tokens <= budget.tokens).sum()) if samples.sampled[number] else 0
                if samples.sampled[number]:
                    assert sorted(place[taken]) == sorted(place)[:n]
                assert samples.documents[r, number] == n
                assert samples.tokens[r, number] == (tokens[n - 1] if n else 0)


def test_a_sample_of_each_group_is_chosen(opened: Opened) -> None:
    choice = choose(opened.output, opened.plan, opened.filter, opened.groups, 4, 0)
    taken: dict[int, list[int]] = {}
    for planned, k in opened.plan.chunks:
        found = choice.rows(planned, k)
        place = places(planned.file.name, found.row, found.sub, 0, 0)
        with opened.output.open(f"attributes/{opened.grouping.name}/{planned.file.name}/part-{k:05d}.parquet") as part:
            numbers = opened.values.numbers(pq.read_table(part)["value"])
        for number, p in zip(numbers[found.chosen], place[found.chosen], strict=True):
            taken.setdefault(int(number), []).append(int(p))
    for number in range(len(opened.groups)):
        wanted = sorted(opened.held(number).places[0].tolist())[:4]
        assert sorted(taken.get(number, [])) == wanted


@pytest.mark.parametrize("kept_rows", [0, 9, 40])
def test_medians_in_batches(opened: Opened, kept_rows: int) -> None:
    instances = {"repetition": opened.filter, "length": Instance("length", "length", load("length"))}
    chunks = [(ChunkRows(opened.output, p, k, instances), opened.groups) for p, k in opened.plan.chunks]
    wanted = medians_of(chunks, instances, kept_rows=10_000)
    assert set(wanted) == {'""', '" odd\\n"', "large", "middle", "small", "(none)"}
    assert medians_of(chunks, instances, kept_rows=kept_rows) == wanted


@given(st.lists(st.lists(st.one_of(st.integers(-5, 600_000), st.floats(-1e9, 1e9)), max_size=5), max_size=5))
def test_moments_of_each(groups: list[list[float]]) -> None:
    flat = np.array([v for g in groups for v in g], np.float64)
    found = Moments.of_each(flat, np.array([len(g) for g in groups], np.int64))
    assert found == [Moments.of(np.array(g, np.float64)) for g in groups]


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=9))
def test_median_is_the_percentile(values: list[float]) -> None:
    array = np.array(values)
    assert median(array) == percentiles(lambda: iter([array]), len(values), [50])[0]


def test_numbers_of_values() -> None:
    grouping = Instance("g", "document column", GroupingColumn("of"))
    where = [Where(grouping, "value", v) for v in ("b", None, "a")]
    groups = [Group(str(w.value), ("f",), w) for w in where]
    values = values_of(groups)
    assert values == Values(grouping, "value", ("b", None, "a"))
    found = pa.chunked_array([pa.array(["a", "b"]), pa.array([None, "c"], pa.string())])
    assert values.numbers(found).tolist() == [2, 0, 1, -1]
    assert replace(values, values=("a",)).numbers(found).tolist() == [0, -1, -1, -1]
    assert values_of([*groups, Group("all", ("f",))]) is None


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)]) + "\n")
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_column_that_is_not_there_is_told_before_anything_is_computed(tmp_path: Path, name: str) -> None:
    path = written(
        tmp_path / name, [{"source": "x", "text": f"text {i}"} for i in range(20 if "json" in name else 300)]
    )
    output = tmp_path / "out"
    with pytest.raises(
        ConfigError, match=r"no document has such a column: did you mean 'source'\? Columns there: source, text"
    ):
        features(path, output, group_by="sorce")
    with pytest.raises(ConfigError, match="no document has such a column"):
        features(path, output, group_by="qqq")
    with pytest.raises(ConfigError, match="no document has such a column"):
        features(path, output, group_by="qqq", dry_run=True)
    assert not (output / "attributes").exists()


def late(n: int) -> list[dict[str, Any]]:
    """Documents of which only the last ones have the column `where`."""
    rows: list[dict[str, Any]] = [{"text": f"some text number {i}", "meta": {"source": "x"}} for i in range(n)]
    return [*rows, {"text": "the last", "where": "here"}]


@pytest.mark.parametrize(
    ("given", "near"), [("source", "meta.source"), ("meta.sorce", "meta.source"), ("Text", "text")]
)
def test_a_name_like_one_of_the_first_rows_is_taken_for_misspelt(tmp_path: Path, given: str, near: str) -> None:
    path = written(tmp_path / "a.jsonl", late(150))
    with pytest.raises(ConfigError, match=f"of 1 file has such a column: did you mean '{near}'"):
        features(path, tmp_path / "out", group_by=given)
    assert not (tmp_path / "out/attributes").exists()


def test_an_unknown_column_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    """Also where the column could be in lines beyond the first hundred."""
    path = written(tmp_path / "a.jsonl", late(250))
    with pytest.raises(
        ConfigError, match=r"no document has such a column\. Columns there: meta, meta\.source, text, where"
    ):
        features(path, tmp_path / "out", group_by="qqq", taggers=["length"])
    assert not (tmp_path / "out/attributes").exists()
    result = features(path, tmp_path / "out", group_by="where", taggers=["length"])
    assert [g["id"] for g in result.summary["features"]["groups"]] == ["here", "(none)"]


def test_a_column_that_comes_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column, "LOOK_FURTHER_ROWS", 200)
    path = written(tmp_path / "a.jsonl", late(250))
    result = features(path, tmp_path / "out", group_by="where", taggers=["length"])
    assert [g["id"] for g in result.summary["features"]["groups"]] == ["here", "(none)"]
    told = capsys.readouterr().err
    assert "none of the first 200 rows of 1 file has such a column. Columns there: meta, meta.source, text." in told
    assert told.count("still no where: not one of the ") == 1
    with pytest.raises(ConfigError, match="no document has such a column"):
        features(path, tmp_path / "out", group_by="qqq", taggers=["length"])
    # Where a file has it among its first rows, there is nothing to say.
    (tmp_path / "in").mkdir()
    written(tmp_path / "in/a.jsonl", late(250))
    written(tmp_path / "in/b.jsonl", late(1))
    capsys.readouterr()
    features(tmp_path / "in", tmp_path / "out2", group_by="where", taggers=["length"])
    # Nothing of the column; the texts are too short for the filter.
    assert all(": no value at all: 0 of " in line for line in capsys.readouterr().err.splitlines())


def test_too_many_values_are_told_with_the_first_ranges(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"id": i, "text": "x"} for i in range(22_000)])
    with pytest.raises(ConfigError, match=r"^group_by id: more than 10,000 values"):
        features(path, tmp_path / "out", group_by="id", taggers=["length"], chunk_bytes=120_000)
    chunks = json.loads((tmp_path / "out/plan/a.jsonl.json").read_text())["ranges"]
    assert len(list((tmp_path / "out/attributes/length").rglob("*.parquet"))) < len(chunks)

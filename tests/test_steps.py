"""Read, Tag and Publish folded by hand: a bad row costs its own values, a bad chunk is never published."""

from __future__ import annotations

import gc
import json
import pickle
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plugin_taggers import Broken, Marks, Waiting, Wrong
from plugins import jsonl, quarantined

from tagcorpus.errors import BudgetError, LLMError, LostRowsError, TagcorpusError, TaggerError
from tagcorpus.pipelines.attributes.batches import ChunkReport, TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.steps import Publish, Read, Tag
from tagcorpus.pipelines.execution.workers import Step, fold
from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder


class Setting:
    """One input of one or more chunks, and the steps over it."""

    def __init__(self, root: Path, rows: list[object], *taggers: Any, chunk_bytes: int = 1 << 20) -> None:
        self.path, self.out = root / "a.jsonl", root / "out"
        self.path.write_bytes(jsonl(rows))
        file = InputFile("a.jsonl", str(self.path), "jsonl", "")
        self.plan = Plan((PlannedFile(file, tuple(lines.index(file, chunk_bytes))),))
        self.instances = [Instance(f"t{i}", type(t).__name__, t) for i, t in enumerate(taggers)]

    def steps(self) -> list[Any]:
        todo = [frozenset(i.name for i in self.instances)] * len(self.plan.chunks)
        reader_options = ReaderOptions()
        publish = Publish(Folder(str(self.out)), self.plan, reader_options, self.instances, todo)
        return [Read(self.plan, reader_options, todo), *(Tag(i) for i in self.instances), publish]

    def run(self, rank: int = 0) -> ChunkReport:
        (report,) = fold(self.steps(), rank)
        assert isinstance(report, ChunkReport)
        return report

    def column(self, instance: str, name: str) -> list[object]:
        found: list[object] = pq.read_table(self.out / f"attributes/{instance}/a.jsonl/part-00000.parquet")[
            name
        ].to_pylist()
        return found

    def nothing_is_published(self) -> bool:
        return not [p for p in self.out.rglob("*") if p.is_file()]


def test_rows_a_tagger_raises_on_cost_their_values_only(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", "!raise! a", "two", b"bad", "!exit! b", "three"], Marks(), Marks("z"))
    report = setting.run()
    assert setting.column("t0", "row") == [0, 1, 2, 4, 5]
    assert setting.column("t0", "n_bytes") == [3, None, 3, None, 5]
    assert setting.column("t1", "mark") == ["oz", None, "tz", None, "tz"]
    files = sorted(p.name for p in (setting.out / "quarantine/a.jsonl").iterdir())
    assert files == ["part-00000.jsonl", "part-00000.t0.jsonl", "part-00000.t1.jsonl"]
    reader, first, second, *_ = quarantined(setting.out)
    assert (reader["row"], reader["reason"]) == (3, "not_json")
    assert (first["row"], first["reason"], first["id"]) == (1, "tagger:t0:ValueError", "d1")
    assert first["head"] == "!raise! a"
    # Neither the address of an object, which changes, nor a lone surrogate, which is no JSON.
    assert first["message"] == "cannot take <object object at 0x...> ?"
    assert (second["row"], second["reason"]) == (4, "tagger:t0:SystemExit")
    assert report.counts["t0"].quarantined == {"not_json": 1, "tagger:t0:ValueError": 1, "tagger:t0:SystemExit": 1}
    assert report.counts["t0"].documents == 5


def test_every_row_of_a_batch_fails(tmp_path: Path) -> None:
    """No row is to blame for what happens on all of them alike. Rows that fail each in its own way are."""
    setting = Setting(tmp_path, ["!raise!"] * 70, Marks())
    with pytest.raises(
        TaggerError, match="tagger 't0' fails in the same way on all 70 documents of a batch: ValueError"
    ):
        setting.run()
    assert setting.nothing_is_published()
    both = tmp_path / "both"
    both.mkdir()
    setting = Setting(both, ["!raise!", "!exit!"], Marks())
    assert setting.run().counts["t0"].quarantined.total() == 2


def test_batches_before_and_after_the_failure_stay_whole(tmp_path: Path) -> None:
    rows: list[object] = [f"row {i}" for i in range(2500)]
    rows[1023] = rows[1024] = "!raise!"
    setting = Setting(tmp_path, rows, Marks())
    setting.run()
    sizes = setting.column("t0", "n_bytes")
    assert [i for i, n in enumerate(sizes) if n is None] == [1023, 1024]
    assert sizes[1022] == sizes[1025] == 8


@pytest.mark.parametrize(
    ("tagger", "told"),
    [
        (Broken(), "tagger 't0' fails on every document: OSError: model.bin is not there"),
        (Wrong("rows"), "tagger 't0' must return 2 rows of n int64, it returned 1 rows of n int64"),
        (Wrong("schema"), "tagger 't0' must return 2 rows of n int64, it returned 2 rows of n double"),
        (Wrong("nothing"), "tagger 't0' must return a RecordBatch, it returned NoneType"),
    ],
)
def test_tagger_that_is_wrong_as_a_whole(tmp_path: Path, tagger: Any, told: str) -> None:
    setting = Setting(tmp_path, ["one", "two"], tagger)
    with pytest.raises(TaggerError) as caught:
        setting.run()
    assert told in str(caught.value)
    assert setting.nothing_is_published()


@pytest.mark.parametrize(("text", "kind"), [("!llm!", LLMError), ("!budget!", BudgetError), ("!tagger!", TaggerError)])
@pytest.mark.parametrize("tagger", [Marks(), Waiting()])
def test_what_a_tagger_says_on_purpose_is_no_fault_of_a_row(
    tmp_path: Path, tagger: Any, text: str, kind: type[TagcorpusError]
) -> None:
    setting = Setting(tmp_path, ["one", text, "two"], tagger)
    with pytest.raises(kind):
        setting.run()
    assert setting.nothing_is_published()


def test_batches_in_flight_keep_their_order(tmp_path: Path) -> None:
    rows: list[object] = ["x" * (i % 50) for i in range(6000)]
    rows[3000] = "!raise!"
    setting = Setting(tmp_path, rows, Waiting(), Marks())
    setting.run()
    expected: list[object] = [i % 50 for i in range(6000)]
    expected[3000] = None
    assert setting.column("t0", "n_chars") == expected
    assert Waiting.most_at_once[0] > 1
    assert setting.column("t0", "row") == setting.column("t1", "row") == list(range(6000))


def lying(setting: Setting, **changes: object) -> None:
    (planned,) = setting.plan.files
    setting.plan = Plan((replace(planned, chunks=(replace(planned.chunks[0], **changes),)),))  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [2, 4])
def test_range_that_gives_other_rows_than_planned_is_not_published(tmp_path: Path, rows: int) -> None:
    setting = Setting(tmp_path, ["one", "two", b"bad"], Marks())
    lying(setting, rows=rows)
    with pytest.raises(LostRowsError, match=f"chunk 0 of a.jsonl: {rows} rows are planned, 3 were read"):
        setting.run()
    assert setting.nothing_is_published()


class Drops(Tag):
    """Loses the first batch."""

    def run(self, data: Any, rank: int = 0) -> Any:
        items = list(super().run(data, rank))
        yield from items[1:]


class BreaksOff(Tag):
    """Forgets the end of the range."""

    def run(self, data: Any, rank: int = 0) -> Any:
        return (item for item in super().run(data, rank) if isinstance(item, TaggedBatch))


def test_documents_that_get_lost_between_steps(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["x"] * 1500, Marks())
    read, tag, publish = setting.steps()
    with pytest.raises(LostRowsError, match="1500 documents were read, 476 would have been published"):
        fold([read, Drops(tag.instance), publish], 0)
    with pytest.raises(TaggerError, match="without saying that the chunk is complete"):
        fold([read, BreaksOff(tag.instance), publish], 0)
    assert setting.nothing_is_published()


@pytest.mark.parametrize("change", [b"other", b"", b"more and more of it\n" * 9])
def test_file_that_changes_after_planning(tmp_path: Path, change: bytes) -> None:
    setting = Setting(tmp_path, ["one", "two"], Marks())
    whole = setting.path.read_bytes()
    setting.path.write_bytes(change if not change.startswith(b"more") else change + whole)
    with pytest.raises(TagcorpusError, match=r"a.jsonl changed while it was being read. Run the same command again"):
        setting.run()
    assert setting.nothing_is_published()


def test_steps_pickle_small_even_after_use(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["x" * 1000] * 500, Marks())
    steps = setting.steps()
    fold(steps, 0)
    pickled = pickle.dumps(steps)
    assert len(pickled) < 5000
    (setting.out / "attributes/t0/a.jsonl/part-00000.parquet").unlink()
    fold(pickle.loads(pickled), 0)
    assert setting.column("t0", "n_bytes") == [1000] * 500


def test_no_batch_outlives_its_range(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [f"row {i} {'x' * 200}" for i in range(3000)], Marks(), chunk_bytes=50_000)
    seen: list[weakref.ref[Any]] = []

    class Looks(Tag):
        def run(self, data: Any, rank: int = 0) -> Any:
            for item in super().run(data, rank):
                if isinstance(item, TaggedBatch):
                    seen.append(weakref.ref(item.documents))
                yield item

    read, tag, publish = setting.steps()
    for rank in range(len(setting.plan.chunks)):
        fold([read, Looks(tag.instance), publish], rank)
    gc.collect()
    assert len(seen) > 10
    assert [r for r in seen if r() is not None] == []


def test_quarantine_of_an_earlier_content_goes(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", b"bad", "!raise!"], Marks())
    setting.run()
    assert len(quarantined(setting.out)) == 2
    again = Setting(tmp_path, ["one", "two"], Marks())
    again.run()
    assert quarantined(again.out) == []
    told = pq.read_metadata(again.out / "attributes/t0/a.jsonl/part-00000.parquet").metadata
    assert json.loads(told[b"tagcorpus.counts"])["quarantined"] == {}


def test_documents_of_other_instances_pass_through(tmp_path: Path) -> None:
    """Only what is still to compute is computed."""
    setting = Setting(tmp_path, ["one"], Marks(), Broken())
    todo = [frozenset({"t0"})]
    reader_options = ReaderOptions()
    publish = Publish(Folder(str(setting.out)), setting.plan, reader_options, setting.instances, todo)
    fold([Read(setting.plan, reader_options, todo), *(Tag(i) for i in setting.instances), publish], 0)
    assert sorted(p.name for p in (setting.out / "attributes").iterdir()) == ["t0"]


def test_empty_input_is_a_part_without_rows(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [], Marks())
    setting.run()
    table = pq.read_table(setting.out / "attributes/t0/a.jsonl/part-00000.parquet")
    assert table.num_rows == 0
    assert table.schema.names == ["row", "sub", "id", "n_bytes", "mark"]
    assert table.schema.field("mark").type == pa.string()


class Warming(Marks):
    """Says when it loads what it needs."""

    calls: list[str]

    def warm_up(self) -> None:
        self.calls.append("warm_up")
        raise RuntimeError("suppressed")

    def tag(self, batch: Any) -> pa.RecordBatch:
        self.calls.append("tag")
        return super().tag(batch)


@pytest.mark.parametrize("is_much_text", [False, True])
def test_fast_engines_start_before_the_first_batch_of_much_text(tmp_path: Path, is_much_text: bool) -> None:
    tagger = Warming()
    object.__setattr__(tagger, "calls", [])
    setting = Setting(tmp_path, ["one", "two"], tagger)
    todo = [frozenset({"t0"})]
    steps: list[Step] = [
        Read(setting.plan, ReaderOptions(), todo),
        Tag(setting.instances[0], is_much_text=is_much_text),
    ]
    publish = Publish(Folder(str(setting.out)), setting.plan, ReaderOptions(), setting.instances, todo)
    fold([*steps, publish], 0)
    assert tagger.calls == ["warm_up"] * is_much_text + ["tag", "tag"]  # a probe, and the batch
    assert setting.column("t0", "n_bytes") == [3, 3]


def test_how_much_text_is_much(tmp_path: Path) -> None:
    plan = Setting(tmp_path, ["x" * (1 << 20)] * 9, Marks()).plan
    ranks = range(len(plan.chunks))
    assert plan.is_much_text(ranks, 2)
    assert not plan.is_much_text(ranks, 3)
    assert not plan.is_much_text(ranks[:3], 1)
    assert not Plan(()).is_much_text([], 1)

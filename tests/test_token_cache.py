"""The token cache: the same ids with it as without, whatever state its files are in."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from plugins import Corpus, empty_corpus, jsonl, known_here, quarantined, tree

from tagcorpus.errors import ConfigError, LostRowsError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.steps import Publish, Read, Tag
from tagcorpus.pipelines.execution.workers import fold
from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.progress.progress_record import ProgressWriter, progress_writer, set_progress_writer
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_ids.cache import OpenedChunk, TokenBatch, TokenizerChoice, TokenSource, known_ids, seed
from tagcorpus.taggers import load as load_tagger
from tagcorpus.taggers import tagger_class
from tagcorpus.taggers._interface.base import Parameters, column
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._tokenizers.encodings import shipped_ranks
from tagcorpus.taggers._tokenizers.interface import TokenIds, token_ids
from tagcorpus.taggers._tokenizers.loading import load

__all__ = ["empty_corpus", "known_here"]
P50K = TokenizerChoice("p50k_base", engine="tiktoken")
ROWS: list[object] = [
    "a tale of two cities",
    "",
    b"bad",
    "naïve 日本語 👩",
    {"id": 7, "text": "\ud800 x"},
    b" ",
    "it was",
]


class Setting:
    """One input and its plan, an output, and what comes out of a TokenSource over them."""

    def __init__(self, root: Path, rows: Sequence[object], chunk_bytes: int = 1 << 20, output: str = "") -> None:
        self.path, self.output = root / "a.jsonl", Folder(output or str(root / "out"))
        self.folder = root / "out/tokens/p50k_base/a.jsonl"
        self.path.write_bytes(jsonl(rows))
        file = InputFile("a.jsonl", str(self.path), "jsonl", "")
        self.plan = Plan((PlannedFile(file, tuple(lines.index(file, chunk_bytes))),))

    def source(self, tokenizer: tuple[str, str, Any] = P50K, *, is_cached: bool = True) -> TokenSource:
        return TokenSource(self.output, self.plan, ReaderOptions(), tokenizer, is_cached)

    def read(self, rank: int = 0, **how: Any) -> tuple[list[TokenBatch], OpenedChunk]:
        opened = self.source(**how).open(rank)
        return list(opened), opened


def values(batches: Sequence[TokenBatch]) -> list[object]:
    return [(b.row.tolist(), b.sub.tolist(), b.id.to_pylist(), b.ids.tolist(), b.offsets.tolist()) for b in batches]


def kinds(batches: Sequence[TokenBatch]) -> list[object]:
    return [(b.ids.dtype, b.offsets.dtype, b.row.dtype, b.sub.dtype, b.id.type, b.ids.flags.writeable) for b in batches]


def expected(texts: Sequence[str], tokenizer: tuple[str, str, Any] = P50K) -> list[list[int]]:
    ids, offsets = load(*tokenizer).encode_batch(texts)
    return [ids[a:b].tolist() for a, b in pairwise(offsets)]


def per_document(batches: Sequence[TokenBatch]) -> list[list[int]]:
    return [b.ids[start:end].tolist() for b in batches for start, end in pairwise(b.offsets)]


@pytest.mark.parametrize("output", ["", "memory://token-cache"])
def test_ids_out_of_the_cache_are_those_of_the_tokenizer(tmp_path: Path, output: str) -> None:
    setting = Setting(tmp_path, ROWS, output=output and f"{output}/{tmp_path.name}")
    first, opened = setting.read()
    again, served = setting.read()
    plain, without = setting.read(is_cached=False)
    assert (opened.is_from_cache, served.is_from_cache, without.is_from_cache) == (False, True, False)
    texts = ["a tale of two cities", "", "naïve 日本語 👩", "\ufffd x", "it was"]
    assert per_document(again) == expected(texts)
    assert (again[0].row.tolist(), again[0].id.to_pylist()) == ([0, 1, 3, 4, 6], ["d0", "d1", "d3", "7", "d6"])
    assert values(first) == values(again) == values(plain)
    assert kinds(first) == kinds(again) == kinds(plain)
    assert first[0].ids.dtype == np.uint16
    assert opened.counts == served.counts == without.counts
    assert opened.counts.quarantined == {"not_json": 1}
    assert [p for p in setting.output.files() if not p.startswith("tokens/")] == ["quarantine/a.jsonl/part-00000.jsonl"]
    assert setting.output.files("tokens") == ["tokens/p50k_base/a.jsonl/part-00000.arrow"]


def test_batches_are_those_of_the_reader(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [f"row {i}" for i in range(2500)], chunk_bytes=20_000)
    assert len(setting.plan.chunks) > 2
    for rank in range(len(setting.plan.chunks)):
        first, _ = setting.read(rank)
        again, opened = setting.read(rank)
        assert opened.is_from_cache
        assert values(first) == values(again)
    one = Setting(tmp_path, [f"row {i}" for i in range(2500)])
    one.read()
    assert [len(b.row) for b in one.read()[0]] == [1024, 1024, 452]


@pytest.mark.parametrize("rows", [[], [b"", b" "], [b"bad"], [""]])
def test_ranges_with_next_to_nothing(tmp_path: Path, rows: list[object]) -> None:
    setting = Setting(tmp_path, rows)
    first, opened = setting.read()
    again, served = setting.read()
    assert served.is_from_cache
    assert values(first) == values(again)
    assert per_document(first) == [[]] * opened.counts.documents
    assert opened.counts == served.counts
    assert len(quarantined(tmp_path / "out")) == sum(served.counts.quarantined.values())


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> TokenizerChoice:
    """A tokenizer with more ids than 16 bits hold."""
    pytest.importorskip("tokenizers")
    vocabulary = {f"w{i}": i for i in range(70_000)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    path = tmp_path_factory.mktemp("tokenizer") / "wide.json"
    path.write_text(json.dumps({"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": model}))
    return TokenizerChoice(str(path))


def test_wide_vocabulary(tmp_path: Path, wide: TokenizerChoice) -> None:
    setting = Setting(tmp_path, ["w69999 w1", "w65536 w65535"])
    for _ in range(2):
        batches, opened = setting.read(tokenizer=wide)
        assert per_document(batches) == [[69_999, 1], [65_536, 65_535]]
        assert batches[0].ids.dtype == np.uint32
    assert opened.is_from_cache
    (name,) = setting.output.files("tokens")
    assert name.startswith("tokens/xxh3-128-")


def test_no_tokenizer_is_built_for_what_the_cache_has(tmp_path: Path, wide: TokenizerChoice) -> None:
    setting = Setting(tmp_path, ["w5 w6"])
    first, _ = setting.read(tokenizer=wide)
    copy = tmp_path / "copy.json"
    copy.write_bytes(Path(wide.name).read_bytes())
    source = pickle.loads(pickle.dumps(setting.source(TokenizerChoice(str(copy)))))
    copy.unlink()
    assert values(list(source.open(0))) == values(first)
    (tmp_path / "out" / setting.output.files("tokens")[0]).unlink()
    with pytest.raises(ConfigError, match="must be a file that can be read"):
        list(source.open(0))


def test_pickles_without_the_tokenizer(tmp_path: Path) -> None:
    source = Setting(tmp_path, ROWS).source()
    list(source.open(0))
    assert len(pickle.dumps(source)) < 5000


def test_two_tokenizers_side_by_side(tmp_path: Path) -> None:
    ranks = tmp_path / "x.tiktoken"
    ranks.write_bytes(shipped_ranks())
    setting = Setting(tmp_path, ["    four spaces"])
    choices: list[Any] = [
        P50K,
        TokenizerChoice("gpt2"),
        TokenizerChoice(str(ranks)),
        TokenizerChoice(str(ranks), "r50k_base"),
    ]
    for _ in range(2):
        found = [setting.read(tokenizer=c) for c in choices]
        assert [per_document(b) for b, _ in found] == [expected(["    four spaces"], c) for c in choices]
    assert all(opened.is_from_cache for _, opened in found)


# What makes a part not count


def part(setting: Setting) -> Path:
    return setting.folder / "part-00000.arrow"


def test_changed_input(tmp_path: Path) -> None:
    Setting(tmp_path, ["one two"]).read()
    changed = Setting(tmp_path, ["two one"])
    batches, opened = changed.read()
    assert not opened.is_from_cache
    assert per_document(batches) == expected(["two one"])
    assert changed.read()[1].is_from_cache


def test_other_reading(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", "two"])
    setting.read()
    source = TokenSource(setting.output, setting.plan, ReaderOptions(sample=0.5, seed=3), P50K, is_cached=True)
    opened = source.open(0)
    batches = list(opened)
    assert not opened.is_from_cache
    assert len(per_document(batches)) == opened.counts.documents < 2


def test_without_the_cache_it_is_neither_read_nor_written(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", b"bad"])
    setting.read(is_cached=False)
    assert setting.output.files() == ["quarantine/a.jsonl/part-00000.jsonl"]


@pytest.mark.parametrize("how", ["gone", "other", "too much"])
def test_quarantine_that_is_not_the_parts_own(tmp_path: Path, how: str) -> None:
    setting = Setting(tmp_path, ["one", "two" if how == "too much" else b"bad"])
    setting.read()
    path = tmp_path / "out/quarantine/a.jsonl/part-00000.jsonl"
    right = path.read_bytes() if path.exists() else None
    if how == "gone":
        path.unlink()
    else:
        setting.output.publish("quarantine/a.jsonl/part-00000.jsonl", b"{}\n")
    batches, opened = setting.read()
    assert not opened.is_from_cache
    assert per_document(batches) == expected(["one", "two"][: len(per_document(batches))])
    assert (path.read_bytes() if path.exists() else None) == right


def many(tmp_path: Path) -> tuple[Setting, list[object], Counts]:
    """Five batches."""
    setting = Setting(tmp_path, [f"{i} words and {'more ' * (i % 5)}" for i in range(4500)])
    batches, opened = setting.read()
    return setting, values(batches), opened.counts


def test_damage_in_the_middle_of_a_range(tmp_path: Path) -> None:
    """What was given out before the damage is neither given out twice nor missing from the part that is made anew."""
    setting, right, counts = many(tmp_path)
    whole = part(setting).read_bytes()
    at_halfway = len(whole) // 2
    part(setting).write_bytes(whole[:at_halfway] + bytes(64) + whole[at_halfway + 64 :])
    opened = setting.source().open(0)
    batches = [next(opened), next(opened)]
    assert part(setting).read_bytes() != whole
    batches += opened
    assert values(batches) == right
    assert (opened.counts, opened.is_from_cache) == (counts, False)
    assert part(setting).read_bytes() == whole
    part(setting).write_bytes(whole[:at_halfway] + bytes(64) + whole[at_halfway + 64 :])
    batches, opened = setting.read(is_cached=False)
    assert values(batches) == right


def test_truncation_and_altered_bytes(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["a tale of two cities", "", b"bad", "it was the best of times"])
    batches, opened = setting.read()
    right, counts, whole = values(batches), opened.counts, part(setting).read_bytes()
    chooses = random.Random(1)
    retokenised = 0
    for at in range(0, len(whole), 23):
        data = bytearray(whole)
        if at % 2:
            data[at] ^= 1 << chooses.randrange(8)
        else:
            data[at] = chooses.choice([0, 255, data[at] ^ 128])
        for bad in (bytes(data), whole[:at]) if at % 5 == 0 else (bytes(data),):
            part(setting).write_bytes(bad)
            batches, opened = setting.read()
            assert (values(batches), opened.counts) == (right, counts)
            retokenised += not opened.is_from_cache
            # Whatever was taken for damaged is whole again.
            assert opened.is_from_cache or part(setting).read_bytes() == whole
    assert retokenised > len(whole) / 46


def test_part_of_another_range_in_its_place(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", "two"], chunk_bytes=20)
    for rank in range(2):
        setting.read(rank)
    part(setting).write_bytes((setting.folder / "part-00001.arrow").read_bytes())
    batches, opened = setting.read()
    assert (per_document(batches), opened.is_from_cache) == (expected(["one"]), False)


def test_part_of_another_tokenizer_in_its_place(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["    four spaces"])
    setting.read(tokenizer=TokenizerChoice("gpt2"))
    setting.folder.mkdir(parents=True)
    (tmp_path / "out/tokens/gpt2/a.jsonl/part-00000.arrow").rename(part(setting))
    batches, opened = setting.read()
    assert (per_document(batches), opened.is_from_cache) == (expected(["    four spaces"]), False)


# What is published, and when


def test_range_that_is_not_read_to_its_end_publishes_nothing(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [b"bad", *["x"] * 3000])
    opened = setting.source().open(0)
    next(opened)
    del opened
    assert setting.output.files() == []


def test_rows_that_are_not_accounted_for(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", b"bad"])
    (planned,) = setting.plan.files
    setting.plan = Plan((replace(planned, chunks=(replace(planned.chunks[0], rows=3),)),))
    with pytest.raises(LostRowsError, match=r"chunk 0 of a\.jsonl: 3 rows are planned, 2 were read"):
        setting.read()
    assert setting.output.files() == []


def test_same_bytes_again(tmp_path: Path) -> None:
    setting, _, _ = many(tmp_path)
    whole = part(setting).read_bytes()
    part(setting).unlink()
    setting.read()
    assert part(setting).read_bytes() == whole


def test_quarantine_of_an_earlier_content_goes(tmp_path: Path) -> None:
    Setting(tmp_path, ["one", b"bad"]).read()
    setting = Setting(tmp_path, ["one", "two"])
    setting.read()
    assert quarantined(tmp_path / "out") == []


def test_leftovers_of_a_file_that_shrank_are_removed(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", "two", "three"], chunk_bytes=20)
    for rank in range(3):
        setting.read(rank)
    other = "tokens/p50k_base/a.jsonl/b.jsonl/part-00007.arrow"  # an input of that name may be there
    setting.output.publish(other, b"")
    shrunk = Setting(tmp_path, ["one"], chunk_bytes=20)
    shrunk.source().remove_leftovers()
    assert shrunk.output.files("tokens") == [other, "tokens/p50k_base/a.jsonl/part-00000.arrow"]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_progress_is_the_same_with_and_without(tmp_path: Path, is_damaged: bool) -> None:
    rows: list[object] = [b"bad", *(f"{i}" for i in range(2500)), b"", b"bad"]
    setting = Setting(tmp_path, rows)
    beats: list[list[object]] = []
    for _ in range(2):
        set_progress_writer(ProgressWriter())
        progress_writer().start(0)
        seen: list[object] = []
        opened = setting.source().open(0)
        for _batch in opened:
            beat = progress_writer().record
            seen.append((beat.rows, beat.n_bytes, beat.first_row, beat.last_row))
        beat = progress_writer().record
        beats.append([*seen, (beat.rows, beat.n_bytes)])
        if is_damaged:
            data = part(setting).read_bytes()
            part(setting).write_bytes(data[: len(data) // 2] + bytes(8) + data[len(data) // 2 + 8 :])
    assert beats[0] == beats[1]
    assert beats[0][-1] == (2503, sum(len(f"{i}") for i in range(2500)))
    assert opened.is_from_cache is not is_damaged


# Taggers take what the cache has


class Counting:
    """p50k_base that notes what it is given."""

    def __init__(self) -> None:
        self._exact = load(*P50K)
        self.name, self.fingerprint, self.n_vocab = "p50k_base", self._exact.fingerprint, self._exact.n_vocab
        self.texts: list[str] = []

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        self.texts += texts
        return self._exact.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        return self._exact.decode(ids)


TOKENIZER = Counting()


@dataclass(frozen=True)
class FirstId(Parameters):
    """The sum of a document's ids."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("total", pa.int64(), "sum of ids", "ids")])

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        ids, offsets = token_ids(batch, TOKENIZER)
        assert ids.dtype == np.uint32
        totals = [int(ids[a:b].sum()) for a, b in pairwise(offsets)]
        return pa.record_batch([pa.array(totals, pa.int64())], schema=self.columns)

    def fingerprint(self) -> dict[str, Any]:
        return {"tokenizer": "p50k_base"}


def tagged(setting: Setting, output: Path, *, is_wanted: bool = True) -> tuple[dict[str, bytes], list[str], int]:
    """Published parts, texts that were tokenised, and how many steps came between reading and tagging."""
    instances = [Instance("t", "firstid", FirstId())]
    todo = [frozenset({"t"} if is_wanted else set())] * len(setting.plan.chunks)
    reader_options = ReaderOptions()
    between = known_ids(setting.output, setting.plan, reader_options, instances, todo)
    steps = [Read(setting.plan, reader_options, todo), *pickle.loads(pickle.dumps(between))]
    steps += [*(Tag(i) for i in instances), Publish(Folder(str(output)), setting.plan, reader_options, instances, todo)]
    TOKENIZER.texts.clear()
    for rank in range(len(setting.plan.chunks)):
        fold(steps, rank)
    return tree(output, "attributes", "quarantine"), [t for t in TOKENIZER.texts if t != "A short probe."], len(between)


def test_taggers_take_ids_out_of_the_cache(tmp_path: Path) -> None:
    rows: list[object] = [*ROWS, *(f"and {i} more" for i in range(1500))]
    setting = Setting(tmp_path, rows, chunk_bytes=30_000)
    ranks = len(setting.plan.chunks)
    assert ranks > 1
    plain, texts, steps = tagged(setting, tmp_path / "plain")
    assert (len(texts), steps) == (1505, 0)
    setting.read(0)
    partly, texts, steps = tagged(setting, tmp_path / "partly")
    assert (0 < len(texts) < 1505, steps) == (True, 1)
    for rank in range(1, ranks):
        setting.read(rank)
    wholly, texts, _ = tagged(setting, tmp_path / "wholly")
    assert texts == []
    assert plain == partly == wholly
    assert len(plain) == ranks + 1


def test_damaged_part_changes_no_tag(tmp_path: Path) -> None:
    setting, _, _ = many(tmp_path)
    plain, texts, _ = tagged(setting, tmp_path / "plain")
    assert texts == []
    whole = part(setting).read_bytes()
    for i in range(1, 12):
        at = i * len(whole) // 12
        part(setting).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found, texts, _ = tagged(setting, tmp_path / str(i))
        assert found == plain
        assert len(texts) % 1024 in (0, 4500 % 1024)
        assert part(setting).read_bytes() != whole  # tagging does not mend it


def test_part_with_other_rows_is_not_used(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ["one", "two"], chunk_bytes=20)
    right = [tagged(setting, tmp_path / "plain")[0]]
    for rank in range(2):
        setting.read(rank)
    (setting.folder / "part-00000.arrow").replace(setting.folder / "part-00001.arrow")
    found, texts, _ = tagged(setting, tmp_path / "found")
    assert ([found], texts) == (right, ["one", "two"])


@pytest.mark.parametrize("other", [(0, 0), (1, 0), (0, 1)])
def test_ids_of_other_documents_are_not_taken(tmp_path: Path, other: tuple[int, int]) -> None:
    (tokens,), _ = Setting(tmp_path, ["one", "two"]).read()
    batch = DocumentBatch.from_texts(["one", "two"])
    moved = tokens._replace(row=tokens.row + other[0], sub=tokens.sub + np.int32(other[1]))
    assert seed(batch, TOKENIZER.fingerprint, moved) is (other == (0, 0))
    TOKENIZER.texts.clear()
    assert token_ids(batch, TOKENIZER).ids.tolist() == tokens.ids.tolist()
    assert TOKENIZER.texts == ([] if other == (0, 0) else ["one", "two"])


def test_cache_is_not_opened_for_ranges_that_are_done(tmp_path: Path) -> None:
    setting, _, _ = many(tmp_path)
    assert tagged(setting, tmp_path / "none", is_wanted=False)[0] == {}


def test_tokens_tagger_names_its_tokenizer_as_the_cache_does() -> None:
    assert tagger_class("tokens") is not None
    assert load_tagger("tokens").fingerprint()["tokenizer"] == load(*P50K).fingerprint


def test_tag_command_gives_the_same_bytes_with_the_cache(corpus: Corpus) -> None:
    corpus.taggers = "tokens,length"
    path = corpus.write("a.jsonl", [*ROWS, *(f"and {i} more" for i in range(80))])
    plain = corpus.root / "plain"
    assert corpus.invoke(output=plain).code == 0
    file = InputFile("a.jsonl", str(path), "jsonl", "")
    plan = Plan((PlannedFile(file, tuple(lines.index(file, corpus.chunk_bytes))),))
    stored = json.loads((plain / "plan/a.jsonl.json").read_text())
    assert len(plan.chunks) == len(stored["ranges"]) > 1
    source = TokenSource(Folder(str(corpus.out)), plan, ReaderOptions(), P50K, is_cached=True)
    for rank in range(len(plan.chunks)):
        list(source.open(rank))
    wrong = corpus.out / "tokens/p50k_base/a.jsonl/part-00001.arrow"
    wrong.write_bytes(wrong.read_bytes()[:-100])
    assert corpus.invoke().code == 0
    assert tree(corpus.out) == tree(plain)
    assert corpus.invoke("--overwrite").code == 0
    assert tree(corpus.out) == tree(plain)

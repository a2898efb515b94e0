"""Windows of long documents: where they are, what taggers make of them, and what a run says of the text that was not read."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
from fasttext_models import WORDS, train
from hypothesis import given
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.unread import Unread, hints, unread_of
from tagcorpus.pipelines.audit.window import window_of
from tagcorpus.pipelines.distributions.attribute_columns import Attributes
from tagcorpus.pipelines.report.contents.contents import gather
from tagcorpus.pipelines.runs.result_text import table
from tagcorpus.taggers import DocumentBatch, load
from tagcorpus.taggers._interface.windows import Windows, bytes_read, mean_by_label, spans, united
from tagcorpus.taggers._models import embedded_domain, model_inputs
from tagcorpus.taggers._models.model_inputs import InputCutter
from tagcorpus.taggers.domain import Domain
from tagcorpus.taggers.fasttext import FastText

ALL: Final = "begin,middle,end"
ALL_NAMES = ("begin", "middle", "end")
CHOICES: list[Windows] = ["begin", "begin,end", ALL]
WEB = "Order online today and get free shipping! Our shop has the best products and a sale every day. Contact us. "
STUDY = (
    "Our results show that the estimator is consistent; we study the analysis of data between groups (Kessler, 2009). "
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(train(tmp_path_factory.mktemp("models"), "model.bin", loss="softmax"))


def rows(tagger: Any, texts: list[str]) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = tagger.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return values


def naive_window(n: int, size: int, position: str) -> list[int]:
    """The places of one window, as the docs define it."""
    if n <= size:
        return list(range(n))
    before = {"begin": 0, "middle": (n - size) // 2, "end": n - size}[position]
    return [i for i in range(n) if before <= i < before + size]


@given(st.integers(0, 60), st.integers(1, 25), st.sampled_from(CHOICES))
def test_spans_of_a_naive_twin(n: int, size: int, windows: Windows) -> None:
    names = windows.split(",")
    places = [list(range(a, b)) for a, b in spans(n, size, names)]
    assert places == ([list(range(n))] if n <= size else [naive_window(n, size, w) for w in names])
    read = {i for place in places for i in place}
    apart = united(spans(n, size, names))
    assert [i for a, b in apart for i in range(a, b)] == sorted(read)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(apart))
    if windows == ALL and n <= 3 * size:
        assert read == set(range(n))


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 12), st.sampled_from(CHOICES))
def test_bytes_read_of_a_naive_twin(texts: list[str], size: int, windows: Windows) -> None:
    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    read = bytes_read(DocumentBatch.from_texts(texts), size, windows.split(","))
    for text, n in zip(texts, read.tolist(), strict=True):
        places = {i for w in windows.split(",") for i in naive_window(len(text), size, w)}
        assert n == sum(len(text[i].encode()) for i in places)


def test_the_mean_keeps_the_first_order_of_equal_labels() -> None:
    assert mean_by_label([{"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 0.0, "b": 0.5, "c": 0.5}]) == [
        ("b", 0.375),
        ("c", 0.375),
        ("a", 0.25),
    ]


# fasttext


@pytest.mark.parametrize("windows", CHOICES[1:])
def test_probabilities_are_the_mean_of_the_windows(model: str, windows: Windows) -> None:
    chance = random.Random(3)
    texts = [" ".join(chance.choices([*WORDS[a].split(), *WORDS[b].split()], k=n)) for a in WORDS for b in WORDS for n in (3, 9, 40)]  # fmt: skip
    one = FastText(model, k=3, max_chars=40)
    for text, row in zip(texts, rows(FastText(model, k=3, max_chars=40, windows=windows), texts), strict=True):
        if len(text) <= 40:
            assert row == rows(one, [text])[0]
            continue
        pieces = ["".join(text[i] for i in naive_window(len(text), 40, w)) for w in windows.split(",")]
        by_label: dict[str, list[float]] = {}
        for piece in rows(one, pieces):
            for label, p in zip(piece["labels"], piece["probabilities"], strict=True):
                by_label.setdefault(label, []).append(p)
        means = {label: float(np.mean(ps)) for label, ps in by_label.items()}
        assert dict(zip(row["labels"], row["probabilities"], strict=True)) == pytest.approx(means)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
        assert row["label"] == max(means, key=lambda name: means[name])


@pytest.fixture(scope="module")
def pair(model: str) -> tuple[FastText, FastText]:
    """A tagger of all windows, and one of the beginning."""
    return FastText(model, k=3, max_chars=30, windows=ALL), FastText(model, k=3, max_chars=30)


@given(st.text(max_size=30))
def test_a_short_document_is_read_as_by_the_beginning(pair: tuple[FastText, FastText], text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert rows(pair[0], [text]) == rows(pair[1], [text])


def test_k_and_threshold_are_of_the_mean(model: str) -> None:
    text = f"{WORDS['en'][:40]} {WORDS['de'][:40]} {WORDS['fr'][-40:]}"
    every = rows(FastText(model, k=3, max_chars=40, windows=ALL), [text])[0]
    least = every["probabilities"][1]
    row = rows(FastText(model, k=3, max_chars=40, windows=ALL, threshold=least), [text])[0]
    assert row["labels"] == every["labels"][:2]
    assert rows(FastText(model, k=1, max_chars=40, windows=ALL), [text])[0]["labels"] == every["labels"][:1]
    assert rows(FastText(model, max_chars=40, windows=ALL, threshold=1.0), [text])[0]["label"] is None


def test_windows_need_a_length(model: str) -> None:
    with pytest.raises(ConfigError, match=r"fasttext\.windows=begin,end needs fasttext\.max_chars"):
        FastText(model, windows="begin,end")


# The embedded domain model


def test_domains_of_the_mean() -> None:
    size = embedded_domain.MAX_CHARS
    text = (WEB * 60)[:size] + (STUDY * 200)[: 2 * size]
    short = WEB * 3
    begin, mean, alone = embedded_domain.classify([text, text[:size], short])
    assert begin == mean
    assert begin[0] == "web"
    assert embedded_domain.classify([text, short], ALL.split(","))[1] == alone
    (label, probability), _ = embedded_domain.classify([text, short], ALL.split(","))
    assert label == "academic"
    windows = [text[a:b] for a, b in spans(len(text), size, ALL.split(","))]
    predicted = embedded_domain._model().predict([embedded_domain.features(w) for w in windows], k=7)
    of_label = [dict(zip(*one, strict=True))["__label__academic"] for one in zip(*predicted, strict=True)]
    assert probability == pytest.approx(np.mean(of_label))


def test_an_endpoint_has_no_windows() -> None:
    with pytest.raises(ConfigError, match=r"domain\.windows=begin,end is for the backend fasttext"):
        load("domain", {"backend": "openai", "base_url": "http://127.0.0.1:1/v1", "windows": "begin,end"})


# Fingerprints and columns


def test_the_default_is_not_named(model: str) -> None:
    for tagger, columns in ((Domain(), ("prediction",)), (FastText(model, max_chars=9), ("label", "probabilities"))):
        assert "windows" not in tagger.fingerprint()
        assert all(b"windows" not in f.metadata for f in tagger.columns)
        longer = load(
            {Domain: "domain", FastText: "fasttext"}[type(tagger)],
            {"windows": ALL, **({} if isinstance(tagger, Domain) else {"model": model, "max_chars": 9})},
        )
        assert longer.fingerprint() == {**tagger.fingerprint(), "windows": ALL}
        for name in columns:
            metadata = longer.columns.field(name).metadata
            assert metadata[b"windows"] == b"begin, middle, end"
            assert metadata[b"aggregation"] == b"mean of probabilities"


def test_other_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="windows"):
        load("domain", {"windows": "middle"})


# What a run says of it


def write(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)))


def test_the_summary_counts_what_was_not_read(tmp_path: Path) -> None:
    texts = [WEB, "é" * 5000 + " " + STUDY, STUDY * 100, "x" * 4000]
    write(tmp_path / "a.jsonl", texts)
    options: dict[str, Any] = {"input": tmp_path / "a.jsonl", "output": tmp_path / "out", "taggers": ["domain"]}
    result = tagcorpus.run("tag", **options, workers=1, chunk_bytes=8000)
    read = [texts[0], texts[1][:4000], texts[2][:4000], texts[3]]
    unread = sum(len(t.encode()) for t in texts) - sum(len(t.encode()) for t in read)
    part = result.summary["instances"]["domain"]["read_in_part"]
    assert part == {
        "windows": "begin",
        "documents_in_part": 2,
        "share_of_documents": 0.5,
        "bytes_of_documents_in_part": len(texts[1].encode()) + len(texts[2].encode()),
        "bytes_unread": unread,
        "share_of_bytes_unread": unread / sum(len(t.encode()) for t in texts),
    }
    share = f"{100 * part['share_of_bytes_unread']:.1f} %"
    assert f"domain read 2 documents in part (50.0 %), and left {share} of all bytes unread" in table(result)
    (hint,) = [m for m in result.messages if "unread" in m]
    assert "--set domain.windows=begin,middle,end" in hint
    assert gather(str(tmp_path / "out")).notes == [
        f"domain read 2 documents in part (50.0 %), and left {share} of all bytes unread"
    ]
    # One chunk again, the others resumed: the receipts add up to the same.
    parts = sorted((tmp_path / "out/attributes/domain/a.jsonl").iterdir())
    assert len(parts) > 2
    parts[1].unlink()
    again = tagcorpus.run("tag", **options, workers=1, chunk_bytes=8000)
    assert again.summary == result.summary
    # Shorter documents in the same places: no receipt is left.
    write(tmp_path / "a.jsonl", [WEB] * 3)
    again = tagcorpus.run("tag", **options, workers=1, chunk_bytes=8000)
    assert "read_in_part" not in again.summary["instances"]["domain"]
    assert [p for p in (tmp_path / "out/unread").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("windows", CHOICES)
def test_the_audit_counts_the_same(tmp_path: Path, model: str, windows: Windows) -> None:
    """From lengths alone, the audit finds the documents and the text that the run saw unread."""
    write(tmp_path / "a.jsonl", ["the weather " * n for n in (1, 2, 3, 5, 7, 9, 20, 40)])
    result = tagcorpus.run(
        "tag",
        input=tmp_path / "a.jsonl",
        output=tmp_path / "out",
        taggers=["length", "fasttext"],
        fasttext={"model": model, "max_chars": 36, "windows": windows},
        workers=1,
    )
    attributes = Attributes(str(tmp_path / "out"))
    window, reason = window_of(attributes, attributes.column("fasttext.probability", "--column"))
    assert window is not None, reason
    for rows in attributes.stream([window.by]):
        window.add(rows)
    counted = window.to_json()
    part = result.summary["instances"]["fasttext"]["read_in_part"]
    assert counted["unit"] == "characters"
    assert counted["in_part"] == part["documents_in_part"]
    assert counted["share_unread"] == part["share_of_bytes_unread"]


def test_a_changed_receipt_counts_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [STUDY * 100])
    options: dict[str, Any] = {"input": tmp_path / "a.jsonl", "output": tmp_path / "out", "taggers": ["domain"]}
    tagcorpus.run("tag", **options, workers=1)
    receipt = tmp_path / "out/unread/domain/a.jsonl/part-00000.json"
    receipt.write_bytes(receipt.read_bytes().replace(b'"documents": 1', b'"documents": 7'))
    assert "read_in_part" not in tagcorpus.run("tag", **options, workers=1).summary["instances"]["domain"]


def test_a_hint_where_much_is_unread() -> None:
    def entry(share: float, windows: str | None = "begin") -> dict[str, Any]:
        return {"read_in_part": {"share_of_bytes_unread": share, **({"windows": windows} if windows else {})}}

    assert hints([("a", entry(0.1)), ("b", {}), ("c", entry(0.9, ALL)), ("d", entry(0.9, None))]) == []
    assert hints([("a", entry(0.2)), ("b", entry(0.55))]) == [
        "a left 20 % of the bytes unread and b left 55 % of the bytes unread: --set a.windows=begin,middle,end "
        "--set b.windows=begin,middle,end reads three places of long documents"
    ]


def test_taggers_that_read_everything_say_so(model: str) -> None:
    batch = DocumentBatch.from_texts(["x" * 9000])
    assert unread_of(load("length", {}), batch) is None
    assert unread_of(FastText(model), batch) == Unread()
    assert unread_of(FastText(model, max_chars=9), batch) == Unread(1, 9000, 8991)


# Inputs of a model


class Encoding(dict[str, list[int]]):
    """What a tokenizer of transformers returns: `encodings` only if it is a fast one."""

    def __init__(self, ids: list[int], offsets: list[tuple[int, int]], is_cut: bool, is_fast: bool) -> None:
        super().__init__(input_ids=ids, attention_mask=[1] * len(ids))
        self.encodings = [SimpleNamespace(offsets=offsets, overflowing=[1] * is_cut)] if is_fast else None


class Words:
    """A tokenizer of words: [0] before a text and [1, 1] behind it, and a word's number is its length."""

    truncation_side = "right"

    def __init__(self, is_fast: bool) -> None:
        self.is_fast = is_fast

    def __call__(
        self,
        text: str,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int = 0,
        verbose: bool = True,
    ) -> Encoding:
        assert not (truncation and verbose)
        words = list(re.finditer(r"\S+", text))
        room = max_length - 3 if truncation else len(words)
        ids, offsets = [len(w[0]) for w in words[:room]], [w.span() for w in words[:room]]
        if add_special_tokens:
            ids, offsets = [0, *ids, 1, 1], [(0, 0), *offsets, (0, 0), (0, 0)]
        return Encoding(ids, offsets, len(words) > room, self.is_fast)


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "dddd", " ", "\n"]), max_size=60).map(" ".join),
    st.integers(4, 9),
    st.sampled_from(CHOICES),
    st.booleans(),
)
def test_inputs_of_a_naive_twin(text: str, max_tokens: int, windows: Windows, is_fast: bool) -> None:
    tokenizer = Words(is_fast)
    names = tuple(windows.split(","))
    made = InputCutter(tokenizer, max_tokens, names, "a model").of(text)
    words = text.split()
    size = max_tokens - 3
    places = [naive_window(len(words), size, w) for w in names] if len(words) > size else [list(range(len(words)))]
    assert [row["input_ids"] for row in made.inputs] == [[0, *(len(words[i]) for i in p), 1, 1] for p in places]
    assert all(row["attention_mask"] == [1] * len(row["input_ids"]) for row in made.inputs)
    assert (made.spans is None) == (len(words) <= size)
    if made.spans is not None and is_fast:
        assert [text[a:b].split() for a, b in made.spans] == [[words[i] for i in p] for p in places]
    if made.spans is not None:
        assert all(0 <= a < b <= len(text) for a, b in made.spans)


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_long_text_is_tokenised_in_part(monkeypatch: pytest.MonkeyPatch, is_fast: bool) -> None:
    text = "one two three " * 500
    whole = InputCutter(Words(is_fast), 8, ALL_NAMES, "a model").of(text)
    monkeypatch.setattr(model_inputs, "_BLOCK_CHARS", 64)
    assert [r["input_ids"] for r in InputCutter(Words(is_fast), 8, ALL_NAMES, "a model").of(text).inputs] == [
        r["input_ids"] for r in whole.inputs
    ]
    # Spaces behind the last token that fits are no further text.
    assert InputCutter(Words(is_fast), 8, ALL_NAMES, "a model").of("a b c d e" + " " * 900).spans is None


def test_receipts_are_no_input(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [STUDY * 100])
    for _ in range(2):
        result = tagcorpus.run("tag", input=tmp_path, output=tmp_path, taggers=["domain"], workers=1)
        assert result.counts.lines == 1
    assert (tmp_path / "unread/domain/a.jsonl/part-00000.json").exists()

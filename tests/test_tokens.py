from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from profiles import more, one_by_default, tries

from naive import distinct_per_document
from tagcorpus.errors import ConfigError
from tagcorpus.kernels.documents.tokens import count_distinct
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._tokenizers import encodings, interface, loading

SAMPLES = [
    "",
    " ",
    "Hello, world",
    "<|endoftext|>",
    "a<|endoftext|>b <|fim_prefix|>",
    "naïve 日本語 👩\u200d👧 \x00\x1f\x85",
    "def f(x):\n        return x   \n\n\n",
    "'ll 're 12345 ....!!!\t\t\tx",
]


def rows(texts: list[str], **parameters: str) -> list[tuple[int, int, float]]:
    columns = load("tokens", parameters).tag(DocumentBatch.from_texts(texts)).to_pydict()
    return list(zip(columns["num_tokens"], columns["unique_tokens"], columns["ttr"], strict=True))


# Golden


@pytest.mark.parametrize("tokenizer", ["p50k_base", "gpt2"])
def test_golden(golden_docs: list[dict[str, Any]], tokenizer: str) -> None:
    docs = [doc for doc in golden_docs if not any("\ud800" <= c <= "\udfff" for c in doc["text"])]
    assert len(docs) > 190
    wanted = [tuple(doc[tokenizer][key] for key in ("num_tokens", "unique_tokens", "ttr")) for doc in docs]
    assert rows([doc["text"] for doc in docs], tokenizer=tokenizer) == wanted


def test_golden_ids(golden_docs: list[dict[str, Any]]) -> None:
    docs = [doc for doc in golden_docs if not any("\ud800" <= c <= "\udfff" for c in doc["text"])]
    ids, offsets = loading.load("p50k_base").encode_batch([doc["text"] for doc in docs])
    for d, doc in enumerate(docs):
        first = doc["p50k_base"]["first_ids"]
        assert ids[offsets[d] : offsets[d + 1]][: len(first)].tolist() == first, doc["id"]


# Shipped encodings


def test_the_shipped_ranks_are_tiktokens_own() -> None:
    """The hash that tiktoken demands of a download; r50k_base's file is p50k_base's without its end."""
    asked: dict[str, str] = {}

    def note(url: str, expected_hash: str) -> dict[bytes, int]:
        asked[url.rsplit("/", 1)[1]] = expected_hash
        return {}

    definitions = encodings.definitions(b"")
    definitions.load_tiktoken_bpe = note
    for name in ("p50k_base", "r50k_base"):
        definitions.ENCODING_CONSTRUCTORS[name]()
    ranks = encodings.shipped_ranks()
    assert hashlib.sha256(ranks).hexdigest() == asked["p50k_base.tiktoken"]
    older = ranks[: ranks.index(b"ICA= 50257")]
    assert hashlib.sha256(older).hexdigest() == asked["r50k_base.tiktoken"]


@pytest.mark.parametrize("name", encodings.SHIPPED)
def test_shipped_encodings_need_no_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(tmp_path, monkeypatch)
    tokenizer = loading.load(name)
    ids, offsets = tokenizer.encode_batch(SAMPLES)
    assert ids.dtype == np.uint32
    assert offsets.dtype == np.int64
    assert ids.max() < tokenizer.n_vocab
    assert tokenizer.n_vocab == {"p50k_base": 50281, "p50k_edit": 50284}.get(name, 50257)
    assert offsets[-1] == len(ids)


def test_special_tokens_are_ordinary_text() -> None:
    ids, offsets = loading.load("p50k_base").encode_batch(["<|endoftext|>"])
    assert ids.tolist() == [27, 91, 437, 1659, 5239, 91, 29]
    assert offsets.tolist() == [0, 7]


def test_whitespace_and_empty_documents() -> None:
    assert rows([]) == []
    assert rows(["", "  ", "a a a"]) == [(0, 0, 0.0), (1, 1, 1.0), (3, 2, 2 / 3)]


def test_ids_are_computed_once_per_batch_and_fingerprint() -> None:
    batch = DocumentBatch.from_texts(SAMPLES)
    first = interface.token_ids(batch, loading.load("p50k_base"))
    assert interface.token_ids(batch, loading.load("p50k_base")) is first
    assert interface.token_ids(batch, loading.load("r50k_base")) is not first


# Long runs


@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "7", "中", "\x00", "ab "])
def test_a_megabyte_of_one_thing(unit: str) -> None:
    text = unit * (tries(1_000_000) // len(unit))
    ids, _ = loading.load("p50k_base").encode_batch([text])
    encoding = loading.load("p50k_base", engine="tiktoken")._encoding  # type: ignore[attr-defined]
    assert encoding.decode(ids.tolist()) == text


@pytest.mark.e2e
@pytest.mark.parametrize("name", one_by_default("p50k_base", "gpt2"))
def test_a_megabyte_of_blanks_between_words_is_exact(name: str) -> None:
    """tiktoken itself refuses such a text; the pieces of a shorter blank say what its ids are."""
    tokenizer = loading.load(name)
    blanks = 1_200_001
    found = tokenizer.encode_batch([f"one{' ' * blanks}two"]).ids.tolist()
    alone = tokenizer.encode_batch(["one", " " * (blanks - 1), " two"]).ids.tolist()
    assert found == alone
    short = tokenizer.encode_batch([f"one{' ' * 40}two", "one", " " * 39, " two"])
    assert short.ids[: short.offsets[1]].tolist() == short.ids[short.offsets[1] :].tolist()


@more(3)
@given(st.text("ab1.' \n\t\r\u3000\x85\x1c\x00é's/", max_size=40))
def test_cutting_blanks_changes_no_id(text: str) -> None:
    tokenizer = loading.load("p50k_base")
    parts = list(encodings.cut_long_blanks(text, 2))
    assert "".join(parts) == text
    assert tokenizer.encode_batch(parts).ids.tolist() == tokenizer.encode_batch([text]).ids.tolist()


# Ranks files


@pytest.fixture
def ranks_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.tiktoken"
    path.write_bytes(encodings.shipped_ranks())
    return path


def test_a_ranks_file_gives_the_ids_of_its_encoding(ranks_file: Path) -> None:
    assert rows(SAMPLES, tokenizer=str(ranks_file)) == rows(SAMPLES)


def test_the_pattern_decides_how_a_ranks_file_splits(ranks_file: Path) -> None:
    text = "year 1984"
    gpt2 = loading.load(str(ranks_file)).encode_batch([text]).ids
    cl100k = loading.load(str(ranks_file), "cl100k_base").encode_batch([text]).ids
    assert len(cl100k) > len(gpt2), "cl100k_base cuts digits into groups of three"


def test_a_file_keeps_its_identity_wherever_it_lies(ranks_file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "sub" / "copy.tiktoken"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(ranks_file.read_bytes())
    one, two = (load("tokens", {"tokenizer": str(path)}).fingerprint() for path in (ranks_file, elsewhere))
    assert one == two
    assert str(tmp_path) not in json.dumps(one)
    with_pattern = load("tokens", {"tokenizer": str(ranks_file), "pattern": "o200k_base"}).fingerprint()
    assert with_pattern != one
    elsewhere.write_bytes(ranks_file.read_bytes()[:-20])
    assert load("tokens", {"tokenizer": str(elsewhere)}).fingerprint() != one
    assert loading.load(str(ranks_file)).fingerprint == one["tokenizer"]


@pytest.mark.parametrize(
    "content",
    [b"", b"not ranks", b"YQ== 1\n", base64.b64encode(b"ab") + b" x\n"],
    ids=["empty", "text", "short", "rank"],
)
def test_an_unusable_ranks_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tiktoken"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"must be a tiktoken ranks file, got '.*bad\.tiktoken'"):
        loading.load(str(path))


# Hugging Face


@pytest.fixture
def tokenizer_json(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(["the cat sat on the mat and the dog sat on the log"] * 3, trainer)
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    model.enable_truncation(4)
    model.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    model.save(str(path))
    return path


def test_a_tokenizer_json_without_special_tokens_truncation_and_padding(tokenizer_json: Path) -> None:
    tokenizer = loading.load(str(tokenizer_json))
    ids, offsets = tokenizer.encode_batch(["the cat sat on the mat and the dog sat on the log", "", "<s>the</s>"])
    assert (ids > 1).all(), "0 and 1 are <s> and </s>"
    assert ids.dtype == np.uint32
    assert 258 < tokenizer.n_vocab <= 300
    lengths = np.diff(offsets)
    assert lengths[0] > 8
    assert lengths[1] == 0
    assert lengths[2] > 3


def test_tokens_of_a_tokenizer_json(tokenizer_json: Path) -> None:
    found = rows(["the the the", ""], tokenizer=str(tokenizer_json))
    assert found[1] == (0, 0, 0.0)
    n, distinct, ttr = found[0]
    assert n >= distinct > 0
    assert ttr == distinct / n


def test_an_unusable_tokenizer_json(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"must be a Hugging Face tokenizer\.json, got"):
        loading.load(str(path))


def test_without_the_package_tokenizers_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'tokenizers>=0\.20'"):
        loading.load(str(path))


# Names


@pytest.mark.parametrize(
    ("tokenizer", "pattern", "message"),
    [
        ("p50k_bas", "p50k_base", "unknown tokenizer 'p50k_bas' .* did you mean 'p50k_base'.* Known: .*cl100k_base"),
        ("nowhere/x.tiktoken", "p50k_base", "must be a file that can be read, got 'nowhere/x.tiktoken': No such file"),
        ("nowhere/tokenizer.json", "p50k_base", "must be a file that can be read"),
        ("p50k_base", "cl100k_base", "pattern needs a ranks file .* got pattern 'cl100k_base' with 'p50k_base'"),
        ("x.tiktoken", "cl100k", "unknown pattern 'cl100k' .* did you mean 'cl100k_base'"),
    ],
)
def test_errors_name_what_to_do(tokenizer: str, pattern: str, message: str) -> None:
    tagger = load("tokens", {"tokenizer": tokenizer, "pattern": pattern})
    for call in (tagger.fingerprint, lambda: tagger.tag(DocumentBatch.from_texts(["x"]))):
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"must be a ranks file \(\*\.tiktoken\) or a Hugging Face tokenizer\.json"):
        loading.load(str(path))


def test_an_encoding_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(tmp_path, monkeypatch)
    assert loading.fingerprint("o200k_harmony") == "o200k_harmony"
    with pytest.raises(ConfigError, match=r"'o200k_harmony' could not be fetched .* TIKTOKEN_CACHE_DIR .* ranks file"):
        loading.load("o200k_harmony")


def test_tiktokens_own_encodings_are_left_alone() -> None:
    loading.load("gpt2")
    assert "gpt2" not in tiktoken.registry.ENCODINGS
    assert "gpt2" in tiktoken.list_encoding_names()


def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


# Kernel


@more(2)
@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8), st.booleans())
def test_count_distinct_equals_its_twin(documents: list[list[int]], is_writeable: bool) -> None:
    flat = np.array([token for document in documents for token in document], np.uint32)
    flat.flags.writeable = is_writeable
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    assert count_distinct(flat, offsets, 10).tolist() == distinct_per_document(flat, offsets)


def test_count_distinct_of_a_slice() -> None:
    ids = np.array([5, 5, 7, 2, 7, 2, 2, 9], np.uint32)
    assert count_distinct(ids, np.array([2, 5, 5, 7]), 10).tolist() == [2, 0, 1]


def test_count_distinct_refuses_an_id_beyond_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="not below n_vocab"):
        count_distinct(np.array([0, 10], np.uint32), np.array([0, 2]), 10)

from __future__ import annotations

import base64
import logging
import random
import sys
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.memory import resident_bytes
from tagcorpus.taggers._tokenizers import encodings, interface, loading
from tagcorpus.taggers._tokenizers import gigatoken_ids as giga

needs_gigatoken = pytest.mark.skipif(not loading._has_gigatoken(), reason="gigatoken is not installed")


def exact(tokenizer: str = "p50k_base", pattern: str = "p50k_base") -> encodings.TiktokenTokenizer:
    found = loading.load(tokenizer, pattern, "tiktoken")
    assert isinstance(found, encodings.TiktokenTokenizer)
    return found


def same(one: interface.TokenIds, two: interface.TokenIds) -> bool:
    return bool(np.array_equal(one.ids, two.ids)) and bool(np.array_equal(one.offsets, two.offsets))


def different(plain: interface.Tokenizer, fast: interface.Tokenizer, texts: list[str]) -> list[str]:
    """The texts whose ids differ; all of them where only the whole batch does."""
    if same(plain.encode_batch(texts), fast.encode_batch(texts)):
        return []
    return [text for text in texts if not same(plain.encode_batch([text]), fast.encode_batch([text]))] or texts


# Equality


ALPHABETS = [
    "abcdefghij ABC 0123456789",
    " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u3000\u200b\ufeff",
    "'sStTdDmMlLrReEvV\u2019",
    "éßøŁıİſǅ\u0301\u0308\u0345\u20dd\u093f\u0e31\u3099",
    "日本語中文カタ한글กไअआعربעברΩЖ",
    "🙂👩👧🏽🇩🇪\u200d\ufe0f\u20e3❤",
    '!?.,;:-_=+*/\\|<>(){}[]#@$%^&`~"',
    "\x00\x01\x07\x1b\x7f\x80\x9f",
    "٠١२३²³½Ⅷ①𝟘",
]
PIECES = ["<|endoftext|>", "<|fim_prefix|>", "'ll", " the", " of", "ing", "    ", "\n\n\n", "\r\n", "http://", "==="]


def fuzzed(n: int, seed: int) -> Iterable[str]:
    """Short strings: runs of one alphabet, pieces, and code points from anywhere."""
    dice = random.Random(seed)
    for _ in range(n):
        parts = []
        for _ in range(dice.randint(0, 4)):
            kind = dice.random()
            if kind < 0.7:
                parts.append("".join(dice.choices(dice.choice(ALPHABETS), k=dice.randint(1, 8))))
            elif kind < 0.85:
                parts.append(dice.choice(PIECES) * dice.randint(1, 3))
            else:
                code = dice.randrange(0x20, 0x32000)
                parts.append(chr(code if not 0xD800 <= code < 0xE000 else 0x4E00))
        yield "".join(parts)


@pytest.mark.e2e
@needs_gigatoken
@pytest.mark.parametrize("n_before", [0, giga.ONE_CALL_AFTER_TEXTS])
def test_100_000_fuzzed_strings_have_tiktokens_ids(n_before: int) -> None:
    plain, fast = exact(), giga.GigatokenTokenizer(exact())
    fast._n_texts = n_before
    texts = list(fuzzed(100_000, seed=3))
    assert len(set(texts)) > 70_000
    for start in range(0, len(texts), 1000):
        batch = texts[start : start + 1000]
        assert different(plain, fast, batch) == []


@pytest.mark.e2e
@needs_gigatoken
def test_every_code_point_of_the_first_planes_splits_as_tiktoken_does() -> None:
    plain, fast = exact(), giga.GigatokenTokenizer(exact())
    codes = [code for code in (*range(0x33400), *range(0xE0000, 0xE0200)) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 65_536):
        texts = [f"a{c}1{c} {c}!" for c in map(chr, codes[start : start + 65_536])]
        joined = ["\n".join(texts[at : at + 64]) for at in range(0, len(texts), 64)]
        assert different(plain, fast, joined) == []


@needs_gigatoken
@pytest.mark.parametrize("name", encodings.SHIPPED)
def test_shipped_encodings_pass_the_check(name: str) -> None:
    fast = loading.load(name, engine="gigatoken")
    assert isinstance(fast, giga.GigatokenTokenizer)
    assert (fast.name, fast.fingerprint, fast.n_vocab) == (name, name, exact(name).n_vocab)
    assert same(fast.encode_batch(giga.probes()), exact(name).encode_batch(giga.probes()))


@needs_gigatoken
@pytest.mark.parametrize("pattern", ["cl100k_base", "o200k_base"])
def test_the_other_patterns_on_a_ranks_file(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "own.tiktoken"
    path.write_bytes(encodings.shipped_ranks())
    fast = loading.load(str(path), pattern, "gigatoken")
    assert isinstance(fast, giga.GigatokenTokenizer)
    texts = list(fuzzed(5_000, seed=4))
    assert different(exact(str(path), pattern), fast, texts) == []


@needs_gigatoken
@pytest.mark.parametrize(
    "texts",
    [[], [""], ["", "", ""], ["one"], [*"abc"] * 300, ["", "x" * 200_000, ""]],
    ids=["none", "empty", "empties", "one", "many", "long"],
)
def test_batches_of_all_sizes(texts: list[str]) -> None:
    found = loading.load("p50k_base", engine="gigatoken").encode_batch(texts)
    assert same(found, exact().encode_batch(texts))
    assert found.ids.dtype == np.dtype(np.uint32)
    assert found.offsets.dtype == np.dtype(np.int64)
    assert found.ids.flags.c_contiguous


@needs_gigatoken
@pytest.mark.parametrize("engine", ["tiktoken", "gigatoken"])
def test_lone_surrogates_are_the_callers_mistake(engine: loading.Engine) -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        loading.load("p50k_base", engine=engine).encode_batch(["plain", "a \udfff b"])


@pytest.mark.e2e
@needs_gigatoken
@pytest.mark.parametrize(
    ("unit", "length"), [(" ", 700_000), (" \n", 700_000), *((unit, 120_000) for unit in " \n\u3000a中7!\x00")]
)
def test_long_runs_do_not_depend_on_the_engine(unit: str, length: int) -> None:
    run = unit * (length // len(unit))
    fast = loading.load("p50k_base", engine="gigatoken")
    assert different(exact(), fast, [f"x{run}y", run, "short", f"x {run}"]) == []


@needs_gigatoken
def test_a_blank_that_tiktoken_refuses_is_refused_by_both(tmp_path: Path) -> None:
    """Under cl100k_base's pattern no cut is known to be exact, and the row is quarantined: with either engine."""
    path = tmp_path / "own.tiktoken"
    path.write_bytes(encodings.shipped_ranks())
    text = f"x{' ' * 1_500_000}y"
    engines: list[loading.Engine] = ["tiktoken", "gigatoken"]
    for engine in engines:
        with pytest.raises(ValueError, match="stack"):
            loading.load(str(path), "cl100k_base", engine).encode_batch(["a", text])


@pytest.mark.parametrize(
    ("text", "is_long"),
    [
        ("", False),
        (" " * 49_999, False),
        (f"{'a' * 77_777}{' ' * encodings.LONG_BLANK}b", True),
        (f"{'a' * 99_999}{' ' * encodings.LONG_BLANK}", True),
        (f"{'a ' * 200_000}", False),
        (f"\n{'a' * 300_000}\n", False),
        ("\u3000\n" * 50_000, True),
    ],
)
def test_long_blanks_are_found_wherever_they_begin(text: str, is_long: bool) -> None:
    assert giga.has_long_blank(text) is is_long


# Memory


@pytest.mark.e2e
@needs_gigatoken
def test_the_cache_is_dropped_when_the_process_has_grown() -> None:
    dice = random.Random(5)

    def words() -> list[str]:
        return [" ".join(f"{dice.getrandbits(60):x}" for _ in range(500)) for _ in range(80)]

    bounded = giga.GigatokenTokenizer(exact(), limit_bytes=2 << 20)
    models = {id(bounded._model): bounded._model for _ in range(8) if bounded.encode_batch(words())}
    assert len(models) > 1
    unbounded = giga.GigatokenTokenizer(exact())
    first = unbounded._model
    assert same(unbounded.encode_batch(["some text"]), bounded.encode_batch(["some text"]))
    assert unbounded._model is first


def test_resident_memory_where_the_system_tells(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path / "statm") is None
    if sys.platform == "linux":
        before = resident_bytes()
        held = np.ones(256 << 20, np.uint8)
        after = resident_bytes()
        assert before is not None
        assert after is not None
        assert 150 << 20 < after - before < 350 << 20  # other tests' memory may go meanwhile
        assert held[-1] == 1


# Ranks


def test_gaps_are_filled_with_what_no_text_yields() -> None:
    ranks = {bytes([b]): b for b in range(256)} | {b"a!": 300, b"zz": 303}
    lines = giga.ranks_file(ranks, "x").splitlines()
    read = {int(rank): base64.b64decode(token) for token, rank in (line.split() for line in lines)}
    assert list(read) == list(range(304))
    assert len(set(read.values())) == 304
    assert {token: rank for rank, token in read.items() if token in ranks} == ranks
    fillers = [read[rank] for rank in range(256, 304) if rank not in (300, 303)]
    whole = exact()
    for filler in fillers:
        assert len(filler) == 2
        assert len(whole.encode_batch([filler.decode()]).ids) == 2


def test_too_many_gaps() -> None:
    ranks = {bytes([b]): b for b in range(256)} | {b"zz": 5_000}
    with pytest.raises(ConfigError, match="needs ranks without gaps, tokenizer 'x' has 4,744: use auto"):
        giga.ranks_file(ranks, "x")


# The check


def test_the_probes() -> None:
    texts = giga.probes()
    assert texts == giga.probes()
    assert len(set(texts)) >= 500
    assert "" in texts
    joined = "".join(texts)
    for wanted in ("\x00", "\x85", "\u3000", "\u0301", "中", "\u200d", "<|endoftext|>", "'ll", "🙂", "\u1680"):
        assert wanted in joined
    assert max(map(len, texts)) >= 3000


class Wrong:
    """A tokenizer that is p50k_base but for the texts with `odd` in them."""

    name = fingerprint = "wrong"
    n_vocab = 50281

    def __init__(self, odd: str, after: int = 0) -> None:
        self.odd = odd
        self.after = after
        self.calls = 0

    def encode_batch(self, texts: Any) -> interface.TokenIds:
        self.calls += 1
        is_odd = self.calls > self.after
        return exact().encode_batch([text.replace(self.odd, "~") if is_odd else text for text in texts])

    def decode(self, ids: Any) -> str:
        return exact().decode(ids)


@pytest.mark.parametrize("odd", ["\u200d", "<|endoftext|>", "\u3000", "'ll", "\x1f", "1234567"])
def test_the_check_names_the_first_difference(odd: str) -> None:
    told = giga.first_difference(exact(), Wrong(odd))
    assert ascii(odd)[1:-1] in told
    assert " is [" in told
    assert ", not [" in told


def test_the_check_asks_again() -> None:
    assert giga.first_difference(exact(), Wrong("\u200d", after=1))
    assert not giga.first_difference(exact(), Wrong("\u200d", after=2))


# The choice


@pytest.fixture
def ranks_path(tmp_path: Path) -> str:
    """A tokenizer that no other test has loaded."""
    path = tmp_path / "own.tiktoken"
    path.write_bytes(encodings.shipped_ranks())
    return str(path)


def broken_gigatoken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def from_tiktoken(*_: Any, **__: Any) -> Any:
        raise error

    module: Any = types.ModuleType("gigatoken")
    module.__spec__ = types.SimpleNamespace()
    module.Tokenizer = types.SimpleNamespace(from_tiktoken=from_tiktoken)
    monkeypatch.setitem(sys.modules, "gigatoken", module)


TEXTS = ["Hello, world", "", "one two  three\n"]


def test_auto_begins_with_tiktoken(monkeypatch: pytest.MonkeyPatch, ranks_path: str) -> None:
    """A broken gigatoken is not even looked at for a small job."""
    broken_gigatoken(monkeypatch, RuntimeError("no"))
    assert same(loading.load(ranks_path).encode_batch(TEXTS), exact().encode_batch(TEXTS))


@needs_gigatoken
def test_auto_goes_over_to_gigatoken(ranks_path: str, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = loading.load(ranks_path)
    assert isinstance(tokenizer, giga.LateGigatoken)
    big = ["The quick brown fox. " * 100_000, "x"]
    for texts in (TEXTS, big, TEXTS, big, TEXTS):
        assert same(tokenizer.encode_batch(texts), exact().encode_batch(texts))
    assert isinstance(tokenizer._chosen, giga.GigatokenTokenizer)
    assert caplog.messages == []


def test_auto_falls_back_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, ranks_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken_gigatoken(monkeypatch, RuntimeError("this CPU will not do"))
    tokenizer = loading.load(ranks_path)
    big = ["The quick brown fox. " * 150_000, "x"]
    with caplog.at_level(logging.WARNING, "tagcorpus"):
        for texts in (big, TEXTS, big):
            assert same(tokenizer.encode_batch(texts), exact().encode_batch(texts))
    (message,) = caplog.messages
    assert message.startswith("warning: gigatoken fails the check against tiktoken for tokenizer ")
    assert "(RuntimeError: this CPU will not do)" in message
    assert "\n" not in message
    assert message.endswith("tiktoken does the work, more slowly")


def test_gigatoken_asked_for_must_pass(monkeypatch: pytest.MonkeyPatch, ranks_path: str) -> None:
    broken_gigatoken(monkeypatch, RuntimeError("no"))
    tagger = load("tokens", {"tokenizer": ranks_path, "engine": "gigatoken"})
    with pytest.raises(TaggerError, match=r"RuntimeError: no\): use --set tokens\.engine=tiktoken"):
        tagger.tag(DocumentBatch.from_texts(TEXTS))


def test_gigatoken_asked_for_must_be_installed(monkeypatch: pytest.MonkeyPatch, ranks_path: str) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    tagger = load("tokens", {"engine": "gigatoken"})
    for call in (tagger.fingerprint, lambda: tagger.tag(DocumentBatch.from_texts(TEXTS))):
        with pytest.raises(ConfigError, match=r"^engine gigatoken needs .*: use auto, or install tagcorpus again$"):
            call()
    assert isinstance(loading.load(ranks_path), encodings.TiktokenTokenizer), "auto says nothing"


def test_an_engine_goes_with_tiktokens_own(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"got engine 'tiktoken' with '.*tokenizer\.json': use auto"):
        load("tokens", {"tokenizer": str(path), "engine": "tiktoken"}).fingerprint()


def test_an_unknown_engine() -> None:
    with pytest.raises(ConfigError, match=r"tokens\.engine must be 'auto' or 'tiktoken' or 'gigatoken', got 'fast'"):
        load("tokens", {"engine": "fast"})


@needs_gigatoken
def test_the_engine_is_no_part_of_the_output() -> None:
    taggers = [load("tokens", {"engine": engine}) for engine in ("auto", "tiktoken", "gigatoken")]
    batch = list(fuzzed(500, seed=6))
    tables = [tagger.tag(DocumentBatch.from_texts(batch)) for tagger in taggers]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert [tagger.fingerprint() for tagger in taggers] == [{"tokenizer": "p50k_base"}] * 3


def test_without_a_split_pattern_that_gigatoken_has() -> None:
    from tiktoken import Encoding

    ranks = {bytes([b]): b for b in range(256)}
    odd = encodings.TiktokenTokenizer(
        "odd", "odd", Encoding("odd", pat_str=".", mergeable_ranks=ranks, special_tokens={})
    )
    with pytest.raises(ConfigError, match="has no split pattern like that of tokenizer 'odd': use auto"):
        giga.GigatokenTokenizer(odd)
    late = giga.LateGigatoken(odd)
    assert late.encode_batch(["ab" * giga.SWITCH_AFTER_CHARS]).offsets.tolist() == [0, 2 * giga.SWITCH_AFTER_CHARS]


@needs_gigatoken
def test_one_call_for_many_texts_gives_the_ids_of_a_call_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["it's", "", "naïve 日本語 👩", " \n\n x", *(f"word{i} " * i for i in range(40))]
    monkeypatch.setattr(giga, "ONE_CALL_AFTER_TEXTS", len(texts))
    fast = giga.GigatokenTokenizer(exact())
    calls: list[int] = []
    one_call = fast._in_one_call

    def counted(batch: Sequence[str]) -> interface.TokenIds:
        calls.append(len(batch))
        return one_call(batch)

    monkeypatch.setattr(fast, "_in_one_call", counted)
    one_by_one, in_one_call = fast.encode_batch(texts), fast.encode_batch(texts)
    assert calls == [len(giga.probes()), len(texts)]
    assert same(one_by_one, exact().encode_batch(texts))
    assert same(one_by_one, in_one_call)


@needs_gigatoken
def test_a_call_for_many_texts_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giga, "ONE_CALL_AFTER_TEXTS", 0)
    fast = giga.GigatokenTokenizer(exact())
    monkeypatch.setattr(fast, "_in_one_call", lambda batch: exact().encode_batch([text + "x" for text in batch]))
    assert same(fast.encode_batch(["a b", "c"]), exact().encode_batch(["a b", "c"]))


@needs_gigatoken
def test_a_call_for_many_texts_without_awkward_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_awkward(_: Sequence[str]) -> interface.TokenIds:
        raise ImportError("awkward")

    monkeypatch.setattr(giga, "ONE_CALL_AFTER_TEXTS", 0)
    fast = giga.GigatokenTokenizer(exact())
    monkeypatch.setattr(fast, "_in_one_call", without_awkward)
    assert same(fast.encode_batch(["a b", "c"]), exact().encode_batch(["a b", "c"]))

"""gigatoken in place of tiktoken and tokenizers: the same ids, many times faster, after a check of the ids.

gigatoken is a young package, so every process compares it with the exact tokenizer on `probes()` before the first document.
For a tokenizer.json, the beginnings of some documents are compared, too: such files differ more than tiktoken's encodings.
The exact tokenizer still encodes lone surrogates, and blanks so long that tiktoken may refuse them (a refusal is part of the
output).
"""

from __future__ import annotations

import binascii
import functools
import json
import logging
import random
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from string import ascii_letters, punctuation
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface.memory import resident_bytes
from tagcorpus.taggers._tokenizers.encodings import LONG_BLANK, TiktokenTokenizer
from tagcorpus.taggers._tokenizers.hugging_face import HuggingFaceTokenizer
from tagcorpus.taggers._tokenizers.interface import TokenIds, Tokenizer, join

SWITCH_AFTER_CHARS = 3_000_000
"""Importing, loading and checking gigatoken costs about as much CPU as tiktoken needs for this much text."""

COMPARED_TEXTS, COMPARED_CHARS_OF_TEXT = 200, 5_000
"""Of the batch at which a tokenizer.json changes to gigatoken: comparing all of it costs seconds."""

MEMORY_LIMIT_BYTES = 128 << 20
"""gigatoken remembers every distinct word; when the process has grown by this much, it starts again."""

ONE_CALL_AFTER_TEXTS = 250_000
"""A call for each text costs 1.1 CPU microseconds more than its share of a call for a batch. gigatoken's call for a batch imports
awkward, for as much CPU as these texts cost."""

_BYTES_PER_CHAR = 4  # estimate of that growth where the system does not report it
_SHOWN_IDS = 8


class GigatokenTokenizer:
    """A tiktoken encoding whose ids gigatoken computes. Not checked: see `checked`.

    exact        the same encoding by tiktoken, for what gigatoken cannot do
    limit_bytes  growth of the process at which gigatoken's cache is dropped
    Raises ConfigError for a split pattern that gigatoken does not have or ranks with too many gaps.
    """

    def __init__(self, exact: TiktokenTokenizer, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.name = exact.name
        self.fingerprint = exact.fingerprint
        self.n_vocab = exact.n_vocab
        self._exact = exact
        self._limit_bytes = limit_bytes
        if exact.scheme is None:
            raise ConfigError(f"engine gigatoken has no split pattern like that of tokenizer {exact.name!r}: use auto")
        self._scheme = exact.scheme
        self._ranks = ranks_file(exact.ranks, exact.name)
        self._n_texts = 0
        self._restart()

    def _new_model(self) -> Any:
        from gigatoken import Tokenizer as Model

        with tempfile.TemporaryDirectory(prefix="tagcorpus-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "ranks.tiktoken"
            path.write_bytes(self._ranks)
            return Model.from_tiktoken(path, pretokenizer=self._scheme)

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        ids = self._encode(texts)
        self._fed_chars += sum(map(len, texts))
        if self._growth_bytes() > self._limit_bytes:
            self._restart()
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._exact.decode(ids)

    def _encode(self, texts: Sequence[str]) -> TokenIds:
        try:
            if any(self._is_for_exact(text) for text in texts):
                return join([self._encode_one(text) for text in texts])
            self._n_texts += len(texts)
            if self._n_texts > ONE_CALL_AFTER_TEXTS and self._is_one_call_equal:
                return self._in_one_call(texts)
            return join([self._model.encode(text) for text in texts])
        except TypeError:  # a lone surrogate
            return self._exact.encode_batch(texts)

    def _in_one_call(self, texts: Sequence[str]) -> TokenIds:
        rows = self._model.encode_batch(list(texts), parallel=False).layout
        return TokenIds(np.asarray(rows.content.data, np.uint32), np.asarray(rows.offsets.data, np.int64))

    @functools.cached_property
    def _is_one_call_equal(self) -> bool:
        """Whether one call gives the ids of a call for each text. The check has compared those with the exact tokenizer's."""
        texts = list(probes())
        try:
            ids, offsets = self._in_one_call(texts)
        except ImportError:  # awkward cannot be imported, and the run does without it so far
            return False
        one_by_one = join([self._model.encode(text) for text in texts])
        return np.array_equal(ids, one_by_one.ids) and np.array_equal(offsets, one_by_one.offsets)

    def _encode_one(self, text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
        if self._is_for_exact(text):
            return self._exact.encode_batch([text]).ids
        ids: np.ndarray[Any, np.dtype[np.uint32]] = self._model.encode(text)
        return ids

    def _is_for_exact(self, text: str) -> bool:
        """Whether the exact tokenizer encodes a text."""
        return has_long_blank(text)

    def _restart(self) -> None:
        self._model: Any = None  # so that the old cache is gone before the new one grows
        self._model = self._new_model()
        self._fed_chars = 0
        # Only the memory of the whole process can be measured. Growth elsewhere costs one needless restart for every
        # `limit_bytes`.
        self._start_bytes = resident_bytes()

    def _growth_bytes(self) -> int:
        now = resident_bytes()
        if now is None or self._start_bytes is None:
            return self._fed_chars * _BYTES_PER_CHAR
        # The least since the start counts: the memory of the old cache is returned only slowly.
        self._start_bytes = min(self._start_bytes, now)
        return now - self._start_bytes


class GigatokenJson(GigatokenTokenizer):
    """A tokenizer.json whose ids gigatoken computes. Not checked: see `checked_json`. Raises whatever gigatoken does.

    Both packages know Unicode by tables of different years, and so can split a text differently. Texts with a character
    whose category has changed since 2002 go to the exact tokenizer.
    """

    def __init__(self, exact: HuggingFaceTokenizer, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.name = exact.name
        self.fingerprint = exact.fingerprint
        self.n_vocab = exact.n_vocab
        self._exact: Any = exact
        self._limit_bytes = limit_bytes
        self._data = without_special_tokens(exact.data)
        self._n_texts = 0
        self._restart()

    def _is_for_exact(self, text: str) -> bool:
        if text.isascii():
            return False
        return not _settled()[np.frombuffer(text.encode("utf-32-le"), np.uint32)].all()

    def _new_model(self) -> Any:
        from gigatoken import Tokenizer as Model

        return Model.from_json(self._data)


class LateGigatoken:
    """The exact tokenizer until enough text has come to make gigatoken worth its start, and after that only if the check holds."""

    def __init__(self, exact: TiktokenTokenizer | HuggingFaceTokenizer) -> None:
        self.name = exact.name
        self.fingerprint = exact.fingerprint
        self.n_vocab = exact.n_vocab
        self._exact = exact
        self._seen_chars = 0
        self._chosen: Tokenizer | None = None

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        if self._chosen is None:
            self._seen_chars += sum(map(len, texts))
            if self._seen_chars <= SWITCH_AFTER_CHARS:
                return self._exact.encode_batch(texts)
            self._chosen = self._choose(texts)
        return self._chosen.encode_batch(texts)

    def choose(self, texts: Sequence[str] = ()) -> None:
        """Choose now, not after some text. A tokenizer.json is compared on these texts, too."""
        self._chosen = self._chosen or self._choose(texts)

    def decode(self, ids: Sequence[int]) -> str:
        return self._exact.decode(ids)

    def _choose(self, texts: Sequence[str]) -> Tokenizer:
        try:
            if isinstance(self._exact, HuggingFaceTokenizer):
                return checked_json(self._exact, texts) or self._exact
            return self._exact if self._exact.scheme is None else checked(self._exact)
        except (ConfigError, TaggerError) as error:
            package = "tokenizers" if isinstance(self._exact, HuggingFaceTokenizer) else "tiktoken"
            logging.getLogger("tagcorpus").warning("warning: %s; %s does the work, more slowly", error, package)
            return self._exact


def checked_json(exact: HuggingFaceTokenizer, texts: Sequence[str]) -> GigatokenJson | None:
    """gigatoken for this tokenizer.json, after it has given the ids of the package tokenizers for every probe and for the
    beginnings of these texts; None for a kind of tokenizer that it does not have. Raises TaggerError where it gives other ids."""
    try:
        fast = GigatokenJson(exact)
    except BaseException as error:
        if not is_refusal(error):
            raise
        return None
    try:
        starts = [text[:COMPARED_CHARS_OF_TEXT] for text in texts[:COMPARED_TEXTS]]
        difference = first_difference(exact, fast, [*special_texts(exact.data), *starts])
    except BaseException as error:
        if not is_refusal(error):
            raise
        difference = f"{type(error).__name__}: {error}"
    if difference:
        raise TaggerError(
            f"gigatoken fails the check against the package tokenizers for tokenizer {exact.name!r} ({difference})"
        )
    return fast


def is_refusal(error: BaseException) -> bool:
    """Whether a young package failed, a panic of its Rust code included, and nobody is stopping this process."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def is_settled(character: str) -> bool:
    """Whether every Unicode table since version 3.2 (2002) has this character in the same class for a split pattern.

    Letters, digits, marks and spaces must have their category since then. Other characters may be younger: before that, they
    were no letters either. A character that this Python does not know may be anything.
    """
    now, then = unicodedata.category(character), unicodedata.ucd_3_2_0.category(character)
    if now == "Cn":
        return False
    return now == then or (then == "Cn" and now[0] in "PSC")


@functools.cache
def _settled() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """By code point."""
    return np.array([is_settled(chr(code)) for code in range(sys.maxunicode + 1)])


def without_special_tokens(data: bytes) -> bytes:
    """A tokenizer.json that makes no special token of a text: gigatoken has no option for that."""
    value = json.loads(data)
    value["added_tokens"] = [t for t in value.get("added_tokens") or [] if not t.get("special")]
    return json.dumps(value | {"truncation": None, "padding": None, "post_processor": None}).encode()


def special_texts(data: bytes) -> list[str]:
    """Texts with the special tokens of a tokenizer.json in them."""
    tokens = [str(t.get("content", "")) for t in json.loads(data).get("added_tokens") or []][:300]
    return [text for t in tokens for text in (t, f"a{t}b", f" {t}\n{t}")]


def checked(exact: TiktokenTokenizer) -> GigatokenTokenizer:
    """gigatoken for this encoding, after it has given tiktoken's ids for every probe.

    Raises TaggerError where it cannot be loaded or gives other ids, ConfigError as GigatokenTokenizer does.
    """
    try:
        fast = GigatokenTokenizer(exact)
        difference = first_difference(exact, fast)
    except ConfigError:
        raise
    except Exception as error:  # any error of a young package is a reason not to use it
        difference = f"{type(error).__name__}: {error}"
    if difference:
        raise TaggerError(
            f"gigatoken fails the check against tiktoken for tokenizer {exact.name!r} ({difference}): use "
            "--set tokens.engine=tiktoken, or the release of gigatoken that pip install tagcorpus brings"
        )
    return fast


def first_difference(exact: Tokenizer, other: Tokenizer, more: Sequence[str] = ()) -> str:
    """The first probe, or text of `more`, whose ids differ, with both ids, or nothing. The second round answers out of the cache."""
    texts = [*probes(), *more]
    expected = exact.encode_batch(texts)
    for _ in range(2):
        actual = other.encode_batch(texts)
        if np.array_equal(actual.ids, expected.ids) and np.array_equal(actual.offsets, expected.offsets):
            continue
        for d, text in enumerate(texts):
            right, other_ids = (ids[offsets[d] : offsets[d + 1]] for ids, offsets in (expected, actual))
            if not np.array_equal(right, other_ids):
                return f"{text[:40]!a} is {right[:_SHOWN_IDS].tolist()}, not {other_ids[:_SHOWN_IDS].tolist()}"
    return ""


def ranks_file(ranks: Mapping[bytes, int], name: str) -> bytes:
    """A ranks file without gaps, as gigatoken wants it (p50k_base leaves out 50256).

    A gap is filled with a letter and a mark after it, which every split pattern in use cuts apart, so that no text
    yields it. Raises ConfigError where there are more gaps than such pairs.
    """
    by_rank = {rank: token for token, rank in ranks.items()}
    gaps = [rank for rank in range(max(by_rank)) if rank not in by_rank]
    pairs = (f"{letter}{mark}".encode() for mark, letter in product(punctuation, ascii_letters) if mark != "'")
    fillers = list(islice((pair for pair in pairs if pair not in ranks), len(gaps)))
    if len(fillers) < len(gaps):
        raise ConfigError(f"engine gigatoken needs ranks without gaps, tokenizer {name!r} has {len(gaps):,}: use auto")
    by_rank.update(zip(gaps, fillers, strict=True))
    encoded = (binascii.b2a_base64(by_rank[rank], newline=False) for rank in range(len(by_rank)))
    return b"".join([b"%s %d\n" % pair for pair in zip(encoded, range(len(by_rank)), strict=True)])


def has_long_blank(text: str) -> bool:
    """Whether a blank may be too long for tiktoken: true for all of `LONG_BLANK` characters, never below half of it."""
    step = LONG_BLANK // 2
    return len(text) >= step and any(text[at : at + step].isspace() for at in range(0, len(text) - step + 1, step))


def probes() -> list[str]:
    """Some 1,100 strings of the kinds that tokenizers disagree on, the same in every process."""
    structured = [*_odd_characters(), *_scripts(), *_words(), *_runs()]
    dice = random.Random(20)
    pieces = [text[:12] for text in structured]
    mixed = ["".join(dice.choices(pieces, k=dice.randint(2, 12))) for _ in range(250)]
    words = ["".join(dice.choices(letters, k=3_000)) for letters in ("abcdefghij", "ACGT", "aA", "éßø", "日本語中")]
    return ["", *structured, *mixed, *words]


_INVISIBLE = (
    "\x1c\x1d\x1e\x1f\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u2060\u2066\ufeff\ufff9\ufffc\ufffd\uffff"
)


def _odd_characters() -> Iterator[str]:
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        yield f"a{chr(code)}b {chr(code)}{chr(code)}1"
    spaces = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
    for space in spaces + _INVISIBLE:
        yield from (f"x{space}y", f"{space}{space}z {space}", f" {space} 1{space}", f"{space}\n{space}!")
    for letter, mark in product("aé한ا1 ", "\u0300\u0301\u0327\u0345\u064b\u093f\u0e31\u20dd\u3099\ufe0f\U0001e2ae"):
        yield f"{letter}{mark}{mark}{letter} {mark}"
    yield from (
        "👩\u200d👩\u200d👧\u200d👦", "👍🏽👍🏿 👍", "🇩🇪🇫🇷🇯", "1\ufe0f\u20e3#\ufe0f\u20e3", "❤\ufe0f\u200d🔥", "☺☻♥",
        "🏴\U000e0067\U000e0062\U000e007f", "🤷🏾\u200d♀\ufe0f!", "a👩b\u200dc", " 🙂🙂 🙂", "\U0001fae8\U0001fac3\U0001f6dc",
    )  # fmt: skip


def _scripts() -> Iterator[str]:
    # First code points of blocks; the last line's letters and marks are among Unicode's youngest.
    blocks = (
        0xA1, 0x100, 0x180, 0x250, 0x2B0, 0x370, 0x400, 0x530, 0x5D0, 0x620, 0x660, 0x700, 0x904, 0x966, 0x985, 0xE01,
        0xF00, 0x1000, 0x10A0, 0x1100, 0x1200, 0x13A0, 0x16A0, 0x1780, 0x1E00, 0x2010, 0x2070, 0x20A0, 0x2150, 0x2190,
        0x2460, 0x2500, 0x2C60, 0x3005, 0x3041, 0x30A1, 0x3131, 0x3220, 0x4E00, 0xA720, 0xAC00, 0xE000, 0xF900, 0xFB00,
        0xFE10, 0xFF10, 0x10000, 0x10330, 0x12000, 0x1D400, 0x1D7CE, 0x1F100, 0x1F600, 0x20000, 0x2F800, 0xE0100,
        0xFFFF0,
        0x870, 0x1C89, 0xA7CB, 0xA7DA, 0x105C0, 0x10D40, 0x11380, 0x11F00, 0x16D40, 0x1E4D0, 0x1E5D0, 0x2EBF0, 0x31350,
    )  # fmt: skip
    for first in blocks:
        run = "".join(map(chr, range(first, first + 24)))
        yield from (run, " ".join(run), f"x{'9'.join(run)}", f"The {run} end.")


def _words() -> Iterator[str]:
    endings = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'Ve", "\u2019s", "''s", "'", "'x", "'ſ")
    for ending in endings:
        yield from (f"it{ending} {ending}", f"5{ending}y\n{ending}1", f"{ending}{ending}")
    specials = "<|endoftext|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|endofprompt|> <|im_start|>"
    for special in specials.split():
        yield from (special, f"a{special}b", f" {special}\n", f"{special}{special}", special[:-1], special.upper())
    for digits in range(1, 14):
        number = "1234567890123"[:digits]
        yield from (number, f"x{number}y", f"-{number}.{number}%", f"{number},000 {number}e5")
    yield from (
        "def f(x):\n    return x[0]  # note\n\n\n", "if (a<=b&&c!=d){\n\t\treturn;\n}\r\n", "#include <stdio.h>\n",
        "a->b::c<d>>e", "SELECT * FROM t WHERE x='y';--", "<a href='x?y=1&z=%20'>&nbsp;</a>", "\\frac{a}{b}_{i}^{2}$$",
        '{"k": [1, null]}', "x = [[[[((((", "// ==== ----\n", "/**\n * a\n */", "https://ex.org/a_b-c?d#e", "a@b.co",
        "C:\\dir\\f.txt", "`x` **y** ~~z~~", "camelCaseHTTPServer2Go", "snake_case_NAME_", "0x1F 1e-9 1_000",
        "İIıi ßẞ ŒœǅǆǄ", "naïve nai\u0308ve", "e.g., i.e. U.S.A.", "...!?!?", "—–‒ “q” «q»", "a\u3000 b", "\ta\t b",
        "no  two   three    four", "end \n", "end  \n\n ", "\r\n\r\n x", " \t \t", "\n \n",
    )  # fmt: skip


def _runs() -> Iterator[str]:
    units = [*"aAé中7!= \n\t\u00a0\u0301🙂\x00", "\r\n", " \n", "ab ", "'s", "a!"]
    for unit, times in product(units, (2, 3, 8, 33, 700)):
        yield f"x{unit * times}y" if times % 2 else unit * times

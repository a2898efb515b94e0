"""tiktoken's encodings and ranks files.

The ranks of p50k_base ship with the package; the older r50k_base and gpt2 have the same ranks without its last 24 (runs of
spaces), so these four names (p50k_edit is p50k_base with other special tokens) need no network.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._tokenizers.interface import TokenIds, join

if TYPE_CHECKING:
    from tiktoken import Encoding

SHIPPED = ("gpt2", "p50k_base", "p50k_edit", "r50k_base")
"""Encodings that need no network."""

FIRST_P50K_RANK = 50257
"""The first rank that p50k_base has and r50k_base lacks (50256 is `<|endoftext|>` in both)."""

_WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's property, tiktoken's \s
LONG_BLANK = 100_000
"""Characters; tiktoken takes every blank up to several times this length, and may refuse a longer one."""

_SCHEMES = ("r50k", "cl100k", "o200k")


class TiktokenTokenizer:
    """A tiktoken encoding."""

    def __init__(self, name: str, fingerprint: str, encoding: Encoding) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.n_vocab: int = encoding.max_token_value + 1
        self._encoding = encoding

    @property
    def ranks(self) -> dict[bytes, int]:
        """Token bytes -> id, without special tokens."""
        ranks: dict[bytes, int] = self._encoding._mergeable_ranks
        return ranks

    @functools.cached_property
    def scheme(self) -> str | None:
        """The split pattern: that of r50k_base, cl100k_base or o200k_base; None for another one."""
        known = definitions(b"").ENCODING_CONSTRUCTORS
        pattern = self._encoding._pat_str
        return next((scheme for scheme in _SCHEMES if known[f"{scheme}_base"]()["pat_str"] == pattern), None)

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        # One call per document: tiktoken's own batch call hands Python lists through threads and costs more CPU.
        return join([self._encode(text) for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode(ids, errors="replace")

    def _encode(self, text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
        try:
            # Nothing disallowed, nothing allowed: skips the search for special tokens, which become ordinary text.
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:
            # tiktoken's regex gives up on blanks of some 600,000 characters and more (its stack is bounded).
            parts = list(cut_long_blanks(text, LONG_BLANK)) if self.scheme == "r50k" else [text]
            if len(parts) == 1:
                raise
            return np.concatenate([self._encoding.encode_to_numpy(part, disallowed_special=()) for part in parts])


def cut_long_blanks(text: str, shortest: int) -> Iterator[str]:
    """Parts of a text whose ids under GPT-2's split pattern, concatenated, are the text's own.

    Exact because a blank of at least 2 characters between two words always splits into all but its last character,
    and the last one, alone or with what follows; on its own, all but the last is one piece too.
    """
    start = 0
    for blank in re.finditer(f"[{_WHITE_SPACE}]+", text):
        if len(blank.group()) < shortest or blank.end() == len(text):
            continue
        yield text[start : blank.start()]
        yield text[blank.start() : blank.end() - 1]
        start = blank.end() - 1
    yield text[start:]


def encoding_names() -> list[str]:
    import tiktoken

    return tiktoken.list_encoding_names()


def encoding_of(name: str) -> Encoding:
    import tiktoken

    if name in SHIPPED:
        return tiktoken.Encoding(**definitions(shipped_ranks()).ENCODING_CONSTRUCTORS[name]())
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the ranks of tokenizer {name!r} could not be fetched ({type(error).__name__}): without a network set "
            "TIKTOKEN_CACHE_DIR to a folder that holds them, or give the path of a ranks file (*.tiktoken) as "
            f"tokenizer and {name!r} as pattern"
        ) from error


def special_tokens_of(name: str) -> dict[str, int]:
    """The special tokens of an encoding, without its ranks where they are shipped: these take 60 ms of CPU."""
    if name in SHIPPED:
        return dict(definitions(b"").ENCODING_CONSTRUCTORS[name]()["special_tokens"])
    return dict(encoding_of(name)._special_tokens)


def shipped_ranks() -> bytes:
    """p50k_base.tiktoken as tiktoken would download it."""
    import zstandard

    packed = (resources.files("tagcorpus.taggers") / "_data" / "p50k_base.tiktoken.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompress(packed)


def ranks_of(data: bytes) -> dict[bytes, int]:
    """Token bytes -> rank, from a ranks file. Raises ValueError for other data."""
    pairs = (line.split() for line in data.splitlines() if line)
    ranks = {binascii.a2b_base64(token, strict_mode=True): int(rank) for token, rank in pairs}
    if len(ranks) < 256 or len(set(ranks.values())) < len(ranks):
        raise ValueError("a rank for each of the 256 bytes and no rank twice are the least it must have")
    return ranks


def definitions(data: bytes) -> Any:
    """tiktoken's own definitions of its encodings, in a private copy of their module that loads no ranks but these.

    So patterns and special tokens stay tiktoken's, and other users of tiktoken in this process are not affected.
    """
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def p50k(*_: str, **__: str) -> dict[bytes, int]:
        return ranks_of(data) if data else {}

    def r50k(*_: str, **__: str) -> dict[bytes, int]:
        return {token: rank for token, rank in p50k().items() if rank < FIRST_P50K_RANK}

    def by_url(url: str, **_: str) -> dict[bytes, int]:
        return r50k() if url.endswith("/r50k_base.tiktoken") else p50k()

    module.load_tiktoken_bpe = by_url
    module.data_gym_to_mergeable_bpe_ranks = r50k
    return module


def is_fetched(name: str) -> bool:
    """Whether tiktoken has the ranks of an encoding in its cache, whole."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    folder = os.path.join(tempfile.gettempdir(), "data-gym-cache") if folder is None else folder
    files: list[tuple[str, str | None]] = []

    def note(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        files.append((url, expected_hash))
        return {}

    module = definitions(b"")
    module.load_tiktoken_bpe = note
    module.ENCODING_CONSTRUCTORS[name]()
    for url, digest in files:
        path = Path(folder, hashlib.sha1(url.encode()).hexdigest())
        if not folder or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return False
    return bool(files)

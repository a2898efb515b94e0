"""Tokenizers behind one seam: text in, one flat array of ids and its offsets out.

Three kinds: a tiktoken encoding by name, a tiktoken ranks file with the split pattern of a named encoding, and a
Hugging Face `tokenizer.json`. Special tokens are never produced: the text `<|endoftext|>` is ordinary text. The ranks
of p50k_base ship with the package; the older r50k_base and gpt2 have the same ranks without its last 24 (runs of
spaces), so these four names (p50k_edit is p50k_base with other special tokens) need no network. Nothing here caches
ids beyond the batch. Whether tiktoken itself or gigatoken (_gigatoken.py) computes the ids changes none of them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers import _digest
from tagcorpus.taggers._batch import DocumentBatch

if TYPE_CHECKING:
    from tiktoken import Encoding

Engine = Literal["auto", "tiktoken", "gigatoken"]
"""Who computes the ids of tiktoken's encodings: auto is gigatoken where it is installed, exact and worth its start."""

SHIPPED = ("gpt2", "p50k_base", "p50k_edit", "r50k_base")
"""Encodings that need no network."""

FIRST_P50K_RANK = 50257
"""From here on p50k_base goes beyond r50k_base (50256 is `<|endoftext|>` in both)."""

_WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's property, tiktoken's \s
LONG_BLANK = 100_000
"""Characters; tiktoken takes every blank up to several times this length, and may refuse a longer one."""

_SCHEMES = ("r50k", "cl100k", "o200k")


class TokenIds(NamedTuple):
    """Token ids of a batch; document d is ids[offsets[d]:offsets[d + 1]]."""

    ids: np.ndarray[Any, np.dtype[np.uint32]]
    """uint32 [n_tokens], all documents concatenated."""
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    """int64 [n_docs + 1], starting at 0."""


class Tokenizer(Protocol):
    """What taggers and pipelines need of a tokenizer."""

    name: str
    """As the user gave it."""
    fingerprint: str
    """Equal fingerprints give equal ids; no path is part of it."""
    n_vocab: int
    """Every id is below it."""

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        """Ids of all texts (no lone surrogates), in order, on the calling thread alone."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """What these ids stand for; bytes that are no whole character become U+FFFD."""
        ...


def token_ids(batch: DocumentBatch, tokenizer: Tokenizer) -> TokenIds:
    """The batch's ids under this tokenizer, computed once per batch and fingerprint. Treat them as read-only."""
    return batch.view(("token_ids", tokenizer.fingerprint), lambda b: tokenizer.encode_batch(b.texts))


def fingerprint(tokenizer: str, pattern: str = "p50k_base", engine: Engine = "auto") -> str:
    """The fingerprint `load` would give, without building anything.

    An encoding's own name, or the xxh3-128 digest of a file's bytes (with the split pattern's name for ranks), so
    that a file keeps its identity wherever it lies. Raises ConfigError as `load` does, but does not notice a file
    that cannot be used or an encoding that cannot be had offline. The engine is no part of it, only checked.
    """
    source = _source(tokenizer, pattern)
    _check_engine(source, engine)
    return source.fingerprint


def load(tokenizer: str, pattern: str = "p50k_base", engine: Engine = "auto") -> Tokenizer:
    """Build a tokenizer; the last few stay in memory, so that taggers of one process share them.

    tokenizer  name of a tiktoken encoding, path of a ranks file (*.tiktoken) or of a Hugging Face tokenizer (*.json)
    pattern    for a ranks file: name of the tiktoken encoding whose split pattern goes with it
    engine     gigatoken: from the first text on, or an error; auto: after the first 3 million characters, if its ids
               are tiktoken's (else one warning), and silently not at all where it is not installed
    Raises ConfigError for an unknown name, a missing or unusable file, a missing package, an encoding out of reach,
    TaggerError for a gigatoken that gives other ids.
    """
    source = _source(tokenizer, pattern)
    _check_engine(source, engine)
    if source.kind == "json" or engine == "tiktoken" or not _has_gigatoken():
        return _load(source)
    return _load_fast(source, engine)


def join(per_document: Sequence[np.ndarray[Any, np.dtype[np.uint32]]]) -> TokenIds:
    """One flat array out of one array per document."""
    offsets = np.zeros(len(per_document) + 1, np.int64)
    np.cumsum([len(ids) for ids in per_document], out=offsets[1:])
    return TokenIds(np.concatenate([np.zeros(0, np.uint32), *per_document]), offsets)


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
        found: dict[bytes, int] = self._encoding._mergeable_ranks
        return found

    @functools.cached_property
    def scheme(self) -> str | None:
        """How it splits text: like r50k_base, cl100k_base or o200k_base, or None."""
        known = _definitions(b"").ENCODING_CONSTRUCTORS
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


class HuggingFaceTokenizer:
    """A `tokenizer.json` of the package `tokenizers`, without truncation, padding and special tokens."""

    def __init__(self, name: str, fingerprint: str, data: bytes) -> None:
        try:
            from tokenizers import Tokenizer as Model
        except ImportError as error:
            raise ConfigError(
                f"tokenizer {name!r} needs the package tokenizers: {how_to_install('hf', 'tokenizers')}"
            ) from error
        self.name = name
        self.fingerprint = fingerprint
        try:
            self._model = Model.from_str(data.decode())
        except Exception as error:  # the package raises bare Exception
            raise ConfigError(f"tokenizer must be a Hugging Face tokenizer.json, got {name!r}: {error}") from error
        self._model.no_truncation()
        self._model.no_padding()
        self._model.encode_special_tokens = True
        self.n_vocab: int = max(self._model.get_vocab(with_added_tokens=True).values(), default=0) + 1

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        # One call per document: the package's batch call starts a thread per core, and one worker is one thread.
        return join([np.array(self._model.encode(text, add_special_tokens=False).ids, np.uint32) for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._model.decode(list(ids), skip_special_tokens=False))


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


class _Source(NamedTuple):
    """Where a tokenizer comes from; `kind` is encoding, ranks or json."""

    kind: str
    name: str
    pattern: str
    fingerprint: str


def _source(tokenizer: str, pattern: str) -> _Source:
    path = Path(tokenizer)
    kind = {".tiktoken": "ranks", ".json": "json"}.get(path.suffix, "encoding")
    if kind != "ranks" and pattern != "p50k_base":
        raise ConfigError(f"pattern goes with a ranks file (*.tiktoken), got pattern {pattern!r} with {tokenizer!r}")
    if kind == "encoding":
        if tokenizer not in SHIPPED and tokenizer not in _encoding_names():
            if path.exists():
                raise ConfigError(
                    f"tokenizer must be a ranks file (*.tiktoken) or a Hugging Face tokenizer.json, got {tokenizer!r}"
                )
            known = unknown_name("tokenizer", tokenizer, _encoding_names(), "a tiktoken encoding")
            raise ConfigError(f"{known}, or the path of a ranks file (*.tiktoken) or tokenizer.json")
        return _Source(kind, tokenizer, "", tokenizer)
    if kind == "ranks" and pattern not in (known_patterns := _definitions(b"").ENCODING_CONSTRUCTORS):
        raise ConfigError(unknown_name("pattern", pattern, known_patterns, "a tiktoken encoding"))
    return _Source(
        kind, tokenizer, pattern, _digest.of_bytes(_read(tokenizer)) + (f":{pattern}" if kind == "ranks" else "")
    )


@functools.lru_cache(maxsize=4)
def _load(source: _Source) -> Tokenizer:
    if source.kind == "encoding":
        return TiktokenTokenizer(source.name, source.fingerprint, _encoding(source.name))
    data = _read(source.name)
    if source.kind == "json":
        return HuggingFaceTokenizer(source.name, source.fingerprint, data)
    from tiktoken import Encoding

    pattern = _definitions(b"").ENCODING_CONSTRUCTORS[source.pattern]()["pat_str"]
    try:
        ranks = _ranks(data)
        encoding = Encoding(source.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except ValueError as error:
        raise ConfigError(f"tokenizer must be a tiktoken ranks file, got {source.name!r}: {error}") from error
    return TiktokenTokenizer(source.name, source.fingerprint, encoding)


@functools.lru_cache(maxsize=4)
def _load_fast(source: _Source, engine: Engine) -> Tokenizer:
    from tagcorpus.taggers._gigatoken import LateGigatoken, checked

    exact = _load(source)
    assert isinstance(exact, TiktokenTokenizer)
    return checked(exact) if engine == "gigatoken" else LateGigatoken(exact)


def _check_engine(source: _Source, engine: Engine) -> None:
    if source.kind == "json" and engine != "auto":
        raise ConfigError(
            "engine goes with tiktoken's encodings and ranks files, "
            f"got engine {engine!r} with {source.name!r}: use auto"
        )
    if engine == "gigatoken" and not _has_gigatoken():
        raise ConfigError(
            "engine gigatoken needs the package gigatoken, which comes with tagcorpus for x86-64 and ARM processors: "
            "use auto, or install tagcorpus again"
        )


def _has_gigatoken() -> bool:
    return importlib.util.find_spec("gigatoken") is not None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"tokenizer must be a file that can be read, got {path!r}: {error.strerror}") from error


def _encoding_names() -> list[str]:
    import tiktoken

    return tiktoken.list_encoding_names()


def _encoding(name: str) -> Encoding:
    import tiktoken

    if name in SHIPPED:
        return tiktoken.Encoding(**_definitions(shipped_ranks()).ENCODING_CONSTRUCTORS[name]())
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the ranks of tokenizer {name!r} could not be fetched ({type(error).__name__}): without a network set "
            "TIKTOKEN_CACHE_DIR to a folder that holds them, or give the path of a ranks file (*.tiktoken) as "
            f"tokenizer and {name!r} as pattern"
        ) from error


def of_model(model: str) -> Tokenizer | None:
    """The tokenizer of one of OpenAI's models, where its ranks are on this machine; None for other names. Fetches nothing."""
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    return load(name, engine="tiktoken") if name in SHIPPED or _is_fetched(name) else None


def _is_fetched(name: str) -> bool:
    """Whether tiktoken has the ranks of an encoding in its cache, whole."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    folder = os.path.join(tempfile.gettempdir(), "data-gym-cache") if folder is None else folder
    files: list[tuple[str, str | None]] = []

    def note(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        files.append((url, expected_hash))
        return {}

    module = _definitions(b"")
    module.load_tiktoken_bpe = note
    module.ENCODING_CONSTRUCTORS[name]()
    for url, digest in files:
        path = Path(folder, hashlib.sha1(url.encode()).hexdigest())
        if not folder or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return False
    return bool(files)


def shipped_ranks() -> bytes:
    """p50k_base.tiktoken as tiktoken would download it."""
    import zstandard

    packed = (resources.files(__package__) / "_data" / "p50k_base.tiktoken.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompress(packed)


def _ranks(data: bytes) -> dict[bytes, int]:
    """Token bytes -> rank, out of a ranks file. Raises ValueError where it is none."""
    import base64

    pairs = (line.split() for line in data.splitlines() if line)
    ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    if len(ranks) < 256 or len(set(ranks.values())) < len(ranks):
        raise ValueError("a rank for each of the 256 bytes and no rank twice are the least it must have")
    return ranks


def _definitions(data: bytes) -> Any:
    """tiktoken's own definitions of its encodings, in a private copy of their module that loads no ranks but these.

    So patterns and special tokens stay tiktoken's, and whatever else uses tiktoken in this process is untouched.
    """
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def p50k(*_: str, **__: str) -> dict[bytes, int]:
        return _ranks(data) if data else {}

    def r50k(*_: str, **__: str) -> dict[bytes, int]:
        return {token: rank for token, rank in p50k().items() if rank < FIRST_P50K_RANK}

    def by_url(url: str, **_: str) -> dict[bytes, int]:
        return r50k() if url.endswith("/r50k_base.tiktoken") else p50k()

    module.load_tiktoken_bpe = by_url
    module.data_gym_to_mergeable_bpe_ranks = r50k
    return module

"""Loads a tokenizer by its name or file.

Three kinds: a tiktoken encoding by name, a tiktoken ranks file with the split pattern of a named encoding, and a
Hugging Face `tokenizer.json`. Special tokens are never produced: the text `<|endoftext|>` is ordinary text. Ids are not
cached beyond the batch. tiktoken, tokenizers and gigatoken compute the same ids.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Literal, NamedTuple

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.taggers._interface import digest
from tagcorpus.taggers._tokenizers.encodings import (
    SHIPPED,
    TiktokenTokenizer,
    definitions,
    encoding_names,
    encoding_of,
    is_fetched,
    ranks_of,
)
from tagcorpus.taggers._tokenizers.hugging_face import HuggingFaceTokenizer
from tagcorpus.taggers._tokenizers.interface import Tokenizer

Engine = Literal["auto", "tiktoken", "gigatoken"]
"""The package that computes the ids of tiktoken's encodings. auto is gigatoken where it is installed, exact and worth its start."""


def fingerprint(tokenizer: str, pattern: str = "p50k_base", engine: Engine = "auto") -> str:
    """The fingerprint `load` would give, without building anything.

    An encoding's own name, or the xxh3-128 digest of a file's bytes (with the split pattern's name for ranks), so
    that a file keeps its identity wherever it is. Raises ConfigError as `load` does, but does not notice a file
    that cannot be used or an encoding that needs a network. The engine is checked but is not a part of the fingerprint.
    """
    source = _source(tokenizer, pattern)
    _check_engine(source, engine)
    return source.fingerprint


def load(tokenizer: str, pattern: str = "p50k_base", engine: Engine = "auto") -> Tokenizer:
    """Build a tokenizer; the last few stay in memory, so that taggers of one process share them.

    tokenizer  name of a tiktoken encoding, path of a ranks file (*.tiktoken) or of a Hugging Face tokenizer (*.json)
    pattern    for a ranks file: name of the tiktoken encoding whose split pattern goes with it
    engine     gigatoken: from the first text on, or an error; auto: after the first 3 million characters, if its ids
               are the same (else one warning), and silently not at all where it is not installed or does not have that
               kind of tokenizer
    Raises ConfigError for an unknown name, a missing or unusable file, a missing package, an encoding out of reach,
    TaggerError for a gigatoken that gives other ids.
    """
    source = _source(tokenizer, pattern)
    _check_engine(source, engine)
    if engine == "tiktoken" or not _has_gigatoken():
        return _load(source)
    return _load_fast(source, engine)


def load_early(tokenizer: str, pattern: str = "p50k_base", engine: Engine = "auto") -> None:
    """Load a tokenizer for much text: one of tiktoken's encodings changes to gigatoken, after the check, before any text has come."""
    loaded = load(tokenizer, pattern, engine)
    if _source(tokenizer, pattern).kind != "json":
        getattr(loaded, "choose", lambda: None)()


def of_model(model: str) -> Tokenizer | None:
    """The tokenizer of one of OpenAI's models, where its ranks are on this machine; None for other names. Fetches nothing."""
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    return load(name, engine="tiktoken") if name in SHIPPED or is_fetched(name) else None


class _Source(NamedTuple):
    """The source of a tokenizer; `kind` is encoding, ranks or json."""

    kind: str
    name: str
    pattern: str
    fingerprint: str


def _source(tokenizer: str, pattern: str) -> _Source:
    path = Path(tokenizer)
    kind = {".tiktoken": "ranks", ".json": "json"}.get(path.suffix, "encoding")
    if kind != "ranks" and pattern != "p50k_base":
        raise ConfigError(f"pattern needs a ranks file (*.tiktoken), got pattern {pattern!r} with {tokenizer!r}")
    if kind == "encoding":
        if tokenizer not in SHIPPED and tokenizer not in encoding_names():
            if path.exists():
                raise ConfigError(
                    f"tokenizer must be a ranks file (*.tiktoken) or a Hugging Face tokenizer.json, got {tokenizer!r}"
                )
            known = unknown_name("tokenizer", tokenizer, encoding_names(), "a tiktoken encoding")
            raise ConfigError(f"{known}, or the path of a ranks file (*.tiktoken) or tokenizer.json")
        return _Source(kind, tokenizer, "", tokenizer)
    if kind == "ranks" and pattern not in (known_patterns := definitions(b"").ENCODING_CONSTRUCTORS):
        raise ConfigError(unknown_name("pattern", pattern, known_patterns, "a tiktoken encoding"))
    return _Source(
        kind, tokenizer, pattern, digest.of_bytes(_read(tokenizer)) + (f":{pattern}" if kind == "ranks" else "")
    )


@functools.lru_cache(maxsize=4)
def _load(source: _Source) -> Tokenizer:
    if source.kind == "encoding":
        return TiktokenTokenizer(source.name, source.fingerprint, encoding_of(source.name))
    data = _read(source.name)
    if source.kind == "json":
        return HuggingFaceTokenizer(source.name, source.fingerprint, data)
    from tiktoken import Encoding

    pattern = definitions(b"").ENCODING_CONSTRUCTORS[source.pattern]()["pat_str"]
    try:
        ranks = ranks_of(data)
        encoding = Encoding(source.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except ValueError as error:
        raise ConfigError(f"tokenizer must be a tiktoken ranks file, got {source.name!r}: {error}") from error
    return TiktokenTokenizer(source.name, source.fingerprint, encoding)


@functools.lru_cache(maxsize=4)
def _load_fast(source: _Source, engine: Engine) -> Tokenizer:
    from tagcorpus.taggers._tokenizers.gigatoken_ids import LateGigatoken, checked

    exact = _load(source)
    assert isinstance(exact, (TiktokenTokenizer, HuggingFaceTokenizer))
    if engine == "gigatoken":
        assert isinstance(exact, TiktokenTokenizer)
        return checked(exact)
    return LateGigatoken(exact)


def _check_engine(source: _Source, engine: Engine) -> None:
    if source.kind == "json" and engine != "auto":
        raise ConfigError(
            "engine needs one of tiktoken's encodings or a ranks file, "
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

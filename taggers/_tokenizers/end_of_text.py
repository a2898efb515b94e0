"""The end-of-text token (EOS) of a tokenizer: which one it is, and where that is said. Nothing is guessed without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._tokenizers.encodings import special_tokens_of

# Names of end-of-text tokens in published tokenizers. One of them among the special tokens decides where no file says more.
USUAL = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>", "<｜end▁of▁sentence｜>")
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")
SHOWN = 12


class EndOfText(NamedTuple):
    """An EOS token. `source`: the place that says so, for messages."""

    token: str
    id: int
    source: str


def end_of_text(tokenizer: str, token: str | None = None) -> EndOfText:
    """The EOS of a tokenizer (a name or a file, as `loading.load` takes it), or this token as its EOS.

    Raises ConfigError where the vocabulary has no such token, and where nothing says which one it is.
    """
    suffix = Path(tokenizer).suffix
    if suffix == ".json":
        return _of_json(Path(tokenizer), token)
    if suffix == ".tiktoken":
        return _of_ranks(Path(tokenizer), token)
    return _chosen(special_tokens_of(tokenizer), token, "<|endoftext|>", f"encoding {tokenizer}", tokenizer)


def _of_ranks(path: Path, token: str | None) -> EndOfText:
    from tagcorpus.taggers._tokenizers.encodings import ranks_of

    if token is None:
        raise ConfigError(f"a ranks file has no end-of-text token: name one of {path} with --eos TOKEN")
    try:
        ranks = ranks_of(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer must be a tiktoken ranks file, got {str(path)!r}: {error}") from error
    number = ranks.get(token.encode())
    if number is None:
        raise ConfigError(f"--eos {token!r} is not in the vocabulary of tokenizer {str(path)!r}")
    return EndOfText(token, number, "--eos")


def _of_json(path: Path, token: str | None) -> EndOfText:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"tokenizer must be a Hugging Face tokenizer.json, got {str(path)!r}: {error}") from error
    added = [t for t in value.get("added_tokens") or [] if isinstance(t, dict)]
    vocabulary = dict(_vocabulary(value.get("model") or {}))
    vocabulary |= {t["content"]: t["id"] for t in added if "content" in t and "id" in t}
    if token is not None:
        return _chosen(vocabulary, token, "", "--eos", str(path))
    for name in CONFIGS:
        beside = path.with_name(name)
        said = _eos_in(beside)
        if said is not None:
            return _chosen(vocabulary, None, said, str(beside), str(path))
    special = {t["content"]: t["id"] for t in added if t.get("special") and "content" in t and "id" in t}
    usual = [t for t in USUAL if t in special]
    if len(usual) == 1:
        return EndOfText(usual[0], special[usual[0]], f"the special tokens of {path}")
    named = ", ".join(map(repr, usual or list(special)[:SHOWN])) or "none"
    raise ConfigError(
        f"nothing says which token ends a text of tokenizer {str(path)!r} (no eos_token in {' or '.join(CONFIGS)} beside it; "
        f"special tokens: {named}): name it with --eos TOKEN"
    )


def _vocabulary(model: dict[str, Any]) -> dict[str, int]:
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, dict):
        return vocabulary
    return {entry[0]: i for i, entry in enumerate(vocabulary)}  # of a unigram model: [token, score]


def _eos_in(path: Path) -> str | None:
    """`eos_token` of a file beside the tokenizer; None where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON ({error}): repair it, or name the token with --eos TOKEN") from error
    token = value.get("eos_token") if isinstance(value, dict) else None
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _chosen(known: dict[str, int], token: str | None, usual: str, source: str, tokenizer: str) -> EndOfText:
    name = usual if token is None else token
    if name not in known:
        said = "--eos" if token is not None else source
        raise ConfigError(
            f"the end-of-text token {name!r} ({said}) is not in the vocabulary of tokenizer {tokenizer!r}: name one that is "
            "there with --eos TOKEN"
        )
    return EndOfText(name, known[name], "--eos" if token is not None else source)

"""The common part of the parsers of `syntax`: versions, codes of languages, and groups that one bad document does not spoil."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.metadata import version

from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._syntax.statistics import Parse

# CLD2's code, and the parsers' code of that language.
_OTHER_CODES = {"iw": "he", "jw": "jv", "no": "nb", "zh": "zh-hans", "zh-Hant": "zh-hant"}

Parsed = Parse | Exception
"""A document's parse, or the error that it met."""


def installed(name: str) -> str:
    """`name` with its version. ConfigError with the pip command where it is not installed; imports nothing."""
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"syntax.backend={name} needs the package {name}: {how_to_install('parse', name)}; or --set syntax.backend=parsed for documents that "
            "carry their parses"
        )
    return f"{name} {version(name)}"


def parser_code(language: str, known: Collection[str]) -> str | None:
    """The parser's code of a language of CLD2; None where the parser has no model of it."""
    return next((c for c in (language, _OTHER_CODES.get(language)) if c in known), None)


def parse_groups(
    texts: Sequence[str], parse: Callable[[Sequence[str]], Sequence[Parsed]], characters: int
) -> list[Parsed]:
    """Parse in groups of so many characters, or of one longer document. A group that fails is halved, down to the document
    that is to blame."""
    parses: list[Parsed] = []
    for group in _groups(texts, characters):
        left = [group]
        while left:
            part = left.pop()
            try:
                parses.extend(parse(part))
            except TagcorpusError:
                raise
            except Exception as error:
                if len(part) == 1:
                    # Without the frames, which keep the parser's objects of the document in memory.
                    parses.append(error.with_traceback(None))
                else:
                    half = len(part) // 2
                    left += [part[half:], part[:half]]
    return parses


def _groups(texts: Sequence[str], characters: int) -> Iterator[Sequence[str]]:
    start, size = 0, 0
    for end, text in enumerate(texts):
        if size and size + len(text) > characters:
            yield texts[start:end]
            start, size = end, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]

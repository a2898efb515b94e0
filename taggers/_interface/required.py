"""Text that every match of a regular expression contains. Searching it first is many times faster than the expression.

`re` itself searches only for text that a match begins with. The texts come from the parsed expression, an internal part of the
standard library. Where that part is missing, no text is required, and the expression must be tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

try:
    from re import _constants, _parser  # type: ignore[attr-defined]
except ImportError:  # pragma: no cover - some future Python
    _parser = None


def required_texts(pattern: str) -> tuple[str, ...]:
    """Texts of which every match contains at least one; empty where none is known.

    A part that ignores case requires no text.
    Example  r"^import \\w+|require\\(['\\"]" -> ("import ", "require(")
    """
    if _parser is None:
        return ()
    parsed = _parser.parse(pattern)
    return () if parsed.state.flags & _constants.SRE_FLAG_IGNORECASE else _of_sequence(parsed)


def _of_sequence(parsed: Iterable[tuple[Any, Any]]) -> tuple[str, ...]:
    """The best requirement of the elements: the one whose shortest text is longest."""
    return max(_candidates(parsed), key=lambda texts: min(map(len, texts), default=0), default=())


def _candidates(parsed: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, ...]]:
    run = ""
    for op, value in parsed:
        if op is _constants.LITERAL:
            run += chr(value)
            continue
        if run:
            yield (run,)
            run = ""
        if op is _constants.BRANCH:
            branches = [_of_sequence(branch) for branch in value[1]]
            if all(branches):
                yield tuple(text for branch in branches for text in branch)
        elif op is _constants.SUBPATTERN and not value[1] & _constants.SRE_FLAG_IGNORECASE:
            yield _of_sequence(value[-1])
        elif op in (_constants.MAX_REPEAT, _constants.MIN_REPEAT) and value[0] > 0:
            yield _of_sequence(value[2])
    if run:
        yield (run,)

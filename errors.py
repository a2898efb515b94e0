"""The exception tree. The command line catches the root only and exits with the class's `exit_code`.

TagcorpusError          1   failed; will fail again unchanged
  ConfigError           2   wrong option, unknown name, contradictory parameters
  InputError            2   an input that is missing, has the name of another one, or has no text
    InputTypeError      2   a Python object that is neither a table nor texts; also a TypeError
  OutputError           1   the output cannot be written (full disk, no permission)
  TaggerError           1   a tagger or its model cannot work at all (a single bad row is quarantined instead)
  ConflictError         1   a store has another value under the same key, and no rule decides which one stays
  LostRowsError         1   the conservation count does not add up
  IncompleteError       4   some chunks have no parts yet; the same command may finish them
    LLMError            4   the endpoint kept failing after all retries
    DamagedError        4   a working file is damaged or missing; it was removed, so that the next run makes it again
    ReplacedError       4   another run on the same output has replaced what this one made
  BudgetError           5   a budget the user set would be passed
"""

from __future__ import annotations

import difflib
import os
import re
import resource
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class TagcorpusError(Exception):
    """Root of every error this package raises on purpose; its text is one sentence for the user."""

    exit_code = 1
    misplanned = ""
    """Name or path of an input whose chunks differ from the plan: the next run plans the input again."""


class ConfigError(TagcorpusError):
    exit_code = 2


class InputError(TagcorpusError):
    exit_code = 2


class InputTypeError(InputError, TypeError):
    exit_code = 2


class OutputError(TagcorpusError):
    exit_code = 1


class TaggerError(TagcorpusError):
    exit_code = 1


class ConflictError(TagcorpusError):
    exit_code = 1


class LostRowsError(TagcorpusError):
    exit_code = 1


class IncompleteError(TagcorpusError):
    exit_code = 4


class LLMError(IncompleteError):
    exit_code = 4


class DamagedError(IncompleteError):
    exit_code = 4


class ReplacedError(IncompleteError):
    exit_code = 4


class BudgetError(TagcorpusError):
    exit_code = 5


@contextmanager
def speaking_of(instance: str, tagger: str) -> Iterator[None]:
    """Errors raised within name parameters by the instance (`instance.parameter`), not by the tagger.

    Example  dclm=fasttext: `fasttext.model must be a file` becomes `dclm.model must be a file`
    """
    try:
        yield
    except TagcorpusError as error:
        if instance != tagger:
            message = re.sub(rf"\b{re.escape(tagger)}(?=\.[a-z])", instance, str(error))
            error.args = (message if instance in message else f"{instance}: {message}",)
        raise


# With less, two workers of one thread each do not start: measured with steps of 50 MB on a machine of 2 cores.
LEAST_ADDRESS_SPACE = 512 << 20
# With less, the threads of NumPy's BLAS, one for each core, may have no room: OpenBLAS then tries again without end.
AMPLE_ADDRESS_SPACE = 8 << 30


def check_address_space() -> None:
    """Call before NumPy is imported. Raises TagcorpusError for a limit (ulimit -v) under which no run can start."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or limit >= AMPLE_ADDRESS_SPACE:
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if limit < LEAST_ADDRESS_SPACE:
        raise TagcorpusError(f"the memory does not suffice to start{memory_hint()}")


def memory_hint() -> str:
    """Advice for memory that was refused because of a limit of the shell; empty without a limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"; this shell limits the address space (ulimit -v {limit // 1024}): raise the limit to 8000000 or more"


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; a thread that cannot be started lacks the memory for its stack."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def out_of_memory(error: BaseException) -> TagcorpusError:
    """One sentence for memory that was refused outside of a tagger."""
    remedy = memory_hint() or "; give the run fewer --workers, or more memory"
    return TagcorpusError(f"out of memory ({str(error) or type(error).__name__}){remedy}")


def valid_text(text: str) -> str:
    """A path, or a text with paths in it, as valid text: file names are bytes, and need not be UTF-8.

    Bytes that are UTF-8 become their characters, even where an ASCII locale made each of them a lone surrogate. Other bytes become
    an escape. Never open a file by the result.
    Example  the file whose name is the bytes 61 FF -> a\\xff
    """
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that is not an escaped byte
        return text.encode("utf-8", "backslashreplace").decode()


def valid_values(value: Any) -> Any:
    """`valid_text` for all strings in a JSON value, names of fields included."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {valid_values(k): valid_values(v) for k, v in value.items()}
    return [valid_values(v) for v in value] if isinstance(value, list | tuple) else value


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """One sentence for an unknown name: its kind, where it was given, the nearest known name, and all known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r} ({where}){hint} Known: {', '.join(known)}"


def folded(name: str) -> str:
    """The text in lower case (case-folded) and Unicode's form NFKC, with single spaces: what people take for one is equal."""
    plain = name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()
    return " ".join(plain.split())


def spelled_otherwise(names: Iterable[str], known: Iterable[str]) -> str:
    """A clause about names that are not known, but known in other case or with other spaces; "" where there are none.

    Example  (["A"], ["a", "b"]) -> "1 of them differs by case or spaces only ('A', there 'a')"
    """
    by_fold = {folded(name): name for name in names}
    pairs = {by_fold[own]: other for other in known if (own := folded(other)) in by_fold and by_fold[own] != other}
    if not pairs:
        return ""
    own, other = next(iter(pairs.items()))
    verb = "differs" if len(pairs) == 1 else "differ"
    return f"{len(pairs):,} of them {verb} by case or spaces only ({own!r}, there {other!r})"

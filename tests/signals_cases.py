"""Random documents for the tagger `signals`, and verdicts on documents: from its columns, and from datatrove's own filters."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import pyarrow as pa

from tagcorpus.pipelines.filtering.presets import presets
from tagcorpus.taggers import DocumentBatch
from tagcorpus.taggers.signals import Signals

_PLAIN = """the be to of and that have with The It house river mountain quick brown over lazy dogs international responsibility
x y ab abc was under a ready morning"""
_ODD = """'s n't don't can't U.S. e.g. 3.14 1,000 12:30 a.m. é naïve Straße 日本語 语言。 مرحبا؟ नमस्ते। Ελλάδα; İstanbul ǅ ﬁne \u212a № ½ ² Ⅷ
. . . . , , ! ? ; : ... … … # ## - -- — – • * " ' ” ’ ( ) [ ] { } < > / = + & @ % $ | _ ~ [1] [12] [edit] javascript JavaScript
http://example.com/a?b=c me@example.org 10.0.0.1 555-123-4567 :-) (o: ≠"""
PLAIN, ODD = _PLAIN.split(), _ODD.split()
PHRASES = (
    *("[citation needed]", "lorem ipsum", "Lorem [3]ipsum", "terms of use", "privacy policy", "coo[1]kie policy"),
    *("uses cookies", "use of cookies", "use coo\u212aies", "a" * 1000, "b" * 1001),
)
FRAGMENTS = (*PLAIN, *ODD, *PHRASES)
BREAKS = ("\n", "\n", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029")
SPACES = (" ", " ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "", "\x1f")
ENDS = (".", ".", "!", "?", "...", "…", "", ' "', "。", ".[2]")


def random_document(generator: random.Random) -> str:
    """Sentences, lists and noise in random shares, with repeats of words and lines."""
    common = generator.sample(FRAGMENTS, generator.randint(2, 25))
    noise, end, repeat = generator.choice((0, 0.02, 0.2)), generator.random() * 0.3, generator.choice((0, 0.1, 0.4))
    is_prose = generator.random() < 0.5
    lines: list[str] = []
    for _ in range(generator.randint(0, 25)):
        if lines and generator.random() < repeat:
            lines.append(generator.choice(lines))
            continue
        words: list[str] = []
        while len(words) < 30 and (not words or generator.random() > end):
            pool = FRAGMENTS if generator.random() < noise else common if generator.random() < 0.4 else PLAIN
            pool = PLAIN if is_prose and generator.random() < 0.8 else pool
            words += [generator.choice(pool), generator.choice(SPACES) if generator.random() < noise else " "]
        lines.append("".join(words[:-1]) + generator.choice(ENDS))
    breaks = BREAKS if noise else BREAKS[:5]
    return "".join(line + generator.choice(breaks) for line in lines)


def conditions() -> dict[str, str]:
    """The condition for each of datatrove's filters; the preset gopher is two of them."""
    gopher = presets()["gopher"].keep.items()
    quality = [sql for name, sql in gopher if name.startswith("gopher_")]
    repetition = [sql for name, sql in gopher if not name.startswith("gopher_")]
    return {
        "GopherQualityFilter": " AND ".join(f"({sql})" for sql in quality),
        "GopherRepetitionFilter": " AND ".join(f"({sql})" for sql in repetition),
        "C4QualityFilter": presets()["c4-verdict"].where,
        "FineWebQualityFilter": presets()["fineweb"].where,
    }


def verdicts_of(tagger: Signals, texts: list[str]) -> dict[str, list[bool]]:
    """Per filter, the verdicts from our columns."""
    columns = pa.Table.from_batches([tagger.tag(DocumentBatch.from_texts(texts))])  # noqa: F841 - DuckDB reads it
    sql = ", ".join(f"({condition})" for condition in conditions().values())
    rows = duckdb.connect().execute(f"SELECT {sql} FROM columns").fetchall()
    return {name: [row[i] for row in rows] for i, name in enumerate(conditions())}


def published(texts: list[str], **arguments: Any) -> dict[str, list[bool | None]]:
    """Per filter, the verdicts of datatrove itself; None where it raises."""
    from datatrove.data import Document
    from datatrove.pipeline import filters

    verdicts: dict[str, list[bool | None]] = {}
    for name in conditions():
        one = getattr(filters, name)(**arguments)
        verdicts[name] = []
        for text in texts:
            try:
                verdicts[name].append(one.filter(Document(text, "0")) is True)
            except (ArithmeticError, LookupError, ValueError):
                verdicts[name].append(None)
    return verdicts

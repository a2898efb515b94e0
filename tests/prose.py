"""The style of the pages: `python tests/prose.py` lists sentences that are too long, and phrases that readers stumble over.

Code and links' targets do not count. Tables count for phrases, not for length. The rules are those of CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS_AT_MOST = 32
# Phrase -> what to write.
PHRASES = {
    r"\bat hand\b": "say where the thing is",
    r"\bnone of (it|them|these)\b is\b": "say what is not",
    r"(?<!there )\bis no (?!longer\b)": '"is not a ..."',
    r"(?<!there )\bare no (?!longer\b)": '"are not ..."',
    r"\bstands? (in|for|below|above|beside|under)\b": '"is"',
    r"\blies? (in|below|above|beside|under)\b": '"is"',
    r"\bone's\b": "name the owner",
    r"\bused to\b(?= (be|do|have|give|take))": "no history",
    r"\bnowadays\b|\bmeanwhile\b|\bby now\b": "no history",
    r"\bso much (do|does|for)\b": "say how much",
    r"\bof such an?\b": "name the thing first",
    r"\bsimply\b|\bobviously\b|\bof course\b": "leave out",
    r"\bworld.class\b|\bblazing": "no boast",
    r"\bsidecars?\b": '"attributes"',
    r"\binstruments?\b": '"measured with" or "provenance"',
    r"\b(is|are|was|were|be) told\b": '"print", "name" or "say", with a subject',
    r"\bwanted\b|\bwants\b": '"need" or "require"',
    r"\bfurther(?! reading\b)": '"other" or "more"',
    r"\balike\b": '"equal" or "similar"',
    r"\bwhatever\b|\bwhoever\b": "name who or what",
    r"\bmended?\b": '"repair"',
    r"\bgo(es)? (with|together)\b": '"correlate" or "belong to"',
}
# Names that begin a sentence in lower case.
LOWER_CASE = (
    "tagcorpus",
    "datatrove",
    "gigatoken",
    "tiktoken",
    "fasttext",
    "spaCy",
    "lm_eval",
    "pyarrow",
    "pandas",
    "numpy",
)
GENERATED = ("options.md", "paper-reproduction.md")


def pages() -> list[Path]:
    docs = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in GENERATED)
    others = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/RESULTS.md")
    return [*(ROOT / name for name in others), *docs]


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each paragraph and list item, without code, tables and headings."""
    lines: list[str] = []
    first = 0
    fence = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        stripped = line.strip()
        if stripped.startswith("```"):
            fence = "" if fence else "```"
        is_text = (
            not fence
            and stripped
            and not stripped.startswith(("|", "#", "```", "!", "<"))
            and not line.startswith("    ")
        )
        is_item = bool(re.match(r"([-*]|\d+\.) ", stripped))
        if lines and (not is_text or is_item):
            yield first, " ".join(lines)
            lines = []
        if is_text:
            first = first if lines else number
            lines.append(re.sub(r"^([-*]|\d+\.) ", "", stripped))


def table_rows(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each row of a table."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|"):
            yield number, line


def plain(text: str) -> str:
    """The text without code and links' targets."""
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "CODE", text))


def sentences(paragraph: str) -> list[str]:
    return re.split(r"(?<=[.?!])\)?\s+(?=[\w\"*\[(])|(?<=[:;])\s+(?=[A-Z\"*\[(])", plain(paragraph))


def phrases(text: str) -> Iterator[str]:
    for pattern, instead in PHRASES.items():
        if match := re.search(pattern, text, re.IGNORECASE):
            yield f"{match[0]!r}, write {instead}: {text[:90]}"


def complaints(path: Path) -> Iterator[str]:
    """What to mend in a page, a line each."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for line, paragraph in paragraphs(text):
        place = f"{path.name}:{line}"
        if re.match(r"[a-z]", lines[line - 1]) and not paragraph.startswith(LOWER_CASE):
            yield f"{place}: begin a paragraph with its subject: {paragraph[:90]}"
        for sentence in sentences(paragraph):
            n = len(re.findall(r"[\w'-]+", sentence))
            if n > WORDS_AT_MOST:
                yield f"{place}: {n} words: {sentence[:90]}"
            yield from (f"{place}: {phrase}" for phrase in phrases(sentence))
    for line, row in table_rows(text):
        yield from (f"{path.name}:{line}: {phrase}" for phrase in phrases(plain(row)))


if __name__ == "__main__":
    lines = [line for path in pages() for line in complaints(path)]
    print("\n".join(lines))
    sys.exit(bool(lines))

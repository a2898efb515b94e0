"""The style of the pages: `python tests/prose.py` lists sentences that are too long, and phrases that readers stumble over.

Code, tables and links' targets do not count. The rules are those of CONTRIBUTING.md.
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
    r"\bis no (?!longer\b)": '"is not a ..."',
    r"\bare no (?!longer\b)": '"are not ..."',
    r"\bstands? (in|for|below|above|beside|under)\b": '"is"',
    r"\blies? (in|below|above|beside|under)\b": '"is"',
    r"\bone's\b": "name the owner",
    r"\bused to\b(?= (be|do|have|give|take))": "no history",
    r"\bnowadays\b|\bmeanwhile\b|\bby now\b": "no history",
    r"\bso much (do|does|for)\b": "say how much",
    r"\bof such an?\b": "name the thing first",
    r"\bsimply\b|\bobviously\b|\bof course\b": "leave out",
    r"\bworld.class\b|\bblazing": "no boast",
}
GENERATED = ("options.md", "paper-reproduction.md")


def pages() -> list[Path]:
    docs = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in GENERATED)
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


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


def sentences(paragraph: str) -> list[str]:
    """The sentences, with code and links' targets taken out."""
    plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "CODE", paragraph))
    return re.split(r"(?<=[.?!:;])\s+(?=[A-Z\"*\[(])", plain)


def complaints(path: Path) -> Iterator[str]:
    """What to mend in a page, a line each."""
    for line, paragraph in paragraphs(path.read_text(encoding="utf-8")):
        for sentence in sentences(paragraph):
            n = len(re.findall(r"[\w'-]+", sentence))
            if n > WORDS_AT_MOST:
                yield f"{path.name}:{line}: {n} words: {sentence[:90]}"
            for pattern, instead in PHRASES.items():
                if match := re.search(pattern, sentence, re.IGNORECASE):
                    yield f"{path.name}:{line}: {match[0]!r}, write {instead}: {sentence[:90]}"


if __name__ == "__main__":
    lines = [line for path in pages() for line in complaints(path)]
    print("\n".join(lines))
    sys.exit(bool(lines))

"""Parses word by word: distances in dependency trees, depths in constituency trees. Reads parses that documents carry as text.

CoNLL-U as universaldependencies.org/format.html defines it, and bracketed trees, one a line, as Penn Treebank tools and
Stanza write them. No function recurses, so a tree may have any depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# Labels of the node above the sentence, which is not counted. A node without a label is such a node, too.
ROOTS = frozenset({"", "ROOT", "TOP", "S1", "VROOT"})
_TOKEN = re.compile(r"[()]|[^() \t\r]+")
_COLUMNS = 10


class MalformedParse(Exception):
    """Text that is not CoNLL-U, or not a tree. The message names the line and the fault."""


@dataclass
class Dependencies:
    """One entry a word, over all sentences of a document; tags are None where the parser gave none."""

    words: list[str] = field(default_factory=list)
    upos: list[str | None] = field(default_factory=list)
    xpos: list[str | None] = field(default_factory=list)
    to_head: list[int] = field(default_factory=list)
    to_root: list[int] = field(default_factory=list)

    def add_heads(self, heads: Sequence[int]) -> None:
        """The distances in one sentence; its words and tags are added apart.

        heads  of each word, the number of its head, counted from 1; 0 for a root, of which the last one counts.
        ValueError where there is no root, or a head that is no word.
        """
        n = len(heads)
        root = next((i for i in range(n, 0, -1) if heads[i - 1] == 0), 0)
        if not root:
            raise ValueError("a sentence without a root")
        if not 0 <= min(heads) <= max(heads) <= n:
            raise ValueError(f"a head that is none of the sentence's {n} words")
        self.to_head += [abs(i - head) if head else 0 for i, head in enumerate(heads, 1)]
        self.to_root += [abs(i - root) for i in range(1, n + 1)]


@dataclass
class Constituents:
    """One entry a word, over all sentences of a document; `tree_depths` and `sentence_words` repeat the sentence's."""

    words: list[str] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    word_depths: list[int] = field(default_factory=list)
    tree_depths: list[int] = field(default_factory=list)
    sentence_words: list[int] = field(default_factory=list)
    num_sentences: int = 0

    def add(self, words: Sequence[str], tags: Sequence[str | None], depths: Sequence[int]) -> None:
        """One sentence; `depths` from 0 at the root's child."""
        self.words += words
        self.tags += tags
        self.word_depths += depths
        self.tree_depths += [max(depths)] * len(depths)
        self.sentence_words += [len(depths)] * len(depths)
        self.num_sentences += 1


def read_conllu(text: str) -> Dependencies:
    """The words of CoNLL-U text; not its multiword tokens (1-2), which only name several words, nor empty nodes (5.1), which
    no word of the text is. MalformedParse with the line."""
    dependencies = Dependencies()
    heads: list[int] = []
    at_lines: list[int] = []  # of the words that have these heads

    def close(line: int) -> None:
        if heads:
            try:
                dependencies.add_heads(heads)
            except ValueError as error:
                raise MalformedParse(f"conllu: {error}, in the sentence that ends before line {line}") from error
            if word := _word_in_a_cycle(heads):
                raise MalformedParse(
                    f"conllu: line {at_lines[word - 1]}: no tree: from head to head, word {word} leads back to itself"
                )
            heads.clear()
            at_lines.clear()

    number = 0
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            close(number)
        elif not line.startswith("#"):
            cells = line.split("\t", _COLUMNS)
            if len(cells) != _COLUMNS:
                raise MalformedParse(
                    f"conllu: line {number} must have {_COLUMNS} columns between tabs, got {len(cells)}: {line[:80]!r}"
                )
            if not cells[0].isdecimal():
                if re.fullmatch(r"[0-9]+[-.][0-9]+", cells[0]):
                    continue
                raise MalformedParse(f"conllu: line {number} must begin with a word's number, got {cells[0][:80]!r}")
            if cells[0] != str(len(heads) + 1):
                raise MalformedParse(f"conllu: line {number} must be word {len(heads) + 1}, got {cells[0][:80]!r}")
            # Longer than any sentence: int() takes quadratic time, and refuses past 4,300 digits.
            if not (cells[6].isdecimal() and cells[6].isascii() and len(cells[6]) < 10):
                raise MalformedParse(
                    f"conllu: line {number} must have a head's number in column 7, got {cells[6][:80]!r}"
                )
            heads.append(int(cells[6]))
            at_lines.append(number)
            dependencies.words.append(cells[1])
            dependencies.upos.append(None if cells[3] == "_" else cells[3])
            dependencies.xpos.append(None if cells[4] == "_" else cells[4])
    close(number + 1)
    return dependencies


def _word_in_a_cycle(heads: Sequence[int]) -> int:
    """A word whose heads never end at a root, counted from 1; 0 where there is none. Every head must be a word, or 0.

    Each word is passed once: a way upwards ends where an earlier one has been.
    """
    passed_by = [0] * (len(heads) + 1)  # the word from which the way began; 0 = none has been there
    for first in range(1, len(heads) + 1):
        word = first
        while word and not passed_by[word]:
            passed_by[word] = first
            word = heads[word - 1]
        if word and passed_by[word] == first:
            return word
    return 0


def read_trees(text: str) -> Constituents:
    """The words of bracketed trees, one a line; blank lines are none. MalformedParse with the line.

    An outermost node with a label of ROOTS stands above depth 0, any other one at depth 0. Several words under one label
    are one word with spaces in it; -LRB- and -RRB- are brackets, as Stanza reads both.
    """
    constituents = Constituents()
    for number, line in enumerate(_lines(text), 1):
        if line.strip():
            try:
                constituents.add(*_read_tree(line))
            except ValueError as error:
                raise MalformedParse(f"constituency: line {number}: {error}: {line[:80]!r}") from error
    return constituents


def _read_tree(line: str) -> tuple[list[str], list[str | None], list[int]]:
    words: list[str] = []
    tags: list[str | None] = []
    depths: list[int] = []
    labels: list[str | None] = []  # of the nodes that are open; None = not read yet
    pieces: list[str] = []  # of the word that is being read
    before = ""  # the token before: (, ), l = label, w = word
    for match in _TOKEN.finditer(line):
        token = match[0]
        if before == ")" and not labels:
            raise ValueError("text after the tree: one tree a line")
        if token == "(":
            if before == "w":
                raise ValueError("a node beside a word under the same label")
            if before == "(":
                if len(labels) > 1:
                    raise ValueError("a node without a label")
                labels[-1] = ""
            labels.append(None)
            before = "("
        elif token == ")":
            if before in ("", "(", "l"):
                raise ValueError("a node without words" if labels else "it must begin with a bracket")
            label = labels.pop()
            if before == "w":
                words.append(" ".join(pieces).replace("-LRB-", "(").replace("-RRB-", ")"))
                tags.append(label)
                depths.append(len(labels))
                pieces.clear()
            if not labels:
                root = label
            before = ")"
        elif not labels:
            raise ValueError("it must begin with a bracket")
        elif before == "(":
            labels[-1] = token
            before = "l"
        elif before == ")":
            raise ValueError("a word beside a node under the same label")
        else:
            pieces.append(token)
            before = "w"
    if labels:
        raise ValueError(f"{len(labels)} brackets are never closed: one tree a line")
    if root not in ROOTS:
        depths = [d + 1 for d in depths]
    return words, tags, depths


def _lines(text: str) -> Iterator[str]:
    """Lines that end with a line feed and with nothing else: a word may hold any other separator. One at a time. What a
    file's first bytes may be, a byte order mark, is none of the first line."""
    start = len(text) - len(text.removeprefix("\ufeff"))
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end].removesuffix("\r")
        start = end + 1

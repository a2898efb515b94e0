"""Labelled texts, and which of them are held out: decided by the seed and the text alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.labels.agreement import UNKNOWN
from tagcorpus.pipelines.labels.label_table import ERROR, OFF_MENU, TEXT_COLUMNS, Labelled, read_labels
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.language import main_languages

NOT_LEARNT = (ERROR, OFF_MENU, UNKNOWN)
LANGUAGE = "language"


@dataclass(frozen=True)
class Examples:
    """Documents with a text and a label, ordered by the hash of their texts, and what was left out (reason -> documents).

    digest  of all texts and labels
    """

    documents: list[Labelled]
    left_out: dict[str, int]
    column: str
    digest: str

    @property
    def labels(self) -> list[str]:
        return sorted({d.label for d in self.documents})


def read_examples(path: str, column: str, seed: int) -> Examples:
    """The documents of an output folder or a table. `text` and `language` are among the columns of each.

    Raises InputError where no document has a text, or fewer than two labels are left.
    """
    table = read_labels(path, "text", column, with_text=True)
    documents: list[Labelled] = []
    left_out: Counter[str] = Counter()
    for document in table.labels.values():
        text = text_of(document)
        if text is None:
            left_out["no text"] += 1
        elif document.label in NOT_LEARNT:
            left_out[document.label] += 1
        else:
            documents.append(replace(document, columns={**document.columns, "text": text}))
    if table.doubled:
        left_out["the same text with several labels"] = table.doubled.total()
    if table.without_key:
        left_out["no text"] += table.without_key
    if len({d.label for d in documents}) < 2:
        raise InputError(
            f"{path}: {len(documents):,} documents have a text and a label, and fewer than two labels are among them"
        )
    documents.sort(key=lambda d: _place(d, seed))
    digest = xxhash.xxh3_128()
    for document in sorted(documents, key=lambda d: d.key):
        digest.update(f"{document.key}\0{document.label}\0".encode("utf-8", "surrogatepass"))
    return Examples(_with_language(documents), dict(left_out), table.column, digest.hexdigest())


def text_of(document: Labelled) -> str | None:
    return next((document.columns[c] for c in TEXT_COLUMNS if isinstance(document.columns.get(c), str)), None)


def _place(document: Labelled, seed: int) -> str:
    """Copies that differ in case or white space have the same place, and so fall on the same side."""
    text = " ".join(str(text_of(document)).lower().split())
    return xxhash.xxh3_128_hexdigest(f"{seed}\0{text}".encode("utf-8", "surrogatepass"))


def _with_language(documents: list[Labelled]) -> list[Labelled]:
    """With CLD2's language, where the input has none."""
    if all(d.columns.get(LANGUAGE) not in (None, "") for d in documents):
        return documents
    codes = main_languages(DocumentBatch.from_texts([d.columns["text"] for d in documents]), "strip")
    return [
        replace(d, columns={**d.columns, LANGUAGE: d.columns.get(LANGUAGE) or code})
        for d, code in zip(documents, codes, strict=True)
    ]


def split(documents: Sequence[Labelled], share: float, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """(training, held out): of every label the first `share` is held out, as far as copies of a text permit.

    Raises ConfigError where nothing would be left for one of them.
    """
    by_place: dict[str, list[Labelled]] = defaultdict(list)
    for document in documents:
        by_place[_place(document, seed)].append(document)
    by_label: dict[str, list[list[Labelled]]] = defaultdict(list)
    for _, copies in sorted(by_place.items()):
        by_label[copies[0].label].append(copies)
    train: list[Labelled] = []
    held_out: list[Labelled] = []
    for groups in by_label.values():
        n = round(share * len(groups))
        held_out += [d for copies in groups[:n] for d in copies]
        train += [d for copies in groups[n:] for d in copies]
    if len({d.label for d in train}) < 2 or not held_out:
        raise ConfigError(
            f"{len(documents):,} documents are too few to hold out {share:.0%} of them: label more documents"
        )
    # By the hash again, so that the first n documents are a sample of all.
    return sorted(train, key=lambda d: _place(d, seed)), sorted(held_out, key=lambda d: _place(d, seed))


def folds(documents: Sequence[Labelled], n: int) -> list[int]:
    """The fold of each document: the documents of a label take turns."""
    turns: Counter[str] = Counter()
    places = []
    for document in documents:
        places.append(turns[document.label] % n)
        turns[document.label] += 1
    return places


def column_values(documents: Sequence[Labelled]) -> dict[str, Any]:
    """Documents of each label, the commonest first."""
    return dict(Counter(d.label for d in documents).most_common())

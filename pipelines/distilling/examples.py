"""Labelled texts, and which of them are held out: decided by the seed and the text alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xxhash

from tagcorpus.errors import InputError
from tagcorpus.pipelines.labels.label_table import ERROR, OFF_MENU, TEXT_COLUMNS, UNKNOWN, Labelled, read_labels
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.language import main_languages

NOT_LEARNT = (ERROR, OFF_MENU, UNKNOWN)
LANGUAGE = "language"
SEVERAL = "the same text with several labels"
NO_TEXT = "no text"


@dataclass(frozen=True)
class Examples:
    """Documents with a text and a label, in the order of the hash of their texts, and what was left out (reason -> documents).

    `text` and `language` are among the columns of each document.
    digest  of all texts and labels
    """

    documents: list[Labelled]
    left_out: dict[str, int]
    columns: list[str]
    digest: str


def read_examples(paths: Sequence[str], column: str, seed: int) -> Examples:
    """The documents of output folders and tables. Raises InputError where no document has a text and a label."""
    by_key: dict[str, Labelled] = {}
    several: set[str] = set()
    left_out: Counter[str] = Counter()
    columns = []
    for path in paths:
        table = read_labels(path, "text", column, with_text=True)
        columns.append(table.column)
        several |= table.doubled.keys()
        left_out[NO_TEXT] += table.without_key
        for key, document in table.labels.items():
            text = text_of(document)
            if text is None or not text.strip():
                left_out[NO_TEXT] += 1
            elif document.label in NOT_LEARNT:
                left_out[document.label] += 1
            elif key in by_key and by_key[key].label != document.label:
                several.add(key)
            else:
                by_key[key] = replace(document, columns={**document.columns, "text": text})
    documents = [d for key, d in by_key.items() if key not in several]
    left_out[SEVERAL] = len(several)
    if not documents:
        raise InputError(f"{', '.join(paths)}: no document has a text and a label that can be learnt")
    digest = xxhash.xxh3_128()
    for document in sorted(documents, key=lambda d: d.key):
        digest.update(f"{document.key}\0{document.label}\0".encode("utf-8", "surrogatepass"))
    ordered = sorted(documents, key=lambda d: (place_of(d, seed), d.key))
    return Examples(_with_language(ordered), +left_out, columns, digest.hexdigest())


def text_of(document: Labelled) -> str | None:
    return next((document.columns[c] for c in TEXT_COLUMNS if isinstance(document.columns.get(c), str)), None)


def place_of(document: Labelled, seed: int) -> str:
    """Copies that differ in case or white space have the same place, and so fall on the same side."""
    text = " ".join(str(text_of(document)).lower().split())
    return xxhash.xxh3_128_hexdigest(f"{seed}\0{text}".encode("utf-8", "surrogatepass"))


def _with_language(documents: list[Labelled]) -> list[Labelled]:
    """With CLD2's language, where the input has none."""
    codes = main_languages(DocumentBatch.from_texts([d.columns["text"] for d in documents]), "strip")
    return [
        replace(d, columns={**d.columns, LANGUAGE: d.columns.get(LANGUAGE) or code})
        for d, code in zip(documents, codes, strict=True)
    ]


def split(documents: Sequence[Labelled], share: float, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """(training, held out): of every label the first `share` by hash is held out, as far as copies of a text permit.

    Both are in the order of the hash, so that the first n documents are a sample of all.
    """
    by_place: dict[str, list[Labelled]] = defaultdict(list)
    for document in documents:
        by_place[place_of(document, seed)].append(document)
    by_label: dict[str, list[list[Labelled]]] = defaultdict(list)
    for _, copies in sorted(by_place.items()):
        by_label[copies[0].label].append(copies)
    chosen = {d.key for groups in by_label.values() for copies in groups[: round(share * len(groups))] for d in copies}
    ordered = [d for _, copies in sorted(by_place.items()) for d in copies]
    return [d for d in ordered if d.key not in chosen], [d for d in ordered if d.key in chosen]


def without(documents: Sequence[Labelled], others: Sequence[Labelled], seed: int) -> list[Labelled]:
    """The documents whose texts are not among the others, not as copies either."""
    known = {place_of(d, seed) for d in others}
    return [d for d in documents if place_of(d, seed) not in known]


def folds(documents: Sequence[Labelled], n: int) -> list[int]:
    """The fold of each document: the documents of a label take turns."""
    turns: Counter[str] = Counter()
    places = []
    for document in documents:
        places.append(turns[document.label] % n)
        turns[document.label] += 1
    return places

"""`tagcorpus shares`: each label's share in a corpus, from a student's labels and an LLM's labels of a random audit sample."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, InputError, spelled_otherwise
from tagcorpus.pipelines.distributions.effects import chi_square_p
from tagcorpus.pipelines.labels.label_table import (
    NO_LABELS,
    By,
    LabelTable,
    has_other_text,
    otherwise_spelled,
    read_labels,
)
from tagcorpus.pipelines.labels.share_intervals import (
    Counts,
    calls_for,
    calls_for_llm_only,
    llm_only,
    prediction_powered,
)
from tagcorpus.pipelines.progress.wrapping import shortened
from tagcorpus.pipelines.storage.outputs import check_file, has_content

LEAST_P = 1e-4
"""Below this, an audit is said to be no random sample: one random sample in ten thousand is."""
LEAST_EXPECTED = 5


def shares(
    labels: str,
    audit: str | None = None,
    by: By = "id",
    column: str = "",
    audit_column: str = "",
    width: float | None = None,
    draw: int | None = None,
    output: str | None = None,
    seed: int = 0,
    as_json: bool = False,
) -> str:
    """Return the text to print: shares with intervals, or where the audit sample that was drawn is.

    labels  the student's labels of all documents; audit: the LLM's labels of a simple random sample of them
    width   in percentage points: also the number of audit documents for intervals of this width
    draw    instead: draw so many documents for the audit into the file `output`
    Raises ConfigError for options that do not fit, InputError for tables that cannot be read or an audit outside the corpus.
    """
    if output is not None and draw is None:
        raise ConfigError(f"--output {output} is the file of --draw N; the shares are printed, with --json as JSON")
    student = read_labels(labels, by, column)
    if draw is not None:
        if audit is not None or width is not None or output is None:
            raise ConfigError("--draw N needs --output FILE.csv, and takes neither AUDIT nor --width")
        if not output.lower().endswith(".csv"):
            raise ConfigError(f"--output {output}: the audit sample is a CSV; name a file in .csv")
        return _draw(student, by, draw, output, seed)
    if audit is None:
        raise ConfigError("name the audit's labels: tagcorpus shares LABELS AUDIT; or draw a sample with --draw N")
    given = read_labels(audit, by, audit_column)
    without_label = sum(own.label in NO_LABELS for table in (student, given) for own in table.labels.values())
    corpus, pairs = _labelled(student, given)
    counts = _counts(corpus, pairs)
    document: dict[str, Any] = {
        "documents": corpus.total(),
        "audited": pairs.total(),
        "several_times": len(student.doubled.keys() | given.doubled.keys()),
        "without_label": without_label,
        "other_text": sum(
            has_other_text(student.labels[k], own) for k, own in given.labels.items() if k in student.labels
        ),
        "random_p": random_p(corpus, pairs),
        "shares": {label: _entry(own, width) for label, own in counts.items()},
    }
    if width is not None:
        document["width_points"] = width
        document["calls"] = max(entry["calls"] for entry in document["shares"].values())
        document["calls_llm_only"] = max(entry["calls_llm_only"] for entry in document["shares"].values())
    return json.dumps(document, indent=1, ensure_ascii=False) if as_json else _as_text(document)


def _draw(student: LabelTable, by: By, n: int, output: str, seed: int) -> str:
    """Write a simple random sample: each document has the same chance, whatever its label."""
    keys = sorted(student.labels)
    if n < 1:
        raise ConfigError(f"--draw {n}: draw at least one document")
    if n > len(keys):
        raise ConfigError(f"--draw {n:,}: {student.path} has only {len(keys):,} documents")
    chosen = sorted(np.random.default_rng(seed).choice(len(keys), n, replace=False).tolist())
    rows = [student.labels[keys[i]] for i in chosen]
    has_text = any(isinstance(row.columns.get("text"), str) for row in rows)
    if by == "text" and not has_text:
        raise ConfigError(f"{student.path} has no texts to write: draw --by id, or name a table that has them")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "text"] if has_text else ["id"])
    writer.writerows([row.id, row.columns.get("text", "")] if has_text else [row.id] for row in rows)
    data = text.getvalue().encode()
    folder, name = check_file(output, has_content(data), "has other documents", inputs=[student.path])
    folder.publish(name, data)
    return f"{n:,} of {len(keys):,} documents, drawn with seed {seed} -> {output}"


def _labelled(student: LabelTable, audit: LabelTable) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """The student's labels of the corpus; and of audited documents, the labels of both. Documents without a label are left out."""
    outside = [key for key in audit.labels if key not in student.labels and key not in student.doubled]
    if outside:
        spelling = spelled_otherwise(outside, student.labels)
        raise InputError(
            f"{len(outside):,} of {len(audit.labels):,} documents of {audit.path} have no label in {student.path}: the audit is a "
            f"sample of the corpus, so label all of the corpus{f'; {spelling}' if spelling else ''}"
        )
    corpus = Counter(own.label for own in student.labels.values() if own.label not in NO_LABELS)
    both = [(student.labels[k].label, own.label) for k, own in audit.labels.items() if k in student.labels]
    pairs = Counter(pair for pair in both if not {*pair} & {*NO_LABELS})
    if not pairs:
        raise InputError(f"{student.path} and {audit.path} share no document that has a label in both")
    if not corpus.keys() & {given for _, given in pairs}:
        labels = [", ".join(repr(x) for x in sorted(side)[:3]) for side in (corpus.keys(), {y for _, y in pairs})]
        raise InputError(
            f"{student.path} has the labels {labels[0]}, and {audit.path} has {labels[1]}: spell the labels in the same way, or name other "
            "columns with --column and --audit-column"
        )
    given = Counter(label for _, label in pairs)
    spelled = {a: b for a, b in otherwise_spelled(corpus, given).items() if b not in corpus}
    if spelled:
        own, other = next(iter(spelled.items()))
        raise InputError(
            f"{student.path} has the label {own!r}, and {audit.path} has {other!r}: spell the labels in the same way, or each counts "
            "as a label that the other side never gives"
        )
    return corpus, pairs


def random_p(corpus: Counter[str], pairs: Counter[tuple[str, str]]) -> float:
    """How likely a simple random sample is as far from the student's labels of the corpus as the audit is.

    Pearson's chi square of the sample and the rest of the corpus, over labels. Labels with fewer than 5 expected documents in the
    sample are one label. 1 where one label, or no rest, is left.
    """
    n, total = pairs.total(), corpus.total()
    drawn: Counter[str] = Counter()
    for (own, _), count in pairs.items():
        drawn[own] += count
    cells: Counter[str] = Counter()
    sampled: Counter[str] = Counter()
    for label, count in corpus.items():
        name = label if count * n / total >= LEAST_EXPECTED else ""
        cells[name] += count
        sampled[name] += drawn[label]
    if len(cells) < 2 or n >= total:
        return 1.0
    squares = sum((sampled[c] - k * n / total) ** 2 / (k * n / total) for c, k in cells.items())
    return chi_square_p(squares / (1 - n / total), len(cells) - 1)


def _counts(corpus: Counter[str], pairs: Counter[tuple[str, str]]) -> dict[str, Counts]:
    """By label, the largest share first."""
    n, documents = pairs.total(), corpus.total()
    counts = {}
    for label in {*corpus, *(given for _, given in pairs)}:
        both = pairs[label, label]
        student_only = sum(c for (f, y), c in pairs.items() if f == label != y)
        other = sum(c for (f, y), c in pairs.items() if y == label != f)
        counts[label] = Counts(documents, corpus[label], both, student_only, other, n - both - student_only - other)
    return dict(sorted(counts.items(), key=lambda item: (-prediction_powered(item[1]).share, item[0])))


def _entry(counts: Counts, width: float | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "student": counts.student / counts.documents,
        **vars(prediction_powered(counts)),
        "llm_only": vars(llm_only(counts)),
    }
    if width is not None:
        entry |= {
            "calls": calls_for(width / 100, counts),
            "calls_llm_only": calls_for_llm_only(width / 100, counts),
        }
    return entry


def _as_text(document: dict[str, Any]) -> str:
    lines = [f"{document['documents']:,} documents labelled by the student, {document['audited']:,} of them audited"]
    if document["several_times"]:
        lines.append(
            f"  {document['several_times']:,} left out: the same key several times with different labels or texts"
        )
    if document["without_label"]:
        lines.append(f"  {document['without_label']:,} labels left out: an error, or off the menu")
    if document["other_text"]:
        lines.append(
            f"  {document['other_text']:,} audited documents have another text in the corpus: is AUDIT of this corpus?"
        )
    if document["random_p"] < LEAST_P:
        lines.append(
            f"  not a simple random sample (p = {document['random_p']:.1g}): the student's labels in the audit differ from those in "
            "the corpus, so shares and intervals are wrong. Draw the sample with --draw"
        )
    margin = max(5, *(min(len(label), 24) for label in document["shares"])) + 2
    lines += ["", "  " + "label".ljust(margin) + "student".rjust(8) + "   share   95 % interval      audit alone"]
    names = shortened(list(document["shares"]), 24)
    for label, own in zip(names, document["shares"].values(), strict=True):
        alone = own["llm_only"]
        lines.append(
            f"  {label.ljust(margin)}{100 * own['student']:7.2f}%{100 * own['share']:7.2f}%  {_interval(own)}   {_interval(alone)}"
        )
    if "calls" in document:
        lines += [
            "",
            f"  for intervals of at most {document['width_points']:g} points: {document['calls']:,} audited documents, or "
            f"{document['calls_llm_only']:,} without the student",
        ]
    return "\n".join(lines)


def _interval(share: dict[str, float]) -> str:
    return f"{100 * share['low']:6.2f} to {100 * share['high']:5.2f}%"

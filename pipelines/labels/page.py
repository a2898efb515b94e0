"""What `tagcorpus agreement` prints and writes."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from typing import Any

from tagcorpus.pipelines.labels.label_table import NO_LABELS, UNKNOWN, otherwise_spelled
from tagcorpus.pipelines.progress.wrapping import shortened
from tagcorpus.pipelines.storage.folder import Folder

FILES = ("agreement.json", "matrix.csv", "differences.csv", "matrix.png")
SHOWN_LABELS = 24
SHOWN_DIFFERENCES = 10
_LISTED = 4
_SHORT, _LONGEST = 9, 18
_AROUND = 11
"""Characters of a line of the matrix beside the label and the counts."""


def as_text(document: dict[str, Any], output: str | None) -> str:
    """The figures, the matrix and some differences, as wide as the terminal."""
    width = max(60, min(120, shutil.get_terminal_size().columns))
    parts = [
        _counts(document),
        _overall(document),
        _matrix(document["matrix"], width),
        _labels(document["labels_of"]),
        *(_within(name, groups) for name, groups in document["within"].items()),
        _repeats(document["repeats"]),
        _differences(document["differences"], width),
        f"-> {output}/ ({', '.join(FILES[:3])})" if output else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _counts(document: dict[str, Any]) -> str:
    counts = document["documents"]
    lines = [
        f"{document['n']:,} documents with both labels: {document['columns'][0]} against gold {document['columns'][1]}"
    ]
    words = {
        "only_in_labels": "only in LABELS",
        "only_in_gold": "only in GOLD",
        "several_times": "left out: the same key several times with different labels or texts",
        "without_gold_label": "left out: no gold label",
        "without_key": "left out: no id or text",
        "other_text": "with another text in LABELS than in GOLD: are these the same documents? --by text joins by texts",
    }
    lines += [f"  {counts[name]:,} {text}" for name, text in words.items() if counts[name]]
    lines += [f"  {document['spelled_otherwise']}"] if document["spelled_otherwise"] else []
    lines += _unshared_labels(document["labels_of"])
    return "\n".join(lines)


def _unshared_labels(labels_of: dict[str, Any]) -> list[str]:
    """Labels of one side each, which are often one label in two spellings and then count as disagreements."""
    labels = {k: v for k, v in labels_of.items() if k not in (*NO_LABELS, UNKNOWN)}
    only_given = [label for label, figures in labels.items() if not figures["gold"]]
    only_gold = [label for label, figures in labels.items() if not figures["given"]]
    gold, given = (labels.keys() - only_given, labels.keys() - only_gold)
    spelled = otherwise_spelled(only_given, gold) | otherwise_spelled(only_gold, given)
    if not only_given or not only_gold:
        pairs = ", ".join(f"{own!r} and {other!r}" for own, other in [*spelled.items()][:_LISTED])
        return [f"  two spellings of a label count as two labels: {pairs}"] if spelled else []
    return [
        f"  labels only in LABELS: {', '.join(only_given[:_LISTED])}{' ...' if len(only_given) > _LISTED else ''}",
        f"  labels only in GOLD: {', '.join(only_gold[:_LISTED])}{' ...' if len(only_gold) > _LISTED else ''}",
        "  Two spellings of a label, such as 'Web' and 'web', count as two labels.",
    ]


def _overall(document: dict[str, Any]) -> str:
    names = {
        "accuracy": "accuracy",
        "kappa": "Cohen's kappa",
        "weighted_kappa": "weighted kappa",
        "macro_f1": "macro-F1",
    }
    lines = [f"  {text:<15} {_figure(document[name])}" for name, text in names.items() if name in document]
    if document["accuracy"]["low"] is not None:
        lines[0] += "  in brackets: 95 % interval"
    commonest = document["commonest"]
    lines.append(
        f"  {'baseline':<15} {commonest['accuracy']:.3f}  accuracy of the most frequent label alone, {commonest['label']}"
    )
    if without := document["without_unknown"]:
        lines.append(
            f"  {'as published':<15} {_figure(without['accuracy'])}  of {without['n']:,} documents with a known label"
        )
    return "\n".join(lines)


def _figure(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return "  -  "
    interval = "" if value["low"] is None else f"  [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['value']:.3f}{interval}"


def _matrix(matrix: dict[str, Any], width: int) -> str:
    """The matrix. Columns have the names of their labels where all fit, else numbers, which are also in the rows. Only the columns of
    the commonest labels are shown where numbers do not fit either."""
    gold, given, counts = list(matrix["gold"]), list(matrix["given"]), matrix["counts"]
    labels = list(dict.fromkeys([*gold, *given]))
    name_of = dict(zip(labels, shortened(labels, _LONGEST), strict=True))
    margin = max(len("gold"), *(len(name_of[g]) for g in gold)) + 2
    columns = list(range(len(given)))
    heads, notes = [name_of[label] for label in given], []
    has_numbers = any(len(label) >= _SHORT for label in given) or len(given) * _SHORT > width - margin - _AROUND
    if has_numbers:
        numbers = {label: str(i + 1) for i, label in enumerate(labels)}
        heads = [numbers[label] for label in given]
        name_of |= {label: f"{numbers[label]:>2}  {name_of[label]}" for label in gold}
        margin += 4
    cells = [[f"{n:,}" if n else "·" for n in row] for row in counts]
    widths = [1 + max(len(heads[j]), *(len(row[j]) for row in cells)) if has_numbers else _SHORT for j in columns]
    room = width - margin - _AROUND
    if sum(widths) > room:
        totals = [sum(row[j] for row in counts) for j in columns]
        columns.sort(key=lambda j: -totals[j])
        while len(columns) > 1 and sum(widths[j] for j in columns) > room:
            columns.pop()
        columns.sort()
    if len(columns) < len(given) or len(gold) > SHOWN_LABELS:
        notes.append(f"({len(given) - len(columns)} columns are not shown; --json and matrix.csv have all)")
    if has_numbers and (others := [given[j] for j in columns if given[j] not in gold[:SHOWN_LABELS]]):
        notes.insert(0, f"columns without a row: {', '.join(f'{numbers[label]} is {label}' for label in others)}")
    lines = ["  " + "gold".ljust(margin) + "".join(heads[j].rjust(widths[j]) for j in columns) + "   recall"]
    for i, label in enumerate(gold[:SHOWN_LABELS]):
        total = sum(counts[i])
        share = f"{counts[i][i] / total:9.2f}" if total else "        -"
        shown = "".join(cells[i][j].rjust(widths[j]) for j in columns)
        lines.append(f"  {name_of[label].ljust(margin)}{shown}{share}")
    return "\n".join([*lines, *(f"  {note}" for note in notes)])


def _labels(labels: dict[str, Any]) -> str:
    margin = max(8, *(min(len(name), _LONGEST) for name in labels)) + 1
    lines = ["  " + "label".ljust(margin) + "gold".rjust(6) + "given".rjust(7) + f"  {'precision':<21}  recall"]
    names = shortened(list(labels), _LONGEST)
    for name, own in list(zip(names, labels.values(), strict=True))[:SHOWN_LABELS]:
        figures = f"  {_figure(own['precision']):<21}  {_figure(own['recall'])}"
        lines.append(f"  {name.ljust(margin)}{own['gold']:>6,}{own['given']:>7,}{figures}")
    return "\n".join(lines)


def _within(name: str, groups: dict[str, Any]) -> str:
    margin = max(len(name), *(min(len(group), 34) for group in groups)) + 2
    lines = [
        "  " + f"within {name}"[: margin + 6].ljust(margin) + "documents".rjust(10) + "   accuracy               kappa"
    ]
    names = shortened(list(groups), 34)
    for group, own in list(zip(names, groups.values(), strict=True))[:SHOWN_LABELS]:
        figures = f"   {_figure(own['accuracy']):<20}   {_figure(own['kappa'])}"
        lines.append(f"  {group.ljust(margin)}{own['n']:>10,}{figures}")
    if len(groups) > SHOWN_LABELS:
        lines.append(f"  and {len(groups) - SHOWN_LABELS:,} more (--json has all)")
    return "\n".join(lines)


def _repeats(repeats: dict[str, Any] | None) -> str:
    if repeats is None:
        return ""
    return (
        f"  the labeller with itself: {repeats['labellings']} labellings of {repeats['documents']:,} documents\n"
        f"  all equal      {repeats['all_equal']:.3f}\n"
        f"  Fleiss' kappa  {_figure(repeats['fleiss_kappa'])}"
    )


def _differences(differences: Sequence[dict[str, Any]], width: int) -> str:
    if not differences:
        return ""
    lines = [f"  {len(differences):,} documents differ; to read:"]
    for one in differences[:SHOWN_DIFFERENCES]:
        head = f"  gold {one['gold']}, given {one['given']}: {one['id'] or '(no id)'}"
        lines += [_cut(line, width) for line in (head, f"    {one['text']}") if line.strip()]
    return "\n".join(lines)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def write_files(folder: Folder, document: dict[str, Any]) -> None:
    """The FILES, the picture where matplotlib is installed. That of an earlier call does not stay."""
    result, table, differences, picture = FILES
    folder.publish(result, json.dumps(document, indent=1, ensure_ascii=False).encode())
    matrix = document["matrix"]
    folder.publish(
        table,
        _csv(
            [["gold", *matrix["given"]], *([g, *row] for g, row in zip(matrix["gold"], matrix["counts"], strict=True))]
        ),
    )
    rows = [[d["id"], d["gold"], d["given"], d["text"]] for d in document["differences"]]
    folder.publish(differences, _csv([["id", "gold", "given", "text"], *rows]))
    try:
        data = _picture(matrix)
    except ImportError:  # without the extra [report]
        folder.remove(picture)
        return
    folder.publish(picture, data)


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _picture(matrix: dict[str, Any]) -> bytes:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.array(matrix["counts"], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows, columns = counts.shape
    figure = Figure((2.2 + 0.62 * columns, 1.8 + 0.5 * rows), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(columns), matrix["given"], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(rows), matrix["gold"], fontsize=8)
    axes.set_xlabel("label given")
    axes.set_ylabel("gold label")
    axes.set_title("Documents; the colour is the share of the gold label", fontsize=9)
    for i in range(rows):
        for j in range(columns):
            if counts[i, j]:
                colour = "white" if shares[i, j] > 0.55 else "#222222"
                axes.text(j, i, f"{int(counts[i, j]):,}", ha="center", va="center", fontsize=7.5, color=colour)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    return data.getvalue()

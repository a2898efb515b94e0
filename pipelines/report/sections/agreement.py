"""The report's section on labels against gold labels (`tagcorpus agreement --output` in the folder): matrix, shares, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import Cell, Section, documents_in, figures, number, percent, table, text

NAMES = {"accuracy": "accuracy", "kappa": "Cohen's kappa", "weighted_kappa": "weighted kappa", "macro_f1": "macro-F1"}
SHADES = 5


def agreement_section(contents: Contents) -> Section | None:
    folder = contents.output.folder
    below = [d for name, d in documents_in(folder, "agreement") if name.endswith("/agreement.json")]
    agreements = [json_object(folder, "agreement.json"), *below]
    body = "".join(_agreement(d) for d in agreements if d.get("matrix") and d.get("labels_of"))
    return Section("agreement", "Labels against gold labels", body) if body else None


def _agreement(document: Mapping[str, Any]) -> str:
    given, gold = document["columns"]
    commonest = document["commonest"]
    always = f"the most frequent label alone, {commonest['label']}: {number(commonest['accuracy'], 3)}"
    entries = [
        (number(document[key]["value"], 3), name, _interval(document[key]) or (always if key == "accuracy" else ""))
        for key, name in NAMES.items()
        if key in document
    ]
    introduction = (
        f"{document['n']:,} documents have labels of both: {given} of {document['labels']}, and {gold} of {document['gold']} (gold). "
        f"The accuracy of {always}."
    )
    parts = [_matrix(document["matrix"]), _labels(document["labels_of"], document["n"])]
    parts += [_within(name, groups) for name, groups in document["within"].items()]
    return f"<p>{text(introduction)}</p>{figures(entries)}" + "".join(parts)


def _matrix(matrix: Mapping[str, Any]) -> str:
    title = "Documents by gold label (rows) and given label (columns)"
    rows = []
    for label, counts in zip(matrix["gold"], matrix["counts"], strict=True):
        total = sum(counts)
        cells = [
            Cell(
                f'<span class="shade s{round(SHADES * n / total) if total else 0}">{text(number(n) if n else "·")}</span>'
            )
            for n in counts
        ]
        rows.append([label, *cells, number(total)])
    header = ["Gold", *matrix["given"], "All"]
    shown = table(title, header, rows, range(1, len(header)), css="frozen matrix")
    return f"<h3>Confusion matrix</h3><p>{title}. The shade is the share of the gold label.</p>{shown}"


def _labels(labels: Mapping[str, Any], n: int) -> str:
    title = "Shares and figures of each label"
    header = ("Label", "Gold", "Given", "Precision", "95 % interval", "Recall", "95 % interval", "F1")
    rows = [
        (
            name,
            percent(own["gold"] / n),
            percent(own["given"] / n),
            number(own["precision"]["value"], 3),
            _interval(own["precision"]),
            number(own["recall"]["value"], 3),
            _interval(own["recall"]),
            number(own["f1"]["value"], 3),
        )
        for name, own in labels.items()
    ]
    return f"<h3>{title}</h3>" + table(title, header, rows, range(1, len(header)))


def _within(name: str, groups: Mapping[str, Any]) -> str:
    title = f"Within {name}"
    header = (name, "Documents", "Accuracy", "95 % interval", "Kappa", "95 % interval")
    rows: list[Sequence[object]] = [
        (
            group,
            number(own["n"]),
            number(own["accuracy"]["value"], 3),
            _interval(own["accuracy"]),
            number(own["kappa"]["value"], 3),
            _interval(own["kappa"]),
        )
        for group, own in groups.items()
    ]
    return f"<details><summary>{text(title)}</summary>{table(title, header, rows, range(1, len(header)))}</details>"


def _interval(figure: Mapping[str, Any]) -> str:
    return "" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}".replace("-", "−")

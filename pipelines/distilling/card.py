"""What `tagcorpus distil` prints, and the model card of a student."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from tagcorpus.pipelines.progress.wrapping import shortened

SINGLE_DOCUMENTS = 0.6
"""Kappa from which agreement is called substantial (Landis, Koch, Biometrics 33, 1977)."""
USE = {
    "shares": "shares of a corpus, corrected by an audit sample (`tagcorpus shares`); not the labels of single documents",
    "single documents": "single documents, and shares",
    "nothing": "nothing: the gate refused it",
}


def use(document: dict[str, Any]) -> str:
    """What the student is good for: single documents where kappa is at least SINGLE_DOCUMENTS, overall with its interval and in
    each group that is large enough."""
    if document["failed"]:
        return "nothing"
    low = document["overall"]["kappa"]["low"]
    within = [g["kappa"]["value"] for g in document["groups"] if g["outcome"] == "pass"]
    is_substantial = low is not None and low >= SINGLE_DOCUMENTS and min(within, default=1.0) >= SINGLE_DOCUMENTS
    return "single documents" if is_substantial else "shares"


def reliability_csv(table: dict[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["from", "to", "n", "probability", "right", "low", "high"]
    writer.writerow(names)
    writer.writerows([b[name] for name in names] for b in table["bins"])
    return text.getvalue().encode()


def as_text(document: dict[str, Any], output: str) -> str:
    """The figures on the terminal, and what became of the student."""
    data, overall = document["data"], document["overall"]
    n = data["documents"]
    names = shortened([f"{g['grouping']} {g['group']}" for g in document["groups"]], 43)
    lines = [f"{document['student']}: {n['training']:,} documents to learn from, {n['held out']:,} held out"]
    lines += [f"  {sentence}" for sentence in _left_out(data)]
    lines += [
        "",
        f"  accuracy        {_figure(overall['accuracy'])}; always {document['baseline']['label']}: {document['baseline']['accuracy']:.3f}",
        f"  Cohen's kappa   {_figure(overall['kappa'])}",
        f"  macro-F1        {_figure(overall['macro_f1'])}",
        f"  calibration     expected error {document['calibration']['expected_calibration_error']:.3f}",
        "",
        "  " + "labels learnt".ljust(22) + "kappa",
        *(f"  {point['labels']:<21,} {_figure(point['kappa'])}" for point in document["curve"]),
        "",
        "  " + "group".ljust(44) + "documents  kappa",
        *(
            f"  {name.ljust(44)}{g['n']:9,}  {_figure(g['kappa'])}{_judgement(g)}"
            for name, g in zip(names, document["groups"], strict=True)
        ),
        "",
    ]
    if not document["failed"]:
        return "\n".join([*lines, f"Use it for {USE[document['use']]}.", f"-> {output}/ ({document['name']})"])
    reasons = "; ".join(document["failed"])
    if document["saved"]:
        return "\n".join([*lines, f"saved as you said, although the gate refuses it ({reasons}) -> {output}/"])
    return "\n".join(
        [
            *lines,
            f"not saved: {reasons}. Label more documents, try another --student, or save with --save-anyway",
        ]
    )


def _judgement(group: dict[str, Any]) -> str:
    return {"pass": "", "fail": "  fails", "too few": "  too few to judge", "one label": "  one label"}[
        group["outcome"]
    ]


def _left_out(data: dict[str, Any]) -> list[str]:
    words = {"held out": "the text is held out"}
    left = [f"{n:,} left out: {words.get(reason, reason)}" for reason, n in data["left_out"].items()]
    rare = [f"{label!r} is not learnt: {n:,} documents" for label, n in data["not_learnt"].items()]
    return left + rare


def _figure(figure: dict[str, float | None], separator: str = " to ") -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f}{separator}{figure['high']:.3f})"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|", *(f"| {' | '.join(row)} |" for row in cells)]


def model_card(document: dict[str, Any], has_picture: bool) -> str:
    """README.md of the folder: data, digests, figures with intervals, limits."""
    data, overall, model = document["data"], document["overall"], document["model"]
    n = data["documents"]
    failed = [f"The gate refused this student: {reason}." for reason in document["failed"]]
    encoder = document["encoder"]
    lines = [
        f"# {document['name']}",
        "",
        f"A student of the kind `{document['student']}`: it gives the label that an LLM would give. tagcorpus {document['tagcorpus']} made "
        f"it with `tagcorpus distil`, seed {document['seed']}.",
        "",
        f"Use it for {USE[document['use']]}.",
        "",
        *failed,
        "",
        "## Figures",
        "",
        f"Agreement with the LLM's labels on {n['held out']:,} documents that it did not learn from, with 95 % intervals. Agreement with "
        "the LLM is not accuracy: the LLM can be wrong, too.",
        "",
        *_table(
            ("figure", "value (95 % interval)"),
            [
                ("accuracy", _figure(overall["accuracy"])),
                (f"accuracy of always `{document['baseline']['label']}`", f"{document['baseline']['accuracy']:.3f}"),
                ("Cohen's kappa", _figure(overall["kappa"])),
                ("macro-F1", _figure(overall["macro_f1"])),
                ("expected calibration error", f"{document['calibration']['expected_calibration_error']:.3f}"),
            ],
        ),
        "",
        f"The gate asks for a kappa of {document['gate']['overall']:g} overall, and of {document['gate']['within']:g} within each group of at "
        f"least {document['gate']['least']:,} documents with two labels or more.",
        "",
        *_table(
            ("grouping", "group", "documents", "kappa", "macro-F1", "gate"),
            [
                (g["grouping"], g["group"], f"{g['n']:,}", _figure(g["kappa"]), _figure(g["macro_f1"]), g["outcome"])
                for g in document["groups"]
            ],
        ),
        "",
        "## Learning curve",
        "",
        "The same settings, with fewer labels to learn from.",
        "",
        *_table(
            ("labels", "kappa", "macro-F1"),
            [(f"{p['labels']:,}", _figure(p["kappa"]), _figure(p["macro_f1"])) for p in document["curve"]],
        ),
        "",
        "## Calibration",
        "",
        f"One temperature ({document['temperature']:.3f}, from cross-validation) is in the weights. `reliability.csv` has the bins.",
        *(["", "![Reliability diagram](reliability.png)"] if has_picture else []),
        "",
        "## Data",
        "",
        f"Labels of {', '.join(f'`{name}`' for name in data['labels'])} (column {', '.join(sorted(set(data['columns'])))}); held out: "
        f"{data['held_out']}. Digest of all texts and labels: `{data['digest']}`.",
        "",
        *_table(("label", "learnt from", "held out"), [(k, *v) for k, v in data["labels_of"].items()]),
        "",
        *(f"- {sentence}" for sentence in _left_out(data)),
        "",
        "## Model",
        "",
        f"- File: `{model['file']}`, {model['bytes']:,} bytes, `{model['digest']}`.",
        *_quantised(model),
        *([f"- Encoder: {encoder['name']}, `{encoder['digest']}`."] if encoder else []),
        f"- Settings: {', '.join(f'{k} {v}' for k, v in document['settings'].items())}; the best of {len(document['tried'])} by "
        "cross-validation on the training documents.",
        "",
        "## Limits",
        "",
        "- The figures are for documents like those held out. For another corpus, label a sample and run `tagcorpus agreement`.",
        "- A group that is too small is not judged, and the figures overall say little about it.",
        "- The student never gives a label that it did not learn, and never says `unknown`.",
        "- Text beyond its first 4,000 characters is not read.",
    ]
    return "\n".join(lines) + "\n"


def _quantised(model: dict[str, Any]) -> list[str]:
    if model["same"] is None:
        return ["- Not quantised."]
    if model["file"].endswith(".bin"):
        return [f"- Not quantised: a quantised file gives {model['same']:.1%} of the held-out texts the same label."]
    return [f"- Quantised: {model['same']:.1%} of the held-out texts get the label of the full model."]

"""The report's section on domains: shares with 95 % intervals (Wilson's), and what was left out of them.

The intervals cover the chance of which documents were drawn, and not that a model labels some of them wrongly.
"""

from __future__ import annotations

from typing import Any

from tagcorpus.pipelines.group_statistics.intervals import wilson
from tagcorpus.pipelines.labelling.label_counts import DOMAINS, ERROR, LEFT_OUT
from tagcorpus.pipelines.report.sections.folder import Output
from tagcorpus.pipelines.report.sections.html import Section, chart, number, table, text


def shares(labels: dict[str, int], errors: int, not_asked: int) -> dict[str, Any]:
    """Of each label that counts: documents, share and interval in percent; and of what is left out, documents only.

    labels   documents per label, as in the summary of the column `prediction`; besides, `errors` documents have none
             because the model gave none, and `not_asked` because they were not to be labelled
    """
    further = sorted(set(labels) - {*DOMAINS, *LEFT_OUT})
    n = sum(labels.get(d, 0) for d in (*DOMAINS, *further))
    found: list[dict[str, Any]] = []
    for label in (*DOMAINS, *further):
        k = labels.get(label, 0)
        low, high = wilson(k, n)
        found.append({"label": label, "n": k, "pct": 100 * k / n if n else None, "low": low, "high": high})
    found.sort(key=lambda d: -d["n"])
    left_out = {label: labels.get(label, 0) for label in LEFT_OUT}
    left_out[ERROR] += errors
    left_out["without a label"] = not_asked
    return {"n": n, "labels": found, "left_out": {k: v for k, v in left_out.items() if v}}


def domain_section(output: Output, columns: dict[str, dict[str, Any]]) -> Section | None:
    """columns: summaries of columns by instance."""
    bodies, data = [], []
    for instance, told in output.instances.items():
        prediction = columns.get(instance, {}).get("prediction", {})
        if told["tagger"] != "domain" or not prediction.get("n", 0) + prediction.get("missing", 0):
            continue
        missing, errors = prediction.get("missing", 0), columns[instance].get("error", {}).get("n", 0)
        found = shares(prediction.get("top", {}), errors, max(missing - errors, 0))
        data.append(found)
        bodies.append(_body(output, instance, found, columns[instance], len(data) - 1))
    return Section("domains", "Domains", "".join(bodies), data) if data else None


def _body(output: Output, instance: str, found: dict[str, Any], columns: dict[str, Any], i: int) -> str:
    backend = ", ".join(columns.get("backend", {}).get("top", {})) or "an unknown backend"
    rows = [
        (d["label"], number(d["n"]), _pct(d["pct"]), f"{_pct(d['low'])} to {_pct(d['high'])}") for d in found["labels"]
    ]
    label = f"Share of each domain among {found['n']:,} documents, with 95 % intervals"
    left = ", ".join(f"{n:,} {label}" for label, n in found["left_out"].items())
    head = f"<h3>{text(instance)}</h3>" if instance != "domain" else ""
    return (
        f"{head}<p>Labelled by {text(backend)}.{_substitute(output, instance, backend)} "
        f"{f'Left out of the shares: {text(left)}. ' if left else ''}"
        "The intervals (Wilson) are for the choice of documents; wrong labels are not in them.</p>"
        + chart(f"domains-{i}", label, table(label, ("Domain", "Documents", "Share", "95 % interval"), rows, (1, 2, 3)))
    )


def _pct(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _substitute(output: Output, instance: str, backend: str) -> str:
    """What the embedded model is worth, as far as a summary says."""
    if not backend.startswith("fasttext:"):
        return ""
    told = [s["domain"] for s in output.summaries.values() if "domain" in s and instance in s.get("instances", {})]
    agreement = told[-1].get("agreement_with_reference") if told else None
    if not agreement:
        return " It stands in for an LLM."
    return (
        f" It stands in for an LLM: on {agreement['n']:,} held-out web documents it agreed with the LLM's label in "
        f"{_pct(100 * agreement['accuracy'])} (kappa {agreement['kappa']:.2f}); the commonest label alone would in "
        f"{_pct(100 * agreement['majority_accuracy'])}."
    )

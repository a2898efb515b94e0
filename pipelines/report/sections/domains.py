"""The report's section on domains: shares with 95 % confidence intervals (Wilson's), and the labels that are left out.

The intervals are for the choice of documents. They do not include wrong labels.
"""

from __future__ import annotations

from typing import Any

from tagcorpus.pipelines.counting.intervals import wilson
from tagcorpus.pipelines.labelling.label_counts import DOMAINS, ERROR, LEFT_OUT
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.folder import Output
from tagcorpus.pipelines.report.sections.html import Bar, Section, bars, number, text


def shares(labels: dict[str, int], errors: int, not_asked: int) -> dict[str, Any]:
    """Documents, percentage and interval of each label that counts, and the documents of the labels that are left out.

    labels      documents per label, as in the summary of the column `prediction`
    errors      more documents without a label, because the model gave none
    not_asked   documents that were not to be labelled
    """
    others = sorted(set(labels) - {*DOMAINS, *LEFT_OUT})
    n = sum(labels.get(d, 0) for d in (*DOMAINS, *others))
    rows: list[dict[str, Any]] = []
    for label in (*DOMAINS, *others):
        k = labels.get(label, 0)
        low, high = wilson(k, n)
        rows.append({"label": label, "n": k, "pct": 100 * k / n if n else None, "low": low, "high": high})
    rows.sort(key=lambda d: -d["n"])
    left_out = {label: labels.get(label, 0) for label in LEFT_OUT}
    left_out[ERROR] += errors
    left_out["without a label"] = not_asked
    return {"n": n, "labels": rows, "left_out": {k: v for k, v in left_out.items() if v}}


def domains_section(contents: Contents) -> Section | None:
    body = ""
    for instance, identity in contents.output.instances.items():
        columns = contents.columns.get(instance, {})
        prediction = columns.get("prediction", {})
        if identity["tagger"] != "domain" or not prediction.get("n", 0) + prediction.get("missing", 0):
            continue
        missing, errors = prediction.get("missing", 0), columns.get("error", {}).get("n", 0)
        own = shares(prediction.get("top", {}), errors, max(missing - errors, 0))
        backend = ", ".join(columns.get("backend", {}).get("top", {})) or "an unknown backend"
        body += _body(contents.output, instance, own, backend)
    return Section("domains", "Domains", body) if body else None


def _body(output: Output, instance: str, own: dict[str, Any], backend: str) -> str:
    rows = [
        Bar(d["label"], d["pct"], None if d["low"] is None else (d["low"], d["high"]), [number(d["n"])])
        for d in own["labels"]
    ]
    caption = f"Share of each domain among {own['n']:,} documents, with 95 % confidence intervals"
    left = ", ".join(f"{n:,} {label}" for label, n in own["left_out"].items())
    head = f"<h3>{text(instance)}</h3>" if instance != "domain" else ""
    return (
        f"{head}<p>{text(caption)}. Labels are by {text(backend)}.{_agreement(output, instance, backend)}"
        f"{f' The shares leave out {text(left)}.' if left else ''}"
        " The intervals (Wilson) are for the choice of documents, and do not include wrong labels.</p>"
        + bars(caption, ("Domain", "Share", "n"), rows)
    )


def _agreement(output: Output, instance: str, backend: str) -> str:
    """The agreement of the embedded model, or of a student, with an LLM, if a summary has it."""
    if not backend.startswith(("fasttext:", "encoder:")):
        return ""
    own = [s["domain"] for s in output.summaries.values() if "domain" in s and instance in s.get("instances", {})]
    agreement = own[-1].get("agreement_with_reference") if own else None
    if not agreement:
        return " This model is a substitute for an LLM."
    return (
        f" This model is a substitute for an LLM. On {agreement['n']:,} held-out documents it agreed with the LLM's label in "
        f"{100 * agreement['accuracy']:.1f} % (kappa {agreement['kappa']:.2f}); the commonest label alone agrees in "
        f"{100 * agreement['majority_accuracy']:.1f} %."
    )

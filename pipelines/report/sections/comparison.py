"""The report's section on comparisons in the folder (`tagcorpus compare`): columns, shares, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import Section, documents_in, number, percent, table, text

LEAST_VERSION, MOST_SHARES = 2, 20


def comparison_section(contents: Contents) -> Section | None:
    comparisons = [
        d for _, d in documents_in(contents.output.folder, "compare") if d.get("compare", 0) >= LEAST_VERSION
    ]
    if not comparisons:
        return None
    return Section("comparison", "Comparisons", "".join(_comparison(d) for d in comparisons))


def _comparison(document: Mapping[str, Any]) -> str:
    columns = document["columns"]
    order = sorted(columns, key=lambda name: (not columns[name]["differs"], -columns[name]["size"]))
    differing = [name for name in order if columns[name]["differs"]]
    a, b = document["documents"]
    introduction = (
        f"A: {document['a']} ({a:,} documents). B: {document['b']} ({b:,} documents). "
        f"{len(differing):,} of {len(columns):,} columns differ: q is at most {document['discovery_rate']:g}, "
        f"and the effect at least {document['floor']:g}. Above 0, delta says that A is higher. Intervals are {document['intervals']['over']}."
    )
    title = "Columns, the largest differences first"
    header = ("Column", "Delta", "95 % interval", "Distance", "95 % interval", "q", "Verdict")
    body = table(title, header, [_row(name, columns[name]) for name in order], range(1, 6), css="tall frozen")
    body += "".join(_shares(name, columns[name]) for name in differing if columns[name]["kind"] == "categories")
    body += _entropy(document.get("entropy"))
    body += "".join(_documents(name, columns[name]["excess"]) for name in differing if columns[name].get("excess"))
    notes = "".join(f'<p class="dim">{text(line)}</p>' for line in (*document.get("notes", ()), *document["skipped"]))
    return f"<h3>{text(document['a'])} and {text(document['b'])}</h3><p>{text(introduction)}</p>{body}{notes}"


def _row(name: str, column: Mapping[str, Any]) -> Sequence[object]:
    verdict = "differs" if column["differs"] else ""
    if column["kind"] == "numeric":
        distance, unit = column["wasserstein_by_sd"], "sd"
        scale = distance / column["wasserstein"] if distance and column["wasserstein"] else 0.0
        interval = [v * scale for v in column["wasserstein_interval"] or ()]
        delta = (_signed(column["delta"]), _range(column["delta_interval"]))
    else:
        distance, unit, interval = column["jensen_shannon"], "bit", list(column["jensen_shannon_interval"] or ())
        delta = ("", "")
    return (
        name,
        *delta,
        f"{distance or 0:.3f} {unit}",
        " to ".join(f"{v:.3f}" for v in interval),
        number(column["q"], 2),
        verdict,
    )


def _shares(name: str, column: Mapping[str, Any]) -> str:
    title = f"{name}: share in A and in B, the largest differences first"
    rows = [
        (s["name"], percent(s["a"]), percent(s["b"]), f"{100 * (s['a'] - s['b']):+.1f}".replace("-", "−"))
        for s in column["shares"][:MOST_SHARES]
    ]
    shown = table(title, ("Value", "A", "B", "Difference in points"), rows, range(1, 4))
    return f"<details><summary>{text(title)}</summary>{shown}</details>"


def _entropy(entropy: Mapping[str, Any] | None) -> str:
    if not entropy:
        return ""
    title = f"Entropy of the next token in bits, at {entropy['token_budget']:,} tokens ({entropy['tokenizer']})"
    rows = [
        (word, number(e["a"]), number(e["b"]), _signed(e["difference"]), _range(e["interval"]))
        for word, e in (("plug-in", entropy["plug_in"]), ("Chao-Wang-Jost", entropy["chao_wang_jost"]))
    ]
    return f"<p>{text(title)}.</p>" + table(
        title, ("Estimator", "A", "B", "A minus B", "95 % interval"), rows, range(1, 5)
    )


def _documents(name: str, excesses: Sequence[Mapping[str, Any]]) -> str:
    """Documents that show a difference, side by side."""
    title = f"{name}: documents with the values that are most in excess in A, and in B"
    body = ""
    for excess in excesses:
        values = excess["value"] if "value" in excess else f"{number(excess['low'])} to {number(excess['high'])}"
        shares = f"{percent(excess['a'])} of A, {percent(excess['b'])} of B"
        body += f"<h4>More in {excess['more_in'].upper()}: {text(values)} <span class=dim>{text(shares)}</span></h4>"
        for one in excess["documents"]:
            value = one["value"] if isinstance(one["value"], str) else number(one["value"])
            shown = one["text"] if one["text"] is not None else f"({one['problem']})"
            body += f'<p class="dim">{text(one["id"] or "row " + str(one["row"]))}: {text(value)}</p>'
            body += f'<pre class="excerpt">{text(shown)}</pre>'
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.3f}".replace("-", "−")


def _range(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else " to ".join(f"{v + 0.0:+.2f}".replace("-", "−") for v in interval)

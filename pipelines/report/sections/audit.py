"""The report's section on audits in the folder (`tagcorpus audit`): verdicts, variance explained, groups, agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import (
    Bar,
    Section,
    bars,
    documents_in,
    figures,
    number,
    percent,
    table,
    text,
)

MOST_GROUPS = 100


def audit_section(contents: Contents) -> Section | None:
    audits = [a for _, a in documents_in(contents.output.folder, "audit") if a.get("audit") and a.get("groupings")]
    if not audits:
        return None
    return Section("audit", "What scores depend on", "".join(_audit(a) for a in audits))


def _audit(audit: Mapping[str, Any]) -> str:
    q, ends = audit["quantiles"], audit["ends"]
    spread = f"5 % to 95 %: {number(q['p5'])} to {number(q['p95'])}"
    entries = [
        ("documents", number(audit["n"]), f"{number(audit['rows'] - audit['n'])} without a value"),
        ("mean", number(audit["mean"]), f"sd {number(audit['sd'])}"),
        ("median", number(q["p50"]), spread),
        ("highest", number(ends["high"]["value"]), f"{percent(ends['high']['share'])} of the documents"),
    ]
    verdicts = "".join(f"<li>{text(line)}</li>" for line in audit["verdicts"])
    several = [g for g in audit["groupings"] if g["n_groups"] > 1]
    rows = [
        Bar(
            g["name"],
            None if g["omega_squared"] is None else 100 * g["omega_squared"],
            _in_percent(g["omega_squared_interval"]),
            [number(g["n_groups"]), g["outcome"]],
        )
        for g in several
    ]
    caption = "Share of the variance between groups (omega squared)"
    explained = bars(caption, ("Groups by", "Share", "Groups", "Outcome"), rows) if rows else ""
    notes = [f"Intervals are {audit['intervals']['over']}; a verdict needs {audit['floor']:g} sd.", *audit["notes"]]
    return (
        f"<h3>{text(audit['column'])}</h3>{figures([(v, n, r) for n, v, r in entries])}<ul>{verdicts}</ul>"
        f"<p>{caption}, with 95 % confidence intervals.</p>{explained}"
        + "".join(_groups(g, audit) for g in several)
        + _agreement(audit["agreement"])
        + "".join(f'<p class="dim">{text(note)}</p>' for note in notes)
    )


def _groups(grouping: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    groups = [g for g in grouping["groups"] if g["n"]]
    order = sorted(groups, key=lambda g: (not g["is_judged"], -abs(g["offset"] or 0.0)))[:MOST_GROUPS]
    title = f"Groups by {grouping['name']}, those that are off most first"
    if len(groups) > len(order):
        title += f" ({number(len(groups) - len(order))} more are in the JSON)"
    top = f"Times its share in the top {percent(audit['top']['share'])}"
    header = ("Group", "Documents", "Mean", "Off by sd", "95 % interval", top)
    rows = [
        (
            g["name"],
            number(g["n"]),
            number(g["mean"]),
            _signed(g["offset"]),
            _range(g["offset_interval"]),
            number(g["lift"], 3),
        )
        for g in order
    ]
    return f"<details><summary>{text(title)}</summary>{table(title, header, rows, range(1, 6))}</details>"


def _agreement(agreements: Sequence[Mapping[str, Any]]) -> str:
    rows = [row for one in agreements for row in _agreement_rows(one)]
    if not rows:
        return ""
    title = "Rank agreement, overall and within groups"
    header = ("With", "Within", "Documents", "Spearman", "95 % interval", "Kendall")
    return f"<p>{title}.</p>" + table(title, header, rows, range(2, 6))


def _agreement_rows(agreement: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for name, one in (("all documents", agreement["overall"]), *agreement["within"].items()):
        if one.get("spearman") is not None:
            interval = _range(one.get("spearman_interval"))
            yield (
                agreement["with"],
                name,
                number(one["n"]),
                number(one["spearman"], 3),
                interval,
                number(one["kendall"], 3),
            )


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _range(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else " to ".join(f"{v:+.2f}".replace("-", "−") for v in interval)


def _in_percent(interval: Sequence[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])

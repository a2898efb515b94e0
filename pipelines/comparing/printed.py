"""The text that `tagcorpus compare` prints, at most 80 columns wide, from the document in its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagcorpus.pipelines.distributions.text_table import WIDTH, percent, shortened, text_table, wrapped

SHOWN_SHARES = 5
# The terminal shows documents of so many columns, the most different ones; the JSON of all.
SHOWN_COLUMNS = 3
NAME_WIDTH = 30


def as_text(document: Mapping[str, Any], where: str) -> str:
    """The table of columns, then the shares of categories that differ."""
    differing = {name: c for name, c in document["columns"].items() if c["differs"]}
    head = f"A: {document['a']}\nB: {document['b']}\n{len(differing):,} of {len(document['columns']):,} columns differ"
    rows = [_row(name, c) for name, c in document["columns"].items()]
    tables = [text_table(["column", "delta", "distance", "95 %", "q", ""], rows)] if rows else []
    shares = [_shares(name, c) for name, c in differing.items() if c["kind"] == "categories"]
    order = sorted(differing, key=lambda name: -differing[name]["size"])[:SHOWN_COLUMNS]
    documents = [_documents(name, e) for name in order for e in differing[name].get("excess", ()) if e["documents"]]
    entropy = [_entropy(document["entropy"])] if document["entropy"] else []
    return "\n\n".join([head, *tables, *entropy, *shares, *documents, _notes(document, where)])


def _entropy(entropy: Mapping[str, Any]) -> str:
    """Entropies of both sides in bits."""
    head = f"next-token entropy in bits, at {entropy['token_budget']:,} tokens"
    rows = [
        [f"  {word}", f"{e['a']:.3f}", f"{e['b']:.3f}", f"{e['difference']:+.3f}", _interval(e["interval"], "+.2f")]
        for word, e in (("plug-in", entropy["plug_in"]), ("Chao-Wang-Jost", entropy["chao_wang_jost"]))
    ]
    return text_table([head, "A", "B", "A - B", "95 %"], rows)


def _documents(name: str, excess: Mapping[str, Any]) -> str:
    """Documents that have what one side has more of, in a line each."""
    values = excess["value"] if "value" in excess else f"{excess['low']:.4g} to {excess['high']:.4g}"
    head = f"{shortened(name, NAME_WIDTH)}, more in {excess['more_in'].upper()}: {shortened(values, NAME_WIDTH)}"
    lines = [f"{head} ({percent(excess['a'])} of A, {percent(excess['b'])} of B)"]
    for one in excess["documents"]:
        text = " ".join((one["text"] if one["text"] is not None else f"({one['problem']})").split())
        name_of = shortened(one["id"] or f"row {one['row']}", NAME_WIDTH)
        line = f"  {name_of}: {text}"
        lines.append(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}...")
    return "\n".join(lines)


def _row(name: str, column: Mapping[str, Any]) -> list[str]:
    if column["kind"] == "numeric":
        delta, distance = f"{round(column['delta'], 3) + 0.0:+.3f}", f"{column['wasserstein_by_sd'] or 0:.3f} sd"
        interval = _interval(column["delta_interval"], "+.2f")
    else:
        delta, distance = "", f"{column['jensen_shannon']:.3f} bit"
        interval = _interval(column["jensen_shannon_interval"], ".3f")
    mark = "differs" if column["differs"] else ""
    return [shortened(name, NAME_WIDTH), delta, distance, interval, f"{column['q']:.2g}", mark]


def _interval(interval: list[float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0] + 0.0:{form}} to {interval[1] + 0.0:{form}}"


def _shares(name: str, column: Mapping[str, Any]) -> str:
    top = [
        f"  {shortened(s['name'], NAME_WIDTH)}: {percent(s['a'])}, {percent(s['b'])}"
        for s in column["shares"][:SHOWN_SHARES]
    ]
    return "\n".join([f"{name}: share in A, in B", *top])


def _notes(document: Mapping[str, Any], where: str) -> str:
    intervals = document["intervals"]
    notes = [
        f"delta above 0: A is higher. The interval is that of delta, or of the distance of categories, {intervals['over']}. "
        f"differs: q up to {document['discovery_rate']:g}, and an effect of {document['floor']:g} or more",
    ]
    notes += document["notes"]
    if intervals["has_few_clusters"]:
        notes.append("there are too few clusters for intervals and q to be relied on")
    return "\n".join([*(wrapped(n, "") for n in notes), *(wrapped(s, "") for s in document["skipped"]), where])

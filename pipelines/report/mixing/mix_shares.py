"""The section on mixes: shares asked and realised, epochs, tag statistics; of a swarm, the shares of all mixes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import Bar, Section, bars, figures, number, percent, table, text

# Mixes that are shown in full. More of them are a swarm, and have a table of shares.
MOST_IN_FULL = 4
MOST_ROWS = 500


def mixes_section(contents: Contents) -> Section | None:
    mixes = contents.output.trained.mixes
    if not mixes:
        return None
    if len(mixes) == 1:
        return Section("mixes", "Mix", _mix(next(iter(mixes.values()))))
    body = _swarm(mixes)
    if len(mixes) <= MOST_IN_FULL:
        body += "".join(f"<h3>{text(name or 'this folder')}</h3>{_mix(mix)}" for name, mix in mixes.items())
    return Section("mixes", "Mixes", body)


def _mix(mix: Mapping[str, Any]) -> str:
    groups: Mapping[str, Mapping[str, Any]] = mix["groups"]
    most = max(groups, key=lambda name: groups[name]["epochs"])
    top = figures(
        [
            (f"{mix['tokens']:,}", "tokens", f"{mix['windows']:,} windows of {mix['sequence_length']:,}"),
            (f"{len(groups):,}", "groups", ""),
            (f"{groups[most]['epochs']:.3f}", "epochs at most", f"{most}; allowed {mix['epochs_allowed']:g}"),
            (number(mix["seed"]), "seed", f"tokenizer {mix['tokenizer']['name'].rsplit('/', 1)[-1]}"),
        ]
    )
    rows = [
        Bar(
            name,
            100 * group["share"],
            None,
            (
                percent(group["asked_share"]),
                f"{group['windows'] - group['asked_share'] * mix['windows']:+.2f}".replace("-", "−"),
                f"{group['tokens']:,}",
                f"{group['tokens_available']:,}",
                f"{group['documents_available']:,}",
                f"{group['epochs']:.3f}",
                f"{group['held_out']['tokens']:,}" if group["held_out"] else "–",
            ),
        )
        for name, group in sorted(groups.items(), key=lambda item: -item[1]["share"])
    ]
    header = ("Group", "Share", "Asked", "Off by, windows", "Tokens", "Tokens there", "Documents there", "Epochs",
              "Held-out tokens")  # fmt: skip
    return top + bars("Shares of tokens", header, rows) + _tags(mix)


def _tags(mix: Mapping[str, Any]) -> str:
    """Means of the tag columns, of the mix and of each group."""
    own = mix["statistics"]
    groups = mix["groups"]
    if not own:
        return "<p class=dim>No tags are beside the token files, so the mix has no tag statistics.</p>"
    rows = [
        (
            column,
            number(entry["mean"]),
            percent(entry["coverage"]),
            *(number(group["statistics"].get(column, {}).get("mean")) for group in groups.values()),
        )
        for column, entry in own.items()
    ]
    title = "Means of tags, weighted by tokens"
    shown = table(
        title, ("Column", "Mix", "Tokens covered", *groups), rows, range(1, 3 + len(groups)), css="tall frozen"
    )
    return f"<h4>{title}</h4>{shown}"


def _swarm(mixes: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(group for mix in mixes.values() for group in mix["groups"]))
    shares = {group: [mix["groups"].get(group, {}).get("share", 0.0) for mix in mixes.values()] for group in names}
    epochs = {group: max(mix["groups"].get(group, {}).get("epochs", 0.0) for mix in mixes.values()) for group in names}
    rows = [
        Bar(
            group,
            100 * statistics.mean(own),
            None,
            (*(percent(value) for value in (min(own), statistics.median(own), max(own))), sum(s > 0 for s in own),
             f"{epochs[group]:.3f}"),
        )
        for group, own in shares.items()
    ]  # fmt: skip
    header = ("Group", "Mean share", "Smallest", "Median", "Largest", "Mixes that have it", "Most epochs")
    tokens = sorted({mix["tokens"] for mix in mixes.values()})
    sizes = f"{tokens[0]:,}" + (f" to {tokens[-1]:,}" if len(tokens) > 1 else "")
    lead = f"<p>{len(mixes):,} mixes of {len(names):,} groups, {sizes} tokens each.</p>"
    return lead + bars("Shares of the groups over all mixes", header, rows) + _every_mix(mixes, names)


def _every_mix(mixes: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    title = "Shares of every mix"
    rows = [
        (name or "this folder", *(percent(mix["groups"].get(group, {}).get("share", 0.0)) for group in names))
        for name, mix in list(mixes.items())[:MOST_ROWS]
    ]
    left = f" The first {MOST_ROWS:,} are shown." if len(mixes) > MOST_ROWS else ""
    shown = table(title, ("Mix", *names), rows, range(1, len(names) + 1), css="tall frozen")
    return f"<details><summary>{title}</summary>{f'<p>{left}</p>' if left else ''}{shown}</details>"

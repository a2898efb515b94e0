"""The text that `tagcorpus audit` prints, at most 80 columns wide, from the document in its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagcorpus.pipelines.distributions.text_table import percent, shortened, text_table, wrapped

SHOWN_GROUPS = 8
NAME_WIDTH = 26


def as_text(audit: Mapping[str, Any], where: str) -> str:
    """The verdicts first, then the figures."""
    blocks = [_head(audit), "verdict\n" + "\n".join(wrapped(line) for line in audit["verdicts"]), _variance(audit)]
    blocks += [_groups(g, audit) for g in audit["groupings"] if g["n_groups"] > 1]
    blocks += [_agreement(a) for a in audit["agreement"]]
    return "\n\n".join([*blocks, _notes(audit, where)])


def _head(audit: Mapping[str, Any]) -> str:
    counts = f"{audit['n']:,} of {audit['rows']:,} documents have a value"
    q = audit["quantiles"]
    ends = [
        f"{word} {audit['ends'][e]['value']:.4g} ({percent(audit['ends'][e]['share'])} of documents)"
        for e, word in (("low", "min"), ("high", "max"))
    ]
    return "\n".join(
        [
            f"{audit['column']}: {counts}",
            f"  mean {audit['mean']:.4g}, sd {audit['sd']:.4g}, median {q['p50']:.4g}, "
            f"5 % to 95 % {q['p5']:.4g} to {q['p95']:.4g}",
            f"  {', '.join(ends)}",
        ]
    )


def _variance(audit: Mapping[str, Any]) -> str:
    rows = []
    for g in audit["groupings"]:
        if g["n_groups"] < 2:
            continue
        share, interval = g["omega_squared"], g["omega_squared_interval"]
        rows.append(
            [
                f"  {shortened(g['name'], NAME_WIDTH)}",
                f"{g['n_groups']:,}",
                "" if share is None else percent(share),
                "" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}",
                g["outcome"],
            ]
        )
    if not rows:
        return "variance explained: there is no grouping with two groups"
    return text_table(["variance explained (omega squared)", "groups", "share", "95 %", "outcome"], rows)


def _groups(grouping: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    head = [
        shortened(grouping["name"], NAME_WIDTH),
        "documents",
        "mean",
        "off by sd",
        "95 %",
        f"in top {percent(audit['top']['share'])}",
    ]
    groups = [g for g in grouping["groups"] if g["n"]]
    chosen = groups if len(groups) <= SHOWN_GROUPS else _extremes(groups)
    rows = []
    for g in chosen:
        offset, interval = g["offset"], g["offset_interval"]
        rows.append(
            [
                f"  {shortened(g['name'], NAME_WIDTH)}",
                f"{g['n']:,}",
                f"{g['mean']:.4g}",
                "" if offset is None else f"{offset:+.3f}",
                "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}",
                f"{g['lift']:.2f} x",
            ]
        )
    rest = len(groups) - len(chosen)
    more = f"\n  ({rest:,} groups between are in the JSON)" if rest else ""
    return text_table(head, rows) + more


def _extremes(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Half of the rows for the groups that are off most to each side, large enough for a verdict first."""
    order = sorted((g for g in groups if g["offset"] is not None), key=lambda g: (g["is_judged"], abs(g["offset"])))
    kept = order[-SHOWN_GROUPS:]
    return sorted(kept, key=lambda g: -g["offset"])


def _agreement(agreement: Mapping[str, Any]) -> str:
    overall = agreement["overall"]
    if overall.get("spearman") is None:
        return f"agreement with {agreement['with']}: {overall['n']:,} documents have both values, too few"
    low, high = overall["spearman_interval"]
    rows = [
        [
            "  overall",
            f"{overall['n']:,}",
            f"{overall['spearman']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{overall['kendall']:.3f}",
        ]
    ]
    for name, within in agreement["within"].items():
        if within["spearman"] is not None and len(within["groups"]) > 1:
            rows.append(
                [
                    f"  within {shortened(name, NAME_WIDTH - 7)}",
                    f"{within['n']:,}",
                    f"{within['spearman']:.3f}",
                    "",
                    f"{within['kendall']:.3f}",
                ]
            )
    title = f"agreement with {shortened(agreement['with'], 60)}"
    return f"{title}\n" + text_table(["", "documents", "Spearman", "95 %", "Kendall"], rows)


def _notes(audit: Mapping[str, Any], where: str) -> str:
    n = audit["intervals"]["groups_together"]
    together = f" that holds for all {n:,} groups together" if n else ""
    notes = [
        f"intervals: jackknife {audit['intervals']['over']}; a verdict needs {audit['floor']:g} sd, and an interval without "
        f"zero{together}",
        *audit["notes"],
    ]
    return "\n".join([*(wrapped(n, "") for n in notes), where])

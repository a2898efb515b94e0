"""The verdicts of an audit in plain words, by effect size. A verdict needs an effect of at least the floor, and an interval
without zero: of few documents chance makes large effects, of very many every trifle is beyond chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.distributions.text_table import percent, shortened

# Shares of variance by the words for them (Cohen 1988).
SIZES = ((0.14, "strongly"), (0.06, "clearly"), (0.01, "somewhat"), (0.0, "little"))
DIFFERS, SAME, OPEN, ALONE = "differs", "same", "open", "one_group"
# Shares and ratios from which on an audit speaks of them.
NAME_WIDTH = 28
TIED, IN_PART, LIFT, LOST_AGREEMENT = 0.05, 0.05, 1.25, 0.1


def outcome(grouping: Mapping[str, Any], floor: float) -> str:
    """differs: a group is off by the floor or more, beyond chance. same: no interval reaches beyond the floor. Else open."""
    judged = [g for g in grouping["groups"] if g["is_judged"] and g["offset_interval_together"] is not None]
    if not judged:
        return ALONE if grouping["n_groups"] < 2 else OPEN
    if any(is_off(g, floor) for g in judged):
        return DIFFERS
    reach = max(max(map(abs, g["offset_interval_together"])) for g in judged)
    return SAME if reach <= floor else OPEN


def is_off(group: Mapping[str, Any], floor: float) -> bool:
    interval = group.get("offset_interval_together") if group["is_judged"] else None
    return interval is not None and abs(group["offset"]) >= floor and interval[0] * interval[1] > 0


def is_lifted(group: Mapping[str, Any]) -> bool:
    interval = group.get("lift_interval_together") if group["is_judged"] else None
    if interval is None:
        return bool(group["is_judged"]) and group.get("lift") == 0.0
    return bool((group["lift"] >= LIFT and interval[0] > 1) or (group["lift"] <= 1 / LIFT and interval[1] < 1))


def of_grouping(grouping: Mapping[str, Any], floor: float) -> str:
    name, kind = grouping["name"], outcome(grouping, floor)
    if kind == ALONE:
        return f"{name}: there is only one group, so nothing can be compared."
    if kind == SAME:
        return f"{name}: the score is the same in all groups, within {floor:g} sd."
    if kind == OPEN:
        return f"{name}: open: too few documents to show or exclude a difference of {floor:g} sd."
    off = sorted((g for g in grouping["groups"] if is_off(g, floor)), key=lambda g: g["offset"])
    share = grouping["omega_squared"] or 0.0
    word = next(word for least, word in SIZES if share >= least)
    ends = [off[-1]] if off[-1]["offset"] > 0 else []
    ends += [off[0]] if off[0]["offset"] < 0 else []
    groups = ", ".join(f"{shortened(g['name'], NAME_WIDTH)} {g['offset']:+.2f} sd" for g in ends)
    return f"{name}: the score depends on it {word} ({percent(share)} of the variance; {groups})."


def verdicts(audit: Mapping[str, Any]) -> list[str]:
    """All sentences, in the order of the audit."""
    lines = [of_grouping(g, audit["floor"]) for g in audit["groupings"]]
    for end, word in (("low", "lowest"), ("high", "highest")):
        if audit["ends"][end]["share"] >= TIED and audit["n"] > 1:
            lines.append(
                f"ends: {percent(audit['ends'][end]['share'])} of the documents share the {word} value; no threshold divides them."
            )
    window = audit["judged_in_part"]
    if window and window["share_in_part"] is not None and window["share_in_part"] >= IN_PART:
        about = "about " if window["is_estimate"] else ""
        text = f"window: {about}{percent(window['share_in_part'])} of the documents were judged in part"
        if window["share_unread"] is not None:
            text += f", and {percent(window['share_unread'])} of their text was not read"
        lines.append(text + ".")
    lines += _of_top(audit["groupings"], audit["top"])
    for agreement in audit["agreement"]:
        lines += _of_agreement(agreement)
    return lines


def _of_top(groupings: Sequence[Mapping[str, Any]], top: Mapping[str, Any]) -> list[str]:
    lines = []
    for grouping in groupings:
        lifted = [g for g in grouping["groups"] if is_lifted(g)]
        if lifted:
            most, least = max(lifted, key=lambda g: g["lift"]), min(lifted, key=lambda g: g["lift"])
            texts = [f"{g['lift']:.2g} times the share of {shortened(g['name'], NAME_WIDTH)}" for g in (most, least)]
            lines.append(f"top {percent(top['share'])} by {grouping['name']}: {' and '.join(dict.fromkeys(texts))}.")
    return lines


def _of_agreement(agreement: Mapping[str, Any]) -> list[str]:
    overall = agreement["overall"].get("spearman")
    if overall is None:
        return [f"agreement with {agreement['with']}: too few documents have both values."]
    lines = []
    for name, within in agreement["within"].items():
        inside = within["spearman"]
        if inside is not None and len(within["groups"]) > 1 and abs(overall) - abs(inside) >= LOST_AGREEMENT:
            lines.append(
                f"agreement with {agreement['with']}: {overall:.2f} overall, but {inside:.2f} within {name}: "
                "part of it is agreement about groups."
            )
    return lines or [f"agreement with {agreement['with']}: {overall:.2f} overall, and about as much within groups."]

"""What `mix fit` prints: the models in a table, then what the figures rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.mix_models.held_out import ABSENT, PRESENT
from tagcorpus.predictor.protocols.tables import aligned

# Laws that are linear in shares can err without bound on a source that they never saw.
LARGE = 100
WIDE = 0.05  # from here on, the third decimal of an interval says nothing


def as_text(document: Mapping[str, Any]) -> str:
    folds, sources = document["on_folds"], document["sources_left_out"]
    count = len(document["outcomes"])
    means = f"mean of {count} outcomes" if count > 1 else document["outcomes"][0]
    lines = [
        f"{document['mixes']:,} mixes ({document['runs']:,} runs) of {len(document['sources'])} sources; {means}; "
        f"{folds['folds']} folds over mixes",
        *_table(
            folds["mean"], folds["ours_less"], ("rank_correlation", "pairs"), ("rank correlation", "pairs in order")
        ),
        "in brackets: 95 % intervals; gp less this: a paired difference of rank correlations",
        "",
        *(
            f"90 % intervals of {title} contain {100 * share:.1f} % of held-out mixes (Monte Carlo error {100 * error:.1f})"
            for title, (share, error) in folds["coverage"].items()
        ),
        _seeds(document["seeds"]),
        "",
    ]
    if sources is None:
        lines.append("no two sources can be held out: too few mixes lack a source, or have one")
        return "\n".join(lines)
    n = len(sources["sources"])
    lines += [
        f"each source left out: fitted to mixes with less than {100 * ABSENT:g} % of it, tested on mixes with at least "
        f"{100 * PRESENT:g} %",
        *_table(
            sources["models"],
            sources["ours_less"],
            ("rank_correlation", "error"),
            ("rank correlation", "error / mean's"),
        ),
        f"{n} sources: an interval rests on {n} values, and each fit knows {n - 1} of the sources",
    ]
    if "permutations" in sources:
        permutations = sources["permutations"]
        lines.append(
            f"with the statistics of other sources, the error of gp, both is {permutations['mean_error']:.3f} (mean of "
            f"{permutations['count']} permutations; p = {permutations['p']:.2f})"
        )
    if sources["not_held_out"]:
        lines.append(f"not held out, for want of mixes: {', '.join(sources['not_held_out'])}")
    return "\n".join(lines)


def _table(
    models: Mapping[str, Any], ours_less: Mapping[str, Any], kinds: Sequence[str], titles: Sequence[str]
) -> list[str]:
    rows = [["model", *titles, "gp less this"]]
    for title, figures in models.items():
        difference = _figure(ours_less[title][kinds[0]], "+") if title in ours_less else ""
        rows.append([title, *(_figure(figures[kind]) for kind in kinds), difference])
    return aligned(rows)


def _figure(figure: Sequence[float], sign: str = "") -> str:
    value, low, high = figure
    if max(abs(v) for v in figure) >= LARGE:
        return f"{value:{sign}.2g} ({low:.2g} to {high:.2g})"
    decimals = 2 if high - low >= WIDE else 3
    return f"{value:{sign}.3f} ({low:.{decimals}f} to {high:.{decimals}f})"


def _seeds(seeds: Mapping[str, Any]) -> str:
    if not seeds:
        return "no mix has two seeds: the noise between seeds, the floor of every error, is unknown"
    deviations = [s["deviation"] for s in seeds.values()]
    degrees = min(s["freedom"] for s in seeds.values())
    texts = f"{min(deviations):.3g}" + (f" to {max(deviations):.3g}" if len(deviations) > 1 else "")
    return (
        f"standard deviation between seeds of one mix, the floor of every error: {texts} ({degrees} degrees of freedom)"
    )

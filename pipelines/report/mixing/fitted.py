"""The section on `mix fit`: how well each model predicts mixes and sources that it has not seen, and the proposal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import Bar, Section, bars, figures, number, percent, table, text

FIGURES = {"rank_correlation": "Rank correlation", "pairs": "Pairs in order", "error": "Error / mean's"}


def fit_section(contents: Contents) -> Section | None:
    fits = contents.output.trained.fits
    if not fits:
        return None
    body = ""
    for place, fit in fits.items():
        heading = f"<h3>{text(place)}</h3>" if len(fits) > 1 else ""
        body += heading + _fit(fit) + _proposal(contents.output.trained.proposals.get(place))
    return Section("fit", "Outcomes predicted from mixes", body)


def _fit(fit: Mapping[str, Any]) -> str:
    folds, sources = fit["on_folds"], fit["sources_left_out"]
    coverage = [(f"{100 * share:.1f} %", f"of mixes in 90 % intervals, {name}", f"Monte Carlo error {100 * error:.1f}")
                for name, (share, error) in folds["coverage"].items()]  # fmt: skip
    seeds = [(number(own["deviation"], 3), f"between seeds, {name}", f"{own['freedom']} degrees of freedom")
             for name, own in fit["seeds"].items()]  # fmt: skip
    top = figures(
        [
            (f"{fit['mixes']:,}", "mixes", f"{fit['runs']:,} runs"),
            (f"{len(fit['sources']):,}", "sources", ""),
            *coverage,
            *(seeds if len(seeds) < 4 else ()),
        ]
    )
    count = len(fit["outcomes"])
    outcomes = fit["outcomes"][0] if count == 1 else f"mean of {count} outcomes"
    lead = (
        f"Each mix is predicted from the mixes of the other {folds['folds'] - 1} of {folds['folds']} folds; {outcomes}."
    )
    body = f"{top}<h3>Mixes held out</h3><p>{text(lead)}</p>" + _models(
        folds["mean"], folds["ours_less"], "Mixes held out"
    )
    if count > 1:
        body += _by_outcome(folds["outcomes"])
    if sources is None:
        return body + "<p>No two sources can be held out: too few mixes lack a source, or have one.</p>"
    n = len(sources["sources"])
    body += f"<h3>Sources held out</h3><p>Each of {n} sources is left out in turn, and mixes that have it are predicted.</p>"
    body += _models(sources["models"], sources["ours_less"], "Sources held out")
    if permutations := sources.get("permutations"):
        body += (
            f"<p>With the statistics of other sources, the error of gp, both is {number(permutations['mean_error'], 3)} (mean of "
            f"{permutations['count']} permutations, p = {permutations['p']:.2f}).</p>"
        )
    return body + _by_source(sources["sources"])


def _models(models: Mapping[str, Any], ours_less: Mapping[str, Any], caption: str) -> str:
    kinds = [kind for kind in FIGURES if any(kind in own for own in models.values())]
    difference = "gp less this, " + FIGURES[kinds[0]].lower()
    header = [
        "Model",
        *(name for kind in kinds for name in (FIGURES[kind], "95 % interval")),
        difference,
        "95 % interval",
    ]
    rows = [
        (
            title,
            *(cell for kind in kinds for cell in _figure(own[kind])),
            *_figure(ours_less.get(title, {}).get(kinds[0])),
        )
        for title, own in models.items()
    ]
    return table(caption, header, rows, range(1, len(header)))


def _figure(figure: Sequence[float] | None) -> tuple[str, str]:
    if not figure:
        return "", ""
    # Laws that are linear in shares can err without bound.
    value, low, high = (f"{v:.3f}".replace("-", "−") if abs(v) < 100 else number(v, 2) for v in figure)
    return value, f"{low} to {high}"


def _by_outcome(outcomes: Sequence[Mapping[str, Any]]) -> str:
    titles = list(outcomes[0]["models"])
    rows = [
        (own["outcome"], *(_figure(own["models"][title]["rank_correlation"])[0] for title in titles))
        for own in outcomes
    ]
    title = "Rank correlation of every outcome"
    shown = table(title, ("Outcome", *titles), rows, range(1, len(titles) + 1))
    return f"<details><summary>{title}</summary>{shown}</details>"


def _by_source(sources: Sequence[Mapping[str, Any]]) -> str:
    titles = list(sources[0]["models"])
    rows = [
        (own["source"], own["trained_on"], own["tested_on"], *(number(own["models"][t]["error"], 3) for t in titles))
        for own in sources
    ]
    title = "Error of every source, as a share of the mean's"
    header = ("Source", "Mixes fitted", "Mixes tested", *titles)
    return f"<details><summary>{title}</summary>{table(title, header, rows, range(1, len(header)))}</details>"


def _proposal(proposal: Mapping[str, Any] | None) -> str:
    if proposal is None:
        return ""
    shares = sorted(((s, n) for n, s in proposal["shares"].items() if s), reverse=True)
    rows = [Bar(name, 100 * share) for share, name in shares]
    expected = [
        (
            one["outcome"],
            number(one["predicted"]),
            " to ".join(number(end) for end in one["interval"]),
            *(percent(a["probability_better"]) for a in one["against"][-1:]),
        )
        for one in proposal["expected"]
    ]
    header = ("Outcome", "Expected", "90 % interval", "Better than the best tried mix with probability")
    return (
        f"<h3>Proposal of {text(str(proposal.get('date', ''))[:10])}</h3>"
        + bars("Proposed shares", ("Source", "Share"), rows)
        + table("Expected outcomes", header, expected, range(1, 4))
        + f"<p class=dim>Caution: {text(proposal.get('caution', ''))}.</p>"
    )

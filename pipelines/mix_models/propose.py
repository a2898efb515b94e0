"""`tagcorpus mix propose`: shares with a low predicted outcome, and a file that says what is expected, before anybody trains.

    <fit>/proposal.json   shares, bounds, expectations with intervals, digests of the inputs, date (the pre-registration)

A proposal that was written down is never replaced by another one. It ends with a checksum, so that nobody edits it afterwards unseen.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import tagcorpus
from tagcorpus.errors import ConfigError, InputError, unknown_name
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.mix_models.content import Content
from tagcorpus.pipelines.mix_models.fit import FORMAT, RESULT, check_packages
from tagcorpus.pipelines.mix_models.gaussian_process import Surface
from tagcorpus.pipelines.mix_models.new_mixes import LEVEL, interval
from tagcorpus.pipelines.mix_models.regressors import Columns, Process
from tagcorpus.pipelines.mix_models.search import Objective, lowest
from tagcorpus.pipelines.mix_models.swarm import kind_by_name
from tagcorpus.pipelines.progress.amounts import times
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import begins_with, check_file
from tagcorpus.pipelines.storage.sealed import opened, sealed
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols.tables import aligned
from tagcorpus.predictor.records.annotations import csv_rows, text_of
from tagcorpus.predictor.records.plain_values import number

Array = np.ndarray[Any, Any]
PROPOSAL = "proposal.json"
MOST_TOKENS = 1e18
BEGINNING = '{\n "pre_registration": '
# An expectation that a search has chosen is too good on average: the search goes where the process errs to the hopeful side.
CAUTION = "the search chose the most hopeful mix, so the outcome is probably a little worse than expected"


def propose(
    fit: str,
    outcome: Sequence[str] = (),
    is_lowest: bool = False,
    is_highest: bool = False,
    at_most: Sequence[str] = (),
    tokens: str | None = None,
    budget: int | None = None,
    epochs: float = 4.0,
    kl: float = 0.0,
    seed: int = 0,
    output: str | None = None,
    as_json: bool = False,
) -> str:
    """Search, write the proposal down, and return the text to print. Arguments: MixProposeOptions."""
    check_packages()
    if is_lowest == is_highest:
        raise ConfigError(
            "which outcomes are better? Give --lowest where they are losses, or --highest where they are scores"
            + (", not both" if is_lowest else "")
        )
    if output is not None and not output.lower().endswith(".json"):
        raise ConfigError(f"--output {output}: the proposal is a file in .json")
    display = Display()
    path = Path(fit) / RESULT if os.path.isdir(fit) else Path(fit)
    where = output or str(path.with_name(PROPOSAL))
    folder, name = check_file(where, begins_with(BEGINNING.encode()), "is not a proposal", inputs=[str(path), tokens])
    document = _read(path)
    sources, outcomes = document["sources"], document["outcomes"]
    for name in outcome:
        if name not in outcomes:
            raise ConfigError(unknown_name("outcome", name, outcomes, "--outcome"))
    chosen = list(dict.fromkeys(outcome)) or outcomes
    _check_direction(chosen, is_highest, display)
    try:
        processes, distances, content = _processes(document)
    except (KeyError, IndexError, TypeError, ValueError, np.linalg.LinAlgError):  # fits of versions without a checksum
        raise InputError(f"{str(path)!r} is damaged; fit again") from None
    picked = [processes[outcomes.index(name)] for name in chosen]
    reaches = [distances[outcomes.index(name)] for name in chosen]
    tried = np.array(document["model"]["shares"])
    available = _tokens(tokens, sources, display) if tokens else None
    if (budget is not None or kl) and available is None:
        raise ConfigError(f"--{'budget' if budget is not None else 'kl'} needs the tokens of each source: --tokens CSV")
    caps = _caps(sources, at_most, available, budget, epochs)
    if content is None:
        caps = np.where(tried.any(axis=0), caps, 0.0)  # shares alone say nothing of a source that no mix held
        if caps.sum() < 1 - 1e-12:
            raise ConfigError("--at-most: the sources that the mixes of the fit held may not fill a mix; raise a bound")
    natural = tried.mean(axis=0) if available is None else available / available.sum()
    objective = Objective(picked, sources, content, -1 if is_highest else 1, kl, natural)
    one_thread = Workers()  # more threads add in another order, and the search could end elsewhere
    shares = one_thread.map(lowest, [(objective, tried, caps, seed)])[0]
    values = np.array([[math.nan if v is None else v for v in row] for row in document["model"]["values"]])
    best = _best(values[:, [outcomes.index(n) for n in chosen]], objective.sign)
    others = {"natural mix" if available is not None else "mean of the tried mixes": natural}
    if best is not None:
        others[f"best tried mix ({document['model']['ids'][best][0]})"] = tried[best]
    proposal = {
        "pre_registration": "a mix that was proposed before training",
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tagcorpus": tagcorpus.__version__,
        "inputs": {
            **document["inputs"],
            "fit": {path.name: _digest(path)},
            **({"tokens": {os.path.basename(tokens): _digest(Path(tokens))}} if tokens else {}),
        },
        "outcomes": chosen,
        "direction": "highest" if is_highest else "lowest",
        "bounds": {
            "at_most": list(at_most),
            "budget": None if budget is None else float(budget),
            "epochs": epochs if budget is not None and math.isfinite(epochs) else None,
            "kl": kl,
        },
        "seed": seed,
        "shares": {name: round(float(share), 6) for name, share in zip(sources, shares, strict=True)},
        "epochs": {n: round(float(s * budget / t), 4) for n, s, t in zip(sources, shares, available, strict=True) if s}
        if available is not None and budget is not None
        else None,
        "kl_from_natural_nats": _significant(objective.divergence(shares)),
        "nearest_tried_mix": round(float(0.5 * np.abs(tried - shares).sum(axis=1).min()), 6),
        "never_tried": [name for j, name in enumerate(sources) if shares[j] > 2 * tried[:, j].max()],
        "expected": _expected(objective, chosen, reaches, shares, others),
        "caution": CAUTION,
    }
    _publish(folder, name, proposal)
    display.say(f"-> {where}")
    return json.dumps(proposal, indent=1, ensure_ascii=False) if as_json else _as_text(proposal)


def _check_direction(outcomes: Sequence[str], is_highest: bool, display: Display) -> None:
    """Raise ConfigError for losses beside scores, by their names; say where the names contradict the chosen direction."""
    losses = [name for name in outcomes if kind_by_name(name) == "loss"]
    scores = [name for name in outcomes if kind_by_name(name) == "score"]
    if losses and scores:
        raise ConfigError(
            f"{losses[0]!r} is a loss by its name, and {scores[0]!r} a score: lower is better for one of them only. Name "
            "outcomes of one kind with --outcome"
        )
    if contrary := losses if is_highest else scores:
        kind, flag = ("loss", "--highest") if is_highest else ("score", "--lowest")
        display.say(f"caution: {contrary[0]!r} is a {kind} by its name, and {flag} proposes the worst of a {kind}")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        if path.name != RESULT:
            raise InputError(f"there is no folder {str(path)!r}; name the folder that tagcorpus mix fit wrote")
        raise InputError(f"{str(path.parent)!r} has no {path.name}; name the folder that tagcorpus mix fit wrote")
    document = opened(path.read_bytes())
    if document is None or document.get("format") != FORMAT or not {"sources", "outcomes", "model"} <= document.keys():
        raise InputError(f"{str(path)!r} is not a whole fit of this version of tagcorpus mix fit; fit again")
    return document


def _processes(document: Mapping[str, Any]) -> tuple[list[Process], list[float], Content | None]:
    """The processes of a fit, one for each outcome, as they were; the reach of their intervals; and the content of sources."""
    model = document["model"]
    own = model["content"]
    content = Content(tuple(own["sources"]), tuple(own["columns"]), np.array(own["values"])) if own else None
    shares = np.array(model["shares"])
    columns = Columns(shares, content.of_mixes(document["sources"], shares) if content else np.empty((len(shares), 0)))
    repeats = np.array(model["repeats"])
    processes = []
    for o, one in enumerate(model["processes"]):
        rows = np.flatnonzero(repeats[:, o])
        values = np.array([model["values"][i][o] for i in rows])
        blank = Surface(np.empty((0, 0)), np.empty(0), np.empty(0), np.empty(0))
        middle, width = one["middle"], one["width"]
        process = Process(blank, np.array(one["center"]), np.array(one["scale"]), middle, width, one["is_log"])
        surface = Surface(
            process.inputs(columns.at(rows)),
            process.standard(values),
            np.array(one["theta"]),
            repeats[rows, o].astype(np.float64),
        )
        processes.append(Process(surface, process.center, process.scale, middle, width, process.is_log))
    distances = [math.inf if one["reach"] is None else float(one["reach"]) for one in model["processes"]]
    return processes, distances, content


def _tokens(path: str, sources: Sequence[str], display: Display) -> Array:
    """Tokens of the fit's sources, float64 [sources]. Raises InputError where one is missing or is not a number above 0."""
    rows = list(csv_rows(Path(path), text_of(Path(path))))
    if not rows or not {"source", "tokens"} <= rows[0][1].keys():
        raise InputError(f"--tokens: {path!r} must have the columns source and tokens, and a row for each source")
    tokens: dict[str, float] = {}
    for where, row in rows:
        value = number(row["tokens"])
        if value is None or not 0 < value <= MOST_TOKENS or row["source"] in tokens:
            is_twice = row["source"] in tokens
            why = (
                "is there twice"
                if is_twice
                else f"has {row['tokens']!r} tokens, not a number above 0, at most {MOST_TOKENS:g}"
            )
            raise InputError(f"--tokens: {path!r}: {where}: the source {row['source']!r} {why}")
        tokens[row["source"]] = value
    if lacking := [s for s in sources if s not in tokens]:
        raise InputError(f"--tokens: {path!r} has no row for the source {lacking[0]!r} of the fit")
    if unknown := [s for s in tokens if s not in sources]:
        display.say(f"--tokens: {len(unknown)} sources are in no mix of the fit and get no share: {unknown[0]!r} ...")
    return np.array([tokens[s] for s in sources])


def _caps(
    sources: Sequence[str], at_most: Sequence[str], available: Array | None, budget: int | None, epochs: float
) -> Array:
    """The largest share of each source, float64 [sources]. Raises ConfigError where no mix keeps them."""
    caps = np.ones(len(sources))
    for text in at_most:
        name, _, share = text.rpartition("=")
        value = number(share)
        if not name:
            raise ConfigError(f"--at-most takes SOURCE=X, such as {sources[0]}=0.4, got {text!r}")
        if name not in sources:
            raise ConfigError(unknown_name("source", name, sources, "--at-most"))
        if value is None or not 0 <= value <= 1:
            raise ConfigError(f"--at-most {text}: {share!r} is not a share between 0 and 1")
        caps[sources.index(name)] = min(caps[sources.index(name)], value)
    if available is not None and budget is not None:
        # Without tokens a source has no share, even where epochs are infinite.
        largest = np.minimum(caps, np.where(available > 0, epochs, 0) * available / budget)
        if largest.sum() < 1 <= caps.sum():
            raise ConfigError(
                f"--budget {budget:,}: with {epochs:g} epochs and these bounds, the sources have tokens for "
                f"{100 * largest.sum():.1f} % of the budget; the largest budget that fits is "
                f"{int(_largest_budget(caps, epochs * available) * (1 + 1e-9)):,}"
            )
        caps = largest
    if caps.sum() < 1 - 1e-12:
        raise ConfigError(f"--at-most: the largest shares add up to {caps.sum():.6g}; they must add up to at least 1")
    return caps


def _largest_budget(caps: Array, tokens: Array) -> float:
    """The largest B with sum(min(caps, tokens / B)) = 1, by bisection; the sum falls as B grows."""
    low, high = 0.0, float(tokens.sum())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(caps, tokens / max(middle, 1e-300)).sum() >= 1 else (low, middle)
    return low


def _best(values: Array, sign: int) -> int | None:
    """The tried mix with the best mean of the outcomes; None where no mix has them all."""
    means = sign * values.mean(axis=1)
    return None if np.isnan(means).all() else int(np.nanargmin(means))


def _expected(
    objective: Objective, outcomes: Sequence[str], reaches: Sequence[float], shares: Array, others: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """For each outcome what the process expects of the proposal, and how likely the proposal is better than other mixes."""
    listed = []
    for name, process, distance in zip(outcomes, objective.processes, reaches, strict=True):
        columns = objective.columns(shares[None, :])
        low, high = interval(process, columns, distance)
        one: dict[str, Any] = {
            "outcome": name,
            "predicted": _significant(process.predict(columns)[0]),
            "interval": [_significant(low[0]), _significant(high[0])],
            "level": LEVEL,
            "against": [],
        }
        for title, mix in others.items():
            own, its = process.inputs(columns)[0], process.inputs(objective.columns(mix[None, :]))[0]
            mean, deviation = process.surface.difference(own, its)
            z = -objective.sign * mean / deviation if deviation > 0 else 0.0
            one["against"].append(
                {
                    "mix": title,
                    "predicted": _significant(process.predict(objective.columns(mix[None, :]))[0]),
                    "probability_better": round(0.5 * math.erfc(-z / math.sqrt(2)), 4),
                }
            )
        listed.append(one)
    return listed


def _significant(value: Any) -> float | None:
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def _publish(folder: Folder, name: str, proposal: Mapping[str, Any]) -> None:
    """Write the file once. Raises ConfigError where another proposal is there."""
    if earlier := folder.read(name):
        written = opened(earlier)
        if written is None:
            raise ConfigError(
                f"{folder.path(name)} is damaged or was edited: name another file with --output, or move that one away"
            )
        if any(written.get(key) != value for key, value in proposal.items() if key not in ("date", "tagcorpus")):
            raise ConfigError(
                f"{folder.path(name)} is there and says something else; a pre-registration is never replaced: name another file "
                "with --output"
            )
        return
    folder.publish(name, sealed(proposal, ensure_ascii=False) + b"\n")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file)


def _as_text(proposal: Mapping[str, Any]) -> str:
    shares = {name: share for name, share in proposal["shares"].items() if share}
    epochs = proposal["epochs"]
    rows = [["source", "share", *(["epochs"] if epochs else [])]]
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        rows.append([name, f"{share:.4f}", *([times(epochs[name])] if epochs else [])])
    lines = [*aligned(rows), "", f"the {proposal['direction']} outcomes are the best (--{proposal['direction']})"]
    for one in proposal["expected"]:
        low, high = one["interval"]
        ends = "no interval: too few mixes" if low is None or high is None else f"90 %: {low:.5g} to {high:.5g}"
        lines.append(f"{one['outcome']}: {one['predicted']:.5g} expected ({ends})")
        lines += [
            f"  {against['mix']}: {against['predicted']:.5g} expected; the proposal is better with probability "
            f"{against['probability_better']:.2f}"
            for against in one["against"]
        ]
    if proposal["never_tried"]:
        lines.append(f"more than twice as much as any tried mix had: {', '.join(proposal['never_tried'])}")
    lines += [
        f"{100 * proposal['nearest_tried_mix']:.1f} % of the shares differ from the nearest tried mix",
        f"caution: {proposal['caution']}",
    ]
    return "\n".join(lines)

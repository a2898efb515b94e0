"""The section on trained models: curves of training loss by group, held-out loss and bits per byte, models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.trained import Model
from tagcorpus.pipelines.report.mixing.loss_curves import picture
from tagcorpus.pipelines.report.sections.html import Section, figures, number, percent, table, text

MOST_IN_FULL = 4
ALL = "all groups"
# Parameters below which rankings of mixes are doubtful (docs/mixes.md).
DOUBTFUL = 15e6


def losses_section(contents: Contents) -> Section | None:
    models = contents.output.trained.models
    if not models:
        return None
    named = {_name(at, model): model for at, model in models.items()}
    if len(named) == 1:
        return Section("losses", "Losses", _model(next(iter(named.values()))))
    curves = {name: [(e["step"], e["loss"]) for e in model.losses["training"]] for name, model in named.items()}
    body = _side_by_side(named) + picture("Training loss, in nats a token", curves)
    if len(named) <= MOST_IN_FULL:
        body += "".join(f"<h3>{text(name)}</h3>{_model(model)}" for name, model in named.items())
    return Section("losses", "Losses", body)


def _name(place: str, model: Model) -> str:
    """The model's path below the folder, or its id if it is the folder."""
    return place or str(model.annotation.get("id") or "this folder")


def _model(model: Model) -> str:
    result = model.run.get("result") or {}
    parameters = model.annotation.get("total_params")
    top = figures(
        [
            (number(result.get("tokens")), "tokens", f"mix {model.annotation.get('corpus', '–')}"),
            (number(result.get("steps")), "steps", f"batch {number(model.run.get('identity', {}).get('batch'))}"),
            (number(parameters), "parameters", str(model.run.get("model", ""))),
        ]
    )
    training: Sequence[Mapping[str, Any]] = model.losses["training"]
    curves = {ALL: [(e["step"], e["loss"]) for e in training]}
    for group in _groups(model):
        curves[group] = [(e["step"], e["groups"][group]) for e in training if group in e["groups"]]
    return top + picture("Training loss, in nats a token", curves) + _by_group(model, curves)


def _groups(model: Model) -> list[str]:
    """Groups by share in the mix, the largest first."""
    shares = _shares(model)
    names = {**dict.fromkeys(g for e in model.losses["training"] for g in e["groups"]), **model.losses["held_out"]}
    return sorted(names, key=lambda name: (-shares.get(name, 0), name))


def nats(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.3f}"


def _shares(model: Model) -> dict[str, float]:
    shares: dict[str, float] = (model.annotation.get("metadata") or {}).get("shares") or {}
    return shares


def _by_group(model: Model, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    rows = []
    for group, curve in curves.items():
        held_out = model.losses["held_out"].get(group, {})
        tenth = max(1, len(curve) // 10)
        ends = [[y for _, y in part] for part in (curve[:tenth], curve[-tenth:])]
        rows.append(
            (
                group,
                percent(1.0 if group == ALL else _shares(model).get(group)),
                *(nats(sum(own) / len(own) if own else None) for own in ends),
                *(nats(held_out.get(key)) for key in ("loss", "bits_per_byte")),
                number(held_out.get("tokens")),
            )
        )
    title = "Losses by group, in nats a token"
    header = ("Group", "Share", "Training, first tenth", "Training, last tenth", "Held out", "Held out, bits per byte",
              "Held-out tokens")  # fmt: skip
    return f"<h4>{title}</h4>" + table(title, header, rows, range(1, len(header)))


def _side_by_side(models: Mapping[str, Model]) -> str:
    """Held-out figures of all models: bits per byte where every model has them, else nats a token."""
    groups = list(
        dict.fromkeys(g for model in models.values() for g in _groups(model) if g in model.losses["held_out"])
    )
    if not groups:
        return "<p>No group has held-out tokens.</p>"
    every = [entry for model in models.values() for entry in model.losses["held_out"].values()]
    key, unit = "bits_per_byte", "bits per byte"
    if any(entry.get(key) is None for entry in every):
        key, unit = "loss", "nats a token"
    rows = [
        (name, *(nats(model.losses["held_out"].get(group, {}).get(key)) for group in groups))
        for name, model in models.items()
    ]
    title = f"Held-out loss of every model, in {unit}"
    caution = "<p>Toy models do not rank mixes: rankings below about 15M parameters are doubtful.</p>"
    sizes = [size for model in models.values() if (size := model.annotation.get("total_params"))]
    return (
        f"<h3>{title}</h3>{caution if sizes and min(sizes) < DOUBTFUL else ''}"
        + table(title, ("Model", *groups), rows, range(1, len(groups) + 1), css="tall frozen")
    )  # fmt: skip

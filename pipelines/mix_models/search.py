"""The shares with the lowest predicted outcome within bounds.

The variables are cube roots of shares, which are the inputs of the process, so that the objective is smooth at a share of 0.
Sequential quadratic programming starts from several mixes, and the lowest end counts. The starts are seeded, so the answer is
always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models.content import Content
from tagcorpus.pipelines.mix_models.regressors import EXPONENT, Columns, Process

Array = np.ndarray[Any, Any]
RANDOM_STARTS, TRIED_STARTS = 8, 4
STEPS = 300
# Smaller shares of a proposal are set to 0: no trainer can tell them from 0.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Objective:
    """The mean of the predicted outcomes, plus kl times the divergence from the natural mix.

    sign     1: lower outcomes are better; -1: higher
    natural  float64 [sources]
    """

    processes: Sequence[Process]
    sources: Sequence[str]
    content: Content | None
    sign: int
    kl: float
    natural: Array

    def columns(self, shares: Array) -> Columns:
        own = self.content.of_mixes(self.sources, shares) if self.content else np.empty((len(shares), 0))
        return Columns(shares, own)

    def value(self, shares: Array) -> float:
        outcomes = [float(p.predict(self.columns(shares[None, :]))[0]) for p in self.processes]
        return self.sign * float(np.mean(outcomes)) + self.kl * self.divergence(shares)

    def divergence(self, shares: Array) -> float:
        """Kullback-Leibler, nats."""
        there = shares > 0
        with np.errstate(divide="ignore"):  # infinite where the natural mix lacks a source
            return float((shares[there] * np.log(shares[there] / self.natural[there])).sum())

    def slope(self, roots: Array) -> Array:
        """The gradient by the roots of shares."""
        roots = np.maximum(roots, 0)
        shares = roots ** (1 / EXPONENT)
        by_root = shares ** (1 - EXPONENT) / EXPONENT
        total = np.zeros(len(roots))
        for process in self.processes:
            x = process.inputs(self.columns(shares[None, :]))[0]
            slope = process.surface.slope(x)
            own = slope[: len(roots)].copy()
            if self.content is not None:
                values = self.content.of_mixes(self.sources, np.eye(len(roots)))
                own += by_root * (values @ (slope[len(roots) :] / process.scale))
            factor = process.width
            if process.is_log:
                factor *= float(process.predict(self.columns(shares[None, :]))[0])
            total += factor * own
        total *= self.sign / len(self.processes)
        if self.kl:
            total += self.kl * by_root * (np.log(np.maximum(shares, 1e-12) / self.natural) + 1)
        return total


def within(shares: Array, caps: Array) -> Array:
    """A mix near `shares` that keeps the caps: what is above a cap goes to the room of the other sources."""
    kept = np.minimum(shares, caps)
    room = caps - kept
    missing = 1 - kept.sum()
    mix: Array = np.maximum(kept + room * (missing / room.sum()), 0) if room.sum() > 0 else kept
    return mix


def lowest(objective: Objective, tried: Array, caps: Array, seed: int) -> Array:
    """The best mix of all starts.

    tried  float64 [mixes, sources], mixes to start from, next to random ones
    caps   float64 [sources], largest shares; they add up to at least 1
    """
    order = np.argsort([objective.value(within(mix, caps)) for mix in tried], kind="stable")[:TRIED_STARTS]
    random = np.random.default_rng(seed).dirichlet(np.ones(len(caps)), RANDOM_STARTS)
    ends = [_descend(objective, within(mix, caps), caps) for mix in [objective.natural, *tried[order], *random]]
    best = min(ends, key=objective.value)
    cleaned = within(np.where(best < LEAST_SHARE, 0, best), np.where(best < LEAST_SHARE, 0, caps))
    return cleaned if abs(cleaned.sum() - 1) < 1e-9 else best


def _descend(objective: Objective, start: Array, caps: Array) -> Array:
    from scipy.optimize import minimize

    power = 1 / EXPONENT
    total: Callable[[Array], float] = lambda roots: float((roots**power).sum() - 1)  # noqa: E731
    end = minimize(
        lambda roots: objective.value(np.maximum(roots, 0) ** power),
        start**EXPONENT,
        jac=objective.slope,
        bounds=[(0.0, float(cap) ** EXPONENT) for cap in caps],
        constraints=[{"type": "eq", "fun": total, "jac": lambda roots: power * roots ** (power - 1)}],
        method="SLSQP",
        options={"maxiter": STEPS, "ftol": 1e-10},
    )
    shares = np.clip(end.x, 0, None) ** power
    return within(shares / shares.sum(), caps)

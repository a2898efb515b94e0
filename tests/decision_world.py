"""Corpora whose effect on models is known: a world to test decisions in, and the best that anybody could decide there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.protocols.decision_runs import Runs

SIZES = (10_000_000, 30_000_000, 90_000_000, 300_000_000)
TARGET = 1_000_000_000


@dataclass(frozen=True)
class World:
    """Effects of corpora are normal with variance 1 at every size; those of two sizes correlate by correlation ** |ln ratio|.

    noise   variance of one run about its corpus's effect: of accuracy at each small size, from guessing up, and at the target
    """

    correlation: float = 0.85
    noise: tuple[float, ...] = (9.0, 3.0, 1.0, 0.5)
    continuous_noise: float = 0.2
    target_noise: float = 0.2
    seeds: int = 3

    def _covariance(self, noise: tuple[float, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
        at = np.log(np.array([*SIZES, TARGET], dtype=float))
        signal = self.correlation ** np.abs(at[:, None] - at[None, :])
        return np.asarray(signal + np.diag([*noise, self.target_noise]) / self.seeds)

    def best(self, noise: tuple[float, ...]) -> float:
        """Share of pairs that the best linear prediction from all small sizes gets right, the true covariances known."""
        c = self._covariance(noise)
        explained = c[-1, :-1] @ np.linalg.solve(c[:-1, :-1], c[:-1, -1])
        return 0.5 + math.asin(math.sqrt(explained / c[-1, -1])) / math.pi

    def of_one_size(self, noise: tuple[float, ...], at: int) -> float:
        c = self._covariance(noise)
        return 0.5 + math.asin(c[at, -1] / math.sqrt(c[at, at] * c[-1, -1])) / math.pi

    def ceiling(self) -> float:
        """The same of somebody who knows the true effects at the target."""
        return 0.5 + math.asin(math.sqrt(1 / (1 + self.target_noise / self.seeds))) / math.pi

    @property
    def flat(self) -> tuple[float, ...]:
        return (self.continuous_noise,) * len(SIZES)

    def draw(self, corpora: int, random: np.random.Generator) -> dict[str, Runs]:
        """Runs by metric: accuracy, and correct_prob with the same effects and less noise at small sizes. Levels rise with size."""
        at = np.log(np.array([*SIZES, TARGET], dtype=float))
        effects = random.multivariate_normal(
            np.zeros(len(at)), self.correlation ** np.abs(at[:, None] - at[None, :]), corpora
        )
        names = tuple(f"corpus-{i:02d}" for i in range(corpora))
        out = {}
        for metric, noises, unit in (
            ("accuracy", (*self.noise, self.target_noise), 0.01),
            ("correct_prob", (*self.flat, self.target_noise), 0.001),
        ):
            values = {
                (size, name): tuple(
                    float(0.3 + 0.02 * (at[i] - at[0]) + unit * (effects[c, i] + math.sqrt(noises[i]) * e)) for e in random.normal(size=self.seeds)
                )
                for i, size in enumerate((*SIZES, TARGET))
                for c, name in enumerate(names)
            }  # fmt: skip
            out[metric] = Runs(metric, names, (*SIZES, TARGET), values, dict.fromkeys((*SIZES, TARGET)))
        return out

"""The Gaussian process of mixes: gradient, closed forms against refits without a mix."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from tagcorpus.pipelines.mix_models import gaussian_process as gp

MIXES, SOURCES = 24, 3


def swarm() -> tuple[gp.Array, gp.Array]:
    generator = np.random.default_rng(0)
    shares = generator.dirichlet([0.5] * SOURCES, MIXES)
    loss = 3 - np.sqrt(shares[:, 0]) + 0.02 * generator.normal(size=MIXES)
    return np.sqrt(shares), (loss - loss.mean()) / loss.std()


def test_gradient_is_that_of_the_cost() -> None:
    x, y = swarm()
    center = np.zeros(3 + SOURCES)
    repeats = np.arange(MIXES) % 3 + 1.0
    theta = np.linspace(-0.8, 0.6, 3 + SOURCES)
    gradient = gp._cost(theta, x, y, repeats, center)[1]
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        slope = (
            gp._cost(theta + step, x, y, repeats, center)[0] - gp._cost(theta - step, x, y, repeats, center)[0]
        ) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_new_mixes_are_ranked() -> None:
    x, y = swarm()
    share = np.array([0.05, 0.3, 0.6, 0.9])
    mixes = np.stack([share, (1 - share) / 2, (1 - share) / 2], axis=1)
    means = gp.fitted(x, y).predict(np.sqrt(mixes))[0]
    assert (np.diff(means) < 0).all()

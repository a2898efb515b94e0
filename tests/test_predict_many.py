"""Thousands of models: the approximate Gaussian process near the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from tagcorpus.predictor.learners import gaussian_process
from tagcorpus.predictor.learners.design import Matrix, Vector


def drawn(n: int) -> tuple[Matrix, Vector]:
    random = np.random.default_rng(0)
    x = np.column_stack([random.uniform(18, 25, n), random.uniform(4, 10, n), random.uniform(0, 60, n)])
    y = 0.25 + 0.5 / (1 + np.exp(-0.6 * (x[:, 0] - 21) - 0.3 * (x[:, 1] - 7))) + 0.02 * random.normal(size=n)
    return x, y


def test_the_approximation_is_near_the_exact_fit() -> None:
    x, y = drawn(160)
    values = np.array([0.5, 0.5, 1.0, 1.0, 0.2, 1.0, 0.1])
    exact = gaussian_process.fit(x[:120], y[:120], (), 1, 0, 120, values)
    near = gaussian_process.fit(x[:120], y[:120], (), 1, 0, 60, values)
    assert len(near.inputs) == 60
    assert len(exact.inputs) == 120
    # Half of the models carry what all of them say: a tenth of a point, where the noise is two points.
    distance = exact.predict(x[120:]) - near.predict(x[120:])
    assert np.sqrt((distance**2).mean()) < 0.003
    few = gaussian_process.fit(x[:60], y[:60], (), 1, 0, 60, values)
    error = [float(np.abs(f.predict(x[120:]) - y[120:]).mean()) for f in (near, few)]
    assert error[0] < error[1]  # the other sixty have their part


def test_the_rows_that_carry_it_lie_apart() -> None:
    z = np.array([[0.0], [0.1], [0.2], [5.0], [-5.0], [0.05]])
    assert gaussian_process.far_apart(z, 3).tolist() == [3, 4, 5]  # 0.05 is nearest to the mean, then the two ends
    assert gaussian_process.far_apart(np.zeros((4, 2)), 3).tolist() == [0]  # copies carry nothing more


@pytest.mark.parametrize("n", [10, gaussian_process.EXACT])
def test_up_to_its_limit_the_fit_is_exact(n: int) -> None:
    x, y = drawn(n)
    values = np.array([0.5, 0.5, 1.0, 1.0, 0.2, 1.0, 0.1])
    assert len(gaussian_process.fit(x, y, (), 1, 0, hyperparameters=values).weights) == n

"""Contributions, partial dependence, the two findings, and that pictures are drawn from them, the same every time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.predictor.explaining import explain, figures, findings
from tagcorpus.predictor.learners import boosting, models
from tagcorpus.predictor.learners.data import PARAMS, TOKENS, Dataset, load
from tagcorpus.predictor.learners.design import columns_of
from tagcorpus.predictor.learners.folds import grouped_folds
from tagcorpus.predictor.records.tasks import LOWER_IS_BETTER
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"
FEATURES = str(EXAMPLE / "features.csv")


def example(task: str) -> Dataset:
    with Store.from_existing(EXAMPLE) as store:
        return load(store.con, task, FEATURES)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return example("humaneval")


@pytest.fixture(scope="module")
def found(data: Dataset) -> explain.Contributions:
    return explain.contributions(data, 0)


def test_contributions_add_up_to_held_out_predictions(data: Dataset) -> None:
    x, names = columns_of(data, (PARAMS, TOKENS, models.CODE, "activation"))
    train, test = grouped_folds(data.organisations, 5, 0)[0]
    values = explain._shapley(data, x, train, test, 0)
    assert values.shape == (len(test), len(names))
    other = Dataset(data.task, data.ids, data.organisations, data.y.copy(), data.frame, data.generated, data.noticed)
    other.y[test] = 0.5  # their scores have no part in it
    np.testing.assert_array_equal(values, explain._shapley(other, x, train, test, 0))
    # What a tree model explains is its prediction: the same fit, predicted.
    narrow = x.astype(np.float32)
    sums = values.sum(axis=1)
    constraints = "(1,1" + ",0" * (len(names) - 2) + ")"
    settings = {**models.TREES, "monotone_constraints": constraints, "seed": 0}
    matrix = boosting.binned(narrow[train], data.y[train], missing=np.nan)
    booster = boosting.train(matrix, settings, models.ROUNDS)
    predicted = boosting.predict(booster, narrow[test], models.ROUNDS, missing=np.nan)
    np.testing.assert_allclose(sums - sums[0], predicted - predicted[0], atol=1e-5)


def test_contributions_are_ordered_and_keep_missing_values_missing(data: Dataset, found: explain.Contributions) -> None:
    assert (np.diff(found.importance[:, 0]) <= 0).all()
    assert (found.importance[:, 1] <= found.importance[:, 2]).all()
    np.testing.assert_allclose(found.importance[:, 0], np.abs(found.values).mean(axis=0))
    at = found.names.index(models.CODE)
    np.testing.assert_array_equal(found.x[:, at], data.frame[models.CODE].to_numpy())


def test_partial_dependence_is_the_mean_prediction_with_the_column_set(data: Dataset) -> None:
    grid = np.array([0.0, 20.0, 40.0])
    (band,) = explain.partial_dependence(data, "trees", {models.CODE: grid}, 0, draws=4)
    fit = models.fitted(data, "trees", np.arange(len(data.ids)), 0)
    x = columns_of(data, models.model("trees").columns)[0]
    means = []
    for value in grid:
        x[:, 2] = value
        means.append(fit.predict(x).mean())
    np.testing.assert_allclose(band.curve, 100 * (np.array(means) - means[0]))
    assert band.low[0] == band.high[0] == 0
    assert band.draws == 4
    assert (band.low <= band.high).all()


def test_draws_are_of_whole_organisations(data: Dataset) -> None:
    sizes = {o: data.organisations.count(o) for o in data.organisations}
    for _, rows in explain.draws_of(data, 3, 20):
        drawn = [data.organisations[i] for i in rows]
        assert all(drawn.count(o) % sizes[o] == 0 for o in set(drawn))
        assert sum(drawn.count(o) // sizes[o] for o in set(drawn)) == len(sizes)


def test_findings_say_what_they_rest_on(data: Dataset) -> None:
    shares, places = findings.findings(data, 0, draws=6)
    assert shares.curves.shape == (6, len(findings.SHARES))
    assert (shares.curves[:, 0] == 0).all()
    assert findings.together([shares, shares]).low == pytest.approx(shares.band.low)
    positions = list(data.frame[findings.POSITIONS])
    learned = {o for o, p in zip(data.organisations, positions, strict=True) if p == "learned"}
    assert places is not None
    assert places.learned == (positions.count("learned"), len(learned))
    assert places.rotary[0] == positions.count("rope")
    assert places.draws <= places.drawn == 6
    frame = data.frame.copy()
    frame.loc[frame[findings.POSITIONS] == "learned", findings.POSITIONS] = None
    without = Dataset(data.task, data.ids, data.organisations, data.y, frame, data.generated, data.noticed)
    assert findings.findings(without, 0, draws=1)[1] is None


@pytest.mark.e2e
def test_findings_of_a_metric_of_which_lower_is_better(data: Dataset) -> None:
    """Scores that are turned round, of a metric that is turned round, have the same findings."""
    task = replace(data.task, metric=min(LOWER_IS_BETTER))
    turned = Dataset(task, data.ids, data.organisations, -data.y, data.frame, data.generated, data.noticed)
    (shares, places), (shares_turned, places_turned) = (findings.findings(d, 0, draws=1) for d in (data, turned))
    assert places is not None
    assert places_turned is not None
    assert np.abs(shares.band.curve).max() > 0.1
    np.testing.assert_allclose(shares_turned.band.curve, shares.band.curve, atol=1e-3)
    np.testing.assert_allclose(places_turned.difference, places.difference, atol=1e-3)


@pytest.mark.e2e
def test_pictures_are_equal_bytes_and_leave_missing_values_out(data: Dataset, found: explain.Contributions) -> None:
    once, again = (figures.drawn(figures.beeswarm, data, found) for _ in range(2))
    assert once == again
    assert once["png"].startswith(b"\x89PNG")
    assert b"<svg" in once["svg"][:1000]
    axes = figures.dependence(data, found).axes
    names = [n for n in found.names if "=" not in n][: figures.PANELS]
    for panel, name in zip(axes, names, strict=True):
        there = int((~np.isnan(found.x[:, found.names.index(name)])).sum())
        assert sum(np.size(line.get_xdata()) for line in panel.lines if str(line.get_marker()) == "o") == there
        assert (f"{len(data.ids) - there} without a value" in panel.get_title(loc="left")) == (there < len(data.ids))


def test_names_of_columns_for_axes() -> None:
    assert figures.short(TOKENS) == "pretraining tokens"
    assert figures.short("pretraining_summary_percentage_code") == "declared % code"
    assert figures.short("domain_web_pct_mean") == "generated % web"
    assert figures.short("positional_embeddings=rope") == "positions = rope"


@pytest.mark.e2e
def test_figures_command(tmp_path: Path) -> None:
    asked = ["predict", "--db", str(EXAMPLE), "--features", FEATURES, "--task", "humaneval", "--workers", "1"]
    asked += ["--predictor", "log-linear", "--seeds", "1", "--no-hyperparam-search", "--figures"]
    done = CliRunner().invoke(main, [*asked, "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out/prediction/predict.json").read_text())
    assert told["findings"]["positions"][0]["task"] == "humaneval"
    assert math.isfinite(told["findings"]["code_share"]["tasks"]["humaneval"]["found"][-1])
    assert len(told["explained"][0]["importance"]) == 20
    assert "15 to 25 % code" in done.stdout
    names = {p.name for p in (tmp_path / "out/prediction/figures").iterdir()}
    of_task = {f"{kind}-humaneval.{form}" for kind in ("beeswarm", "dependence", "partial") for form in ("png", "svg")}
    assert of_task | {"code-share.png", "positions.svg"} <= names

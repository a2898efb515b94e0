"""The honest protocol: its models, that nothing leaks, all tasks in one, extrapolation, new models and their intervals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from profiles import one_by_default

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.predictor.learners import conformal, design, gaussian_process, linear, models, sigmoid_law
from tagcorpus.predictor.learners.data import PARAMS, PERCENTAGES, SCALE, TOKENS, Dataset, load
from tagcorpus.predictor.learners.evaluation import Evaluation, Settings
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import grouped, grouped_summary, new_models, significance
from tagcorpus.predictor.records.tasks import PUBLISHED
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"
FEATURES = str(EXAMPLE / "features.csv")


@pytest.fixture(scope="module")
def data() -> Dataset:
    with Store.from_existing(EXAMPLE) as store:
        return load(store.con, "hellaswag", FEATURES)


@pytest.fixture(scope="module")
def brier() -> Dataset:
    with Store.from_existing(EXAMPLE) as store:
        return load(store.con, "logiqa2", FEATURES)


@pytest.fixture(scope="module")
def evaluations(data: Dataset) -> list[Evaluation]:
    wanted = Settings(("log-linear", *models.MEMBERS, models.DEFAULT), seed=1, has_search=False)
    return grouped.run(data, wanted, Workers(1))


# -- columns as numbers


def test_categories_come_from_the_known_rows_only(data: Dataset) -> None:
    cells = list(data.frame["activation"])
    known = np.flatnonzero([c == "gelu" or c is None for c in cells])
    x, names = design.columns_of(data, ["activation", "mlp_ratio"], known)
    assert names == ("activation=gelu", "mlp_ratio")
    for row, cell in zip(x, cells, strict=True):
        assert math.isnan(row[0]) if cell is None else row[0] == (cell == "gelu")
    with pytest.raises(ConfigError, match="no feature 'mlp_ration'"):
        design.columns_of(data, ["mlp_ration"])


def test_standard_uses_means_and_one_indicator_a_pattern() -> None:
    nan = math.nan
    x = np.array([[1.0, nan, nan, 4.0], [3.0, 2.0, 5.0, 4.0], [5.0, 4.0, 9.0, 4.0]])
    standard = design.Standard.from_rows(x)
    z = standard.of(x)
    assert z.shape == (3, 5)  # the second and third column are missing together
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z[:, 3], 0)  # a constant column moves nothing
    np.testing.assert_allclose(z[0, 1:3], 0)  # missing: the mean
    unseen = standard.of(np.array([[nan, 3.0, nan, nan]]))
    np.testing.assert_allclose(unseen[0, [0, 1, 2, 3]], 0, atol=1e-12)


# -- models


def test_models_recover_what_made_the_scores() -> None:
    random = np.random.RandomState(0)
    x = np.column_stack([random.uniform(18, 26, 60), random.uniform(3, 9, 60)])
    index = 0.9 * (x[:, 0] - 22) + 0.5 * (x[:, 1] - 6)
    y = 0.25 + 0.6 / (1 + np.exp(-index))
    groups = tuple(f"o{i % 12}" for i in range(60))
    new = np.array([[20.0, 4.0], [22.0, 6.0], [25.0, 8.0]])
    truth = 0.25 + 0.6 / (1 + np.exp(-(0.9 * (new[:, 0] - 22) + 0.5 * (new[:, 1] - 6))))
    law = sigmoid_law.fit(x, y, groups, 1, 0)
    np.testing.assert_allclose(law.predict(new), truth, atol=0.005)
    np.testing.assert_allclose(gaussian_process.fit(x, y, groups, 1, 0).predict(new), truth, atol=0.03)
    # Brier scores are turned round: the law of -y is minus the law of y.
    np.testing.assert_allclose(sigmoid_law.fit(x, -y, groups, -1, 0).predict(new), -law.predict(new))
    straight = linear.fit_log_linear(x, 0.1 * x[:, 0] + 0.02 * x[:, 1] + 1, groups, 1, 0)
    np.testing.assert_allclose(straight.weights, [1, 0.1, 0.02], atol=1e-9)
    ridge = linear.fit(x, y, groups, 1, 0)
    np.testing.assert_allclose(ridge.predict(new), truth, atol=0.06)
    assert ridge.predict(np.array([[60.0, 30.0]]))[0] <= y.max()


@pytest.mark.parametrize("which", ["law", "gaussian"])
def test_gradients_are_those_of_differences(which: str) -> None:
    random = np.random.RandomState(3)
    z = random.normal(size=(20, 4))
    y = random.normal(size=20)
    if which == "law":
        at = random.normal(size=7)

        def value(w: Any) -> tuple[float, Any]:
            return sigmoid_law._loss(w, z, y, -1.0, 1.0, 1.0, 2.0)
    else:
        at = random.normal(size=7) / 3
        distances = gaussian_process._distances(z, z)

        def value(w: Any) -> tuple[float, Any]:
            return gaussian_process._unlikelihood(w, distances, y)

    gradient = value(at)[1]
    for i in range(len(at)):
        step = np.eye(len(at))[i] * 1e-6
        numeric = (value(at + step)[0] - value(at - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", one_by_default("trees", "law-scale", "law", "declared"))
@pytest.mark.parametrize("kind", ["data", "brier"])
def test_never_worse_with_more_parameters_or_tokens(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    fit = models.fitted(data, name, np.arange(len(data.ids)), 0)
    x = design.columns_of(data, models.model(name).columns)[0]
    sign = models.sign_of(data)
    for column in (0, 1):
        grid = np.linspace(x[:, column].min() - 1, x[:, column].max() + 1, 40)
        for row in x[::12]:
            line = np.tile(row, (40, 1))
            line[:, column] = grid
            assert (sign * np.diff(fit.predict(line)) >= -1e-6).all()


# -- the protocol


def test_no_organisation_is_on_both_sides_and_every_model_is_predicted(
    data: Dataset, evaluations: list[Evaluation]
) -> None:
    for e in evaluations:
        assert np.isfinite(e.predicted).all()
        assert set(e.fold[0]) == set(range(grouped.FOLDS))
        folds_of = [set(np.array(data.organisations)[e.fold[0] == f]) for f in range(grouped.FOLDS)]
        shared = sum(len(a & b) for i, a in enumerate(folds_of) for b in folds_of[:i])
        assert (shared == 0) == (e.folds == "grouped")
        assert [f["train_rows"] + (e.fold[0] == i).sum() for i, f in enumerate(e.fits[0])] == [len(data.ids)] * 5
    by = {(e.folds, e.predictor): e for e in evaluations}
    mean = np.mean([by["grouped", m].predicted for m in models.MEMBERS], axis=0)
    np.testing.assert_allclose(by["grouped", models.DEFAULT].predicted, mean)
    # The same by one fit, which takes its members' columns apart.
    train, test = grouped.folds_of(data, "grouped", 1)[0]
    np.testing.assert_allclose(models.predicted(data, models.DEFAULT, train, test, 1)[0], mean[0, test])
    assert next(e.predictor for e in evaluations if e.folds == "grouped") == "scale-only"


@pytest.mark.parametrize("name", one_by_default("selected", *models.MODELS, grouped.PUBLISHED, "all"))
def test_the_scores_and_rows_of_a_test_fold_have_no_part_in_the_fit(data: Dataset, name: str) -> None:
    train, test = grouped.folds_of(data, "grouped", 0)[0]
    frame = data.frame.copy()
    # What the training part does not know may say anything but at the models that are asked for.
    others = test[1:]
    frame.iloc[others, frame.columns.get_loc("mlp_ratio")] = 1e6
    frame.iloc[others, frame.columns.get_loc(models.CODE)] = 1e6
    frame.iloc[others, frame.columns.get_loc("entropy_mean")] = math.nan
    y = data.y.copy()
    y[test] = 0.123
    other = Dataset(data.task, data.ids, data.organisations, y, frame, data.generated, data.noticed)
    wanted = Settings(select="stability" if name == "selected" else None, has_search=False)
    mine = grouped._one_fold(data, wanted, [name], train, test[:1], 0)[name]
    its = grouped._one_fold(other, wanted, [name], train, test[:1], 0)[name]
    np.testing.assert_array_equal(mine[0], its[0])
    assert mine[1:] == its[1:]


@pytest.mark.e2e
def test_predictions_do_not_depend_on_seeds_beside(data: Dataset) -> None:
    one = grouped.run(data, Settings(("trees",), seed=3, has_search=False), Workers(1))
    two = grouped.run(data, Settings(("trees",), seed=0, seeds=(3,), has_search=False), Workers(1))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.predicted[a.at(3)], b.predicted[b.at(3)])
        np.testing.assert_array_equal(a.fold[a.at(3)], b.fold[b.at(3)])


def test_unknown_predictors_and_too_few_organisations(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="did you mean 'trees'"):
        grouped.run(data, Settings(("treees",)), Workers(1))
    alike = Dataset(data.task, data.ids, ("a", "b") * 23 + ("a",), data.y, data.frame, data.generated, data.noticed)
    with pytest.raises(ConfigError, match="2 makers, but grouped folds need at least 5"):
        grouped.run(alike, Settings(), Workers(1))


@pytest.mark.e2e
def test_extrapolation_predicts_the_largest_from_smaller_ones(data: Dataset) -> None:
    found = grouped.extrapolate(data, 7, 0, ("log-linear", "law"))
    sizes = data.frame[PARAMS].to_numpy()
    rest = np.setdiff1d(np.arange(len(data.ids)), found.test)
    assert len(found.test) == 7
    assert found.train_rows == len(rest)
    assert sizes[found.test].min() >= sizes[rest].max()
    a = np.column_stack([np.ones(len(rest)), data.frame[list(SCALE)].to_numpy()[rest]])
    w = np.linalg.lstsq(a, data.y[rest], rcond=None)[0]
    expected = w[0] + data.frame[list(SCALE)].to_numpy()[found.test] @ w[1:]
    np.testing.assert_allclose(found.predicted["log-linear"], expected)
    assert found.maes(data.y)["log-linear"] == pytest.approx(np.abs(expected - data.y[found.test]).mean())
    for k in (0, len(data.ids) - grouped.LEAST_TRAINED + 1):
        with pytest.raises(ConfigError, match="--extrapolate must be 1 to"):
            grouped.extrapolate(data, k, 0)


# -- all tasks in one


def test_summary_is_a_geometric_mean_of_ratios_with_intervals_over_organisations(
    data: Dataset, evaluations: list[Evaluation]
) -> None:
    worse = [
        Evaluation(e.predictor, e.folds, e.features, e.seeds, e.fold, 2 * e.predicted - data.y, e.fits)
        if e.predictor == models.DEFAULT
        else e
        for e in evaluations
    ]
    found = grouped_summary.summary([(data, evaluations), (data, worse)])
    mine = next(t for t in found if (t["folds"], t["predictor"], t["against"]) == ("grouped", "average", "log-linear"))
    by = {(e.folds, e.predictor): np.abs(e.predicted - data.y).mean() for e in evaluations}
    ratio = by["grouped", "average"] / by["grouped", "log-linear"]
    assert mine["geometric_mean"] == pytest.approx(ratio * math.sqrt(2), rel=1e-5)  # twice the error in one of two
    assert mine["low"] is mine["high"] is mine["p"] is None  # nine groups are too few
    assert (mine["models"], mine["organisations"], mine["of"]) == (47, 9, 2)
    # The comparison of a single task says the same as the summary.
    pair = {e.predictor: e for e in evaluations if e.folds == "grouped"}
    alone = significance.over_groups(pair["average"], pair["log-linear"], data.y, data.organisations)
    assert alone.of == pytest.approx(
        mine["tasks"]["hellaswag"]["ratio"] / 2, rel=1e-5
    )  # the later, worse run has its name
    text = grouped_summary.terminal(found, "makers")
    assert text.startswith(
        "error over that of 'scale-only', geometric mean over 2 tasks\n(no interval: 9 makers, 10 are"
    )
    assert "average" in text


# -- intervals


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=30),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_half_width_is_the_least_that_weighs_enough(rows: list[tuple[float, int]], level: float) -> None:
    errors, groups = np.array([e for e, _ in rows]), [f"o{g}" for _, g in rows]
    q = conformal.half_width(errors, groups, level)

    def weight(limit: float) -> float:
        by = {g: [e <= limit for e, o in zip(errors, groups, strict=True) if o == g] for g in set(groups)}
        return sum(float(np.mean(inside)) for inside in by.values()) / (len(by) + 1)

    if math.isinf(q):
        assert weight(math.inf) < level
    else:
        assert weight(q) >= level - 1e-9
        assert all(weight(e) < level + 1e-9 for e in errors if e < q)


def test_intervals_hold_as_often_as_they_say() -> None:
    random = np.random.RandomState(5)
    held = []
    for _ in range(200):
        size = random.randint(1, 6, size=20)
        groups = np.repeat(np.arange(20), size)
        errors = np.abs(random.normal(size=20)[groups] + 0.3 * random.normal(size=len(groups)))
        q = conformal.half_width(errors, [str(g) for g in groups], 0.8)
        held.append(abs(random.normal() + 0.3 * random.normal()) <= q)
    assert 0.74 < np.mean(held) < 0.88


# -- new models


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps(fields))
    return path


SHARES = dict(zip(PERCENTAGES, (50.0, 17.0, 8.0, 6.0, 9.0, 90.0), strict=True))
GIVEN = {"id": "acme/new-7b", PARAMS: 7e9, TOKENS: 1400, **SHARES}


@pytest.mark.e2e
def test_a_known_model_is_predicted_from_the_others(
    data: Dataset, evaluations: list[Evaluation], tmp_path: Path
) -> None:
    at = 3
    scale = {c: float(np.exp(data.frame[c].iloc[at])) for c in SCALE}
    own = {"id": data.ids[at], PARAMS: round(scale[PARAMS]), TOKENS: scale[TOKENS]}
    shares = {c: float(data.frame[c].iloc[at]) for c in PERCENTAGES}
    own |= {c: v for c, v in shares.items() if not math.isnan(v)}
    (p,) = new_models.predict(data, new_models.read_new_model(written(tmp_path, **own), ()), evaluations, 1)
    rest = np.array([i for i in range(len(data.ids)) if i != at])
    found, _ = models.predicted(data, models.DEFAULT, rest, np.array([at]), 1)
    assert p.is_known
    assert p.score == pytest.approx(found[0], abs=1e-6)
    assert p.low < p.score < p.high <= 1
    assert p.score == pytest.approx(np.mean(list(p.members.values())))
    assert p.has_siblings == sum(o == data.organisations[at] for o in data.organisations) - 1


@pytest.mark.e2e
def test_what_lies_outside_is_named_with_what_was_seen(
    data: Dataset, evaluations: list[Evaluation], tmp_path: Path
) -> None:
    inside = new_models.read_new_model(written(tmp_path, **GIVEN), data.generated)
    (p,) = new_models.predict(data, inside, evaluations, 1)
    assert p.outside == ()
    assert p.missing == ()
    assert not p.is_known
    fields = {**GIVEN, PARAMS: 10**13, "activation": "gelu_tanh", "features": {"ttr_mean": 0.99, "entropy_mean": None}}
    fields.pop(models.CODE)
    new = new_models.read_new_model(written(tmp_path, **fields), data.generated)
    assert new_models.predictors_for(new) == (models.DEFAULT, "generated")
    p = new_models._predict(data, new, models.DEFAULT, evaluations, 1)
    low, high = np.exp(data.frame[PARAMS].min()), np.exp(data.frame[PARAMS].max())
    told = {o.field: (o.value, o.seen) for o in p.outside}
    assert told[PARAMS] == (1e13, f"{low:,.6g} to {high:,.6g}")
    assert told["activation"][0] == "gelu_tanh"
    assert told["ttr_mean"][0] == 0.99
    assert "gelu" in told["activation"][1]
    assert p.missing == (models.CODE,)
    text = new_models.terminal(new_models.document(new, [p]))
    assert "outside the values of the known models: total_params = 1e+13 (known: " in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"total_parms": 1}, "'total_parms'.*did you mean 'total_params'"),
        ({PARAMS: -1}, "'total_params'"),
        ({PARAMS: None}, "'total_params': must be given"),
        ({"features": {"ttr_men": 1}}, "'ttr_men'.*did you mean 'ttr_mean'"),
        ({"features": {"ttr_mean": "much"}}, "column 'ttr_mean': must be a number"),
        ({"features": 3}, "'features': must be an object"),
        ({"id": None}, "'id'"),
    ],
)
def test_wrong_fields_are_named(data: Dataset, tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        new_models.read_new_model(written(tmp_path, **{**GIVEN, **change}), data.generated)


# -- the command


@pytest.mark.e2e
def test_command_writes_everything(tmp_path: Path) -> None:
    asked = ["predict", "--db", str(EXAMPLE), "--features", FEATURES, "--task", "hellaswag", "--workers", "1"]
    asked += ["--predictor", "log-linear,average", "--seeds", "1", "--no-hyperparam-search", "--extrapolate", "5"]
    fields = {**GIVEN, "features": {"entropy_mean": 2.0}}
    asked += ["--for", str(written(tmp_path, **fields)), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out/prediction/predict.json").read_text())
    assert [p["predictor"] for p in told["new_model"]["predictions"]] == ["average", "generated"]
    assert len(told["extrapolation"][0]["models"]) == 5
    assert {t["against"] for t in told["summary_over_tasks"]} == {"scale-only", "log-linear"}
    assert "acme/new-7b" in done.stdout
    assert "the 5 largest models" in done.stdout
    for name in ("ratios.png", "ratios.svg", "predicted.png", "predicted.svg"):
        assert (tmp_path / "out/prediction/figures" / name).stat().st_size > 2000
    wrong = CliRunner().invoke(main, [*asked[:5], "--protocol", "paper", "--extrapolate", "5"])
    assert wrong.exit_code == 2
    assert "--extrapolate is of the grouped protocol" in wrong.stderr


# -- the real data


@pytest.mark.e2e
def test_real_data_is_better_than_the_published_search_and_hardly_than_scale_only(golden: Path) -> None:
    """Three tasks, one seed: the averages over tasks that docs/grouped-protocol.md states, loosely."""
    folder = golden.parent / "data"
    found = []
    with Store.from_existing(folder / "metadata_db") as store:
        for name in ("hellaswag", "lambada", "winogrande"):
            data = load(store.con, PUBLISHED[name], None)
            wanted = Settings(("scaling", "log-linear", models.DEFAULT), seed=0)
            found.append((data, grouped.run(data, wanted, Workers(1))))
    told = grouped_summary.summary(found)
    mine = {t["against"]: t for t in told if (t["folds"], t["predictor"]) == ("grouped", models.DEFAULT)}
    assert mine["scaling"]["geometric_mean"] < 0.85
    assert mine["log-linear"]["geometric_mean"] < 0.9
    assert 0.9 < mine["scale-only"]["geometric_mean"] < 1.05
    assert mine["scale-only"]["low"] < 1 < mine["scale-only"]["high"]
    assert (mine["scaling"]["models"], mine["scaling"]["organisations"]) == (92, 20)


def test_features_of_a_new_model_come_from_its_row_unless_its_file_has_them(tmp_path: Path) -> None:
    table = pd.DataFrame({"ttr_mean": [0.5, 0.6], "entropy_mean": [math.nan, 1.0]}, index=[GIVEN["id"], "b/c"])
    new = new_models.read_new_model(written(tmp_path, **GIVEN), ("ttr_mean",))
    assert new_models.with_row(new, table).features == {"ttr_mean": 0.5}
    assert "neither the file nor the feature table" in new_models.with_row(new, table.drop(GIVEN["id"])).notes[-1]
    own = new_models.read_new_model(written(tmp_path, **GIVEN, features={"ttr_mean": 0.9}), ("ttr_mean",))
    assert new_models.with_row(own, table) is own

"""What columns add: which are meant, the same learner with and without them, and what is found where the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError
from tagcorpus.predictor.learners import linear, models, sigmoid_law
from tagcorpus.predictor.learners.data import PERCENTAGES, SCALE, Dataset, Noticed, load
from tagcorpus.predictor.learners.design import columns_of
from tagcorpus.predictor.learners.folds import grouped_folds
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import adds
from tagcorpus.predictor.records.tasks import task
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"
FEATURES = str(EXAMPLE / "features.csv")


@pytest.fixture(scope="module")
def data() -> Dataset:
    with Store.from_existing(EXAMPLE) as store:
        return load(store.con, "hellaswag", FEATURES)


def made(seed: int = 0, groups: int = 14) -> Dataset:
    """Scores of 3 models a group hang on scale and on the column `helps`; `nothing` is noise of the group."""
    import pandas

    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 3)
    n = len(group)
    scale = np.column_stack([random.uniform(18, 25, n), random.uniform(4, 10, n)])
    helps, nothing = random.normal(size=n), random.normal(size=groups)[group]
    y = 0.25 + 0.6 / (1 + np.exp(-0.5 * (scale[:, 0] - 21) - 0.3 * (scale[:, 1] - 7) - helps))
    ids = tuple(f"m{g:02}/model{i:02}" for i, g in enumerate(group))
    frame = pandas.DataFrame({**dict(zip(SCALE, scale.T, strict=True)), "helps": helps, "nothing": nothing}, index=ids)
    frame["same"] = 1.0
    noticed = Noticed((), (), (), (), (), {}, (), (), (), (), ())
    return Dataset(task("hellaswag"), ids, tuple(m[:3] for m in ids), y, frame, ("helps", "nothing", "same"), noticed)


def test_names_stand_for_columns(data: Dataset) -> None:
    assert adds.columns_named(data, ["ttr_mean", "entropy_mean", "ttr_mean"]) == ("ttr_mean", "entropy_mean")
    assert set(adds.columns_named(data, ["all-declared"])) <= set(PERCENTAGES)
    assert set(adds.columns_named(data, ["all-generated"])) <= set(data.generated)
    with pytest.raises(ConfigError, match=r"unknown column 'ttr_men' .*did you mean 'ttr_mean'"):
        adds.columns_named(data, ["ttr_men"])
    with pytest.raises(ConfigError, match="total_params: the column is in every fit"):
        adds.columns_named(data, ["total_params"])
    with pytest.raises(ConfigError, match="same: the column has one value only"):
        adds.columns_named(made(), ["same"])
    assert adds.columns_named(made(), ["all-generated"]) == ("helps", "nothing")
    with pytest.raises(ConfigError, match="all-declared: hellaswag has no column that varies"):
        adds.columns_named(made(), ["all-declared"])


@pytest.fixture
def ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner that takes milliseconds."""
    monkeypatch.setattr(adds, "LEARNERS", (linear.fit,))


@pytest.mark.usefixtures("ridge")
def test_a_column_that_helps_is_found_and_noise_is_not() -> None:
    data = made()
    found = adds.errors(data, ("helps", "nothing"), (0,), Workers(1))
    told = adds.document([found], (0,))
    by = {c["name"]: c for c in told["columns"]}
    assert list(by) == ["helps", "nothing", adds.TOGETHER]
    assert by["helps"]["high"] < 1
    assert by["helps"]["p_holm"] < 0.05
    assert by["nothing"]["ratio"] > 0.9
    assert by["nothing"]["p_holm"] > 0.05
    assert by[adds.TOGETHER]["columns"] == ["helps", "nothing"]
    assert all(c["p_holm"] >= c["p"] for c in told["columns"])
    assert all(c["tasks"]["hellaswag"]["ratio"] == c["ratio"] for c in told["columns"])
    text = adds.terminal(told)
    assert text.startswith("what columns add: error with them over error without, hellaswag, 14 makers\n  column")
    assert "could have shown: the smallest true gain found with probability 80 % at the adjusted level" in text


def test_without_columns_it_is_the_mean_of_the_two_that_know_scale_only() -> None:
    data = made()
    x = columns_of(data, SCALE)[0]
    train, test = grouped_folds(data.organisations, 5, 0)[0]
    fits = [fit(x[train], data.y[train], (), 1, 0) for fit in (sigmoid_law.fit, models.fit_trees)]
    expected = np.mean([f.predict(x[test]) for f in fits], axis=0)
    np.testing.assert_allclose(adds._predicted(data, (), train, test, 0), expected, rtol=1e-6)


@pytest.mark.usefixtures("ridge")
def test_few_groups_and_missing_columns_are_said() -> None:
    few = made(groups=6)
    told = adds.document([adds.errors(few, ("helps",), (0,), Workers(1))], (0,))
    assert [c["name"] for c in told["columns"]] == ["helps"]  # one column is not drawn twice
    assert told["columns"][0]["low"] is None
    assert "no intervals: 6 makers, 10 are needed" in adds.terminal(told)
    with pytest.raises(ConfigError, match="hellaswag has 4 makers, grouped folds need at least 5"):
        adds.errors(made(groups=4), ("helps",), (0,), Workers(1))


@pytest.mark.e2e
def test_the_command_answers_first(tmp_path: Path) -> None:
    asked = ["predict", "--db", str(EXAMPLE), "--features", FEATURES, "--task", "hellaswag", "--workers", "1"]
    asked += ["--seeds", "1", "--seed", "0", "--no-hyperparam-search", "-o", str(tmp_path / "out.json")]
    done = CliRunner().invoke(main, [*asked, "--adds", "ttr_mean"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("what columns add: error with them over error without, hellaswag, 9 makers")
    wrong = CliRunner().invoke(main, [*asked, "--adds", "ttr_mean", "--protocol", "paper"])
    assert wrong.exit_code == 2
    assert "--adds is of the grouped protocol" in wrong.stderr


@pytest.mark.parametrize(("noise", "chosen"), [(0.0, "log-linear"), (0.5, "law-scale + trees-scale")])
def test_scale_only_takes_another_than_the_mean_only_where_it_is_clearly_better(
    noise: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "ROUNDS", 5)
    random = np.random.default_rng(1)
    x = np.column_stack([random.uniform(18, 25, 40), random.uniform(4, 10, 40)])
    y = 0.1 * x[:, 0] + 0.02 * x[:, 1] + noise * random.normal(size=40)
    fit = models.fit_scale_only(x, y, tuple(f"m{i % 10}" for i in range(40)), 1, 0)
    assert fit.name == chosen
    assert fit.predict(x[:2]).shape == (2,)
    # With too few groups for inner folds there is no choice.
    assert models.fit_scale_only(x, y, ("a", "b") * 20, 1, 0).name == "law-scale + trees-scale"


def test_a_wrong_name_ends_the_command_before_the_first_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tagcorpus.predictor.protocols import grouped

    monkeypatch.setattr(grouped, "run", lambda *_: pytest.fail("a fit"))
    args = ["predict", "--db", str(EXAMPLE), "--features", FEATURES, "--task", "hellaswag", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, [*args, "--adds", "entropy_men", "--workers", "1"])
    assert result.exit_code == 2
    assert "did you mean 'entropy_mean'" in result.output

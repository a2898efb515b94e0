"""The predictor's parts: data set, folds, boosting, selection, tests, and the command on the invented store."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from profiles import one_by_default

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.options.commands.predict import PredictOptions
from tagcorpus.pipelines.predict import report
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.predictor.learners import boosting, data, folds, selection
from tagcorpus.predictor.learners.boosting import Grid, Point
from tagcorpus.predictor.learners.evaluation import LEAKY, Settings, candidates
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import paper, significance
from tagcorpus.predictor.records import makers, tasks
from tagcorpus.predictor.records.scores import Conflict
from tagcorpus.predictor.store.store import Store

for module in ("duckdb", "pandas", "sklearn", "xgboost"):
    pytest.importorskip(module)

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"
FEATURES = str(EXAMPLE / "features.csv")
SMALL = Grid((0.1, 0.3), (2, 3), (5, 10))


# -- data set


def store(rows: Sequence[tuple[str, str, str, float | None]], **models: dict[str, Any]) -> Any:
    """A connection with the three tables: scores (id, benchmark, setting, accuracy), and models by id."""
    import duckdb

    con = duckdb.connect(":memory:")
    con.execute((EXAMPLE / "schema.sql").read_text())
    for model, facts in models.items():
        of_data = {k: facts[k] for k in facts if k.startswith("pretraining")}
        of_model = {k: facts[k] for k in facts if k not in of_data}
        for table, values in (("model_annotations", of_model), ("dataset_info", of_data)):
            names = ", ".join(["id", *values])
            con.execute(
                f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * (len(values) + 1))})",
                [model, *values.values()],
            )
    for row in rows:
        con.execute("INSERT INTO evaluation_results VALUES (?, ?, ?, 'accuracy', ?, NULL)", list(row))
    return con


def model(params: float | None = 1e9, tokens: float | None = 300.0, **more: Any) -> dict[str, Any]:
    return {"total_params": params, data.TOKENS: tokens, **more}


def load(con: Any, task: str, features: Any = None, **more: Any) -> data.Dataset:
    return data.load(con, task, features, least_models=1, **more)


def test_scores_are_means_of_what_is_there_and_names_are_normalised() -> None:
    nan = float("nan")
    con = store(
        [
            ("b", "hendrycksTest-anatomy", "5-shot", 0.2),
            ("b", "mmlu_virology", "5-shot", 0.6),
            ("b", "mmlu_virology", "0-shot", 0.9),
            ("B", "mmlu_anatomy", "5-shot", 0.3),
            ("B", "mmlu_virology", "5-shot", nan),
            ("tuned", "mmlu_anatomy", "5-shot", 0.7),
            ("small", "mmlu_anatomy", "5-shot", 0.1),
            ("gone", "mmlu_anatomy", "5-shot", nan),
        ],
        b=model(params=1e9, is_instruction_tuned=None),
        B=model(params=2e9, is_instruction_tuned=False),
        tuned=model(is_instruction_tuned=True),
        small=model(tokens=None),
        gone=model(),
    )
    found = load(con, "mmlu_5-shot")
    assert found.ids == ("B", "b")  # bytes: capitals first
    np.testing.assert_allclose(found.y, [0.3, 0.4])
    np.testing.assert_allclose(found.frame[data.PARAMS], np.log([2e9, 1e9]))
    np.testing.assert_allclose(found.frame[data.TOKENS], np.log([300, 300]))
    assert found.noticed.without_scale == ("small",)
    assert found.noticed.not_a_number == ("B: mmlu_virology", "gone: mmlu_anatomy")
    assert found.noticed.without_score == ("gone",)
    assert "tuned" in load(con, "mmlu_5-shot", drop_instruction_tuned=False).ids
    with pytest.raises(InputError, match=r"mmlu_5-shot .*2 models have parameters.*at least 30"):
        data.load(con, "mmlu_5-shot", None)


def test_of_conflicting_scores_one_is_kept_by_rule_and_told() -> None:
    rows = [("a", "arc:challenge", "25-shot", 0.5), ("a", "arc_challenge", "25-shot", 0.4)]
    rows += [("b", "arc:challenge", "25-shot", 0.0), ("b", "arc_challenge", "25-shot", 0.0)]
    for order in (rows, rows[::-1]):
        con = store(order, a=model(), b=model())
        ordered = load(con, "arc_challenge")
        assert list(ordered.y) == [0.4, 0]
        assert ordered.noticed.conflicts == (Conflict("a", "arc_challenge", 0.4, (0.5,)),)
        assert ordered.noticed.zeros == ("b: arc_challenge",)
        assert load(con, "arc_challenge", conflicts="stored").y[0] == next(r[3] for r in order if r[0] == "a")


def test_both_encodings_and_sentinels(tmp_path: Path) -> None:
    rows = [(m, "hellaswag", "10-shot", 0.5) for m in "abc"]
    con = store(
        rows,
        a=model(activation="swiglu", num_heads=-1, mlp_ratio=4.0),
        b=model(mlp_ratio=4.0),
        c=model(activation="gelu", num_heads=8, mlp_ratio=4.0),
    )
    table = tmp_path / "f.csv"
    table.write_text("entropy_mean,id,empty_std\n-1,a,\n2.5,c,\n1,nobody,\n", encoding="utf-8-sig")
    found = load(con, "hellaswag", table)
    assert tuple(found.frame.columns) == (*data.DATABASE, "entropy_mean", "empty_std")
    assert found.generated == ("entropy_mean", "empty_std")
    assert found.frame["activation"].tolist() == ["swiglu", None, "gelu"]
    columns = ("activation", "num_heads", "entropy_mean")
    np.testing.assert_array_equal(data.codes(found, columns, "absent"), [[1, -1, -1], [-1, -1, -1], [0, 8, 2.5]])
    np.testing.assert_array_equal(data.codes(found, columns, "code")[:, 0], [2, 1, 0])  # gelu, missing, swiglu
    assert found.noticed.sentinels == {"num_heads": 1, "entropy_mean": 1}
    assert "empty_std" in found.noticed.empty
    assert "mlp_ratio" in found.noticed.constant
    assert found.noticed.without_features == ("b",)
    assert found.noticed.unknown_features == ("nobody",)
    assert candidates(found) == ("num_heads", "activation", "entropy_mean")
    with pytest.raises(ConfigError, match="no feature 'ttr_mean'"):
        data.codes(found, ["ttr_mean"], "code")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,x\nnobody,1\n", "none of its 1 ids is one of the 1 models.*nobody.*spell ids org/name"),
        ("id,x\na,1\na,2\n", "the id 'a' is there more than once"),
        ("id,x,x\na,1,2\n", "the column 'x' is there more than once"),
        ("id,x\na,n/a\n", "a, column 'x': 'n/a' is not a number"),
        ("id,x\na\n", "the row of 'a' has 1 cells, the header 2"),
        ("model,x\na,1\n", "column 'id' is missing"),
        ("id,num_heads\na,1\n", "column 'num_heads' is also a column of the store"),
        ("", "column 'id' is missing"),
    ],
)
def test_a_feature_table_that_cannot_be_joined_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    con = store([("a", "hellaswag", "10-shot", 0.5)], a=model())
    with pytest.raises(InputError, match=told):
        load(con, "hellaswag", tmp_path / "f.csv")


def test_organisations_and_tasks() -> None:
    models = ["Qwen/Qwen2-72B", "llama2_220M_nl_only", "llama2_460M-hf", "gpt2-xl", "-odd"]
    assert [makers.organisation(m) for m in models] == ["Qwen", "llama2", "llama2", "gpt2", "-odd"]
    assert [t.name for t in tasks.tasks(["mmlu", "gsm8k"])] == ["mmlu_0-shot", "mmlu_5-shot", "gsm8k"]
    assert len(tasks.tasks([])) == 13
    assert len(tasks.tasks([], "brier_score")) == 4
    assert tasks.tasks(["drop:3"], "f1") == [tasks.Task("drop:3", ("drop",), 3, "f1")]
    assert tasks.task("hellaswag:10").name == "hellaswag"
    with pytest.raises(ConfigError, match=r"unknown task 'hellaswg' .*did you mean 'hellaswag'.*BENCHMARK:SHOTS"):
        tasks.task("hellaswg")
    with pytest.raises(ConfigError, match=r"unknown metric 'acuracy' .*did you mean 'accuracy'"):
        tasks.tasks([], "acuracy")


# -- folds


@given(st.integers(6, 120), st.integers(2, 5), st.integers(0, 2**31 - 1))
def test_random_folds_are_scikit_learns(n: int, k: int, seed: int) -> None:
    from sklearn.model_selection import KFold, train_test_split

    theirs = list(KFold(k, shuffle=True, random_state=seed).split(np.zeros(n)))
    for (train, test), (train_theirs, test_theirs) in zip(folds.random_folds(n, k, seed), theirs, strict=True):
        np.testing.assert_array_equal(train, train_theirs)
        np.testing.assert_array_equal(test, test_theirs)
        kept, _ = train_test_split(train_theirs, test_size=0.2, random_state=seed)
        np.testing.assert_array_equal(folds.without_share(train, 0.2, seed), kept)


@given(st.lists(st.sampled_from("abcdefg"), min_size=8, max_size=60), st.integers(0, 99))
def test_grouped_folds_split_no_group(groups: list[str], seed: int) -> None:
    k = 3
    if len(set(groups)) < k:
        with pytest.raises(ValueError, match="groups cannot fill 3 folds"):
            folds.grouped_folds(groups, k, seed)
        return
    pairs = folds.grouped_folds(groups, k, seed)
    assert sorted(i for _, test in pairs for i in test) == list(range(len(groups)))
    for train, test in pairs:
        assert len(train) + len(test) == len(groups)
        assert len(test)
        assert not {groups[i] for i in train} & {groups[i] for i in test}


# -- boosting


def noise(n: int = 36, columns: int = 3, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, columns)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = -1
    return x, (x[:, 0] > 0) * 0.3 + 0.1 * random.random(n)


def test_search_and_fit_are_those_of_a_plain_grid_search() -> None:
    from sklearn.model_selection import GridSearchCV, KFold
    from xgboost import XGBRegressor

    x, y = noise()
    grid = {"learning_rate": [0.1, 0.3], "max_depth": [2, 3], "n_estimators": [5, 10]}
    inner = KFold(3, shuffle=True, random_state=1)
    model = XGBRegressor(missing=-1, n_jobs=1)
    theirs = GridSearchCV(model, grid, cv=inner, scoring="neg_mean_absolute_error").fit(x, y)
    point = boosting.search(x, y, folds.random_folds(len(y), 3, 1), SMALL)
    best = theirs.best_params_
    assert point == Point(best["learning_rate"], best["max_depth"], best["n_estimators"])
    booster = boosting.train(boosting.binned(x, y), point.parameters, point.rounds)
    np.testing.assert_array_equal(boosting.predict(booster, x, point.rounds), theirs.predict(x))


def test_ties_go_to_the_first_point_and_a_refused_parameter_is_told() -> None:
    x, _ = noise()
    y = np.full(len(x), 0.5)
    assert boosting.search(x, y, folds.random_folds(len(y), 3, 0), SMALL) == SMALL.points[0] == Point(0.1, 2, 5)
    with pytest.raises(Exception, match="max_depth"):
        boosting.train(boosting.binned(x, y), {"max_depth": -3}, 1)


# -- selection


def planted(columns: int = 4) -> data.Dataset:
    """Of the example's models, scores that one feature decides."""
    with Store.from_existing(EXAMPLE) as opened:
        found = data.load(opened.con, "hellaswag", FEATURES)
    keep = [*data.SCALE, *data.ARCHITECTURE, "entropy_mean"][: columns + 3]
    frame = found.frame[keep].copy()
    frame["planted"] = np.random.default_rng(3).random(len(frame))
    y = 0.2 + 0.6 * (frame["planted"].to_numpy() > 0.5)
    return data.Dataset(found.task, found.ids, found.organisations, y, frame, ("planted",), found.noticed)


def test_forward_adds_what_helps_most_and_stops() -> None:
    worth = {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.0005}
    asked: list[int] = []

    def score(sets: Any) -> list[float]:
        asked.append(len(sets))
        return [1 - sum(worth.get(c, 0) for c in s) for s in sets]

    found = selection.forward(score, ["start"], list(worth), 1e-3)
    assert found.features == ("start", "b", "c", "a")  # b before c: of equals the first
    assert asked == [1, 4, 3, 2, 1]
    assert [s.feature for s in found.steps] == ["b", "c", "a"]
    assert found.steps[0].before == 1
    assert found.steps[0].after == pytest.approx(0.7)


@pytest.mark.parametrize("method", one_by_default("stability", "forward"))
def test_selection_inside_a_training_fold_sees_nothing_else(method: Any) -> None:
    whole = planted()
    rows = folds.grouped_folds(whole.organisations, 3, 0)[0][0]
    found = selection.inside(whole, rows, method, 0)
    assert found.features[: len(data.SCALE)] == data.SCALE
    assert "planted" in found.features
    outside = np.setdiff1d(np.arange(len(whole.ids)), rows)
    y, frame = whole.y.copy(), whole.frame.copy()
    y[outside] = 1 - y[outside]
    frame.iloc[outside, frame.columns.get_loc("planted")] = 0.9
    other = data.Dataset(whole.task, whole.ids, whole.organisations, y, frame, whole.generated, whole.noticed)
    assert selection.inside(other, rows, method, 0) == found


@pytest.mark.e2e
def test_the_published_selection_finds_the_planted_column_and_is_marked() -> None:
    whole = planted(0)
    with Workers(1) as workers:
        found = paper.run(whole, Settings(select="forward", seed=0, has_search=False), workers)
    assert found[-1].predictor == "selected"
    assert found[-1].features[2] == "planted"
    assert LEAKY in found[-1].marks
    assert all(LEAKY not in e.marks for e in found[:-1])
    with pytest.raises(ConfigError, match="stability is not part of the published protocol"):
        paper.run(whole, Settings(select="stability"), Workers(1))


def test_selections_are_read_from_csv_and_json(tmp_path: Path) -> None:
    table = tmp_path / "s.csv"
    table.write_text("task,selected_features\narc_challenge,\"['total_params', 'biases']\"\n")
    other = tmp_path / "s.json"
    other.write_text('{"arc_challenge": ["total_params", "biases"]}')
    for path in (table, other):
        found = selection.read_selected(path)
        assert selection.selected_for(found, tasks.task("arc_challenge"), path) == (*data.SCALE, "biases")
    with pytest.raises(ConfigError, match="has no features for 'gsm8k'; it has arc_challenge"):
        selection.selected_for(found, tasks.task("gsm8k"), other)
    for text in ("task\nx\n", '{"a": [1]}', "{"):
        table.write_text(text)
        with pytest.raises(InputError, match="neither a CSV with columns task"):
            selection.read_selected(table)
    with pytest.raises(InputError, match="cannot be read"):
        selection.read_selected(tmp_path)


# -- significance


def test_tests_are_those_of_the_sources() -> None:
    from scipy import stats

    differences = np.array([0.5, -0.2, 0.9, 0.4, 0.1, 0.7])
    theirs = stats.ttest_1samp(differences, 0)
    ours = significance.paired_t(differences)
    interval = theirs.confidence_interval(0.95)
    assert (ours.p, ours.low, ours.high) == pytest.approx((theirs.pvalue, interval.low, interval.high))
    corrected = significance.corrected_t(np.array([1.0, 2, 3]), 0.5)
    t = 2 / np.sqrt(1 / 3 + 1 / 2)
    assert corrected.p == pytest.approx(2 * stats.t.sf(t, 2))
    assert corrected.degrees == 2
    assert significance.corrected_t(np.zeros(3), 0.5).p == 1
    assert significance.corrected_t(np.ones(3), 0.5).p == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    from scipy.stats import false_discovery_control

    np.testing.assert_allclose(significance.benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


# -- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["predict", *arguments])


def test_published_option_names_and_the_files(tmp_path: Path) -> None:
    asked = ["--db_path", str(EXAMPLE), "--pseudo_feats_csv", FEATURES, "--metric", "accuracy", "--predictor_type"]
    asked += ["scaling_laws", "--sel_tasks", "hellaswag", "gsm8k", "--sel_features", "total_params", "biases"]
    asked += ["--drop_instruction_tuned", "--merge_mmlu", "--merge_arithmetic", "--no-hyperparam-search"]
    asked += ["--protocol", "paper", "--seed", "7", "--seeds", "2", "--workers", "1"]
    done = run(*asked, "--verbose", "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "47 of the 47 models in the feature table have a score of hellaswag" in done.stderr
    told = json.loads((tmp_path / "out/prediction/predict.json").read_text())
    assert [t["task"] for t in told["tasks"]] == ["hellaswag", "gsm8k"]
    assert (told["protocol"], told["seed"], told["seeds"]) == ("paper", 7, [0, 1])
    first = told["tasks"][0]
    names = [e["predictor"] for e in first["evaluations"]]
    assert names == ["scaling", "median", "log-linear", "selected"]
    assert first["evaluations"][3]["features"] == ["total_params", "biases"]
    assert "xgboost" in " ".join(told["versions"])
    assert "features.csv" in told["inputs"]["features"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/prediction/predictions.csv").read_text())))
    assert len(rows) == 4 * 3 * sum(t["models"] for t in told["tasks"])
    mine = [r for r in rows if (r["task"], r["predictor"], r["seed"]) == ("hellaswag", "scaling", "7")]
    by_fold = [[abs(float(r["error_points"])) for r in mine if r["fold"] == f] for f in "012"]
    mae = np.mean([np.mean(errors) for errors in by_fold])
    assert mae == pytest.approx(first["evaluations"][0]["mae"], abs=1e-5)
    assert f"{mae:.2f} +-" in done.stdout
    assert "p: of the Nadeau-Bengio test" in done.stdout
    as_json = run(*asked, "--json", "--output", str(tmp_path / "alone.json"))
    assert json.loads(as_json.stdout) == told == json.loads((tmp_path / "alone.json").read_text())


@pytest.mark.e2e
def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    request = PredictOptions(
        str(EXAMPLE),
        FEATURES,
        ("logiqa2",),
        protocol="paper",
        predictors=("no-scale",),
        hyperparam_search=False,
        workers=1,
    )
    report(PredictOptions(**{**vars(request), "output": str(tmp_path / "a")}), Display(quiet=True))
    command = [
        str(Path(sys.executable).with_name("tagcorpus")),
        "predict",
        "--db",
        str(EXAMPLE),
        "--features",
        FEATURES,
    ]
    command += ["--task", "logiqa2", "--protocol", "paper", "--predictor", "no-scale", "--workers", "2", "-o", "b"]
    command += ["--no-hyperparam-search"]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("predict.json", "predictions.csv"):
        assert (tmp_path / "a/prediction" / name).read_bytes() == (tmp_path / "b/prediction" / name).read_bytes()


def test_a_selection_from_a_file_is_marked_as_leaky_everywhere(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"anli": ["biases"]}')
    asked = ["--db", str(EXAMPLE), "--features", FEATURES, "--task", "anli", "--protocol", "paper", "--workers", "1"]
    asked += ["--no-hyperparam-search", "--select", str(tmp_path / "s.json"), "-o", str(tmp_path / "o")]
    done = run(*asked)
    assert done.exit_code == 0, done.output
    assert LEAKY in done.stdout
    told = json.loads((tmp_path / "o/prediction/predict.json").read_text())["tasks"][0]
    assert [e["predictor"] for e in told["evaluations"] if LEAKY in e["marks"]] == ["selected"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--features", "none.csv"], "--features: there is no file 'none.csv'"),
        (["--features", "strangers.csv"], "none of its 1 ids is one of the .* models with a score"),
        (["--features", "text.csv"], "--features: text.csv: .*check-features text.csv"),
        (["--task", "helaswag"], "did you mean 'hellaswag'"),
        (["--sel-features"], "'--sel-features' requires an argument"),
        (["--task", "drop:3"], "no scores of 'drop:3'.* It has .*hellaswag"),
        (["--task", "mmlu:5"], "no scores of 'mmlu:5': did you mean 'mmlu_5-shot'"),
        (["--task", "hellaswag:3"], "no 3-shot scores of it; it has 10-shot"),
        (["--task", "hellaswag", "--metric", "acc"], "unknown metric 'acc' .*did you mean 'accuracy'"),
        (["--select", "a.csv", "--sel-features", "biases"], "both name the selected features"),
        (
            ["--predictor", "scalling"],
            "unknown predictor 'scalling'.*did you mean 'scaling'.*Known: all, no-scale, scaling",
        ),
        (["--predictor", "al", "--db", "nowhere"], "unknown predictor 'al'.*did you mean 'all'"),
        (["--predictor", "al", "--protocol", "grouped"], "did you mean 'all'.*Known: all, average, .*no-scale"),
        (["--sel-features", "ttr_men"], "no feature 'ttr_men'.*--features CSV"),
        (["--features", FEATURES, "--sel-features", "ttr_men"], "no feature 'ttr_men'.*did you mean 'ttr_mean'"),
        (["--seeds", "-1"], "--seeds must be at least 0, got -1"),
        (["--reproduce"], "--reproduce needs the published feature table"),
        (["--output", "x.md"], "a page is written with --reproduce only"),
    ],
)
def test_errors_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strangers.csv").write_text("id,ttr_mean\nnobody/model,0.5\n")
    (tmp_path / "text.csv").write_text("id,ttr_mean\nalder/alder-1b,much\n")
    common = ["--db", str(EXAMPLE), "--protocol", "paper", "--workers", "1", "--no-hyperparam-search"]
    common += [] if "--task" in arguments else ["--task", "hellaswag"]
    done = run(*common, *arguments)
    assert done.exit_code == 2, done.output
    assert re.search(told, done.stderr), done.stderr


def test_missing_features_are_read_from_the_store_or_done_without(tmp_path: Path) -> None:
    request = PredictOptions(str(EXAMPLE), None, ("xnli",), protocol="paper", hyperparam_search=False, workers=1)
    report(PredictOptions(**{**vars(request), "output": str(tmp_path / "o")}), Display(quiet=True))
    told = json.loads((tmp_path / "o/prediction/predict.json").read_text())["tasks"][0]
    assert told["columns"] == len(data.DATABASE)

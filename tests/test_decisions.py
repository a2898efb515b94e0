"""Decisions between corpora, in a world whose truth is known: shares, intervals, the floor of noise, and the command."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from decision_world import SIZES, TARGET, World
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.cli import main
from tagcorpus.errors import InputError
from tagcorpus.predictor.protocols import decided, decisions
from tagcorpus.predictor.protocols.decision_runs import Runs, nearest_size, runs_of
from tagcorpus.predictor.records.tasks import Task, task
from tagcorpus.predictor.store.load import import_files
from tagcorpus.predictor.store.store import Store

for module in ("duckdb", "pandas", "scipy"):
    pytest.importorskip(module)

TASK = Task("x:5", ("x",), 5)


def ways(told: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {(w["way"], w["metric"], len(w["sizes"]) and w["sizes"][-1]): w for w in told["ways"]}


@pytest.fixture(scope="module")
def shown() -> list[dict[str, Any]]:
    """20 worlds of 25 corpora."""
    world, random = World(), np.random.default_rng(5)
    return [decided.decide(TASK, world.draw(25, random), "accuracy", TARGET, {}).document for _ in range(20)]


def mean(shown: list[dict[str, Any]], *way: Any) -> float:
    return float(np.mean([ways(d)[way]["right"]["value"] for d in shown]))


def test_shares_of_pairs_are_those_of_the_world(shown: list[dict[str, Any]]) -> None:
    world = World()
    for i, size in enumerate(SIZES):  # 20 worlds: the standard error of a mean is about 0.015
        assert mean(shown, "one size", "accuracy", size) == pytest.approx(world.of_one_size(world.noise, i), abs=0.045)
        assert mean(shown, "one size", "correct_prob", size) == pytest.approx(
            world.of_one_size(world.flat, i), abs=0.03
        )


def test_all_sizes_come_near_the_best_possible(shown: list[dict[str, Any]]) -> None:
    world = World()
    for metric, noise in (("accuracy", world.noise), ("correct_prob", world.flat)):
        share = mean(shown, "all sizes", metric, SIZES[-1])
        assert world.best(noise) - 0.04 < share < world.best(noise) + 0.03
        assert share > mean(shown, "one size", metric, SIZES[-1]) - 0.01
        assert share > mean(shown, "line", metric, SIZES[-1])  # lines through noisy sizes go astray


def test_the_floor_of_noise_is_the_worlds(shown: list[dict[str, Any]]) -> None:
    assert np.mean([d["floor"]["ceiling"] for d in shown]) == pytest.approx(World().ceiling(), abs=0.015)
    variance = np.mean([d["floor"]["noise_sd"] ** 2 for d in shown])
    assert variance == pytest.approx(1e-4 * World().target_noise, rel=0.1)
    one, two = 1 + World().target_noise, 1 + World().target_noise / 2  # one run, and the mean of the other two
    expected = 0.5 + math.asin(1 / math.sqrt(one * two)) / math.pi
    assert np.mean([d["floor"]["repeated"]["value"] for d in shown]) == pytest.approx(expected, abs=0.02)


def test_intervals_over_corpora_hold_the_truth(shown: list[dict[str, Any]]) -> None:
    world = World()
    inside = []
    for d in shown:
        for i, size in enumerate(SIZES):
            right = ways(d)["one size", "accuracy", size]["right"]
            inside.append(right["low"] <= world.of_one_size(world.noise, i) <= right["high"])
    assert np.mean(inside) > 0.9  # 80 of nominal 0.95; benchmarks/decisions.py draws more


def test_a_pair_that_can_be_told_apart_is_more_often_right(shown: list[dict[str, Any]]) -> None:
    right = [ways(d)["one size", "correct_prob", SIZES[-1]]["right"] for d in shown]
    assert np.mean([r["clear"] for r in right]) > np.mean([r["value"] for r in right]) + 0.02


def test_tags_that_make_the_effects_decide_and_noise_does_not() -> None:
    random = np.random.default_rng(2)
    table = random.normal(size=(25, 3))
    truth = table @ np.array([1.0, -0.5, 0.0]) + 0.1 * random.normal(size=25)
    right = decisions.rights(decisions.tags(table, truth), decisions.gaps_of(truth))
    assert np.mean(list(right.values())) > 0.93
    noise = [
        np.mean(
            list(
                decisions.rights(decisions.tags(random.normal(size=(25, 3)), truth), decisions.gaps_of(truth)).values()
            )
        )
        for _ in range(10)
    ]
    assert 0.4 < np.mean(noise) < 0.6  # never better than chance by having seen the two


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7), st.lists(st.floats(-5, 5), min_size=7, max_size=7))
def test_rights_are_those_of_plain_counting(truth: list[float], predicted: list[float]) -> None:
    t, p = np.array(truth), np.array(predicted[: len(truth)])
    right = decisions.rights(decisions.gaps_of(p), decisions.gaps_of(t))
    for a, b in combinations(range(len(t)), 2):
        plain = 0.5 if t[a] == t[b] or p[a] == p[b] else float((t[a] > t[b]) == (p[a] > p[b]))
        assert right[a, b] == plain


def test_few_corpora_have_no_interval_and_all_right_has_an_honest_one() -> None:
    few = decisions.share(dict.fromkeys(combinations(range(9), 2), 1.0))
    assert few is not None
    assert (few.value, few.low, few.high) == (1.0, None, None)
    all_right = decisions.share(dict.fromkeys(combinations(range(12), 2), 1.0))
    assert all_right is not None
    assert all_right.low == pytest.approx(0.025 ** (1 / 12))
    assert all_right.high == 1.0


def test_without_seeds_the_noise_is_not_known() -> None:
    world = World(seeds=1)
    told = decided.decide(TASK, world.draw(12, np.random.default_rng(1)), "accuracy", TARGET, {}).document
    assert told["floor"] == {"seeds": 1, "noise_sd": None, "repeated": None, "ceiling": None}
    assert ways(told)["all sizes", "accuracy", SIZES[-1]]["right"]["clear"] is None


def test_a_target_that_nobody_trained_is_ranked_and_not_judged() -> None:
    told = decided.decide(TASK, World().draw(12, np.random.default_rng(1)), "accuracy", 10 * TARGET, {}).document
    assert not told["is_target_measured"]
    assert all(w["right"] is None for w in told["ways"])
    assert len(told["ranking"]) == 12


def test_no_score_of_the_target_decides() -> None:
    """The same small runs with another target decide the same."""
    by_metric = World().draw(12, np.random.default_rng(1))
    first = decided.decide(TASK, by_metric, "accuracy", TARGET, {})
    turned = {
        m: Runs(m, r.corpora, r.sizes, {k: tuple(1 - v for v in vs) if k[0] == TARGET else vs for k, vs in r.values.items()}, r.steps)
        for m, r in by_metric.items()
    }  # fmt: skip
    second = decided.decide(TASK, turned, "accuracy", TARGET, {})
    assert [r[:8] for r in first.rows] == [r[:8] for r in second.rows]
    assert ways(first.document)["all sizes", "accuracy", SIZES[-1]]["right"]["value"] == pytest.approx(
        1 - ways(second.document)["all sizes", "accuracy", SIZES[-1]]["right"]["value"]
    )


def test_probabilities_are_calibrated() -> None:
    random, pairs = np.random.default_rng(3), []
    for _ in range(12):
        outcome = decided.decide(TASK, World().draw(20, random), "accuracy", TARGET, {})
        for _, way, metric, _, first, _, _, probability, better, _ in outcome.rows:
            if (way, metric) == ("all sizes", "accuracy"):
                pairs.append((float(probability), better == first))
    sure = [is_first for p, is_first in pairs if 0.7 < p < 0.8]
    assert np.mean(sure) == pytest.approx(0.75, abs=0.1)


# ---- from a store


HEADER = "id,seed,step,corpus,total_params,x_5-shot_accuracy,x_5-shot_bits_per_byte\n"


def rows(corpora: int = 11, sizes: tuple[int, ...] = (10**7, 10**8, 10**9), seeds: tuple[int, ...] = (1, 2)) -> str:
    random = np.random.default_rng(0)
    text = HEADER
    for c in range(corpora):
        for size in sizes:
            for seed in seeds:
                for step in (100, 200):
                    accuracy = 0.3 + 0.02 * c + 0.01 * math.log10(size) + 0.002 * random.normal() - 0.1 * (step == 100)
                    name = f"lab/mix-{c:02d}-{size}"
                    text += f"{name},{seed},{step},mix-{c:02d},{size},{accuracy:.5f},{2 - accuracy:.5f}\n"
    return text


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only read."""
    folder = tmp_path_factory.mktemp("decisions")
    (folder / "wide.csv").write_text(rows())
    import_files(folder / "s.duckdb", [folder / "wide.csv"], create=True)
    return folder / "s.duckdb"


def invoke(db: Path, *options: str) -> Any:
    return CliRunner().invoke(main, ["predict", "--db", str(db), "--decide", *options])


def test_the_command(db: Path, tmp_path: Path) -> None:
    done = invoke(db, "--target-size", "1B", "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "x:5, 5-shot, by accuracy: 11 corpora, target size 1B" in done.stdout
    assert (
        "noise between seeds: one more run of the target size itself agrees with the others in 1.00 of pairs"
        in done.stdout
    )
    told = json.loads((tmp_path / "out/decision/decide.json").read_text())["tasks"][0]
    assert told["sizes"][0] == {"size": 10**7, "step": 200, "seeds": 2}
    assert told["baseline"] == {"way": "one size", "metric": "accuracy", "sizes": [10**8]}
    assert [r["corpus"] for r in told["ranking"]] == [f"mix-{c:02d}" for c in reversed(range(11))]
    assert ways(told)["one size", "bits_per_byte", 10**7]["right"]["value"] == 1.0  # lower is better
    lines = (tmp_path / "out/decision/decisions.csv").read_text().splitlines()
    assert lines[0] == ",".join(decided.ROW_COLUMNS)
    assert len(lines) == 1 + 55 * len(told["ways"])
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert re.search(r"^all sizes +accuracy +10M to 100M +1\.00 +0\.72 to 1\.00 +\+0\.00", done.stdout, re.MULTILINE)


def test_a_metric_of_which_lower_is_better(db: Path, tmp_path: Path) -> None:
    done = invoke(
        db, "--target-size", "1B", "--metric", "bits_per_byte", "--task", "x:5", "-o", str(tmp_path / "d.json")
    )
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "d.json").read_text())["tasks"][0]
    assert told["is_lower_better"]
    best = told["ranking"][0]
    assert (best["corpus"], round(best["target_score"], 1)) == ("mix-10", 1.4)


def test_only_tags(tmp_path: Path) -> None:
    """Corpora that were trained at the target size only, and a table of their features."""
    (tmp_path / "wide.csv").write_text(rows(sizes=(10**9,)))
    import_files(tmp_path / "s.duckdb", [tmp_path / "wide.csv"], create=True)
    (tmp_path / "tags.csv").write_text("id,quality\n" + "".join(f"mix-{c:02d},{c * c}\n" for c in range(11)))
    done = invoke(
        tmp_path / "s.duckdb",
        "--target-size",
        "1B",
        "--features",
        str(tmp_path / "tags.csv"),
        "-o",
        str(tmp_path / "d.json"),
    )
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "d.json").read_text())["tasks"][0]
    assert [w["way"] for w in told["ways"]] == ["tags"]
    assert told["ways"][0]["right"]["value"] > 0.9


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "--decide needs the size"),
        (("--target-size", "large"), "must be a number of parameters"),
        (("--target-size", "1B", "--extrapolate", "3"), "does not go with --extrapolate"),
        (("--target-size", "1B", "--task", "y:5"), "no run with a corpus has a score by any metric"),
        (("--target-size", "1M"), "no runs at a size below 1,000,000, and no tags"),
        (("--target-size", "1B", "--features", "FEATURES"), "none of its ids is a corpus"),
    ],
)
def test_what_cannot_be_decided(db: Path, tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    (tmp_path / "f.csv").write_text("id,a\nlab/x,1\n")
    done = invoke(db, *(str(tmp_path / "f.csv") if o == "FEATURES" else o for o in options))
    assert done.exit_code == 2, done.output
    assert problem in done.stderr


def test_target_size_belongs_to_decide(db: Path) -> None:
    done = CliRunner().invoke(main, ["predict", "--db", str(db), "--target-size", "1B"])
    assert (done.exit_code, "--target-size is of --decide" in done.stderr) == (2, True)


def test_the_last_step_that_every_corpus_has_counts(tmp_path: Path) -> None:
    text = HEADER
    for corpus, steps in (("a", (1, 2, 3)), ("b", (1, 2)), ("c", (2,))):
        text += "".join(f"lab/{corpus},1,{s},{corpus},{10**7},{0.1 * s},\n" for s in steps)
    (tmp_path / "w.csv").write_text(text)
    import_files(tmp_path / "s.duckdb", [tmp_path / "w.csv"], create=True)
    with Store.from_existing(tmp_path / "s.duckdb") as store:
        runs = runs_of(store.con, task("x:5"))["accuracy"]
    assert runs.steps == {10**7: 2}
    assert runs.values[10**7, "a"] == (0.2,)


def test_sizes_that_hardly_differ_are_one(tmp_path: Path) -> None:
    text = HEADER
    for i, size in enumerate((14_000_000, 14_380_224, 16_000_000)):
        text += f"lab/m{i},1,1,corpus-{i},{size},0.5,\n"
    (tmp_path / "w.csv").write_text(text)
    import_files(tmp_path / "s.duckdb", [tmp_path / "w.csv"], create=True)
    with Store.from_existing(tmp_path / "s.duckdb") as store:
        assert runs_of(store.con, task("x:5"))["accuracy"].sizes == (14_000_000, 16_000_000)
    assert nearest_size((14_000_000, 16_000_000), 14_100_000) == 14_000_000
    assert nearest_size((14_000_000,), 16_000_000) is None


def test_two_values_of_one_run_are_refused(tmp_path: Path) -> None:
    text = "id,benchmark,setting,metric,metric_value\nlab/a,x,5-shot,accuracy,0.5\nlab/b,x,5-shot,accuracy,0.6\n"
    (tmp_path / "s.csv").write_text(text)
    both = [{"id": f"lab/{i}", "total_params": 10**7, "corpus": "c", "seed": 1} for i in "ab"]
    (tmp_path / "a.json").write_text(json.dumps(both))
    import_files(tmp_path / "s.duckdb", [tmp_path / "s.csv", tmp_path / "a.json"], create=True)
    with (
        Store.from_existing(tmp_path / "s.duckdb") as store,
        pytest.raises(InputError, match=r"is there twice, 0\.5 and 0\.6"),
    ):
        runs_of(store.con, task("x:5"))

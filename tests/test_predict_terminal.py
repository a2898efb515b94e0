"""What `tagcorpus predict` says: its width, what stands first, signs of life, what an output folder held before."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.predicting.files import publish, refuse_anothers
from tagcorpus.pipelines.predicting.progress import Steps
from tagcorpus.pipelines.predicting.terminal import LEGEND, WIDTH, terminal, wrapped
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.predictor import grouped, paper
from tagcorpus.predictor.parallel import Workers
from tagcorpus.predictor.reproduction import TITLE
from tagcorpus.predictor.tables import PREDICTION_COLUMNS

NOTICED: dict[str, list[str]] = {
    kind: ["org/model"] for kind in ("conflicts", "zeros", "without_score", "without_scale", "without_features")
}


def evaluation(predictor: str, mae: float, folds: str = "grouped", *marks: str) -> dict[str, Any]:
    spread = {"mae_sd_over_folds": 1.25, "mae_mean_over_seeds": mae, "mae_sd_over_seeds": 0.5}
    return {"predictor": predictor, "folds": folds, "marks": list(marks), "mae": mae, **spread}


def comparison(predictor: str, folds: str) -> dict[str, Any]:
    gain = {"gain_percent": -88.2, "gain_interval_percent": [-188.3, 111.8]}
    over_groups = {"ratio": 1.5, "low": 1.2, "high": 1.9, "p": 0.0059, "q": 0.0077}
    tests = {"published": {"p": 0.123}, "corrected": {"p": 0.4, "q": 0.5}, "over_groups": over_groups}
    return {"predictor": predictor, "against": "scaling", "folds": folds, **gain, **tests}


def document(names: tuple[str, ...], n_tasks: int = 13) -> dict[str, Any]:
    tasks = [
        {
            "task": f"a_task_of_number_{i}",
            "models": 92,
            "organisations": 23,
            "grouped_by": "maker",
            "noticed": NOTICED,
            "evaluations": [evaluation(n, 14.39, f, "a mark") for f in ("grouped", "random") for n in names],
            "comparisons": [comparison(n, f) for f in ("grouped", "random") for n in names[1:]],
        }
        for i in range(n_tasks)
    ]
    one = {"ratio": 0.5, "low": 0.4, "high": 0.6}
    summary = {
        "folds": "grouped",
        "predictor": "average",
        "against": "scale-only",
        "tasks": {t["task"]: {"mae": 2.0, **one} for t in tasks},
        "geometric_mean": 1.5,
        "low": 1.25,
        "high": 1.75,
        "better_in": n_tasks,
        "of": n_tasks,
    }
    head = {"protocol": "grouped", "seed": 42, "seeds": [0, 1, 2]}
    return {**head, "tasks": tasks, "summary_over_tasks": [summary]}


@pytest.mark.parametrize("n_tasks", [1, 13])
def test_the_answer_stands_first_and_nothing_is_wider_than_a_terminal(n_tasks: int) -> None:
    text = terminal(document(tuple(LEGEND), n_tasks), ["x " * 200])
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith(
        "points of error on models of unseen makers, mean over seeds: average against scale-only"
    )
    assert lines[1].startswith("a_task_of_number_0")
    assert "2.00 against 4.00: 0.50 times (95 % 0.40 to 0.60)" in lines[1]
    assert ("lower in 13 of 13 tasks: 1.50 times (95 % 1.25 to 1.75)" in text) == (n_tasks > 1)
    assert ("0.0077" in text) == (n_tasks > 1)  # q is p where there is one task
    assert "0.123" not in text
    legend = " ".join(line.strip() for line in lines)
    assert all(f"{name} = {words}" in legend for name, words in LEGEND.items())


def test_every_predictor_has_a_word_in_the_legend() -> None:
    assert set(LEGEND) == {*grouped.PREDICTORS, *paper.PREDICTORS, "median", "selected"}


def test_of_the_published_protocol_the_last_predictor_is_the_answer() -> None:
    told = document(("scaling", "all"), 1) | {"protocol": "paper"}
    first = "a_task_of_number_0: 'all' gains -88.2 % on 'scaling' (95 % -188.3 to +111.8), random folds"
    assert terminal(told).splitlines()[0] == first


def test_wrapping_leaves_narrow_lines_alone() -> None:
    narrow = "a  b\n\n" + "-" * WIDTH
    assert wrapped(narrow) == narrow
    assert wrapped("word " * 30).splitlines()[1].startswith("    word")


def ticks(*seconds: float) -> Iterator[float]:
    yield from seconds


def test_signs_of_life_are_said_now_and_then() -> None:
    out = io.StringIO()
    at = ticks(0, 0, 3, 11, 12, 24, 24)
    with Steps(Display(out), 2, lambda: next(at)) as steps:
        steps.begin("hellaswag")
        for done in range(1, 5):
            steps.step(done, 4)
        steps.finish()
    assert out.getvalue().splitlines() == [
        "hellaswag: 2 of 4 fits done, 11 s",
        "hellaswag: 4 of 4 fits done, 24 s",
        "hellaswag: done in 24 s (1 of 2 tasks), about 24 s to go",
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_workers_tell_of_each_job(count: int) -> None:
    told: list[tuple[int, int]] = []
    with Workers(count, lambda done, of: told.append((done, of))) as workers:
        assert workers.map(abs, [(-1,), (2,), (-3,)]) == [1, 2, 3]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_earlier_prediction_of_something_else_is_named_when_it_is_replaced(tmp_path: Path) -> None:
    def written(protocol: str, task: str, target: str) -> list[str]:
        out = io.StringIO()
        text = json.dumps({"protocol": protocol, "tasks": [{"task": task}]})
        publish("features.csv", str(tmp_path / target), text, "", None, {}, Display(out))
        return out.getvalue().splitlines()

    for target in ("out", "alone.json"):
        assert written("paper", "gsm8k", target) == []
        assert written("paper", "gsm8k", target) == []
        told = " ".join(line.strip() for line in written("grouped", "gsm8k", target))
        assert told.startswith("replaced in ")
        assert told.endswith("an earlier prediction, paper protocol, tasks gsm8k")
        (path,) = (p for p in (tmp_path / target / "prediction/predict.json", tmp_path / target) if p.is_file())
        path.write_text("no document")
        assert written("grouped", "anli", target) == []


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("x.json", "{}", '{"protocol": "grouped", "tasks": []}'),
        ("x.csv", "task,score\n", ",".join(PREDICTION_COLUMNS) + "\n"),
        ("x.md", "# Mine\n", f"{TITLE}\n"),
    ],
)
def test_somebody_elses_file_is_not_replaced(tmp_path: Path, name: str, theirs: str, ours: str) -> None:
    path = tmp_path / name
    refuse_anothers(str(path))
    path.write_text(theirs)
    with pytest.raises(ConfigError, match=r"is there already, and is no prediction"):
        refuse_anothers(str(path))
    path.write_text(ours)
    refuse_anothers(str(path))


def test_nothing_of_an_earlier_prediction_stays(tmp_path: Path) -> None:
    def published(files: dict[str, bytes]) -> list[str]:
        publish("x.csv", str(tmp_path), "{}", "a,b\n", None, files, Display(quiet=True))
        return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())

    always = ["prediction/predict.json", "prediction/predictions.csv"]
    (tmp_path / "other.txt").touch()
    pictures = {"prediction/figures/a.png": b"a", "prediction/figures/anli/b.png": b"b"}
    assert published(pictures) == ["other.txt", *sorted(pictures), *always]
    assert published({}) == ["other.txt", *always]

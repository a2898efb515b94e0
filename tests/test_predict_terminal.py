"""What `tagcorpus predict` says: its width, what stands first, signs of life, what an output folder held before."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.options.commands.predict import PredictOptions
from tagcorpus.pipelines.predict import command, report
from tagcorpus.pipelines.predicting.features import features_of, say_ids
from tagcorpus.pipelines.predicting.files import BEGINS, check_target, publish
from tagcorpus.pipelines.predicting.progress import Steps
from tagcorpus.pipelines.predicting.terminal import LEGEND, WIDTH, brief, terminal, wrapped
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.predictor.explaining import figures
from tagcorpus.predictor.explaining.reproduction import TITLE
from tagcorpus.predictor.learners.evaluation import LEAKY, Evaluation
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import grouped, grouped_summary, paper
from tagcorpus.predictor.protocols.significance import compare
from tagcorpus.predictor.protocols.tables import PREDICTION_COLUMNS
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"

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


def test_three_lines_without_verbose() -> None:
    one, many = document(("scale-only", "average"), 1), document(("scale-only", "average"), 13)
    last = "Add --verbose for the table of predictors, the meaning of their names, and notes."
    assert brief(one).splitlines() == [
        "a_task_of_number_0: 'average' is off by 2.00 points on models of unseen makers.",
        "This is 1.50 times the error of 'scale-only' (95 % 1.25 to 1.75).",
        last,
    ]
    many["summary_over_tasks"][0]["tasks"]["a_task_of_number_3"]["mae"] = 7.125
    many["summary_over_tasks"][0] |= {"low": None, "high": None, "organisations": 9}
    assert brief(many).startswith(
        "'average' is off by 2.00 (a_task_of_number_0) to 7.12 points (a_task_of_number_3) on"
    )
    assert "9 makers: too few for an interval), lower in 13 of 13\n    tasks." in brief(many)
    assert brief(many, ["more"], "first").startswith("first\n\n")
    assert brief(many, ["more"], "first").endswith(f"{last}\n\nmore")


def test_three_lines_of_the_published_protocol_name_a_leak() -> None:
    one = document(("scaling", "all"), 1) | {"protocol": "paper"}
    one["tasks"][0]["evaluations"] = [evaluation(n, 14.39, "random") for n in ("scaling", "all")]
    lines = brief(one).splitlines()
    assert lines[0] == "a_task_of_number_0: 'all' is off by 14.39 points on left-out models, random folds."
    assert lines[1].startswith("a_task_of_number_0: 'all' gains -88.2 % on 'scaling'")
    assert len(lines) == 3
    one["tasks"][0]["evaluations"][1]["marks"] = [LEAKY]
    assert brief(one).splitlines()[3] == f"'all': {LEAKY}"
    several = document(("scaling", "all"), 3) | {"protocol": "paper"}
    assert "It gains on 'scaling' in 0 of 3 tasks: -88.2 % " in brief(several)


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
    assert [line.partition(" ")[2] for line in out.getvalue().splitlines()] == [
        "hellaswag: 2 of 4 fits done, 11 s",
        "hellaswag: 4 of 4 fits done, 24 s",
        "hellaswag: done in 24 s (1 of 2 tasks), about 24 s to go",
    ]


@pytest.mark.e2e
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
        told = " ".join(line.partition(" ")[2].strip() for line in written("grouped", "gsm8k", target))
        assert told.startswith("replaced in ")
        assert told.endswith("an earlier prediction, paper protocol, tasks gsm8k")
        (path,) = (p for p in (tmp_path / target / "prediction/predict.json", tmp_path / target) if p.is_file())
        path.write_text("no document")
        assert written("grouped", "anli", target) == []


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("x.json", "{}", json.dumps({"protocol": "grouped", "tasks": []}, indent=1)),
        ("x.csv", "task,score\n", ",".join(PREDICTION_COLUMNS) + "\n"),
        ("x.md", "# Mine\n", f"{TITLE}\n"),
    ],
)
def test_somebody_elses_file_is_not_replaced(tmp_path: Path, name: str, theirs: str, ours: str) -> None:
    path = tmp_path / name
    request = PredictOptions(db=str(tmp_path), output=str(path))
    check_target(request, "", [], BEGINS)
    path.write_text(theirs)
    with pytest.raises(ConfigError, match=r"exists already, and is not a prediction"):
        check_target(request, "", [], BEGINS)
    path.write_text(ours)
    check_target(request, "", [], BEGINS)


def test_nothing_of_an_earlier_prediction_stays(tmp_path: Path) -> None:
    def published(files: dict[str, bytes]) -> list[str]:
        publish("x.csv", str(tmp_path), "{}", "a,b\n", None, files, Display(quiet=True))
        return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())

    always = ["prediction/notes.csv", "prediction/predict.json", "prediction/predictions.csv"]
    (tmp_path / "other.txt").touch()
    (tmp_path / "prediction").mkdir()
    (tmp_path / "prediction/notes.csv").touch()  # the user's
    pictures = {"prediction/figures/a.png": b"a", "prediction/figures/anli/b.png": b"b"}
    assert published(pictures) == ["other.txt", *sorted(pictures), *always]
    assert published({}) == ["other.txt", *always]


def test_a_published_command_line_under_the_grouped_protocol_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    line: dict[str, Any] = {"db": "nowhere", "merge_arithmetic": True, "predictors": ["scaling_laws"]}
    with pytest.raises(InputError, match="nowhere"):
        command(**line)
    told = " ".join(line.partition(" ")[2].strip() for line in capsys.readouterr().err.splitlines())
    assert told.startswith(
        "--merge_arithmetic, --predictor_type scaling_laws: spelled as in the published scripts, but this is"
    )
    assert told.endswith("for the published figures add --protocol paper")
    for quiet in (
        {"protocol": "grouped"},
        {"protocol": "paper"},
        {"merge_arithmetic": False, "predictors": ["scaling"]},
    ):
        with pytest.raises(InputError, match="nowhere"):
            command(**{**line, **quiet})
        assert capsys.readouterr().err == ""
    typed = CliRunner().invoke(main, ["predict", "--db_path", "nowhere", "--merge_arithmetic"])
    assert typed.stderr.partition(" ")[2].startswith("--merge_arithmetic: spelled as in the published scripts")
    typed = CliRunner().invoke(main, ["predict", "--db_path", "nowhere", "--merge_arithmetic", "--protocol", "grouped"])
    assert typed.stderr.startswith("tagcorpus: no store at 'nowhere'")


def test_a_table_of_scores_is_no_feature_table(tmp_path: Path) -> None:
    with Store.from_existing(EXAMPLE) as store:
        store.wide("accuracy").to_csv(tmp_path / "wide.csv", index=False)
        told = {}
        for name, header in (
            ("named", "id,entropy_mean,HellaSwag"),
            ("wide", None),
            ("sound", "id,entropy_mean,hellaswagness"),
        ):
            path = tmp_path / f"{name}.csv"
            if header:
                path.write_text(f"{header}\nx/y,1,0.5\n")
            try:
                features_of(str(path), store, Display(quiet=True))
            except InputError as error:
                told[name] = str(error)
    assert "column 'HellaSwag' is a score, and a score is not a feature; import scores with" in told["named"]
    assert "_accuracy' is a score, and a score is not a feature (so are " in told["wide"]
    assert "score" not in told.get("sound", "")


def test_constant_scores_and_few_models_are_said(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "db")
    path = tmp_path / "db" / "evaluation_results.csv"
    lines = path.read_text().splitlines()
    constant = [re.sub(r"(,accuracy),[^,]*", r"\1,0.25", line) if ",hellaswag," in line else line for line in lines]
    path.write_text("\n".join(constant) + "\n")
    request: dict[str, Any] = {
        "db": str(tmp_path / "db"),
        "tasks": ["hellaswag"],
        "predictors": ["scaling"],
        "output": str(tmp_path / "o.json"),
    }
    for protocol in ("grouped", "paper"):
        with pytest.raises(
            InputError, match=r"hellaswag: all 47 models have the score 0.25; there is nothing to predict"
        ):
            report(PredictOptions(**{**request, "protocol": protocol}), Display(quiet=True))
    with pytest.raises(InputError, match=r"47 models have .* at least 48 are needed \(--least-models\)"):
        report(PredictOptions(**{**request, "least_models": 48}), Display(quiet=True))


def test_no_error_is_no_division_by_zero() -> None:
    fold = np.array([[0, 0, 1, 1]])
    y = np.array([0.1, 0.2, 0.3, 0.4])
    exact, off = (
        Evaluation(name, "random", (), (0,), fold, y[None] + shift, (({"train_rows": 2}, {"train_rows": 2}),))
        for name, shift in (("exact", 0.0), ("off", 0.1))
    )
    same = compare(exact, exact, y, (0,), ("a", "b", "c", "d"))
    assert (same.gain_percent, same.by_seed_percent) == (0, (0, 0))
    worse = compare(off, exact, y, (0,), ("a", "b", "c", "d"))
    assert worse.corrected.difference == pytest.approx(-10)
    assert worse.over_groups is not None
    assert math.isnan(worse.over_groups.of)


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_mean_of_one_task_is_not_drawn_again(tasks: int) -> None:
    pytest.importorskip("matplotlib")
    one = {"ratio": 0.9, "low": 0.8, "high": 1.0}
    base = {"predictor": "average", "against": "scale-only", "models": 92, "organisations": 20}
    over = {"geometric_mean": 0.9, "low": 0.8, "high": 1.0}
    told = [{**base, **over, "folds": f, "tasks": {f"t{i}": one for i in range(tasks)}} for f in ("grouped", "random")]
    figure = figures.ratios(told, "average", "scale-only")
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [f"t{i}" for i in range(tasks)] + ["geometric mean"] * (tasks > 1)
    for t in told:  # without intervals there are points only
        t |= {"low": None, "high": None, "tasks": {"t0": {"ratio": 0.9, "low": None, "high": None}}}
    assert "no interval" in figures.ratios(told, "average", "scale-only").axes[0].get_title(loc="left")


def test_the_worst_predicted_models_are_listed_with_their_largest_error() -> None:
    told = [{"id": "a/b", "organisation": "a", "times": 3.2, "tasks": {"x": -12.5, "y": 4.0}}]
    text = grouped_summary.worst_terminal(told, "average")
    assert text.splitlines()[1] == "  a/b: 3.2 times; x 12.5 points too low"


def test_of_many_unknown_ids_the_first_are_named() -> None:
    lines: list[str] = []
    unknown = tuple(f"acme/model-{i:04}" for i in range(3000))
    noticed = SimpleNamespace(
        unused_features=unknown,
        unknown_features=unknown,
        without_features=(),
        without_scale=(),
        empty=(),
        constant=(),
        sentinels={},
    )
    data: Any = SimpleNamespace(noticed=noticed, ids=("acme/other",), task=SimpleNamespace(name="hellaswag"))
    display: Any = SimpleNamespace(say=lines.append)
    say_ids(data, SimpleNamespace(index=unknown), display)
    assert len(lines) == 12
    assert lines[-1] == "feature table: 2,990 more such ids; the results list all as unknown_features"

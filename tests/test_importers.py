"""Files of other projects, made in the shapes that these document: what is taken, what is told, what is refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.cli import main
from tagcorpus.errors import ConflictError, InputError
from tagcorpus.predictor.records.checkpoints import another_model, checkpoint_of, size_in_words
from tagcorpus.predictor.store.batch import Batch, kind_of, read_batch
from tagcorpus.predictor.store.check import check
from tagcorpus.predictor.store.files import create
from tagcorpus.predictor.store.load import import_files
from tagcorpus.predictor.store.store import Store

for module in ("duckdb", "pandas"):
    pytest.importorskip(module)

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """A file: JSON, a text, or for rows a Parquet table."""

    def write(name: str, contents: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(contents), path)
        else:
            path.write_text(contents if isinstance(contents, str) else json.dumps(contents), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, which tests copy."""
    path = tmp_path_factory.mktemp("template") / "store.duckdb"
    create(path)
    return path


@pytest.fixture
def empty(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path))


def scores(batch: Batch) -> dict[tuple[str, ...], float]:
    return {k: v["metric_value"] for k, v in batch.rows["evaluation_results"].items()}


def select(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with Store.from_existing(path) as store:
        rows: list[tuple[Any, ...]] = store.con.execute(sql).fetchall()
        return rows


# ---- Every Eval Ever


def evaluation(
    name: str, score: Any, details: dict[str, Any] | None = None, shots: Any = "5", **config: Any
) -> dict[str, Any]:
    return {
        "evaluation_name": name,
        "source_data": {"dataset_name": name, "source_type": "hf_dataset"},
        "metric_config": {
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
            **config,
        },
        "score_details": {"score": score, **(details or {})},
        "generation_config": {"additional_details": {} if shots is None else {"num_fewshot": shots}},
    }


def eval_ever(
    *results: dict[str, Any], model: str = "nutmeg-lab/nutmeg-3b", library: str = "lm_eval"
) -> dict[str, Any]:
    return {
        "schema_version": "0.3.0",
        "evaluation_id": f"x/{model}/1",
        "retrieved_timestamp": "1760000000",
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": "nutmeg-lab",
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": library, "version": "unknown"},
        "model_info": {
            "name": model,
            "id": model,
            "additional_details": {"deployment_type": "self_deployed", "model_availability": "open_weights"},
        },
        "evaluation_results": list(results),
    }


def test_every_eval_ever(put: Put) -> None:
    error = {"uncertainty": {"standard_error": {"value": 0.01}, "num_samples": 1000}}
    document = eval_ever(
        evaluation("arc_challenge", 0.43, error, metric_name="acc"),
        evaluation("gsm8k/strict-match", 0.17, metric_name="exact_match"),
        evaluation("mmlu_anatomy", 41.0, {"uncertainty": {"standard_error": {"value": 2.0}}}, metric_name="Accuracy", metric_unit="percent"),
        evaluation("pile", 0.9, metric_name="bits_per_byte", lower_is_better=True, max_score="Infinity"),
    )  # fmt: skip
    batch = read_batch(put("a.json", document))
    model = "nutmeg-lab/nutmeg-3b"
    assert batch.kind == "every-eval-ever"
    assert scores(batch) == {
        (model, "arc_challenge", "5-shot", "accuracy"): 0.43,
        (model, "gsm8k", "5-shot", "accuracy"): 0.17,
        (model, "mmlu_anatomy", "5-shot", "accuracy"): 0.41,
        (model, "pile", "5-shot", "bits_per_byte"): 0.9,
    }
    errors = {k[1]: v["metric_stderr"] for k, v in batch.rows["evaluation_results"].items()}
    assert errors == {"arc_challenge": 0.01, "gsm8k": None, "mmlu_anatomy": 0.02, "pile": None}
    assert batch.notes == [f"given in percent, stored as a share: {model}, mmlu_anatomy, accuracy"]


def test_an_older_one_has_its_metric_in_the_description(put: Put) -> None:
    document = eval_ever(
        evaluation("IFEval", 0.4212, shots=None, evaluation_description="Accuracy on IFEval"), library="unknown"
    )
    document["schema_version"] = "0.2.1"
    path = put("a.json", document)
    with pytest.raises(
        InputError, match=r"IFEval, accuracy: the number of examples in the prompt is missing: give --shots"
    ):
        read_batch(path)
    assert list(scores(read_batch(path, shots=0))) == [("nutmeg-lab/nutmeg-3b", "IFEval", "0-shot", "accuracy")]


@pytest.mark.parametrize(
    ("result", "note"),
    [
        (evaluation("x", 2, metric_name="acc", score_type="levels", level_names=["a"]), "levels are not numbers"),
        (evaluation("x", -1, metric_name="elo", has_unknown_level=True), "-1 is unknown"),
        (evaluation("x", None, metric_name="acc"), "without a value"),
        (evaluation("x", 1.4, metric_name="acc"), "1.4 is not a share"),
        (evaluation("x", 999, metric_name="bypass"), "judges nothing"),
        (evaluation("x", 1250.5, metric_name="lmarena.elo"), "metric 'lmarena.elo' is not known"),
        (evaluation("x", 0, metric_name="acc"), "exactly 0"),
        (evaluation("x", math.nan, metric_name="acc"), "NaN"),
    ],
)
def test_what_is_told_of_every_eval_ever(put: Put, result: dict[str, Any], note: str) -> None:
    batch = read_batch(put("a.json", eval_ever(evaluation("good", 0.5, metric_name="acc"), result)))
    assert note in batch.notes[0]
    assert ("nutmeg-lab/nutmeg-3b", "good", "5-shot", "accuracy") in scores(batch)
    assert len(batch.notes) == 1


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (evaluation("x", "0.5", metric_name="acc"), "must be a finite number or NaN, not '0.5'"),
        (evaluation("x", True, metric_name="acc"), "must be a finite number or NaN, not 'True'"),
        (evaluation("x", 0.4, metric_name="acc", lower_is_better=True), "lower_is_better is True"),
        ({"score_details": {}}, "must be an object with evaluation_name"),
    ],
)
def test_what_is_refused_of_every_eval_ever(put: Put, result: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_batch(put("a.json", eval_ever(evaluation("good", 0.5, metric_name="acc"), result)))


def test_ids_of_programming_interfaces_are_taken_and_told(put: Put) -> None:
    batch = read_batch(put("a.json", eval_ever(evaluation("x", 0.5, metric_name="acc"), model="openai/azure/gpt-4o")))
    assert batch.notes == ["ids are not organisation/name: openai/azure/gpt-4o"]


# ---- OLMES, DataDecide


def olmes(
    name: str = "arc_challenge:rc::olmes", revision: str | None = "step1000-unsharded", **metrics: Any
) -> dict[str, Any]:
    core = name.partition(":")[0]
    return {
        "task_name": name,
        "task_hash": "0f",
        "model_hash": "1e",
        "model_config": {"model": "nutmeg-lab/nutmeg-3b", "revision": revision, "model_type": "hf"},
        "task_config": {"task_name": name, "task_core": core, "limit": None, "split": "test", "num_shots": 5, "primary_metric": "acc_uncond"},
        "num_instances": 1172,
        "metrics": metrics,
    }  # fmt: skip


def test_olmes_one_task_or_lines_of_them(put: Put) -> None:
    first = olmes(
        acc_raw=0.3,
        acc_uncond=0.35,
        bits_per_byte_corr=1.1,
        correct_prob=0.2,
        predicted_index_raw=1.2,
        primary_score=0.35,
    )
    second = olmes("arc_challenge:mc::olmes", acc_raw=0.25, primary_score=0.25)
    batch = read_batch(put("metrics-all.jsonl", f"{json.dumps(first)}\n{json.dumps(second)}\n"))
    identity = "nutmeg-lab/nutmeg-3b@step1000-unsharded"
    assert batch.kind == "olmes"
    assert {k[1:]: v for k, v in scores(batch).items()} == {
        ("arc_challenge", "5-shot", "acc_raw"): 0.3,
        ("arc_challenge", "5-shot", "acc_uncond"): 0.35,
        ("arc_challenge", "5-shot", "bits_per_byte"): 1.1,
        ("arc_challenge", "5-shot", "correct_prob"): 0.2,
        ("arc_challenge", "5-shot", "primary_score"): 0.35,
        ("arc_challenge:mc", "5-shot", "acc_raw"): 0.25,
        ("arc_challenge:mc", "5-shot", "primary_score"): 0.25,
    }
    assert batch.rows["checkpoints"] == {
        (identity,): {"model": "nutmeg-lab/nutmeg-3b", "revision": "step1000-unsharded", "step": 1000}
    }
    assert batch.notes == [f"left out: predicted_index_raw is not a score: {identity}, arc_challenge"]
    alone = read_batch(put("task-000-metrics.json", first))
    assert scores(alone).items() <= scores(batch).items()


def test_olmes_all_tasks_in_one_object(put: Put) -> None:
    task = olmes(acc_raw=0.3, primary_score=0.3)
    config = task.pop("model_config")
    whole = {"all_primary_scores": ["arc_challenge: 0.3"], "model_config": config, "tasks": [task]}
    assert len(scores(read_batch(put("metrics.json", whole)))) == 2


def test_a_part_of_a_benchmark_is_refused(put: Put) -> None:
    task = olmes(primary_score=0.3)
    task["task_config"]["limit"] = 100
    with pytest.raises(InputError, match="limit is 100"):
        read_batch(put("a.json", task))


def decide_row(
    size: str = "150M", data: str = "Falcon+CC (QC 10%)", seed: str = "default", step: int = 38157, **more: Any
) -> dict[str, Any]:
    metrics = {
        "primary_metric": 0.31,
        "acc_raw": 0.3,
        "bits_per_byte_corr": 1.2,
        "correct_prob": 0.18,
        "uncond_correct_prob": 0.1,
    }
    row = {"params": size, "data": data, "task": "arc_challenge", "step": step, "seed": seed, "chinchilla": "5xC"}
    return {**row, "tokens": 15_000_000_000, "compute": 1.4e19, "metrics": json.dumps(metrics), **more}  # fmt: skip


def test_datadecide(empty: Path, put: Put) -> None:
    rows = [decide_row(), decide_row(seed="small aux 2"), decide_row("1B", "C4", metrics="{'primary_metric': 0.4}")]
    batch = read_batch(put("train-00000-of-00004.parquet", rows))
    identity = "datadecide/falcon+cc-qc-10-150m@step38157-seed-small-aux-2"
    assert batch.kind == "datadecide"
    assert scores(batch)[identity, "arc_challenge", "5-shot", "bits_per_byte"] == 1.2
    assert scores(batch)["datadecide/c4-1b@step38157-seed-default", "arc_challenge", "5-shot", "primary_score"] == 0.4
    assert batch.rows["checkpoints"][(identity,)] == {
        "model": "datadecide/falcon+cc-qc-10-150m",
        "seed": "small aux 2",
        "step": 38157,
        "corpus": "Falcon+CC (QC 10%)",
        "total_params": 150_000_000,
        "training_tokens_billions": 15.0,
    }
    (done,) = import_files(empty, [put("train-00000-of-00004.parquet", rows)])
    assert done.n_new == 9  # scores; what is known of the checkpoints is not counted
    assert select(empty, "SELECT corpus, seed FROM checkpoints ORDER BY ALL")[0] == ("C4", "default")
    shown = CliRunner().invoke(main, ["store", "show", str(empty)])
    assert "3 of them are checkpoints without annotations" in shown.stdout
    with Store.from_existing(empty) as store:  # a checkpoint is no model that somebody forgot to annotate
        assert [f.check for f in check(store) if f.severity != "note"] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"metrics": "{'a': "}, "row 0: cannot be read: metrics"), ({"params": "small"}, "params 'small'"), ({"seed": None}, "seed is missing")],
)  # fmt: skip
def test_rows_of_datadecide_that_cannot_be_read(put: Put, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_batch(put("a.parquet", [decide_row(**change)]))


# ---- Open LLM Leaderboard


def board_row(model: str = "nutmeg-lab/nutmeg-3b", ifeval: float | None = 0.42, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "eval_name": "x",
        "Precision": "bfloat16",
        "Type": "💬 chat models (RLHF, DPO, IFT, ...)",
        "fullname": model,
    }
    row |= {"Model sha": "0a" * 20, "Average ⬆️": 20.1, "#Params (B)": 3.012, "Flagged": False, "IFEval Raw": ifeval}
    row |= {"IFEval": 42.0, "BBH Raw": 0.31, "BBH": 5.2, "MATH Lvl 5 Raw": 0.02, "GPQA Raw": 0.27, "MUSR Raw": 0.36}
    return {**row, "MMLU-PRO Raw": 0.12, **more}


def test_the_leaderboards_contents(empty: Path, put: Put) -> None:
    path = put("train.parquet", [board_row(), board_row("bad/one", Flagged=True), board_row("other/one", None)])
    batch = read_batch(path)
    assert batch.kind == "leaderboard"
    assert {k[1:]: v for k, v in scores(batch).items() if k[0] == "nutmeg-lab/nutmeg-3b"} == {
        ("leaderboard_ifeval", "0-shot", "primary_score"): 0.42,
        ("leaderboard_bbh", "3-shot", "acc_norm"): 0.31,
        ("leaderboard_math_hard", "4-shot", "accuracy"): 0.02,
        ("leaderboard_gpqa", "0-shot", "acc_norm"): 0.27,
        ("leaderboard_musr", "0-shot", "acc_norm"): 0.36,
        ("leaderboard_mmlu_pro", "5-shot", "accuracy"): 0.12,
    }
    assert batch.notes[0] == "left out: flagged by the leaderboard: bad/one"
    assert "without a value" in batch.notes[1]
    # A rounded size fills a gap, and is no conflict with an exact one.
    import_files(empty, [put("a.json", {"id": "nutmeg-lab/nutmeg-3b", "total_params": 3_012_345_678})])
    import_files(empty, [path])
    assert select(empty, "SELECT id, total_params, is_instruction_tuned FROM model_annotations ORDER BY id") == [
        ("nutmeg-lab/nutmeg-3b", 3_012_345_678, True),
        ("other/one", 3_012_000_000, True),
    ]


def test_two_evaluations_of_one_model_are_a_conflict_that_is_decided(empty: Path, put: Put) -> None:
    path = put("train.parquet", [board_row(ifeval=0.42), board_row(ifeval=0.40, Precision="float16")])
    with pytest.raises(ConflictError, match=r"0\.4, but the store has 0\.42"):
        import_files(empty, [path])
    for rule, value in (("keep", 0.42), ("replace", 0.40)):
        import_files(empty, [path], on_conflict=rule)  # type: ignore[arg-type]
        query = "SELECT metric_value FROM evaluation_results WHERE benchmark = 'leaderboard_ifeval'"
        assert select(empty, query) == [(value,)]


def test_a_leaderboard_in_percent_is_refused(put: Put) -> None:
    with pytest.raises(InputError, match="is the table in percent"):
        read_batch(put("a.parquet", [board_row(ifeval=42.0)]))


def harness(model: str, revision: str | None, **results: Any) -> dict[str, Any]:
    arguments = f"pretrained={model}" + (f",revision={revision}" if revision else "") + ",dtype=bfloat16"
    return {
        "results": results,
        "n-shot": dict.fromkeys(results, 3),
        "config": {"model_args": arguments},
        "model_name": model,
    }


def test_a_results_file_of_the_leaderboard_names_a_commit(put: Put) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    document = harness("nutmeg-lab/nutmeg-3b", commit, leaderboard_bbh_navigate={"acc_norm,none": 0.5})
    batch = read_batch(put("results_2024-07-01T00-00-00.json", document))
    assert list(scores(batch)) == [("nutmeg-lab/nutmeg-3b", "leaderboard_bbh_navigate", "3-shot", "acc_norm")]
    assert batch.rows["checkpoints"][("nutmeg-lab/nutmeg-3b",)]["revision"] == commit


def test_a_model_lacks_no_seed(empty: Path, put: Put) -> None:
    """What tells runs apart is not missing where there is one run."""
    import_files(empty, [put("a.json", {"id": "nutmeg-lab/nutmeg-3b", "total_params": 3_012_000_000})])
    with Store.from_existing(empty) as store:
        told = " ".join(w for f in check(store) for w in f.where)
    assert "dimension" in told
    assert not {"seed", "step", "corpus", "revision"} & set(re.findall(r"[a-z_]+", told))


# ---- PolyPythias


def pythia(put: Put, folder: str, model: str, revision: str, value: float = 0.3) -> Path:
    name = f"evals/{folder}/{revision}/{model.replace('/', '__')}/results_2024-07-08T04-40-57.json"
    return put(name, harness(model, revision, lambada_openai={"acc,none": value, "acc_stderr,none": 0.01}))


def test_polypythias_in_one_folder(empty: Path, put: Put, tmp_path: Path) -> None:
    pythia(put, "pythia-14m-seed3", "EleutherAI/pythia-14m-seed3", "step1000")
    pythia(put, "pythia-14m-seed3", "EleutherAI/pythia-14m-seed3", "step2000")
    pythia(put, "pythia-14m-seed0", "EleutherAI/pythia-14m", "step1000")
    put("evals/README.json", "[]")
    done = import_files(empty, [tmp_path / "evals"])
    assert [d.kind for d in done] == ["results"] * 3
    assert done[0].notes[0].startswith("1 files of folders are left out, because a store does not take them: ")
    assert select(empty, "SELECT id, model, revision, seed, step FROM checkpoints ORDER BY id") == [
        ("EleutherAI/pythia-14m-seed3@step1000", "EleutherAI/pythia-14m", "step1000", "3", 1000),
        ("EleutherAI/pythia-14m-seed3@step2000", "EleutherAI/pythia-14m", "step2000", "3", 2000),
        ("EleutherAI/pythia-14m@step1000", "EleutherAI/pythia-14m", "step1000", None, 1000),
    ]


def test_a_folder_and_a_file_that_name_different_models_are_refused(empty: Path, put: Put) -> None:
    path = pythia(put, "pythia-410m-seed8", "EleutherAI/pythia-410m", "step1000")
    with pytest.raises(
        InputError, match=r"is in the folder pythia-410m-seed8/step1000, but was made with 'EleutherAI/pythia-410m'"
    ):
        import_files(empty, [path])
    import_files(empty, [path], model_id="EleutherAI/pythia-410m-seed8@step1000")


@pytest.mark.parametrize(
    ("name", "revision", "identity", "facts"),
    [
        ("a/b", None, "a/b", {}),
        ("a/b", "main", "a/b", {}),
        ("a/b-seed3", "main", "a/b-seed3", {"model": "a/b", "seed": "3"}),
        ("a/b-data-seed1", "step0", "a/b-data-seed1@step0", {"model": "a/b-data", "seed": "1", "revision": "step0", "step": 0}),
        ("a/b", "0abcdef", "a/b", {"model": "a/b", "revision": "0abcdef"}),
        ("a/b", "stage1-step9000-tokens38B", "a/b@stage1-step9000-tokens38B", {"model": "a/b", "revision": "stage1-step9000-tokens38B", "step": 9000}),
        ("a/b", "step69369-seed-default", "a/b@step69369-seed-default", {"model": "a/b", "revision": "step69369-seed-default", "step": 69369, "seed": "default"}),
        ("a/b", "v1.1", "a/b@v1.1", {"model": "a/b", "revision": "v1.1"}),
    ],
)  # fmt: skip
def test_a_checkpoint_is_told_by_name_and_revision(name: str, revision: str | None, identity: str, facts: Any) -> None:
    assert checkpoint_of(name, revision) == (identity, facts)


def test_folders_of_other_projects_name_no_model() -> None:
    assert another_model(Path("/data/a__b-seed1/results.json"), "c/d", None) == ""


@given(st.integers(1, 999), st.sampled_from("KMBT"))
def test_sizes_in_words(number: int, unit: str) -> None:
    assert size_in_words(f"{number}{unit}") == number * 1000 ** (1 + "KMBT".index(unit))
    assert size_in_words(f"{number}{unit}X") is None


# ---- tables of scores


def test_wide_tables_have_a_column_a_score(empty: Path, put: Put) -> None:
    text = "id,seed,corpus,total_params,hellaswag_10-shot_accuracy,hellaswag_10-shot_accuracy_stderr,pile_0-shot_bits_per_byte\n"
    path = put("wide.csv", f"{text}lab/mix-a,1,a,150000000,0.31,0.01,1.1\nlab/mix-a,2,a,150000000,0.32,,\n")
    batch = read_batch(path)
    assert batch.kind == "wide scores"
    assert scores(batch) == {
        ("lab/mix-a@seed-1", "hellaswag", "10-shot", "accuracy"): 0.31,
        ("lab/mix-a@seed-1", "pile", "0-shot", "bits_per_byte"): 1.1,
        ("lab/mix-a@seed-2", "hellaswag", "10-shot", "accuracy"): 0.32,
    }
    assert batch.rows["checkpoints"][("lab/mix-a@seed-2",)] == {
        "model": "lab/mix-a",
        "seed": "2",
        "corpus": "a",
        "total_params": 150_000_000,
    }
    assert "without a value" in batch.notes[0]
    import_files(empty, [path])
    with Store.from_existing(empty) as store:  # what the store writes wide, it reads wide
        wide = store.wide()
    columns = [c for c in wide.columns if c == "id" or "shot" in c]
    again = put("again.csv", wide[columns].to_csv(index=False))
    assert scores(read_batch(again)) == scores(batch)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,hellaswag_10-shot_accuracy\na/b,51.2\nc/d,0.4\n", "percent must be divided by 100"),
        ("id,hellaswag_10-shot_accuracy,colour\na/b,0.5,1\n", "column 'colour': beside scores there are only id"),
        ("id,hellaswag_10-shot_accuracy\na/b,much\n", "must be a number, not 'much'"),
        ("id,hellaswag,mmlu\na/b,0.5,0.4\n", "column 'hellaswag' has the name of a benchmark"),
        ("id,step,hellaswag_10-shot_accuracy\na/b,late,0.5\n", "field 'step': must be a whole number"),
        ("name,x\na,1\n", "must have a column 'id'"),
    ],
)
def test_wide_tables_that_are_refused(put: Put, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_batch(put("wide.csv", text))


def test_a_wide_table_may_have_two_values_of_one_score(empty: Path, put: Put) -> None:
    path = put("wide.csv", "id,x_5-shot_accuracy\na/b,0.5\na/b,0.6\n")
    with pytest.raises(ConflictError, match=r"0\.6, but the store has 0\.5"):
        import_files(empty, [path])


def test_long_tables_know_checkpoints_and_may_be_parquet(put: Put) -> None:
    rows = [
        {"id": "lab/a", "benchmark": "x", "setting": "5-shot", "metric": "accuracy", "metric_value": 0.5 + step / 100, "step": step}
        for step in (1, 2)
    ]  # fmt: skip
    batch = read_batch(put("long.parquet", rows))
    assert {k[0]: v for k, v in scores(batch).items()} == {"lab/a@step1": 0.51, "lab/a@step2": 0.52}


def test_features_may_be_parquet_and_call_the_id_model_id(put: Put) -> None:
    batch = read_batch(put("f.parquet", [{"model_id": "a/b", "novelty": 0.5, "empty": None}]))
    assert (batch.kind, batch.rows["features"]) == ("features", {("a/b", "novelty"): {"value": 0.5}})


def test_a_parquet_table_of_features_is_held_to_the_same(put: Put, empty: Path) -> None:
    path = put("f.parquet", [{"id": "a/b", "ttr_mean": 7.0}])
    done = CliRunner().invoke(main, ["store", "import", str(empty), str(path)])
    assert (done.exit_code, "out_of_range" in done.stderr) == (2, True)


def test_checkpoints_survive_an_export_to_a_directory(put: Put, empty: Path, tmp_path: Path) -> None:
    import_files(empty, [put("a.parquet", [decide_row(), decide_row(seed="small aux 2")])])
    for source, target in (
        (empty, "folder"),
        (tmp_path / "folder", "again.duckdb"),
        (tmp_path / "again.duckdb", "twice"),
    ):
        done = CliRunner().invoke(main, ["store", "export", str(source), str(tmp_path / target)])
        assert done.exit_code == 0, done.output
    for name in ("checkpoints.csv", "evaluation_results.csv", "schema_version.csv"):
        assert (tmp_path / "folder" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert select(tmp_path / "twice", "SELECT * FROM checkpoints ORDER BY id") == select(
        empty, "SELECT * FROM checkpoints ORDER BY id"
    )


def test_datadecides_table_is_decided_as_it_is(put: Put, tmp_path: Path) -> None:
    rows = []
    for c, corpus in enumerate(("C4", "Falcon", "Dolma1.7", "FineWeb-Edu")):
        for size, step in (("20M", 14584), ("150M", 37500), ("1B", 67500)):
            for seed in ("default", "large aux 2"):
                metrics = {
                    "primary_metric": 0.3 + 0.01 * c,
                    "correct_prob": 0.1 + 0.01 * c,
                    "bits_per_byte_corr": 1.2 - 0.01 * c,
                }
                rows.append(decide_row(size, corpus, seed, step, metrics=json.dumps(metrics)))
    import_files(tmp_path / "s.duckdb", [put("train.parquet", rows)], create=True)
    options = ("--decide", "--target-size", "1B", "--task", "arc_challenge:5", "-o", str(tmp_path / "d.json"))
    done = CliRunner().invoke(main, ["predict", "--db", str(tmp_path / "s.duckdb"), *options])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "d.json").read_text())["tasks"][0]
    assert told["metric"] == "primary_score"
    assert [r["corpus"] for r in told["ranking"]] == ["FineWeb-Edu", "Dolma1.7", "Falcon", "C4"]
    assert {w["metric"] for w in told["ways"]} == {"primary_score", "correct_prob", "bits_per_byte"}
    assert all(w["right"]["value"] == 1 and w["right"]["low"] is None for w in told["ways"])


# ---- the command


def test_what_is_not_understood_is_told_what_is(put: Put, empty: Path) -> None:
    path = put("x.json", {"nothing": 1})
    assert kind_of(path) is None
    with pytest.raises(
        InputError, match=r"is not a file that a store takes. It takes:\n  results .*\n  every-eval-ever"
    ):
        import_files(empty, [path])


def test_many_files_of_many_models_are_one_import_or_none(put: Put, empty: Path) -> None:
    files = [
        put(f"{i}.json", eval_ever(evaluation("x", 0.5 + i / 100, metric_name="acc"), model=f"lab/m{i}"))
        for i in range(5)
    ]
    with pytest.raises(InputError, match="finite number"):
        import_files(empty, [*files, put("bad.json", eval_ever(evaluation("x", "?", metric_name="acc")))])
    assert select(empty, "SELECT count(*) FROM evaluation_results") == [(0,)]
    import_files(empty, [*files, put("t.parquet", [decide_row()])])
    assert select(empty, "SELECT count(DISTINCT id) FROM evaluation_results") == [(6,)]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_dry_run_previews_and_writes_nothing(put: Put, tmp_path: Path, is_there: bool) -> None:
    store = tmp_path / "s.duckdb"
    if is_there:
        create(store)
    before = store.read_bytes() if is_there else None
    path = put("a.json", olmes(acc_raw=0.3, primary_score=0.3))
    done = CliRunner().invoke(main, ["store", "import", str(store), str(path), "--dry-run", "--create"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("dry run: nothing is written\n")
    for part in (
        "(olmes): ",
        "metrics: acc_raw, primary_score",
        "settings: 5-shot",
        "arc_challenge 5-shot acc_raw: metric_value 0.3",
    ):
        assert part in done.stdout
    assert (store.read_bytes() if store.exists() else None) == before


def test_a_newer_store_is_refused(empty: Path, put: Put) -> None:
    import duckdb

    import_files(empty, [put("a.json", olmes(primary_score=0.3))])
    assert select(empty, "SELECT version FROM schema_version") == [(2,)]
    with duckdb.connect(str(empty)) as con:
        con.execute("UPDATE schema_version SET version = 3")
    with pytest.raises(InputError, match="schema version 3"):
        Store.from_existing(empty)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_store_that_is_not_there_is_started_by_create_only(put: Put, tmp_path: Path, dry: tuple[str, ...]) -> None:
    path = put("a.json", olmes(acc_raw=0.3, primary_score=0.3))
    done = CliRunner().invoke(main, ["store", "import", str(tmp_path / "s.duckdb"), str(path), *dry])
    assert done.exit_code == 2
    assert "no store at" in done.stderr
    assert "--create starts an empty one" in done.stderr

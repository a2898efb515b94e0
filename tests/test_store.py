"""The store: opening changes nothing, what is imported is checked and whole, conflicts are told, and `check` finds all."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from profiles import one_by_default

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, ConflictError, IncompleteError, InputError, OutputError, TagcorpusError
from tagcorpus.pipelines import store as commands
from tagcorpus.pipelines.feature_table import check as check_features
from tagcorpus.predictor.importers.collected import is_equal
from tagcorpus.predictor.records.annotations import properties, read_annotations
from tagcorpus.predictor.records.harness_results import Score, read_results
from tagcorpus.predictor.records.tasks import normalised
from tagcorpus.predictor.store.check import check, conflicts
from tagcorpus.predictor.store.files import create, open_existing, write
from tagcorpus.predictor.store.load import import_files
from tagcorpus.predictor.store.store import NORMALISED_SQL, Store

pd = pytest.importorskip("pandas")
duckdb = pytest.importorskip("duckdb")

ROOT = Path(__file__).resolve().parents[1]
DATABASE = ROOT / "examples" / "database"
NUTMEG = {
    "id": "nutmeg-lab/nutmeg-3b",
    "total_params": 3_012_000_000,
    "pretraining_summary_total_tokens_billions": 900.0,
}


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "store.duckdb"
    create(path)
    return path


@pytest.fixture
def empty(new: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(new, tmp_path))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "full.duckdb"
    with Store.from_existing(DATABASE) as store:
        write(store.con, path)
    return path


@pytest.fixture
def full(template: Path, tmp_path: Path) -> Path:
    """The example as a .duckdb file."""
    return Path(shutil.copy(template, tmp_path))


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, Any], Path]:
    """A file with this text, or with this as JSON."""

    def write_file(name: str, contents: Any) -> Path:
        text = contents if isinstance(contents, str) else json.dumps(contents)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write_file


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with Store.from_existing(path) as store:
        found: list[tuple[Any, ...]] = store.con.execute(sql).fetchall()
        return found


def digests(path: Path) -> dict[str, str]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.from_existing(path) as store:
        return {t: store.con.execute(f'SELECT * FROM "{t}" ORDER BY ALL').fetchall() for t in store.tables}


def results(**tasks: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": NUTMEG["id"], "results": tasks, "n-shot": dict.fromkeys(tasks, 5)}


# ---- opening


def test_opening_changes_nothing(full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(DATABASE, folder)
    for path in (full, folder):
        before = digests(path)
        with Store.from_existing(path) as store:
            assert store.con.execute("SELECT count(*) FROM model_annotations").fetchone() == (49,)
            assert len(store.models()) == 49
            check(store)
        assert digests(path) == before
    with Store.from_existing(full) as store, pytest.raises(duckdb.Error, match="read-only"):
        store.con.execute("DELETE FROM model_annotations")


def test_foreign_paths_of_load_sql_are_read_from_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    shutil.copytree(DATABASE, folder)
    load = (folder / "load.sql").read_text()
    (folder / "load.sql").write_text(load.replace("FROM '", "FROM '/elsewhere/on a cluster/x.duckdb/"))
    assert rows(folder, "SELECT count(*) FROM evaluation_results") == [(1176,)]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("load.sql", "COPY model_annotations TO 'out.csv';", "only COPY ... FROM is run"),
        ("load.sql", "DROP TABLE model_annotations;", "only COPY ... FROM is run"),
        ("load.sql", "COPY model_annotations FROM '/a/b/none.csv' (FORMAT csv);", "names 'none.csv', which is not in"),
        ("schema.sql", "ATTACH 'x.duckdb';", "only CREATE is run"),
        ("schema.sql", "CREATE PERSISTENT SECRET s (TYPE s3);", "only CREATE is run"),
        ("schema.sql", "CREATE TABLE t(a INTEGER);", "cannot be read as a store"),
        ("schema.sql", "CREATE TABLE t(", "cannot be read as a store"),
    ],
)
def test_export_directories_that_are_none(tmp_path: Path, file: str, text: str, told: str) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(DATABASE, folder)
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=re.escape(told)):
        Store.from_existing(folder)
    assert not (tmp_path / "out.csv").exists()


def test_places_that_hold_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store at"):
        Store.from_existing(tmp_path / "none.duckdb")
    with pytest.raises(InputError, match=r"has no schema\.sql"):
        Store.from_existing(tmp_path)
    (tmp_path / "a.duckdb").write_text("no database" * 1000)
    with pytest.raises(InputError, match="cannot be read as a store"):
        Store.from_existing(tmp_path / "a.duckdb")
    with duckdb.connect(str(tmp_path / "b.duckdb")) as con:
        con.execute("CREATE TABLE model_annotations(id VARCHAR, size BIGINT)")
    with pytest.raises(InputError, match="its table 'model_annotations' has no column 'total_params'"):
        Store.from_existing(tmp_path / "b.duckdb")
    with pytest.raises(IncompleteError, match="another process") as error, Locked(tmp_path / "c.duckdb"):
        Store.from_existing(tmp_path / "c.duckdb")
    assert error.value.exit_code == 4


class Locked:
    """A store that another process writes to."""

    def __init__(self, path: Path) -> None:
        create(path)
        code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "open\n"

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


# ---- data frames


def test_tidy_and_wide_say_the_same() -> None:
    with Store.from_existing(DATABASE) as store:
        tidy, wide = store.tidy(), store.wide()
        assert list(tidy) == ["id", "benchmark", "setting", "metric", "metric_value", "metric_stderr"]
        assert len(tidy) == 1176
        assert len(wide) == 49
        assert list(wide["id"]) == sorted(wide["id"]) == store.models()
        one = tidy.iloc[700]
        column = f"{one.benchmark}_{one.setting}_{one.metric}"
        assert wide.set_index("id").loc[one.id, column] == one.metric_value
        assert set(store.tidy("brier_score")["metric"]) == {"brier_score"}
        assert len(store.tidy(["brier_score", "accuracy"])) == 1176
        annotated = store.tidy("accuracy", annotated=True)
        assert {"total_params", "pretraining_summary_percentage_code"} <= set(annotated)
        assert len(annotated) == len(store.tidy("accuracy"))
        assert store.features().empty
        assert len(store.annotations()) == 49


def test_wide_keeps_models_without_annotations_or_scores(empty: Path, put: Callable[[str, Any], Path]) -> None:
    import_files(empty, [put("a.json", NUTMEG), put("r.json", {**results(arc={"acc,none": 0.5}), "model_name": "b/c"})])
    with Store.from_existing(empty) as store:
        wide = store.wide().set_index("id")
    assert list(wide.index) == ["b/c", "nutmeg-lab/nutmeg-3b"]
    assert wide.loc["b/c", "arc_5-shot_accuracy"] == 0.5
    assert pd.isna(wide.loc["b/c", "total_params"])
    assert pd.isna(wide.loc[NUTMEG["id"], "arc_5-shot_accuracy"])


def test_features_come_back_as_they_were(full: Path) -> None:
    import_files(full, [DATABASE / "features.csv"])
    with Store.from_existing(full) as store:
        pd.testing.assert_frame_equal(
            store.features(), pd.read_csv(DATABASE / "features.csv"), check_dtype=False, check_index_type=False
        )


# ---- results files


def test_results_of_the_harness(put: Callable[[str, Any], Path]) -> None:
    document = {
        "model_name": "a/b",
        "results": {
            "gsm8k": {
                "alias": "gsm8k",
                "exact_match,strict-match": 0.25,
                "exact_match_stderr,strict-match": 0.01,
                "exact_match,flexible-extract": 0.5,
                "exact_match_stderr,flexible-extract": "N/A",
            },
            "humaneval": {"pass@1,create_test": 0.125, "sample_len": 164},
            "mmlu": {"acc,none": 0.3},
            "arc_challenge": {"acc,none": 0.5, "acc_norm,none": 0.6, "acc_norm_stderr,none": 0.02},
        },
        "group_subtasks": {"mmlu": ["mmlu_anatomy"], "gsm8k": []},
        "n-shot": {"gsm8k": 5, "humaneval": 0},
        "configs": {"arc_challenge": {"num_fewshot": 25}},
    }
    scores, notes = read_results(put("r.json", document))
    assert scores == [
        Score("a/b", "gsm8k", "5-shot", "accuracy", 0.25, 0.01),
        Score("a/b", "gsm8k", "5-shot", "exact_match,flexible-extract", 0.5, None),
        Score("a/b", "humaneval", "0-shot", "accuracy", 0.125, None),
        Score("a/b", "arc_challenge", "25-shot", "accuracy", 0.5, None),
        Score("a/b", "arc_challenge", "25-shot", "acc_norm", 0.6, 0.02),
    ]
    assert notes == ["mmlu: left out, a group of other tasks"]


@pytest.mark.parametrize(
    "document",
    [
        {"results": {"harness|arc:challenge|25": {"acc": 0.5}, "all": {"acc": 0.5}}, "config_general": {"model_name": "a/b"}},
        {"results": {"arc:challenge": {"acc": 0.5}}, "config": {"num_fewshot": 25, "model_args": "pretrained=a/b,dtype=auto"}},
        {"model_name": "a/b", "results": {"harness": {"arc_challenge": {"25-shot": {"acc": 0.5, "timestamp": "2024"}}}}},
        {"results": {"arc_challenge": {"acc,none": 0.5}}, "n-shot": {"arc_challenge": 25}, "config": {"model_args": {"pretrained": "a/b", "revision": "main"}}},
    ],
)  # fmt: skip
def test_older_results_files(put: Callable[[str, Any], Path], document: dict[str, Any]) -> None:
    assert read_results(put("r.json", document))[0] == [Score("a/b", "arc_challenge", "25-shot", "accuracy", 0.5, None)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"model_name": "/home/me/model"},
            "field 'model_name': must be organisation/name or another relative path, not '/home/me/model'",
        ),
        ({"model_name": None}, "--model-id"),
        ({"config": {"model_args": "pretrained=a/b,revision=step1000,peft=c/d"}}, "peft=c/d is another model"),
        ({"config": {"limit": 100}}, "field 'config.limit': must be null"),
        ({"n-shot": {}}, "task 'arc', field 'n-shot'"),
        ({"results": {"arc": {"acc,none": "0.5"}}}, "task 'arc', field 'acc,none': must be a number, not '0.5'"),
        ({"results": {"arc": {"acc,none": 0.5, "exact_match,none": 0.6}}}, "more than once, with different values"),
        ({"results": {"arc": {"acc,none": 10**400}}}, "field 'acc,none': must be a finite number or NaN, not 1000"),
        ({"results": {"arc": {"acc,none": float("inf")}}}, "must be a finite number or NaN, not inf"),
        ({"model_name": None, "config": {"model_args": 3}}, "--model-id"),
        ({"model_name": None, "config": [], "configs": [], "groups": 1, "config_general": 2}, "--model-id"),
        ({"results": {"arc": [1]}}, "task 'arc': must be an object"),
        ({"results": {}}, "has no score"),
    ],
)
def test_results_that_cannot_be_taken(put: Callable[[str, Any], Path], change: dict[str, Any], told: str) -> None:
    path = put("r.json", {**results(arc={"acc,none": 0.5}), **change})
    with pytest.raises(InputError, match=re.escape(told)) as error:
        read_results(path)
    assert "r.json" in str(error.value)


def test_a_results_file_of_a_local_path_takes_an_id(empty: Path, put: Callable[[str, Any], Path]) -> None:
    path = put("r.json", {**results(arc={"acc,none": 0.5}), "model_name": "/home/me/model"})
    import_files(empty, [path], model_id="a/b")
    assert rows(empty, "SELECT id, metric_value FROM evaluation_results") == [("a/b", 0.5)]


# ---- annotations


def test_annotations_as_json_and_as_csv_are_the_same(put: Callable[[str, Any], Path]) -> None:
    one = {
        **NUTMEG,
        "weight_tying": False,
        "positional_embeddings": "rope",
        "mlp_ratio": 4,
        "num_heads": None,
        "metadata": {"a": 1},
    }
    nested = {
        "id": one["id"],
        "safetensors:total": 3_012_000_000.0,
        "pretraining_summary": {"total_tokens_billions": 900},
    }
    nested |= {"weight_tying": False, "positional_embeddings": "rope", "mlp_ratio": 4.0, "metadata": {"a": 1}}
    header = "id,total_params,pretraining_summary:total_tokens_billions,weight_tying,positional_embeddings,mlp_ratio,num_heads,metadata"
    table = f'\ufeff{header}\nnutmeg-lab/nutmeg-3b,3012000000.0,9e2,FALSE,rope,4,,"{{""a"": 1}}"\n'
    found = [
        read_annotations(put("a.json", one)),
        read_annotations(put("b.json", [nested])),
        read_annotations(put("c.csv", table)),
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0].of("dataset_info") == {
        "pretraining_summary_total_tokens_billions": 900.0,
        "metadata": '{"a": 1}',
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"total_params": 1}, "field 'id': must be given"),
        ({"id": "a b/c"}, "field 'id': must be organisation/name, not 'a b/c'"),
        ({"id": "a/b", "totl_params": 1}, "field 'totl_params': no such field: did you mean 'total_params'?"),
        ({"id": "a/b", "num_heads": 0}, "id 'a/b', field 'num_heads': must be a whole number of at least 1, not 0"),
        ({"id": "a/b", "num_heads": 1.5}, "must be a whole number"),
        ({"id": "a/b", "num_heads": True}, "must be a whole number"),
        ({"id": "a/b", "mlp_ratio": -1}, "must be a number above 0 (what is not known is left out), not -1"),
        ({"id": "a/b", "mlp_ratio": float("nan")}, "must be a number above 0"),
        ({"id": "a/b", "pretraining_summary_percentage_code": 120}, "at least 0 and at most 100, not 120"),
        ({"id": "a/b", "weight_tying": "no"}, "must be true or false"),
        ({"id": "a/b", "activation": "Swi GLU"}, "must be one word in lower case"),
        ({"id": "a/b", "safetensors:total": 1000, "total_params": 2000}, "given twice, under two spellings"),
        ([{"id": "a/b", "num_heads": 1}, {"id": "a/b", "num_heads": 2}], "'a/b' is there more than once"),
        ([{"id": "a/b"}, {"id": "c/d", "num_heads": "x"}], "item 1: id 'c/d', field 'num_heads'"),
        ([3], "item 0 is int"),
    ],
)  # fmt: skip
def test_annotations_that_are_wrong(put: Callable[[str, Any], Path], given: Any, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as error:
        read_annotations(put("a.json", given))
    assert "a.json" in str(error.value)


def test_every_problem_of_a_file_is_told(put: Callable[[str, Any], Path]) -> None:
    table = "id,num_heads,weight_tying\n" + "".join(f"a/b{i},x,maybe\n" for i in range(15))
    with pytest.raises(InputError, match="30 problems") as error:
        read_annotations(put("a.csv", table))
    assert "line 2: id 'a/b0', field 'weight_tying': must be true or false, not 'maybe'" in str(error.value)
    assert "and 10 more" in str(error.value)


def test_a_new_word_is_taken_with_a_note(empty: Path, put: Callable[[str, Any], Path]) -> None:
    (done,) = import_files(empty, [put("a.json", {"id": "a/b", "activation": "swigluu"})])
    assert "is it 'swiglu'?" in done.notes[0]
    assert rows(empty, "SELECT activation FROM model_annotations") == [("swigluu",)]


def test_the_schema_has_every_column_of_the_store(empty: Path) -> None:
    with Store.from_existing(empty) as store:
        for table in ("model_annotations", "dataset_info"):
            in_schema = {n for n, rule in properties().items() if rule["table"] in (table, "both")}
            assert in_schema == set(store.tables[table])


# ---- importing


def test_an_import_adds_fills_in_and_is_recorded(empty: Path, put: Callable[[str, Any], Path]) -> None:
    first = put("a.json", NUTMEG)
    (done,) = import_files(empty, [first])
    assert (done.n_new, done.n_filled, done.n_same) == (2, 0, 0)
    (done,) = import_files(empty, [put("b.json", {**NUTMEG, "num_heads": 20})])
    assert (done.n_new, done.n_filled, done.n_same) == (0, 1, 2)
    (done,) = import_files(empty, [first])
    assert (done.n_new, done.n_filled, done.n_same) == (0, 0, 2)
    assert rows(empty, "SELECT num_heads, total_params FROM model_annotations") == [(20, 3_012_000_000)]
    found = rows(
        empty, "SELECT file, digest, kind, n_new, n_filled, n_same, time IS NOT NULL FROM imports ORDER BY time"
    )
    assert [f[2:] for f in found] == [
        ("annotations", 2, 0, 0, True),
        ("annotations", 0, 1, 2, True),
        ("annotations", 0, 0, 2, True),
    ]
    assert found[0][:2] == (str(first), "sha256:" + hashlib.sha256(first.read_bytes()).hexdigest())


def test_a_conflict_is_refused_unless_told_which_wins(full: Path, put: Callable[[str, Any], Path]) -> None:
    before = contents(full)
    sound = put("sound.json", NUTMEG)
    other = put("other.json", {"id": "elm-lab/elm-7b", "activation": "gelu", "sequence_length": 4096})
    with pytest.raises(
        ConflictError, match=r"other\.json: elm-lab/elm-7b, activation: 'gelu', but the store has 'swiglu'"
    ):
        import_files(full, [sound, other])
    assert contents(full) == before  # the sound file is not in, either
    _, done = import_files(full, [sound, other], on_conflict="keep")
    assert (done.n_kept, done.n_same, done.conflicts[0].given) == (1, 1, "gelu")
    assert rows(full, "SELECT activation FROM model_annotations WHERE id = 'elm-lab/elm-7b'") == [("swiglu",)]
    _, done = import_files(full, [sound, other], on_conflict="replace")
    assert done.n_replaced == 1
    after = contents(full)
    assert after["evaluation_results"] == before["evaluation_results"]
    old, new = ({r[0]: r[1:] for r in c["model_annotations"]}["elm-lab/elm-7b"] for c in (before, after))
    assert [(a, b) for a, b in zip(old, new, strict=True) if a != b] == [("swiglu", "gelu")]


def test_a_benchmark_is_known_by_its_other_name(empty: Path, put: Callable[[str, Any], Path]) -> None:
    old = put(
        "old.csv",
        "id,benchmark,setting,metric,metric_value\nnutmeg-lab/nutmeg-3b,hendrycksTest-anatomy,5-shot,accuracy,0.5\n",
    )
    with duckdb.connect(str(empty)) as con:
        con.execute(
            "INSERT INTO evaluation_results VALUES (?, 'hendrycksTest-anatomy', '5-shot', 'accuracy', 0.5, NULL)",
            [NUTMEG["id"]],
        )
    new = put("new.json", results(mmlu_anatomy={"acc,none": 0.6, "acc_stderr,none": 0.01}))
    with pytest.raises(ConflictError, match=r"hendrycksTest-anatomy 5-shot accuracy, metric_value: 0\.6"):
        import_files(empty, [new])
    (done,) = import_files(empty, [old])
    assert (done.n_same, done.n_new) == (1, 0)
    import_files(empty, [new], on_conflict="replace")
    assert rows(empty, "SELECT benchmark, metric_value, metric_stderr FROM evaluation_results") == [
        ("hendrycksTest-anatomy", 0.6, 0.01)
    ]


def test_a_standard_error_goes_with_its_score(empty: Path, put: Callable[[str, Any], Path]) -> None:
    with_error = put("a.json", results(x={"acc,none": 0.5, "acc_stderr,none": 0.01}, y={"acc,none": 0.5}))
    without = put("b.json", results(x={"acc,none": 0.6}, y={"acc,none": 0.6, "acc_stderr,none": 0.02}))
    import_files(empty, [with_error])
    import_files(empty, [without], on_conflict="keep")
    sql = "SELECT benchmark, metric_value, metric_stderr FROM evaluation_results ORDER BY benchmark"
    assert rows(empty, sql) == [("x", 0.5, 0.01), ("y", 0.5, None)]
    import_files(empty, [without], on_conflict="replace")
    assert rows(empty, sql) == [("x", 0.6, None), ("y", 0.6, 0.02)]


def test_a_store_that_is_open_here_is_not_written_to(full: Path, put: Callable[[str, Any], Path]) -> None:
    with Store.from_existing(full), pytest.raises(ConfigError, match="is open in this process"):
        import_files(full, [put("a.json", NUTMEG)])


def test_digits_that_a_csv_lost_are_no_conflict() -> None:
    assert is_equal(0.0006291946308724, 0.00062919463087248323)
    assert is_equal(float("nan"), float("nan"))
    assert is_equal(900, 900.0)
    assert not is_equal(0.5, 0.5001)
    assert not is_equal(float("nan"), 0.5)
    assert not is_equal(None, 0.0)


def test_two_files_of_one_import_that_disagree(empty: Path, put: Callable[[str, Any], Path]) -> None:
    files = [put("a.json", results(arc={"acc,none": 0.5})), put("b.json", results(arc={"acc,none": 0.6}))]
    with pytest.raises(ConflictError, match=r"b\.json: .* 0.6, but the store has 0.5"):
        import_files(empty, files)
    assert rows(empty, "SELECT * FROM evaluation_results") == []


def test_nan_and_zero_are_kept_and_told(empty: Path, put: Callable[[str, Any], Path]) -> None:
    text = json.dumps(results(a={"acc,none": float("nan")}, b={"acc,none": 0.0}))
    (done,) = import_files(empty, [put("r.json", text)])
    assert [n[:16] for n in done.notes] == ["1 scores are NaN", "1 scores are exa"]
    assert rows(empty, "SELECT count(*) FROM evaluation_results WHERE isnan(metric_value) OR metric_value = 0") == [
        (2,)
    ]
    assert import_files(empty, [put("r.json", text)])[0].n_same == 2


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "name,x\na,1\n", "must have a column 'id'"),
        ("a.csv", "id,x,x\na/b,1,2\n", "has 'x' more than once"),
        ("a.csv", "id,x\na/b,1,2\n", "line 2 has 3 cells, but the header has 2"),
        ("a.csv", "id,x\na/b,one\n", "line 2: id 'a/b', field 'x': must be a number, not 'one'"),
        ("a.csv", "id,x\na/b,1\na/b,2\n", "line 3: field 'id': 'a/b' must be there once"),
        ("a.csv", "id,benchmark,setting,metric,metric_value\na/b,x,five,accuracy,1\n", "line 2: field 'setting'"),
        ("a.csv", "id,benchmark,setting,metric,metric_value\na/b,x,5-shot,accuracy,much\n", "field 'metric_value'"),
        ("a.csv", "id,benchmark,setting,metric,metric_value\na/b,x,5-shot,accuracy,-inf\n", "finite number or nan, not '-inf'"),
        ("a.csv", "id,benchmark,setting,metric,metric_value\na/b,x,5-shot,accuracy,1_0\n", "finite number or nan, not '1_0'"),
        ("a.csv", "id,benchmark,setting,metric,metric_value\na/b,x,5-shot,accuracy,\n", "must not be empty"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"id": "a/b", "x": 1}', "no such field"),
    ],
)  # fmt: skip
def test_files_that_a_store_does_not_take(
    full: Path, put: Callable[[str, Any], Path], name: str, text: str, told: str
) -> None:
    before = digests(full)
    with pytest.raises(InputError, match=re.escape(told)):
        import_files(full, [put("sound.json", NUTMEG), put(name, text)])
    assert digests(full) == before


def test_a_table_without_a_primary_key_is_not_imported_into(tmp_path: Path, put: Callable[[str, Any], Path]) -> None:
    with Store.from_existing(DATABASE) as store, duckdb.connect(str(tmp_path / "s.duckdb")) as con:
        for table in store.tables:
            con.register("copied", store.con.execute(f"SELECT * FROM {table}").df())
            con.execute(f"CREATE TABLE {table} AS SELECT * FROM copied")
    before = digests(tmp_path / "s.duckdb")
    with pytest.raises(InputError, match=r"'model_annotations' has no primary key \(id\).*--create"):
        import_files(tmp_path / "s.duckdb", [put("a.json", NUTMEG)])
    assert digests(tmp_path / "s.duckdb") == before


@pytest.mark.parametrize("name", ["new.duckdb", "new"])
def test_a_place_that_cannot_be_written_to_is_told(template: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        commands.export(str(template), str(tmp_path / "file" / name))


def test_a_disk_that_ends_is_told_and_nothing_is_left(template: Path, tmp_path: Path) -> None:
    # A file can be no larger here than this limit, about which DuckDB complains as about a full disk.
    code = (
        "import resource, signal, sys; from tagcorpus.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "store", "export", str(template), str(tmp_path / "new.duckdb")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_only_a_file_that_is_there_is_written_to(tmp_path: Path, put: Callable[[str, Any], Path]) -> None:
    file = put("a.json", NUTMEG)
    with pytest.raises(InputError, match=r"export directory, .*tagcorpus store export"):
        import_files(DATABASE, [file])
    with pytest.raises(InputError, match="--create"):
        import_files(tmp_path / "new.duckdb", [file])
    import_files(tmp_path / "new.duckdb", [file], create=True)
    assert rows(tmp_path / "new.duckdb", "SELECT id FROM dataset_info") == [(NUTMEG["id"],)]


def test_a_feature_table_with_errors_is_not_imported(full: Path, put: Callable[[str, Any], Path]) -> None:
    with pytest.raises(InputError, match=r"not imported as a feature table.*check-features has more"):
        commands.import_(str(full), [str(put("f.csv", "id,ttr_mean\na/b,7\n"))], "refuse", None, False, False)
    assert "features" not in contents(full)


KILLED = """
import os, signal, sys
from tagcorpus.predictor.store.files import open_for_writing
from tagcorpus.predictor.store.batch import read_batch
from tagcorpus.predictor.store.load import write_batches
con = open_for_writing(__import__("pathlib").Path(sys.argv[1]))
con.execute("BEGIN")
write_batches(con, [read_batch(f) for f in sys.argv[3:]], "refuse")
if sys.argv[2] == "after":
    con.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", one_by_default("before", "after"))
def test_a_killed_import_leaves_the_store_whole(full: Path, put: Callable[[str, Any], Path], when: str) -> None:
    before = contents(full)
    files = [str(put("a.json", NUTMEG)), str(DATABASE / "features.csv")]
    done = subprocess.run([sys.executable, "-c", KILLED, str(full), when, *files], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = digests(full.parent)
    after = contents(full)
    assert digests(full.parent) == left  # a log that the killed process left is read, not replayed into the file
    if when == "before":
        assert after == before
    else:
        assert len(after["model_annotations"]) == 50
        assert len(after["imports"]) == 2
    import_files(full, files)  # and the same again goes through
    again = contents(full)
    assert (
        len(again["features"])
        == sum(1 for row in csv.reader((DATABASE / "features.csv").open()) for c in row[1:] if c) - 61
    )
    assert len(again["imports"]) == (2 if when == "before" else 4)


# ---- exporting


def test_export_gives_back_the_same_bytes(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "folder"
    commands.export(str(DATABASE), str(file))
    commands.export(str(file), str(tmp_path / "b.duckdb"))
    commands.export(str(tmp_path / "b.duckdb"), str(folder))
    assert contents(folder) == contents(DATABASE)
    commands.export(str(folder), str(tmp_path / "again"))
    assert digests(folder) == digests(tmp_path / "again")
    assert str(tmp_path) not in (folder / "load.sql").read_text()
    with duckdb.connect(":memory:") as con:  # DuckDB reads it, too
        con.execute(f"IMPORT DATABASE '{folder}'")
        assert con.execute("SELECT count(*) FROM evaluation_results").fetchone() == (1176,)
    before = digests(folder), file.read_bytes()
    for taken in (file, folder):
        commands.export(str(DATABASE), str(taken))  # the same contents are there
    import_files(file, [DATABASE / "features.csv"])
    changed = file.read_bytes()
    for source, taken in ((DATABASE, file), (file, folder)):
        with pytest.raises(ConfigError, match="never written over"):
            commands.export(str(source), str(taken))
    assert (digests(folder), file.read_bytes()) == (before[0], changed)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_feature_table_is_exported_as_csv(full: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no features"):
        commands.export(str(full), str(tmp_path / "f.csv"))
    import_files(full, [DATABASE / "features.csv"])
    assert commands.export(str(full), str(tmp_path / "f.csv")).endswith("47 models, 61 features")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "f.csv"), pd.read_csv(DATABASE / "features.csv"), check_dtype=False
    )


@pytest.mark.parametrize("name", ["a.txt", "a.parquet", "a.json", "a.DB", "a.xlsx"])
def test_an_export_is_not_called_like_another_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME\.duckdb, NAME\.csv, or a directory"):
        commands.export(str(DATABASE), str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_nan_null_and_odd_texts_survive_an_export(empty: Path, tmp_path: Path) -> None:
    odd = 'a/"b,\n'
    with duckdb.connect(str(empty)) as con:
        con.execute("INSERT INTO evaluation_results VALUES (?, 'x', '0-shot', 'accuracy', 'nan', NULL)", [odd])
        con.execute("INSERT INTO evaluation_results VALUES (?, '', '0-shot', 'accuracy', NULL, 1e-300)", [odd])
        con.execute("INSERT INTO model_annotations (id, activation) VALUES (?, NULL)", [odd])
    commands.export(str(empty), str(tmp_path / "folder"))
    assert repr(contents(tmp_path / "folder")) == repr(contents(empty))


# ---- checking


SPOILS: list[tuple[str, str, str, str]] = [
    ("two_values", "error", "INSERT INTO evaluation_results VALUES ('elm-lab/elm-7b', 'arc:challenge', '25-shot', 'accuracy', 0.1, NULL)", "elm-lab/elm-7b, arc_challenge 25-shot: 0.1000 and "),
    ("no_number", "error", "UPDATE evaluation_results SET metric_value = 'nan' WHERE id = 'elm-lab/elm-7b' AND benchmark = 'mathqa'", "elm-lab/elm-7b, mathqa 0-shot"),
    ("no_number", "error", "UPDATE evaluation_results SET metric_value = NULL WHERE id = 'elm-lab/elm-7b' AND benchmark = 'gsm8k'", "elm-lab/elm-7b, gsm8k 5-shot"),
    ("no_share", "error", "UPDATE evaluation_results SET metric_value = 55 WHERE id = 'elm-lab/elm-7b' AND benchmark = 'gsm8k'", "elm-lab/elm-7b, gsm8k 5-shot accuracy: 55.0"),
    ("out_of_range", "error", "UPDATE model_annotations SET num_heads = 0 WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b: 0"),
    ("exact_zeros", "warning", "UPDATE evaluation_results SET metric_value = 0 WHERE id = 'elm-lab/elm-7b' AND benchmark = 'gsm8k'", "elm-lab/elm-7b"),
    ("zeros", "note", "INSERT INTO evaluation_results VALUES ('elm-lab/elm-7b', 'arithmetic_5da', '5-shot', 'accuracy', 0, NULL)", "arithmetic_5da 5-shot (accuracy): 1 of 1 models"),
    ("orphans", "warning", "DELETE FROM model_annotations WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b"),
    ("orphans", "warning", "DELETE FROM evaluation_results WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b"),
    ("no_scale", "warning", "UPDATE model_annotations SET total_params = NULL WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b: total_params"),
    ("ids_alike", "warning", "INSERT INTO model_annotations (id) VALUES ('elm-lab/elm-7B')", "elm-lab/elm-7B and elm-lab/elm-7b"),
    ("id_not_org_name", "warning", "INSERT INTO dataset_info (id) VALUES ('/scratch/elm-7b')", "/scratch/elm-7b"),
    ("sentinel", "warning", "UPDATE dataset_info SET pretraining_summary_percentage_code = -1 WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b"),
    ("shares_over_100", "warning", "UPDATE dataset_info SET pretraining_summary_percentage_books = 90 WHERE id = 'elm-lab/elm-7b'", "elm-lab/elm-7b: "),
    ("twice", "note", "INSERT INTO evaluation_results SELECT id, 'hendrycksTest-anatomy', setting, metric, metric_value, NULL FROM evaluation_results WHERE id = 'elm-lab/elm-7b' AND benchmark = 'mmlu_anatomy' AND setting = '5-shot'", "elm-lab/elm-7b, mmlu_anatomy 5-shot"),
]  # fmt: skip


@pytest.fixture(scope="module")
def sound() -> Iterator[Store]:
    """The example without its one zero, in memory. Who changes it does so in a transaction that is rolled back."""
    with Store.from_existing(DATABASE) as store:
        store.con.execute("UPDATE evaluation_results SET metric_value = 0.01 WHERE metric_value = 0")
        assert {f.check for f in check(store)} == {"missing_annotations", "empty_columns"}
        yield store


@pytest.mark.parametrize(
    ("name", "severity", "spoil", "where"), SPOILS, ids=[f"{s[0]}-{i}" for i, s in enumerate(SPOILS)]
)
def test_every_defect_is_found(sound: Store, name: str, severity: str, spoil: str, where: str) -> None:
    sound.con.execute("BEGIN")
    try:
        sound.con.execute(spoil)
        found = [f for f in check(sound) if f.check == name]
    finally:
        sound.con.execute("ROLLBACK")
    assert any(w.startswith(where) for f in found for w in f.where), found
    assert found[0].severity == severity
    assert found[0].count == (1 if name == "zeros" else len(found[0].where))


def test_missing_annotations_are_listed_by_model(sound: Store) -> None:
    (found,) = (f for f in check(sound) if f.check == "missing_annotations")
    without = sound.con.execute("SELECT id FROM model_annotations WHERE biases IS NULL ORDER BY id").fetchall()
    assert [w.split(":")[0] for w in found.where if "biases" in w] == [r[0] for r in without]


def test_errors_are_exit_1_and_warnings_are_not(full: Path) -> None:
    text, code = commands.check(str(full), False)
    assert code == 0
    assert "dogwood-lab/dogwood-110m" in text
    assert text.endswith("0 errors, 1 warning, 2 notes")
    with duckdb.connect(str(full)) as con:
        con.execute("UPDATE evaluation_results SET metric_value = 'nan' WHERE id = 'elm-lab/elm-7b'")
    code, text = invoke("store", "check", str(full), "--json")
    assert code == json.loads(text)["exit_code"] == 1
    assert json.loads(text)["counts"] == {"error": 2, "warning": 1, "note": 2}


def test_names_in_sql_are_those_in_python() -> None:
    names = [
        "hendrycksTest-anatomy",
        "arc:challenge",
        "arc_challenge",
        "mmlu_anatomy",
        "hendrycksTest",
        "truthfulqa:mc",
    ]
    found = duckdb.execute(f"SELECT {NORMALISED_SQL.format('n')} FROM (SELECT unnest(?) AS n)", [names]).fetchall()
    assert [r[0] for r in found] == [normalised(n) for n in names]


# ---- the command line


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exception is None or isinstance(done.exception, (SystemExit, TagcorpusError)), done.exception
    return done.exit_code, done.output


def test_query_prints_rows_and_changes_nothing() -> None:
    db = str(DATABASE)
    sql = "SELECT id, total_params AS n FROM model_annotations WHERE id LIKE 'elm%7b' ORDER BY id"
    assert invoke("store", "query", db, sql)[1].splitlines()[0].split() == ["id", "n"]
    assert invoke("store", "query", db, sql, "--format", "csv")[1].startswith("id,n\nelm-lab/elm-7b,")
    assert json.loads(invoke("store", "query", db, sql, "--format", "json")[1])[0]["id"] == "elm-lab/elm-7b"
    assert invoke("store", "query", db, "DESCRIBE dataset_info")[0] == 0
    for wrong in (
        "DROP TABLE dataset_info",
        "COPY dataset_info TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "",
        "SELECT * FROM nothing",
        "SELEC",
    ):
        code, told = invoke("store", "query", db, wrong)
        assert code == ConfigError.exit_code, told
        assert told.startswith("tagcorpus: store query: ")


def test_show_tells_what_there_is(full: Path) -> None:
    import_files(full, [DATABASE / "features.csv"])
    code, text = invoke("store", "show", str(full))
    assert code == 0
    assert "49 models of 9 organisations" in text
    assert re.search(r"\d{4}-\d\d-\d\d .* UTC  features ", text)
    assert json.loads(invoke("store", "show", str(full), "--json")[1])["organisations"]["elm-lab"] == 7
    code, text = invoke("store", "show", str(full), "elm-lab/elm-7b")
    assert "24 scores, 53 features" in text
    found = json.loads(invoke("store", "show", str(full), "elm-lab/elm-7b", "--json")[1])
    assert found["annotations"]["activation"] == "swiglu"
    code, text = invoke("store", "show", str(full), "elm-lab/elm-7")
    assert code == 2
    assert "did you mean 'elm-lab/elm-7b'?" in text


def test_docs_of_the_store_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "store.md").read_text()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    files = re.findall(r"<!-- file: (\w+\.json) -->\n```json\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["nutmeg.json", "results_nutmeg.json"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    shown = ""
    n_commands = 0
    for line in "".join(re.findall(r"```console\n(.*?)```", page, re.DOTALL)).splitlines():
        if line.startswith("$ tagcorpus "):
            code, shown = invoke(*shlex.split(line)[2:])
            assert code == 0, shown
            n_commands += 1
        else:
            assert line in shown, (line, shown)
    assert n_commands == 6
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    space: dict[str, Any] = {}
    exec(block, space)
    assert len(space["tidy"]) == 49 * 16
    assert "arc_challenge_25-shot_accuracy" in space["wide"]
    assert space["one"]["annotations"]["activation"] == "swiglu"


# ---- the example, and the published store


def test_the_example_is_what_its_script_writes(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "examples" / "make_database.py"), {"__name__": "script"}, "script")["write"](
        tmp_path / "again"
    )
    assert digests(tmp_path / "again") == digests(DATABASE)


def test_the_example_is_sound_and_large_enough() -> None:
    with Store.from_existing(DATABASE) as store:
        models = store.models()
        assert not [f for f in check(store) if f.severity == "error"]
    assert len(models) >= 40
    assert len({m.split("/")[0] for m in models}) >= 8
    assert check_features.report(str(DATABASE / "features.csv"), None, False)[1] == 0


def test_the_published_store(published: Path) -> None:
    path = published / "metadata_db"
    with Store.from_existing(path) as store:
        assert len(store.models()) == 162
        pairs = [p for p in conflicts(store) if p[3] == "accuracy"]
        assert len(pairs) == 145
        assert sum(p[4] != p[5] for p in pairs) == 112
        assert round(100 * (pairs[0][5] - pairs[0][4]), 1) == 25.4
        found = check(store)
    (humaneval,) = (f for f in found if f.check == "exact_zeros" and "humaneval" in f.message)
    assert "32 of 91" in humaneval.message
    assert sum(f.count for f in found if f.check == "no_number") == 226
    crystal = [f.message for f in found if f.check == "exact_zeros" and "LLM360/CrystalCoder" in f.where]
    assert len(crystal) >= 2


def test_the_published_store_survives_an_export_byte_by_byte(published: Path, tmp_path: Path) -> None:
    commands.export(str(published / "metadata_db"), str(tmp_path / "a.duckdb"))
    commands.export(str(tmp_path / "a.duckdb"), str(tmp_path / "folder"))
    for table in ("model_annotations", "dataset_info", "evaluation_results"):
        assert (tmp_path / "folder" / f"{table}.csv").read_bytes() == (
            published / "metadata_db" / f"{table}.csv"
        ).read_bytes()


def test_the_published_features_are_imported(published: Path, tmp_path: Path) -> None:
    table = published / "all_models_feature_stats_3_03_with_ratios.csv"
    commands.export(str(published / "metadata_db"), str(tmp_path / "a.duckdb"))
    commands.import_(str(tmp_path / "a.duckdb"), [str(table)], "refuse", None, False, False)
    with Store.from_existing(tmp_path / "a.duckdb") as store:
        found = store.features()
        (orphans,) = (f for f in check(store) if f.check == "orphans" and "features" in f.message)
    expected = pd.read_csv(table)
    expected = expected.loc[sorted(expected.index, key=lambda i: expected["id"][i].encode())].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert orphans.count == 2


def test_a_store_needs_its_tables(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        con.execute("CREATE TABLE t(a INTEGER)")
    with pytest.raises(InputError, match=r"it has no table 'model_annotations'\. It has: t"):
        open_existing(tmp_path / "a.duckdb")

"""Features of one's own: a table needs an id column and numbers, nothing else; a table that no predictor uses is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.predictor.store.files import write
from tagcorpus.predictor.store.store import Store

for module in ("duckdb", "pandas", "xgboost"):
    pytest.importorskip(module)

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"
PREDICT = ("--db", str(EXAMPLE), "--task", "hellaswag", "--workers", "1", "--no-hyperparam-search", "--seeds", "1")


@pytest.fixture(scope="module")
def ids() -> list[str]:
    with Store.from_existing(EXAMPLE) as store:
        return store.models()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "full.duckdb"
    with Store.from_existing(EXAMPLE) as store:
        write(store.con, path)
    return path


@pytest.fixture
def full(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path))


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(main, arguments)


def own(tmp_path: Path, ids: list[str], header: str = "id,mean_word,novelty") -> Path:
    path = tmp_path / "own.csv"
    path.write_text("".join([f"{header}\n", *(f"{m},{i % 7 - 1},{i * 0.25}\n" for i, m in enumerate(ids))]))
    return path


def test_a_table_without_a_published_column_is_imported_as_it_is(full: Path, tmp_path: Path, ids: list[str]) -> None:
    done = invoke("store", "import", str(full), str(own(tmp_path, ids)))
    assert done.exit_code == 0, done.output
    assert "(features): 98 cells new" in done.stdout
    with Store.from_existing(full) as store:
        table = store.features()
    assert list(table.columns) == ["id", "mean_word", "novelty"]
    assert sorted(table["novelty"]) == [i * 0.25 for i in range(49)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("id,mean_word\nalder/alder-1b,much\n", "text_cell"),
        ("id,mean_word\nalder/alder-1b,1\nalder/alder-1b,2\n", "duplicate_id"),
        ("id,mean_word\nalder/alder-1b,nan\n", "missing_as_text"),
        ("id,mean_word,ttr_mean\nalder/alder-1b,1,-1\n", "minus_one"),
        ("id,ttr_mean\nalder/alder-1b,7\n", "out_of_range"),
    ],
)
def test_what_would_be_misread_is_not_imported(full: Path, tmp_path: Path, rows: str, told: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(rows)
    done = invoke("store", "import", str(full), str(path))
    assert done.exit_code == 2
    assert told in done.stderr


@pytest.mark.e2e
def test_predict_takes_named_columns_of_any_table(tmp_path: Path, ids: list[str]) -> None:
    table = own(tmp_path, ids)
    output = tmp_path / "p.json"
    options = ("--features", str(table), "--predictor", "log-linear", "--output", str(output))
    done = invoke("predict", *PREDICT, *options, "--sel-features", "novelty")
    assert done.exit_code == 0, done.output
    assert "published columns" not in done.stderr
    selected = [e for e in json.loads(output.read_text())["tasks"][0]["evaluations"] if e["predictor"] == "selected"]
    assert selected[0]["features"][-1] == "novelty"


@pytest.mark.parametrize("protocol", ["grouped", "paper"])
def test_a_table_that_no_predictor_uses_is_exit_2(tmp_path: Path, ids: list[str], protocol: str) -> None:
    options = ("--features", str(own(tmp_path, ids)), "--protocol", protocol, "--output", str(tmp_path / "p.json"))
    done = invoke("predict", *PREDICT, *options)
    assert done.exit_code == 2, done.output
    assert "no predictor of this run uses any of its 2 columns" in done.stderr
    assert not (tmp_path / "p.json").exists()

"""A store may come from anyone: neither its own SQL nor a query reaches a file, the network or the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.feature_table.provenance import read_provenance
from tagcorpus.pipelines.store import query
from tagcorpus.predictor.learners.selection import read_selected
from tagcorpus.predictor.store.batch import read_batch
from tagcorpus.predictor.store.files import open_for_writing, write
from tagcorpus.predictor.store.store import Store

pytest.importorskip("pandas")
duckdb = pytest.importorskip("duckdb")

SECRET = "a word that is in no store"
SCHEMA = """
CREATE TABLE model_annotations(id VARCHAR PRIMARY KEY, total_params BIGINT, note VARCHAR DEFAULT('made AS it is'));
CREATE TABLE dataset_info(id VARCHAR PRIMARY KEY, pretraining_summary_total_tokens_billions DOUBLE);
CREATE TABLE evaluation_results(id VARCHAR, benchmark VARCHAR, setting VARCHAR, metric VARCHAR, metric_value DOUBLE,
    metric_stderr DOUBLE, PRIMARY KEY(id, benchmark, setting, metric));
"""
ROWS = {
    "model_annotations": "id,total_params,note\na/b,7,x\n",
    "dataset_info": "id,pretraining_summary_total_tokens_billions\na/b,3\n",
    "evaluation_results": "id,benchmark,setting,metric,metric_value,metric_stderr\na/b,arc,5-shot,accuracy,0.5,\n",
}


def export_directory(place: Path) -> Path:
    """An export directory, with a file beside it that is none of its business."""
    (place / "secret.csv").write_text(f"{SECRET}\n")
    path = place / "store"
    path.mkdir()
    (path / "schema.sql").write_text(SCHEMA)
    for table, rows in ROWS.items():
        (path / f"{table}.csv").write_text(rows)
    (path / "load.sql").write_text("".join(f"COPY {t} FROM '{t}.csv' (FORMAT 'csv', header 1);\n" for t in ROWS))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export_directory(tmp_path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One store in both of its forms, which no test changes."""
    directory = export_directory(tmp_path_factory.mktemp("stores"))
    with Store.from_existing(directory) as opened:
        write(opened.con, directory.parent / "store.duckdb")
    return {"directory": directory, "file": directory.parent / "store.duckdb"}


@pytest.fixture(params=["directory", "file"])
def store(request: pytest.FixtureRequest, stores: dict[str, Path]) -> Path:
    return stores[request.param]


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


PAYLOADS = [
    "COPY model_annotations TO '{out}'",
    "EXPLAIN ANALYZE COPY model_annotations TO '{out}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}' (USE_TMP_FILE false)",
    "explain /* x */ analyze copy (select 1) to '{out}'",
    "EXPLAIN (ANALYZE) COPY model_annotations TO '{out}'",
    "EXPLAIN ANALYZE DELETE FROM model_annotations",
    "WITH d AS (DELETE FROM model_annotations RETURNING *) SELECT * FROM d",
    "WITH d AS (DELETE FROM model_annotations RETURNING *) PIVOT d ON id USING count(*)",
    "WITH d AS MATERIALIZED (UPDATE model_annotations SET total_params = 8 RETURNING *) FROM d",
    "WITH d AS (INSERT INTO dataset_info VALUES ('c/d', 1) RETURNING *) SELECT * FROM d",
    "EXPLAIN ANALYZE WITH d AS (DELETE FROM model_annotations RETURNING *) SELECT * FROM d",
    "PIVOT model_annotations ON id USING count(*); DELETE FROM model_annotations",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT * FROM read_text('{secret}')",
    "EXPORT DATABASE '{out}'",
    "SELECT content FROM read_text('{secret}')",
    "SELECT content FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}', header = false)",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_csv('/etc/hosts', header = false)",
    "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT (SELECT content FROM read_text('{secret}')) AS id FROM model_annotations",
    "WITH s AS (SELECT content FROM read_text('{secret}')) SELECT * FROM s",
    "EXPLAIN ANALYZE SELECT content FROM read_text('{secret}')",
    "SUMMARIZE SELECT * FROM read_text('{secret}')",
    "DESCRIBE SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM query('SELECT content FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "ATTACH '{out}'",
    "ATTACH '{out}' AS other; SELECT 1",
    "SELECT 1; COPY model_annotations TO '{out}'",
    "SELECT 1; SELECT 2",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{secret}'",
    "PRAGMA database_list",
    "PRAGMA enable_object_cache",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET temp_directory = '{out}'",
    "CREATE TABLE t AS SELECT * FROM read_text('{secret}')",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    "CALL pragma_version()",
    "USE memory",
    "BEGIN",
    "",
]


@pytest.mark.parametrize(
    ("kind", "sql"), [("file", sql) for sql in PAYLOADS] + [("directory", sql) for sql in PAYLOADS[::4]]
)
def test_a_query_reaches_no_file(stores: dict[str, Path], kind: str, sql: str) -> None:
    place = stores[kind].parent
    before = left(place)
    with pytest.raises(ConfigError, match="store query: "):
        query(str(stores[kind]), sql.format(secret=place / "secret.csv", out=place / "out.csv", folder=place), "csv")
    assert left(place) == before


def test_a_variable_of_the_calling_python_is_no_table(store: Path) -> None:
    """`frame` is a local variable of the function that runs the query in the console script's process."""
    import pandas as pd

    frame = pd.DataFrame({"word": [SECRET]})
    with Store.from_existing(store) as opened, pytest.raises(duckdb.Error, match="does not exist"):
        opened.con.execute("SELECT * FROM frame")
    assert len(frame) == 1


ORDINARY = [
    "SELECT id, total_params AS n FROM model_annotations WHERE id LIKE 'a/%' -- read_text('x')",
    "WITH m AS (SELECT * FROM model_annotations) SELECT count(*) FROM m JOIN evaluation_results USING (id)",
    "EXPLAIN SELECT id FROM model_annotations",
    "EXPLAIN ANALYZE SELECT id FROM model_annotations",
    "DESCRIBE dataset_info",
    "SUMMARIZE evaluation_results",
    "SHOW TABLES",
    "FROM evaluation_results",
    "FROM evaluation_results SELECT id WHERE metric_value > 0",
    "TABLE evaluation_results",
    "VALUES (1)",
    "PIVOT evaluation_results ON metric USING avg(metric_value)",
    "PIVOT evaluation_results ON metric IN ('accuracy') USING avg(metric_value) GROUP BY id",
    "SELECT * FROM (PIVOT evaluation_results ON metric USING avg(metric_value))",
    "WITH e AS (FROM evaluation_results) PIVOT e ON setting USING avg(metric_value)",
    "UNPIVOT evaluation_results ON metric_value INTO NAME name VALUE value",
    "EXPLAIN PIVOT evaluation_results ON metric USING avg(metric_value)",
    "DESCRIBE SELECT 1",
    "SHOW evaluation_results",
    "SELECT 'COPY x TO y' AS words;",
]


@pytest.mark.parametrize(
    ("kind", "sql"), [("file", sql) for sql in ORDINARY] + [("directory", sql) for sql in ORDINARY[::4]]
)
def test_ordinary_queries_run(stores: dict[str, Path], kind: str, sql: str) -> None:
    assert query(str(stores[kind]), sql, "csv")


def test_a_pivot_has_the_scores_as_columns(store: Path) -> None:
    sql = "PIVOT evaluation_results ON metric USING first(metric_value) GROUP BY id"
    assert query(str(store), sql, "csv") == "id,accuracy\na/b,0.5"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (
            "WITH d AS (DELETE FROM dataset_info RETURNING *) FROM d",
            "queries only read, and this one would change the store",
        ),
        ("DELETE FROM dataset_info", "queries only read: must be one SELECT .* not DELETE"),
        ("PIVOT dataset_info ON id USING count(*); SELECT 1", "not PIVOT and SELECT"),
    ],
)
def test_a_query_that_would_change_the_store_is_refused_in_plain_words(store: Path, sql: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        query(str(store), sql, "csv")


@pytest.mark.parametrize("name", ["model_annotations.csv", "schema.sql", "load.sql"])
def test_a_link_that_leads_out_of_an_export_is_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    shutil.move(folder / name, outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(InputError, match=r"is a link to .*outside, which is not in the store") as caught:
        Store.from_existing(folder)
    assert SECRET not in str(caught.value)


def test_links_within_an_export_and_of_the_hub_s_cache_are_followed(folder: Path) -> None:
    shutil.move(folder / "dataset_info.csv", folder / "info-2.csv")
    (folder / "dataset_info.csv").symlink_to("info-2.csv")
    (folder.parent / "hub/blobs").mkdir(parents=True)
    cached = shutil.copytree(folder, folder.parent / "hub/snapshots/1f2e")
    for i, path in enumerate(sorted(cached.iterdir())):
        shutil.move(path, folder.parent / f"hub/blobs/{i}")
        path.symlink_to(f"../../blobs/{i}")
    (folder.parent / "store-link").symlink_to(folder)
    for place in (folder, cached, folder.parent / "store-link"):
        with Store.from_existing(place) as opened:
            assert opened.models() == ["a/b"]


SPOILT = [
    ("schema.sql", "CREATE TABLE stolen AS SELECT * FROM read_text('{secret}');"),
    ("schema.sql", "CREATE TABLE stolen(content) AS SELECT content FROM read_text('{secret}');"),
    ("schema.sql", "CREATE TEMP TABLE stolen AS SELECT 1 AS a;"),
    ("schema.sql", "CREATE OR REPLACE TABLE model_annotations AS SELECT content AS id FROM read_text('{secret}');"),
    ("schema.sql", "CREATE TABLE stolen -- (\nAS SELECT * FROM read_text('{secret}');"),
    ("schema.sql", "CREATE TABLE stolen /* ( */ AS FROM read_text('{secret}');"),
    ("schema.sql", "CREATE VIEW stolen AS SELECT * FROM read_text('{secret}');"),
    ("schema.sql", "CREATE VIEW stolen AS SELECT 1;"),
    ("schema.sql", "CREATE MACRO stolen() AS TABLE SELECT * FROM read_text('{secret}');"),
    ("schema.sql", "CREATE TYPE stolen AS ENUM (SELECT content FROM read_text('{secret}'));"),
    ("schema.sql", "CREATE TABLE t(a VARCHAR DEFAULT (SELECT content FROM read_text('{secret}')));"),
    ("schema.sql", "CREATE SECRET s (TYPE s3);"),
    ("schema.sql", "INSTALL httpfs;"),
    ("schema.sql", "LOAD '{secret}';"),
    ("schema.sql", "SET enable_external_access = true;"),
    ("schema.sql", "PRAGMA threads = 1;"),
    ("schema.sql", "ATTACH '{secret}';"),
    ("load.sql", "COPY model_annotations TO '{out}';"),
    ("load.sql", "COPY (SELECT 1) TO '{out}';"),
    ("load.sql", "COPY model_annotations FROM '{secret}' (FORMAT csv);"),
    ("load.sql", "COPY model_annotations FROM '../secret.csv' (FORMAT csv);"),
    ("load.sql", "INSERT INTO model_annotations SELECT content, 1, '' FROM read_text('{secret}');"),
    ("load.sql", "COPY model_annotations FROM (SELECT content FROM read_text('{secret}'));"),
]


@pytest.mark.parametrize(("file", "statement"), SPOILT)
def test_an_export_directory_runs_nothing_of_its_own(folder: Path, file: str, statement: str) -> None:
    secret, out = folder.parent / "secret.csv", folder.parent / "out.csv"
    (folder / file).write_text((folder / file).read_text() + statement.format(secret=secret, out=out))
    before = left(folder.parent)
    with pytest.raises(InputError, match=r"only|which is not in|cannot be read as a store"):
        Store.from_existing(folder)
    assert left(folder.parent) == before


def test_views_and_macros_of_a_file_read_nothing(folder: Path) -> None:
    """A .duckdb file brings its own SQL, too: a view in the place of a table."""
    path = folder.parent / "views.duckdb"
    secret = folder.parent / "secret.csv"
    with duckdb.connect(str(path)) as con:
        con.execute(SCHEMA)
        con.execute("DROP TABLE evaluation_results")
        con.execute(
            "CREATE VIEW evaluation_results AS SELECT content AS id, 'b' AS benchmark, '0-shot' AS setting, 'm' AS metric, "
            f"1.0 AS metric_value, NULL AS metric_stderr FROM read_text('{secret}')"
        )
    for command in (["query", str(path), "FROM evaluation_results"], ["show", str(path)], ["check", str(path)]):
        result = CliRunner().invoke(main, ["store", *command])
        assert result.exit_code != 0
        assert SECRET not in result.output


def test_what_is_open_for_writing_reaches_no_file(stores: dict[str, Path], tmp_path: Path) -> None:
    con = open_for_writing(Path(shutil.copy(stores["file"], tmp_path)))
    for sql in ("COPY model_annotations TO '{out}'", "FROM read_text('{secret}')", "SET lock_configuration = false"):
        with pytest.raises(duckdb.Error):
            con.execute(sql.format(out=tmp_path / "out.csv", secret=stores["file"].parent / "secret.csv"))
    con.close()


def test_a_store_is_open_twice(store: Path) -> None:
    with Store.from_existing(store) as one, Store.from_existing(store) as other:
        assert one.models() == other.models() == ["a/b"]


def test_an_export_keeps_rows_order_and_types(folder: Path) -> None:
    """Through a file and back: the CSV files are the same bytes, be their rows in whatever order."""
    (folder / "dataset_info.csv").write_text(
        "id,pretraining_summary_total_tokens_billions\n"
        + "".join(f"m/{i * 7919 % 5000},{i / 3!r}\n" for i in range(5000))
    )
    with Store.from_existing(folder) as opened:
        write(opened.con, folder.parent / "one.duckdb")
    with Store.from_existing(folder.parent / "one.duckdb") as opened:
        write(opened.con, folder.parent / "again")
    for table in ROWS:
        assert (folder.parent / "again" / f"{table}.csv").read_bytes() == (folder / f"{table}.csv").read_bytes()
    with Store.from_existing(folder.parent / "again") as opened, Store.from_existing(folder) as first:
        assert opened.tables == first.tables


def test_paths_with_quotes_and_stars(folder: Path) -> None:
    odd = shutil.move(folder, folder.parent / "it's a * [store]")
    with Store.from_existing(odd) as opened:
        assert opened.models() == ["a/b"]
        write(opened.con, folder.parent / "an 'other'")
    with Store.from_existing(folder.parent / "an 'other'") as opened:
        assert opened.models() == ["a/b"]


def test_files_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    """JSON of a stranger: an import, and the provenance beside a table."""
    deep = "[" * 200_000
    (tmp_path / "deep.json").write_text(deep)
    (tmp_path / "a.csv").write_text(f'id,total_params,metadata\na/b,7,"{deep}"\n')
    (tmp_path / "t.csv").write_text("id,char_len_mean\na/b,1\n")
    (tmp_path / "t.provenance.json").write_text(deep)
    with pytest.raises(InputError, match=r"deep\.json' is not JSON"):
        read_batch(tmp_path / "deep.json")
    with pytest.raises(InputError, match=r"field 'metadata'"):
        read_batch(tmp_path / "a.csv")
    assert read_provenance(str(tmp_path / "t.csv")) == "damaged"


def test_a_selection_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.csv").write_text("task,selected_features\narc," + "[" * 5000 + "\n")
    (tmp_path / "deep.json").write_text('{"arc": ' + "[" * 200_000)
    for name in ("deep.csv", "deep.json"):
        with pytest.raises(InputError, match="neither a CSV"):
            read_selected(tmp_path / name)

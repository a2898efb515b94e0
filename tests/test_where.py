"""`run filter --where`: which rows a condition keeps, where its columns come from, and what it is told when it cannot."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError, InputError, TagcorpusError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Recorded
from tagcorpus.pipelines.filtering import condition
from tagcorpus.pipelines.runs.result import Result

duckdb = pytest.importorskip("duckdb")

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")
WORDS = ["bread", "rain", "hills", "slow", "train", "north", "and", "the"]
SMALL = {"chunk_bytes": 2048}


def text(i: int) -> str:
    """Texts of many lengths and ratios, some of them German."""
    if i % 5 == 0:
        return "Der langsame Zug nach Norden fährt heute durch den Regen und über die Hügel. " * (1 + i % 3)
    return " ".join(f"{WORDS[(i * j) % len(WORDS)]}" for j in range(1, 4 + i % 17)) + f" {i}."


def docs(n: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"d{i}", "note": f'"{i}", x', "text": text(i)} for i in range(first, first + n)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    else:
        data = b"".join(json.dumps(r).encode() + b"\n" for r in rows)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
        return found
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def tag(path: Path, output: Path, taggers: str = "length,tokens,language", **options: Any) -> None:
    tagcorpus.run("tag", input=path, output=output, taggers=[taggers], **{"workers": 1, **SMALL, **options})


def keep(path: Path, output: Path, sql: str, **options: Any) -> Result:
    result: Result = tagcorpus.run("filter", input=path, output=output, where=sql, **{"workers": 1, **SMALL, **options})
    return result


def outputs(output: Path) -> dict[str, bytes]:
    root = output / "filtered"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def marks(output: Path, *folders: str) -> dict[str, tuple[int, int]]:
    return {
        str(p): (p.stat().st_ino, p.stat().st_mtime_ns)
        for folder in folders
        for p in (output / folder).rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in/ with three formats in folders, and out/ with its tags."""
    folder = tmp_path_factory.mktemp("corpus")
    write(folder / "in/a.jsonl", docs(60))
    write(folder / "in/deep/b.parquet", docs(40, 60))
    write(folder / "in/deep/c.jsonl.gz", docs(50, 100))
    tag(folder / "in", folder / "out", "length,tokens,language,gpt2=tokens", gpt2={"tokenizer": "gpt2"})
    return folder


@pytest.fixture(scope="module")
def tags(corpus: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tagcorpus.read(corpus / "out", text=True).to_table().to_pylist()
    assert len(found) == 150
    return found


# Which rows


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("language = 'en' AND char_len > 40", lambda t: t["language"] == "en" and t["char_len"] > 40),
        ("tokens.ttr < 0.8", lambda t: t["tokens.ttr"] < 0.8),
        ('"tokens.ttr" < 0.7 AND TOKENS.Num_Tokens <= GPT2.num_tokens', lambda t: t["tokens.ttr"] < 0.7 and t["tokens.num_tokens"] <= t["gpt2.num_tokens"]),
        ("language.language = 'de'", lambda t: t["language"] == "de"),
        ("row % 3 = 1 AND sub = 0 AND input LIKE 'deep/%'", lambda t: t["row"] % 3 == 1 and t["input"].startswith("deep/")),
        ("id IN ('d3', 'd77') -- these two", lambda t: t["id"] in ("d3", "d77")),
        ("list_contains(list_transform([1, 2], lambda x: x + row), 5)", lambda t: t["row"] in (3, 4)),
        ("char_len BETWEEN 30 AND\n\t60", lambda t: 30 <= t["char_len"] <= 60),
        ("true", lambda _: True),
    ],
)  # fmt: skip
def test_rows_formats_and_paths(
    corpus: Path, tags: list[dict[str, Any]], sql: str, rule: Callable[[dict[str, Any]], bool]
) -> None:
    result = keep(corpus / "in", corpus / "out", sql)
    assert result.exit_code == 0
    kept = [t["id"] for t in tags if rule(t)]
    reason = f"where: {' '.join(sql.split())}"
    assert result.summary["filtered"]["kept"] == len(kept)
    assert result.summary["filtered"]["removed"] == ({reason: 150 - len(kept)} if len(kept) < 150 else {})
    assert len(kept) == 150 if sql == "true" else 0 < len(kept) < 150
    out = corpus / "out/filtered"
    for name, rows in (("a.jsonl", docs(60)), ("deep/b.parquet", docs(40, 60)), ("deep/c.jsonl.gz", docs(50, 100))):
        path = Path(name)
        assert read(out / path.parent / f"filtered_{path.name}") == [r for r in rows if r["id"] in kept]
        assert read(out / path.parent / f"removed_{path.name}") == [
            {**r, "filter_reason": reason} for r in rows if r["id"] not in kept
        ]


def test_null_is_a_reason_of_its_own(corpus: Path, tags: list[dict[str, Any]]) -> None:
    result = keep(corpus / "in", corpus / "out", "nullif(language, 'de') = 'en' AND char_len > 40")
    by_language = [t["language"] for t in tags if t["char_len"] > 40]
    assert result.summary["filtered"]["removed"]["where_null"] == by_language.count("de") > 0
    assert result.summary["filtered"]["kept"] == by_language.count("en") > 0


def test_a_long_condition_is_shortened_in_the_reason(corpus: Path) -> None:
    sql = " AND ".join(f"char_len <> {i}" for i in range(100)) + " AND char_len > 1000"
    (reason,) = keep(corpus / "in", corpus / "out", sql).summary["filtered"]["removed"]
    assert reason == f"where: {sql[:77]}..."


def test_lines_with_several_documents(tmp_path: Path) -> None:
    def sample(doc_id: int, resps: list[list[str]]) -> dict[str, Any]:
        return {"doc_id": doc_id, "resps": resps}

    rows = [sample(0, [["long enough", "this too"]]), sample(1, [["long enough"], ["no"]]), sample(2, [["no", "x"]])]
    path = write(tmp_path / "samples_x.jsonl", rows)
    tag(path, tmp_path / "out", "length")
    result = keep(path, tmp_path / "out", "nullif(char_len, 1) > 5")
    assert result.summary["filtered"]["kept"] == 1
    removed = read(tmp_path / "out/filtered/removed_samples_x.jsonl")
    assert [r["filter_reason"] for r in removed] == [
        "where: nullif(char_len, 1) > 5",
        "where: nullif(char_len, 1) > 5; where_null",
    ]


def test_many_rows_stay_aligned(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"id": str(i), "text": "x" * (i % 7)} for i in range(70_000)])
    tag(path, tmp_path / "out", "length,other=length", chunk_bytes=64 << 20)
    sql = "length.char_len = row % 7 AND other.char_len = row % 7 AND id = row::VARCHAR"
    assert keep(path, tmp_path / "out", sql, chunk_bytes=64 << 20).summary["filtered"] == {
        "keep": sql,
        "kept": 70_000,
        "removed": {},
        "written": ["filtered/filtered_a.jsonl", "filtered/removed_a.jsonl"],
    }


def test_quarantined_and_blank_lines_go_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "aaa"}\n\nnot json\n{"text": "b"}\n')
    tag(path, tmp_path / "out", "length")
    result = keep(path, tmp_path / "out", "char_len > 2")
    assert result.summary["filtered"] == {
        "keep": "char_len > 2",
        "kept": 1,
        "removed": {"where: char_len > 2": 1},
        "written": ["filtered/filtered_a.jsonl", "filtered/removed_a.jsonl"],
    }
    assert (result.counts.blank, result.counts.quarantined_rows) == (1, 1)


# What a run leaves as it is


@pytest.mark.e2e
def test_same_bytes_with_any_workers(corpus: Path, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2, 4):
        output = tmp_path / str(workers)
        tag(corpus / "in", output, workers=workers)
        keep(corpus / "in", output, "ttr > 0.7", workers=workers)
        found.append((outputs(output), (output / "summary/filter.json").read_bytes()))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) == 6


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_but_its_own_files_changes(corpus: Path, tmp_path: Path, overwrite: bool) -> None:
    tag(corpus / "in", tmp_path / "out")
    before = marks(tmp_path / "out", "plan", "attributes", "quarantine")
    assert before
    keep(corpus / "in", tmp_path / "out", "ttr > 0.5", overwrite=overwrite)
    assert marks(tmp_path / "out", "plan", "attributes", "quarantine") == before


def test_done_is_done_until_the_condition_changes(corpus: Path, tmp_path: Path) -> None:
    tag(corpus / "in", tmp_path / "out")
    keep(corpus / "in", tmp_path / "out", "ttr > 0.7")
    before, files = marks(tmp_path / "out", "filtered"), outputs(tmp_path / "out")
    keep(corpus / "in", tmp_path / "out", "ttr > 0.7")
    assert marks(tmp_path / "out", "filtered") == before
    keep(corpus / "in", tmp_path / "out", "ttr > 0.71")
    assert outputs(tmp_path / "out") != files
    keep(corpus / "in", tmp_path / "out", "ttr > 0.7")
    assert outputs(tmp_path / "out") == files
    before = marks(tmp_path / "out", "filtered")
    keep(corpus / "in", tmp_path / "out", "ttr > 0.7", overwrite=True)
    assert not marks(tmp_path / "out", "filtered").items() & before.items()


def test_dry_run_writes_nothing(corpus: Path, tmp_path: Path) -> None:
    tag(corpus / "in", tmp_path / "out")
    before = marks(tmp_path / "out", ".")
    result = keep(corpus / "in", tmp_path / "out", "ttr > 0.7", dry_run=True)
    assert result.summary["dry_run"]["chunks_to_compute"] == 0
    assert marks(tmp_path / "out", ".") == before


def test_the_rule_travels_after_use() -> None:
    made = Recorded("1", {}, pa.schema([("char_len", pa.int64())]))
    rule = condition.Condition("char_len > 1", [Instance("length", "length", made)], {"length": ["char_len"]})
    rule.check()
    again = pickle.loads(pickle.dumps(rule))
    assert again == rule
    again.check()


# What is missing


def refusal(path: Path, output: Path, sql: str, **options: Any) -> str:
    with pytest.raises(TagcorpusError) as error:
        keep(path, output, sql, **options)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def follow(told: str, folder: Path) -> None:
    """Run the command (or commands) that an error names."""
    for command in told.partition("First ")[2].split("; then "):
        words = shlex.split(command)
        assert words[0] == "tagcorpus"
        with contextlib.chdir(folder):
            done = invoke(*words[1:], "--workers", "1")
        assert done.code == 0, done.err


def test_the_command_that_makes_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "some docs.jsonl", docs(20))
    tag(path, tmp_path / "out", "length")
    told = refusal(path, tmp_path / "out", "char_len > 1 AND ttr > 0.2")
    assert told == (
        f"where: no attributes in {tmp_path / 'out'} have 'ttr'. First tagcorpus run tag --input '{path}' "
        f"--output {tmp_path / 'out'} --set chunk_bytes=2048 --taggers tokens"
    )
    follow(told, tmp_path)
    told = refusal(path, tmp_path / "out", "language = 'en' AND is_kept AND ttr > 0.2 AND prediction <> 'code'")
    assert "have 'language', 'is_kept', 'prediction'." in told
    assert "--taggers language,repetition; then tagcorpus run domain --input" in told
    follow(told, tmp_path)
    sql = "language.language = 'en' AND is_kept AND ttr > 0.2 AND prediction <> 'code'"
    assert keep(path, tmp_path / "out", sql).summary["filtered"]["removed"]


def test_the_command_repeats_what_decides_the_plan(tmp_path: Path) -> None:
    rows = [{"body": text(i), "key": i} for i in range(30)]
    write(tmp_path / "in/a.jsonl", rows)
    how = {"text_column": "body", "id_column": "key", "sample": 0.5, "seed": 3, "exclude": ["*.bak"], "limit": 25}
    told = refusal(tmp_path / "in", tmp_path / "out", "num_tokens > 5", **how)
    follow(told, tmp_path)
    assert keep(tmp_path / "in", tmp_path / "out", "num_tokens > 5", **how).exit_code == 0


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("ttr > 0.2", "'ttr' could be gpt2.ttr, tokens.ttr in "),
        ("chr_len > 1", "unknown column 'chr_len' (in "),
        ("chr_len > 1", "did you mean 'length.char_len'?"),
        ("tokns.ttr > 0.2", "did you mean 'tokens.ttr'? Known here: input, row, sub, id, "),
        ("is_kpt", "did you mean 'repetition.is_kept'? It is not computed yet. Known here: input, "),
        ("char_len > 1 AND id = en", "unknown column 'en' (in "),
        ("char_len > 1 AND id = en", "): write a text in single quotes: 'en'. Known here: input, "),
        ("id IN ('a', \"en\")", "write a text in single quotes: 'en'"),
        ("char_len >= row_", "did you mean 'row'?"),
        ("tokens.tr > 1", "unknown column of tokens 'tr' (where tokens.tr): did you mean 'ttr'?"),
        ("tokens IS NOT NULL", "'tokens' is an instance; say tokens.COLUMN, one of num_tokens, unique_tokens, ttr"),
        ("repetition.is_kept", "have 'repetition.is_kept'. First tagcorpus run tag "),
        ("nowhere.ttr > 1", "unknown column 'nowhere.ttr'"),
        ("current_date > '2000-01-01'", "unknown column 'current_date'"),
    ],
)
def test_names_that_cannot_be_resolved(corpus: Path, sql: str, told: str) -> None:
    assert told in refusal(corpus / "in", corpus / "out", sql)


def test_a_near_miss_of_a_column_that_is_not_computed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(20))
    tag(path, tmp_path / "out", "length")
    told = refusal(path, tmp_path / "out", "tokns.ttr > 0.2")
    assert "did you mean 'tokens.ttr'? It is not computed yet." in told
    assert "Known here: input, row, sub, id, length.char_len; all that there can be: tagcorpus taggers. First" in told
    follow(told, tmp_path)
    assert keep(path, tmp_path / "out", "tokens.ttr > 0.2").exit_code == 0


def test_no_sidecars_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(3))
    assert "has no attributes" in refusal(path, tmp_path / "out", "row < 2")
    follow(refusal(path, tmp_path / "out", "row < 2"), tmp_path)
    assert keep(path, tmp_path / "out", "row < 2").summary["filtered"]["kept"] == 2


def test_a_changed_input(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(60))
    tag(path, tmp_path / "out", "length,tokens")
    before = marks(tmp_path / "out", "plan", "attributes")
    write(path, docs(70))
    told = refusal(path, tmp_path / "out", "ttr > 0.7")
    assert "chunks have no part of 'tokens' in" in told
    assert marks(tmp_path / "out", "plan", "attributes") == before
    follow(told, tmp_path)
    assert sum(keep(path, tmp_path / "out", "ttr > 0.7").summary["filtered"]["removed"].values()) > 0
    assert "have no part of 'length' in" in refusal(path, tmp_path / "out", "char_len > 0")


def test_an_incomplete_run(corpus: Path, tmp_path: Path) -> None:
    tag(corpus / "in", tmp_path / "out", "tokens,words=tokens", words={"tokenizer": "gpt2"})
    part = next(iter(sorted((tmp_path / "out/attributes/words").rglob("*.parquet"))))
    part.unlink()
    assert keep(corpus / "in", tmp_path / "out", "tokens.ttr > 0.7").exit_code == 0
    told = refusal(corpus / "in", tmp_path / "out", "words.ttr > 0.7")
    assert told.startswith("where: 1 of ")
    assert "--taggers words=tokens (with its parameters, see " in told
    assert "attributes/words/tagger.json)" in told


TAGGER = '''
from dataclasses import dataclass
from typing import ClassVar
import pyarrow as pa
from tagcorpus.taggers._interface.base import Parameters, column

@dataclass(frozen=True)
class Aged(Parameters):
    """Of one version or another."""
    version: ClassVar[str] = "VERSION"
    columns: ClassVar[pa.Schema] = pa.schema([column("age", pa.int64(), "VERSION", "version")])

    def tag(self, batch):
        return pa.record_batch([pa.array([VERSION] * batch.num_rows, pa.int64())], schema=self.columns)

TAGGER = Aged
'''


@pytest.mark.e2e
def test_sidecars_of_an_earlier_version_of_their_tagger(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(5))
    plugin = tmp_path / "plugin"
    info = plugin / "where_test_aged-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: where-test-aged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tagcorpus.taggers]\naged = where_test_aged:TAGGER\n")

    def run(*words: str, version: str) -> subprocess.CompletedProcess[str]:
        (plugin / "where_test_aged.py").write_text(TAGGER.replace("VERSION", version))
        environment = {**os.environ, "PYTHONPATH": str(plugin), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [COMMAND, "run", *words, "-i", str(path), "-o", str(tmp_path / "out"), "-w", "1"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert run("tag", "--taggers", "aged", version="1").returncode == 0
    assert run("filter", "--where", "age = 1", version="1").returncode == 0
    told = run("filter", "--where", "age = 1", version="2")
    assert told.returncode == 2
    assert "'aged' in" in told.stderr
    assert "is of version 1 of its tagger, now 2 is installed. First tagcorpus run tag" in told.stderr
    assert run("tag", "--taggers", "aged", version="2").returncode == 0
    assert "kept 5, removed 0" in run("filter", "--where", "age = 2", version="2").stdout


# What is no condition


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("", "where is empty"),
        (" \n", "where is empty"),
        ("char_len >", "it ends too early"),
        ("char_len > > 2", 'syntax error at or near ">"'),
        ("char_len > 2; DROP TABLE x", "syntax error"),
        ("char_len) AS a, (row", "one expression"),
        ("char_len > 2) UNION ALL SELECT (true", "one expression"),
        ("true) FROM read_csv('FILE') WHERE (true", "an expression alone"),
        ("true) ORDER BY (1", "an expression alone"),
        ("char_len > (SELECT count(*) FROM read_csv('FILE'))", "a subquery is not possible"),
        ("EXISTS (FROM 'FILE')", "a subquery is not possible"),
        ("'a' IN (SELECT content FROM read_text('FILE'))", "a subquery is not possible"),
        ("*", "* or COLUMNS is not possible"),
        ("COLUMNS('char.*') > 1", "* or COLUMNS is not possible"),
        ("char_len > ?", "a parameter (? or $) is not possible"),
        ("row_number() OVER () > 1", "a window function is not possible"),
        ("random() < 0.5", "random() does not give the same in every run"),
        ("now() > '2020-01-01'::TIMESTAMP", "now() does not give the same in every run"),
    ],
)
def test_what_is_refused_before_anything_is_looked_at(tmp_path: Path, sql: str, told: str) -> None:
    """No input is looked for either."""
    (tmp_path / "secret.csv").write_text("content\na\n")
    assert told in refusal(tmp_path / "nowhere", tmp_path / "out", sql.replace("FILE", str(tmp_path / "secret.csv")))


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("char_len", "it must be true or false, it is BIGINT"),
        ("NULL", "it must be true or false"),
        ("language > 1", "Binder Error: Cannot compare"),
        ("no_such_function(char_len)", "no_such_function does not exist"),
        ("avg(char_len) > 1", "WHERE clause cannot contain aggregates"),
        ("wavg(char_len, row) > 1", "WHERE clause cannot contain aggregates"),
        ("read_csv('FILE') > 1", '"read_csv" is a table function'),
        ("read_text('FILE') = 'a'", '"read_text" is a table function'),
        ("CAST(id AS INTEGER) > 5", "chunk 0 of a.jsonl: Conversion Error"),
    ],
)
def test_what_duckdb_refuses_is_one_line(corpus: Path, sql: str, told: str) -> None:
    found = refusal(corpus / "in", corpus / "out", sql.replace("FILE", str(corpus / "in/a.jsonl")))
    assert told in found
    assert "LINE " not in found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('FILE')",
        "SELECT * FROM 'FILE'",
        "COPY (SELECT 1) TO 'FILE.2'",
        "ATTACH 'FILE.3'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET threads = 8",
    ],
)
def test_the_database_is_locked_up(tmp_path: Path, sql: str) -> None:
    """What a condition can never say would not work either."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    connection = condition._connection()
    with pytest.raises(duckdb.Error):
        connection.execute(sql.replace("FILE", str(tmp_path / "a.csv"))).fetchall()
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_macro_over_the_time_of_day(tmp_path: Path) -> None:
    if not duckdb.sql("FROM duckdb_functions() WHERE function_name = 'ago'").fetchall():
        pytest.skip("this DuckDB has no macro ago()")
    told = refusal(tmp_path / "nowhere", tmp_path / "out", "ago(INTERVAL 1 DAY) > '2020-01-01'::TIMESTAMP")
    assert "ago() does not give the same in every run" in told


def test_references() -> None:
    sql = """a.b > 1 AND list_filter(labels, lambda x: x = c) IS NULL OR CASE WHEN "d.e" THEN f[1] ELSE g.h.i END
             AND list_reduce(l, lambda x, Y: x + y) = z"""
    assert condition.references(sql) == [
        *(["a", "b"], ["labels"], ["c"], ["d.e"], ["f"], ["g", "h", "i"], ["l"], ["z"]),
    ]


# The options


def test_parameters_make_no_sense_with_it(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"^where computes nothing, so that parameters of tokens change nothing"):
        keep(corpus / "in", corpus / "out", "true", tokens={"tokenizer": "gpt2"})


def test_one_rule_at_a_time(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"^keep datatrove_filter\.is_kept and where are two rules"):
        keep(corpus / "in", corpus / "out", "true", keep="datatrove_filter.is_kept")


def test_from_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(20))
    tag(path, tmp_path / "out", "length,tokens", chunk_bytes=64 << 20)
    command = ["run", "filter", "-i", str(path), "--output", str(tmp_path / "out")]
    done = invoke(*command, "--where", "ttr > 0.7")
    assert done.code == 0, done.err
    assert "(by ttr > 0.7)" in done.out
    done = invoke(*command, "--where", "tr > 0.7")
    assert done.code == 2
    assert done.err.startswith("tagcorpus: unknown column 'tr'")
    assert done.out == ""


def test_input_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        keep(tmp_path / "nowhere", tmp_path / "out", "row > 1")


def test_a_condition_that_keeps_nothing_names_the_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", docs(10))
    tag(path, tmp_path / "out", "length,language")
    result = keep(path, tmp_path / "out", "language = 'eng' AND char_len > 0")
    assert result.summary["filtered"]["kept"] == 0
    assert result.messages == ["no document is kept: the values of language.language are 'en', 'de', 'un'"]
    assert keep(path, tmp_path / "out", "language = 'en' AND char_len > 0").messages == []


def test_conditions_do_not_see_the_tables_of_each_other() -> None:
    """They share one database, and each registers its columns under the same names."""
    first, second = condition._connection(), condition._connection()
    for connection, value in ((first, 1), (second, 2)):
        connection.register("keys", pa.table({"row": [value]}))
    assert [c.execute("SELECT row FROM keys").fetchall() for c in (first, second)] == [[(1,)], [(2,)]]

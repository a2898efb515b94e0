"""What `tagcorpus.run` returns: short to look at, and a table where rows were published."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import tagcorpus
from tagcorpus.errors import InputError
from tagcorpus.pipelines.runs.result import Result

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    output = tmp_path_factory.mktemp("result") / "out"
    return tagcorpus.run("tag", input=EXAMPLES / "gens.jsonl", output=output, taggers=["length", "language"])


def test_repr_is_one_short_line(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(result.output).parent)
    assert repr(result) == "Result(tag: 53 documents, 4 unusable rows, exit 0, out)"


def test_html_has_a_row_for_each_column(result: Result) -> None:
    page = result._repr_html_()
    assert page.count("<tr>") == 1 + 4
    assert "<td>length.char_len<td>53<td>0<td>862.6<td>906<td>0<td>1411<td></tr>" in page
    assert "en 46, un 3" in page


def test_html_escapes_labels(result: Result) -> None:
    columns = {"kind": {"n": 1, "missing": 0, "top": {"<script>": 1}}}
    summary = {"instances": {"own": {"columns": columns}}}
    page = Result("tag", "out", 0, result.counts, summary, "")._repr_html_()
    assert "&lt;script&gt; 1" in page
    assert "<script>" not in page


def test_table_has_the_documents_of_the_run(result: Result) -> None:
    table = result.table()
    assert table.num_rows == 53
    assert table.column_names == [
        "input",
        "row",
        "sub",
        "id",
        "char_len",
        "language",
        "language_score",
        "language_status",
    ]
    texts = result.table(text=True)
    assert [len(t) for t in texts["text"].to_pylist()] == table["char_len"].to_pylist()


def test_a_data_frame(result: Result) -> None:
    pytest.importorskip("pandas")
    assert result.to_pandas()["char_len"].sum() == sum(result.table()["char_len"].to_pylist())


def test_paths_are_of_files_that_are_there(result: Result) -> None:
    assert set(result.paths) == {"output", "ledger", "attributes"}
    assert all(Path(path).exists() for path in result.paths.values())


def test_a_dry_run_has_no_rows(tmp_path: Path) -> None:
    planned = tagcorpus.run(
        "tag", input=EXAMPLES / "gens.jsonl", output=tmp_path / "out", taggers="length", dry_run=True
    )
    with pytest.raises(InputError, match=r"^this run of tag published no rows"):
        planned.table()
    assert "attributes" not in planned.paths


def test_rows_of_features_are_models(tmp_path: Path) -> None:
    done = tagcorpus.run(
        "features", input=EXAMPLES / "generations", output=tmp_path / "out", taggers=["length", "repetition"]
    )
    table = done.table()
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    assert table.schema.field("char_len_mean").type == pa.float64()
    assert done.paths["features"] == str(tmp_path / "out/features.csv")


def test_files_of_domain_and_filter(tmp_path: Path) -> None:
    source, output = EXAMPLES / "gens.jsonl", tmp_path / "out"
    domain = tagcorpus.run("domain", input=source, output=output, domain={"backend": "fasttext"})
    assert Path(domain.paths["domains"]).read_text().startswith("id,")
    assert "prediction" in domain.table().column_names
    assert Path(tagcorpus.run("filter", input=source, output=output).paths["filtered"]).is_dir()

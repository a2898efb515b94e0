"""CSV files in single quotes are refused, and files with apostrophes are not."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

import tagcorpus
from tagcorpus.pipelines.formats.csv_quotes import is_single_quoted
from tagcorpus.pipelines.options.declaring.dialect import Dialect

DIALECT = Dialect(delimiter=",")
TEXTS = ["Hello, Å\x0bworld", "foo, bar, baz", "plain text", "it's fine", "a 'quoted' word"]


def written(texts: list[str], quoting: int, quote: str = "'") -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, quotechar=quote, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([str(i), text] for i, text in enumerate(texts))
    return sink.getvalue()


def is_refused(text: str, n_columns: int = 2) -> bool:
    return is_single_quoted(text.encode(), n_columns, DIALECT)


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["", "\nsecond line"])
def test_single_quotes_are_noticed(quoting: int, end: str) -> None:
    text = written([t + end for t in TEXTS], quoting)
    assert is_refused(text)
    assert is_refused(text.replace("\n", "\r\n"))
    assert is_refused(text[:-1])
    assert not is_single_quoted(text.encode(), 2, Dialect(delimiter=",", quote="'"))


def test_all_fields_in_single_quotes_are_noticed_without_a_comma() -> None:
    assert is_refused(written(["one", "two"], csv.QUOTE_ALL))
    assert is_refused("'1','a','b'\n'2','c','d'\n", 3)


@pytest.mark.parametrize(
    "text",
    [
        "1,'Hello'\n2,'Bye'\n3,'So'\n",
        "1,'tis the season\n2,it's\n3,'cause\n",
        "'90s,a\n'80s,b\n'70s,c\n",
        "1,'tis the season, he said\n2,rock 'n' roll, baby\n3,x\n",
        "1,foo, bar\n2,x, y\n3,'z'\n",
        "\"'Hello, you'\",1\n\"'Bye, then'\",2\n",
        "1,\"'Hello', she said\"\n2,\"'Bye', he said\"\n",
        "'1','one'\n2,two\n",
        "'1','one'\n",
        "1,one\n2,two\n",
        "",
        "\n\n",
    ],
)
def test_apostrophes_and_quotations_are_text(text: str) -> None:
    assert not is_refused(text)


def test_one_column_of_quotations_is_text() -> None:
    assert not is_refused("'Hello'\n'Bye'\n'So'\n", 1)


@given(st.lists(st.text(st.sampled_from("ab ',\"\n"), max_size=12), min_size=1, max_size=8))
def test_a_file_of_double_quotes_is_never_refused(texts: list[str]) -> None:
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL):
        assert not is_refused(written(texts, quoting, '"'))


def test_a_run_says_what_to_do_and_the_advice_works(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id,text\n" + written(TEXTS, csv.QUOTE_ALL))
    done = invoke("run", "tag", "-i", str(source), "-o", str(tmp_path / "out"), "-t", "length")
    assert done.code == 1
    assert 'its fields are in single quotes. Say --set "csv.quote=\'"' in " ".join(done.err.split())
    done = invoke("run", "tag", "-i", str(source), "-o", str(tmp_path / "out2"), "-t", "length", "--set", "csv.quote='")
    assert done.code == 0, done.err
    table = tagcorpus.read(tmp_path / "out2").to_table().to_pylist()
    assert [(row["id"], row["char_len"]) for row in table] == [(str(i), len(t)) for i, t in enumerate(TEXTS)]


def test_a_header_in_single_quotes_is_named(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("'id','text'\n'1','one'\n")
    done = invoke("run", "tag", "-i", str(source), "-o", str(tmp_path / "out"), "-t", "length")
    assert (done.code, "header's names are in single quotes" in " ".join(done.err.split())) == (2, True), done.err

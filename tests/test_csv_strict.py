"""Strict CSV: what a bad record costs, where reading goes on, other dialects, and digests that stay for sound files."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tagcorpus.pipelines.filtering.rewrite import csv_line
from tagcorpus.pipelines.formats import csv_records
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.options.declaring.dialect import Dialect
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions

LIMIT = 1 << 20
CASES = Path(__file__).resolve().parents[2] / "shared/cases/readers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csvs")


class Read:
    """All that comes out of some bytes: documents as (row, id, text), entries of quarantine by row, and the ranges."""

    def __init__(
        self,
        folder: Path,
        data: bytes,
        dialect: Dialect | None = None,
        *,
        chunk_bytes: int = 1 << 30,
        limit: int = LIMIT,
        format_: str = "csv",
    ) -> None:
        (folder / "x").write_bytes(data)
        file = InputFile("x", str(folder / "x"), format_, "")
        reader_options = ReaderOptions(max_line_bytes=limit, csv=dialect or Dialect())
        self.chunks: list[Chunk] = csv_records.index(file, chunk_bytes, limit, dialect=reader_options.csv)
        self.documents: list[tuple[int, str, str]] = []
        self.quarantine: dict[int, dict[str, Any]] = {}
        for chunk in self.chunks:
            reader = ChunkReader(file, chunk, reader_options)
            n = 0
            for batch in reader:
                n += batch.num_rows
                columns = batch.table.select(["row", "id", "text"]).to_pydict().values()
                self.documents += zip(*columns, strict=True)
            reader.counts.check(chunk.rows, n, "here")
            self.quarantine |= {e["row"]: e for e in reader.quarantine}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(id_, text) for _, id_, text in self.documents]

    @property
    def reasons(self) -> dict[int, str]:
        return {row: entry["reason"] for row, entry in self.quarantine.items()}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'1,"abc"def', "bad_csv"),
        (b'1,"x" ', "bad_csv"),
        (b'"1"2,x', "bad_csv"),
        (b'1,"he said \\"hi\\" ok"', "bad_csv"),
        (b'1,"two\nlines "q" here"', "bad_csv"),
        (b'1,"\\"a\nfoo,bar\nb\\",c"', "bad_csv"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [5, 1 << 30])
def test_a_record_that_is_no_csv_is_one_row_of_quarantine(
    tmp_path: Path, line: bytes, reason: str, chunk_bytes: int
) -> None:
    result = Read(tmp_path, b"id,text\n0,before\n" + line + b'\n2,"after"\n3,z\n', chunk_bytes=chunk_bytes)
    assert result.documents == [(0, "0", "before"), (2, "2", "after"), (3, "3", "z")]
    assert result.reasons == {1: reason}


@pytest.mark.parametrize("line", ['1,in"side', '1,"a ""b"""', "1,", '"1",x', '1,"a\r\nb"', "1, spaces ", '1," "'])
def test_sound_records_are_not_refused(tmp_path: Path, line: str) -> None:
    result = Read(tmp_path, f"id,text\n{line}\n2,z\n".encode())
    expected = list(csv.reader(io.StringIO(f"{line}\n2,z\n", newline="")))
    assert result.pairs == [(r[0], r[1]) for r in expected]
    assert not result.quarantine


@pytest.mark.parametrize("n", [csv_records.STRAY_LINES - 2, csv_records.STRAY_LINES - 1, csv_records.STRAY_LINES])
@pytest.mark.parametrize("end", ["", '99,"quoted"\n'])
@pytest.mark.parametrize("chunk_bytes", [40, 1 << 30])
def test_a_stray_quote_is_known_by_the_records_that_it_swallowed(
    tmp_path: Path, n: int, end: str, chunk_bytes: int
) -> None:
    lines = [f"{i},text {i}\n" for i in range(n)]
    result = Read(tmp_path, f'id,text\nx,"open\n{"".join(lines)}{end}y,last\n'.encode(), chunk_bytes=chunk_bytes)
    if n < csv_records.STRAY_LINES - (not end):
        # Without a quote that ends it, it may be one text up to the end of the file.
        assert result.pairs == ([("y", "last")] if end else [])
        assert result.reasons == {0: "bad_csv" if end else "unclosed_quote"}
        assert result.quarantine[0]["message"] == f"it takes {n + 2} lines of the file"
        return
    quoted = [("99", "quoted")] if end else []
    assert result.pairs == [(str(i), f"text {i}") for i in range(n)] + quoted + [("y", "last")]
    assert result.reasons == {0: "unclosed_quote"}


def test_a_cut_off_text_is_not_read_as_records(tmp_path: Path) -> None:
    # The lines of the last text have as many commas as records have.
    result = Read(tmp_path, b'id,text\n1,a\n2,"Dear Ann,\nthanks, and\nsee you, soon\n')
    assert result.pairs == [("1", "a")]
    assert result.reasons == {1: "unclosed_quote"}
    assert result.quarantine[1]["message"] == "it takes 3 lines of the file"


def test_a_text_over_the_limit_costs_itself_only(tmp_path: Path) -> None:
    data = b'id,text\n1,a\n2,"' + b'some, words ""quoted""\n' * 100 + b'"\n3,"c"\n'
    for chunk_bytes in (50, 1 << 30):
        result = Read(tmp_path, data, limit=500, chunk_bytes=chunk_bytes)
        assert result.pairs == [("1", "a"), ("3", "c")]
        assert result.reasons == {1: "too_long"}
        assert result.quarantine[1]["head"].startswith('2,"some, words')


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_lone_carriage_return_is_text(tmp_path: Path, end: str) -> None:
    data = end.join(["id,text,n", "a,one\rtwo,1", '\rb,"x\ry\nz",2', "c,\r\rd,3", "d,last,4", ""]).encode()
    for chunk_bytes in (5, 1 << 30):
        result = Read(tmp_path, data, chunk_bytes=chunk_bytes)
        assert result.pairs == [("a", "one\rtwo"), ("\rb", "x\ry\nz"), ("c", "\r\rd"), ("d", "last")]
        assert not result.quarantine


def test_joined_files_with_byte_order_marks(tmp_path: Path) -> None:
    one = b"\xef\xbb\xbfid,text\n1,a\n"
    result = Read(tmp_path, one + one)
    assert result.documents == [(0, "1", "a"), (2, "1", "a")]
    assert not result.quarantine
    result = Read(tmp_path, one + b'\xef\xbb\xbf"2","b"\n')
    assert result.pairs == [("1", "a"), ("2", "b")]


# Digests decide whether parts that are there are computed again.


def digest_of(names: list[str], data: bytes) -> str:
    """As the first version of the reader had it."""
    digest = xxhash.xxh3_128(repr(names).encode())
    digest.update(data)
    return digest.hexdigest()


cells = st.text(st.sampled_from('ab,"\n\ré \\;\t'), max_size=8)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]), st.integers(7, 80))
def test_a_sound_file_keeps_its_digests(folder: Path, rows: list[tuple[str, str]], end: str, chunk_bytes: int) -> None:
    sink = io.StringIO()
    # The csv module leaves a carriage return unquoted where lines end in LF only: such a file is read anew.
    quoting: Any = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    csv.writer(sink, lineterminator=end, quoting=quoting).writerows(rows)
    head, body = f"id,text{end}".encode(), sink.getvalue().encode()
    result = Read(folder, head + body, chunk_bytes=chunk_bytes)
    assert [r.digest for r in result.chunks] == [
        digest_of(["id", "text"], (head + body)[r.start : r.end]) for r in result.chunks
    ]
    assert not result.quarantine


@pytest.mark.parametrize(
    "line", [b'1,"abc"def', b"1,a\rb", b'1,"open\nx', b"\xef\xbb\xbf1,b"], ids=["strict", "return", "open", "mark"]
)
def test_a_range_that_is_read_otherwise_has_another_digest(tmp_path: Path, line: bytes) -> None:
    data = b"id,text\n" + b"0,sound\n" * 10 + line
    result = Read(tmp_path, data, chunk_bytes=20)
    digests = [digest_of(["id", "text"], data[r.start : r.end]) for r in result.chunks]
    assert [r.digest for r in result.chunks[:-1]] == digests[:-1]
    assert result.chunks[-1].digest != digests[-1]


def test_a_dialect_is_part_of_the_digest(tmp_path: Path) -> None:
    data = b"id,text\n1,a\n"
    plain = Read(tmp_path, data).chunks[0].digest
    others = {Read(tmp_path, data, d).chunks[0].digest for d in (Dialect(";"), Dialect(escape="\\"), Dialect(quote=""))}
    assert len({plain, *others}) == 4
    assert Read(tmp_path, data, Dialect(escape='"')).chunks[0].digest == plain


# Dialects.


@pytest.mark.parametrize(
    ("data", "dialect", "format_"),
    [
        ('id;text\n1;a, b\n2;"x;\ny"\n', Dialect(";"), "csv"),
        ('id\ttext\n1\ta, b\n2\t"x;\ny"\n', Dialect(), "tsv"),
        ("id|text\n1|a, b\n2|'x;\ny'\n", Dialect("|", quote="'"), "csv"),
        ('id,text\n1,"a, b"\n2,"x;\ny"\n', Dialect(escape="\\"), "csv"),
    ],
)
def test_other_characters(tmp_path: Path, data: str, dialect: Dialect, format_: str) -> None:
    assert Read(tmp_path, data.encode(), dialect, format_=format_).pairs == [("1", "a, b"), ("2", "x;\ny")]


def test_without_quotes_a_quote_is_text(tmp_path: Path) -> None:
    data = b'id\ttext\n1\t"open\n2\ta "b" c\n3\t"x"y\n'
    assert Read(tmp_path, data, Dialect(quote=""), format_="tsv").pairs == [
        ("1", '"open'),
        ("2", 'a "b" c'),
        ("3", '"x"y'),
    ]
    escaped = Read(tmp_path, b"id,text\n1,a\\, b \\\\ \\n\n", Dialect(quote="", escape="\\"))
    assert escaped.pairs == [("1", "a, b \\ \\n")]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ('"he said \\"hi\\" ok"', 'he said "hi" ok'),
        ('"a ""b"" \\"c\\""', 'a "b" "c"'),
        ('"C:\\\\"', "C:\\"),
        ("C:\\new", "C:\\new"),
        ('"a\\nb"', "a\\nb"),
        ('"\\\\\\"x"', '\\"x'),
        ('"\\"a\nb\\",c"', '"a\nb",c'),
        ("ends in \\", "ends in \\"),
        ("é\\", "é\\"),
    ],
)
def test_a_backslash_that_escapes(tmp_path: Path, field: str, text: str) -> None:
    result = Read(tmp_path, f"id,text\n1,{field}\n2,z\n".encode(), Dialect(escape="\\"))
    assert result.pairs == [("1", text), ("2", "z")]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=8),
    st.sampled_from([Dialect(), Dialect(";"), Dialect("\t", quote="'"), Dialect(escape="\\"), Dialect(";", "/", "'")]),
)
def test_what_run_filter_writes_is_read_again(folder: Path, rows: list[tuple[str, str]], dialect: Dialect) -> None:
    table = [("id", "text"), *rows]
    data = "".join(csv_line(row, dialect.of("csv")) for row in table).encode()
    result = Read(folder, data, dialect)
    assert result.pairs == rows
    assert not result.quarantine


@pytest.mark.parametrize("seed", range(3))
def test_ranges_of_any_size_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(csv_records, "STRAY_LINES", 3)
    random_ = random.Random(seed)
    odd = [
        '1,"x"',
        '1,"a\nb"',
        '1,"open',
        '"abc"def,1',
        "a\rb,c",
        'x,"a\\"b"',
        '"\\"q\n z\\",c"',
        "",
        "\ufeffa,b",
        "1,2,3",
    ]
    for _ in range(40):
        rows = [random_.choice([*odd, "a,b", "".join(random_.choices('ab,"\\\n\r', k=8))]) for _ in range(20)]
        data = ("id,text\n" + "\n".join(rows)).encode()
        limit = random_.choice([60, LIMIT])
        whole = Read(tmp_path, data, limit=limit)
        cut = Read(tmp_path, data, limit=limit, chunk_bytes=random_.randrange(5, 100))
        assert cut.documents == whole.documents
        assert cut.quarantine == whole.quarantine


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_cases() -> None:
    def case(name: str, dialect: Dialect | None = None) -> tuple[list[tuple[str, str]], dict[int, str]]:
        file = InputFile(name, str(CASES / name), "csv", "")
        reader_options = ReaderOptions(csv=dialect or Dialect())
        pairs: list[tuple[str, str]] = []
        reasons: dict[int, str] = {}
        for chunk in csv_records.index(file, 1 << 20, LIMIT, dialect=reader_options.csv):
            reader = ChunkReader(file, chunk, reader_options)
            for batch in reader:
                pairs += zip(batch.table["id"].to_pylist(), batch.texts, strict=True)
            reasons |= {e["row"]: e["reason"] for e in reader.quarantine}
        return pairs, reasons

    backslashes = "01-csv-backslash-quotes.csv"
    assert case(backslashes) == ([("0", "plain"), ("2", "a, b")], dict.fromkeys((1, 3, 4, 5, 6, 7, 8), "bad_csv"))
    texts = ["plain", 'he said "hi" ok', "a, b", 'say "x", then "y"', '"quoted"', 'two\nlines "q" here', '"a\nb",c']
    texts += ['x "1" y', 'end "q"']
    assert case(backslashes, Dialect(escape="\\")) == ([(str(i), text) for i, text in enumerate(texts)], {})
    assert case("03-csv-text-after-closing-quote.csv")[1] == {0: "bad_csv", 1: "bad_csv"}
    assert case("36-csv-bare-cr.csv") == ([("a", "one\rtwo"), ("b", "ok")], {})
    semicolons = [("1", "hello, world"), ("2", 'he said "hi"'), ("3", "two\nlines")]
    assert case("38-csv-semicolon.csv", Dialect(";")) == (semicolons, {})

"""`tagcorpus.tag` and `TextTagger`: every kind of table and of texts gives the same rows, and nothing else is taken for one."""

from __future__ import annotations

import base64
import io
import os
import pathlib
import pickle
import threading
from collections import UserList, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines import in_memory
from tagcorpus.pipelines.runs import instances
from tagcorpus.taggers import add_files

TEXTS = ["a", None, "ccc"]
TABLE = pa.table({"key": [7, 8, 9], "text": TEXTS})


def frame(package: str) -> Any:
    """TABLE as a table of another library."""
    module = pytest.importorskip(package)
    if package == "datasets":
        return module.Dataset(TABLE)
    return {"pandas": TABLE.to_pandas, "polars": lambda: module.from_arrow(TABLE)}.get(
        package, lambda: module.connect().from_arrow(TABLE)
    )()


class Exporter:
    """A table of some other library, that can be read once."""

    def __init__(self, table: pa.Table) -> None:
        self._reader = table.to_reader()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._reader.__arrow_c_stream__(requested_schema)


TABLES: dict[str, Callable[[], Any]] = {
    "Table": lambda: TABLE,
    "chunked": lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
    "sliced": lambda: pa.concat_tables([TABLE, TABLE]).slice(3),
    "RecordBatch": lambda: TABLE.to_batches()[0],
    "RecordBatchReader": TABLE.to_reader,
    "StructArray": lambda: pa.array(TABLE.to_pylist()),
    "stream": lambda: Exporter(TABLE),
    "mapping": lambda: {"key": [7, 8, 9], "text": TEXTS},
    "mapping of arrays": lambda: {"key": np.array([7, 8, 9]), "text": np.array(TEXTS, object)},
    "mapping of Arrow": lambda: {"key": TABLE["key"], "text": TABLE["text"].combine_chunks()},
    **{package: lambda package=package: frame(package) for package in ("pandas", "polars", "duckdb", "datasets")},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    found = tagcorpus.tag(TABLES[name](), "length")
    assert found.to_pydict() == {
        "row": [0, 1, 2],
        "id": ["0", "1", "2"],
        "key": [7, 8, 9],
        "text": TEXTS,
        "length.char_len": [1, None, 3],
    }
    assert found.schema.types[:2] == [pa.int64(), pa.string()]
    keyed = tagcorpus.tag(TABLES[name](), "length", text_column="text", id_column="key")
    assert keyed["id"].to_pylist() == ["7", "8", "9"]


def of(package: str, make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: make(pytest.importorskip(package))


SEQUENCES: dict[str, Callable[[], Any]] = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "deque": lambda: deque(TEXTS),
    "UserList": lambda: UserList(TEXTS),
    "numpy objects": lambda: np.array(TEXTS, object),
    "numpy objects with nan": lambda: np.array(["a", float("nan"), "ccc"], object),
    "Array": lambda: pa.array(TEXTS),
    "sliced Array": lambda: pa.array(["x", *TEXTS])[1:],
    "ChunkedArray": lambda: pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    "large_string": lambda: pa.array(TEXTS, pa.large_string()),
    "string_view": lambda: pa.array(TEXTS, pa.string_view()),
    "dictionary": lambda: pa.array(TEXTS).dictionary_encode(),
    "binary": lambda: pa.array([b"a", None, b"ccc"]),
    "pandas": of("pandas", lambda pd: pd.Series(TEXTS)),
    "pandas objects": of("pandas", lambda pd: pd.Series(["a", pd.NA, "ccc"], dtype=object)),
    "pandas categories": of("pandas", lambda pd: pd.Series(TEXTS, dtype="category")),
    "polars": of("polars", lambda pl: pl.Series(TEXTS)),
    "polars categories": of("polars", lambda pl: pl.Series(TEXTS, dtype=pl.Categorical)),
    "datasets": of("datasets", lambda datasets: datasets.Dataset(TABLE)["text"]),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name: str) -> None:
    found = tagcorpus.tag(SEQUENCES[name](), ["length", "chars=length"])
    assert found.to_pydict() == {
        "row": [0, 1, 2],
        "id": ["0", "1", "2"],
        "length.char_len": [1, None, 3],
        "chars.char_len": [1, None, 3],
    }


@pytest.mark.parametrize(
    "texts", [[], (), pa.array([], pa.string()), {"text": []}, pa.table({"text": pa.array([], pa.null())})]
)
def test_none_at_all(texts: Any) -> None:
    found = tagcorpus.tag(texts)
    assert found.num_rows == 0
    assert {"row", "id", "repetition.is_kept"} <= set(found.column_names)


def test_missing_texts_only() -> None:
    for texts in ([None, None], pa.nulls(2), {"text": [None, None]}, pa.nulls(2, pa.float64())):
        found = tagcorpus.tag(texts, ["length", "language"])
        assert found["length.char_len"].to_pylist() == found["language.language"].to_pylist() == [None, None]


def test_lone_surrogates_are_repaired() -> None:
    pandas = pytest.importorskip("pandas")
    for texts in (
        ["\ud800x"],
        {"text": ["\ud800x"]},
        pandas.DataFrame({"text": pandas.Series(["\ud800x"], dtype=object)}),
    ):
        assert tagcorpus.tag(texts, "length")["length.char_len"].to_pylist() == [2]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.none() | st.text(max_size=5), max_size=12), st.integers(1, 4))
def test_a_missing_text_moves_no_other(texts: list[str | None], chunk: int) -> None:
    expected = [None if t is None else len(t) for t in texts]
    arrays = [
        pa.array([t and t.encode("utf-8", "replace").decode() for t in texts[i : i + chunk]], pa.string())
        for i in range(0, len(texts), chunk)
    ]
    assert tagcorpus.tag(texts, "length")["length.char_len"].to_pylist() == expected
    assert tagcorpus.tag(pa.chunked_array(arrays, pa.string()), "length")["length.char_len"].to_pylist() == expected


def test_more_rows_than_a_batch() -> None:
    texts = [None if i % 3 == 0 else "x" * (i % 7) for i in range(2500)]
    assert tagcorpus.tag(texts, "length")["length.char_len"].to_pylist() == [
        t and len(t) if t else (None if t is None else 0) for t in texts
    ]


# Columns


def test_the_text_columns_of_the_command_line() -> None:
    assert tagcorpus.tag({"raw_content": ["aaa"], "content": ["bb"]}, "length")["length.char_len"].to_pylist() == [2]
    rows = {"text": [None, "a"], "content": ["bb", "ccc"]}
    assert tagcorpus.tag(rows, "length")["length.char_len"].to_pylist() == [2, 1], "a null text hides no content"
    assert tagcorpus.tag({**rows, "body": ["", "12345"]}, "length", text_column="body")[
        "length.char_len"
    ].to_pylist() == [0, 5]


def test_nested_columns() -> None:
    messages = [[{"content": "a"}, {"content": "bc"}], [], None]
    table = pa.table({"m": [{"t": "abc", "i": 1}, {"t": None, "i": None}, None], "messages": messages})
    found = tagcorpus.tag(table, "length", text_column="m.t", id_column="m.i")
    assert (found["length.char_len"].to_pylist(), found["id"].to_pylist()) == ([3, None, None], ["1", "1", "2"])
    found = tagcorpus.tag(table, "length", text_column="messages[*].content")
    assert found["length.char_len"].to_pylist() == [4, None, None]
    with pytest.raises(TypeError, match=r"'m\.i' holds no text in row 0 but an int"):
        tagcorpus.tag(table, "length", text_column="m.i")


def test_ids() -> None:
    table = {"text": ["a", "b", "c"], "id": ["x", None, "z"], "doc_id": [1, 2, 3]}
    found = tagcorpus.tag(table, "length")
    assert found["id"].to_pylist() == ["x", "2", "z"]
    assert found.column_names == ["row", "id", "text", "doc_id", "length.char_len"]


def test_no_column_of_the_table_is_lost() -> None:
    table = {"row": [5], "id": [7], "text": ["abc"], "length.char_len": [0], "input.row": ["?"]}
    found = tagcorpus.tag(table, "length").to_pydict()
    assert found == {
        "row": [0],
        "id": ["7"],
        "input.row": [5],
        "input.id": [7],
        "text": ["abc"],
        "input.length.char_len": [0],
        "input.input.row": ["?"],
        "length.char_len": [3],
    }


def test_in_a_map_of_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    mapped = datasets.Dataset(TABLE).map(lambda batch: tagcorpus.tag(batch, "length"), batched=True, batch_size=2)
    assert mapped["length.char_len"][:] == [1, None, 3]
    assert mapped["text"][:] == TEXTS


# Refusals


def no_texts() -> Any:
    yield "a"


REFUSED: list[tuple[Any, str]] = [
    ("abc", r"it got a str: for one text, pass \[text\]"),
    (b"abc", r"it got a bytes: decode it"),
    (no_texts(), r"it got a generator: pass list\(\.\.\.\) of it"),
    ({"a", "b"}, r"it got a set: pass a list"),
    (iter(["a"]), r"it got a list_iterator: pass list"),
    ({"a": "b"}.values(), r"it got a dict_values: pass list"),
    (map(str, [1]), r"it got a map: pass list"),
    (pathlib.Path("a.jsonl"), r"pathlib\.PosixPath: for a file, use tagcorpus\.run\('tag', input=PATH\)"),
    (io.StringIO("a"), r"io\.StringIO: for a file"),
    (None, r"it got a NoneType"),
    (5, r"it got an int"),
    ({"a": 1}, r"it got a dict whose 'a' is an int and not a column"),
    ({"text": "abc"}, r"it got a dict whose 'text' is a str and not a column"),
    ({1: ["a"]}, r"names of columns must be strings, a dict has 1"),
    ({"text": ["a", 1]}, r"column 'text' of a dict is not of one type"),
    ({"train": TABLE}, r"a dict whose 'train' is a pyarrow\.Table: pass one of its tables, such as \['train'\]"),
    ([{"text": "a"}], r"row 0 is not a string or None but a dict: pass a mapping of columns"),
    ([["a"]], r"row 0 is not a string or None but a list"),
    (["a", b"b"], r"row 1 is not a string or None but a bytes: decode it"),
    (["a", float("nan")], r"row 1 is not a string or None but a float \(nan\): pass None for a missing text"),
    (range(3), r"row 0 is not a string or None but an int"),
    (np.array([["a"]]), r"it got a numpy\.ndarray"),
    (np.array("a"), r"it got a numpy\.ndarray"),
    (np.array([1, 2]), r"row 0 is not a string or None but an int"),
    (pa.array([1]), r"a pyarrow\.Int64Array holds int64, not text"),
    (pa.table({"text": [["a"]]}), r"column 'text' holds list<.*>, not text"),
    (pa.scalar("a"), r"it got a pyarrow\.StringScalar"),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_what_is_neither_table_nor_texts(texts: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        tagcorpus.tag(texts, "length")
    assert isinstance(raised.value, tagcorpus.TagcorpusError)


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ({"body": ["a"]}, {}, ConfigError, r"no column text, content or raw_content in a dict, which has body\. .* text_column="),
        (TABLE, {"text_column": "texd"}, ConfigError, r"unknown column 'texd' \(text_column\): did you mean 'text'"),
        (TABLE, {"id_column": "keys"}, ConfigError, r"unknown column 'keys' \(id_column\): did you mean 'key'"),
        (["a"], {"text_column": "text"}, ConfigError, r"text_column goes with a table or a mapping of columns, got a list"),
        (pa.table([["a"], ["b"]], names=["text", "text"]), {}, ConfigError, r"has 2 columns called 'text'"),
        ({"text": ["a"], "b": [1, 2]}, {}, InputError, r"column 'b' has 2 values, column 'text' 1"),
        (pa.chunked_array([[b"a"], [b"\xff"]]), {}, InputError, r"is not UTF-8 in row 1"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there(texts: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tagcorpus.tag(texts, "length", **options)


def test_tables_without_a_text_column() -> None:
    frame = pytest.importorskip("pandas").DataFrame({"body": ["a"], "other": [object()]})
    with pytest.raises(ConfigError, match=r"in a pandas\.DataFrame, which has body\. Name"):
        tagcorpus.tag(frame[["body"]], "length")
    with pytest.raises(TypeError, match=r"column 'other' of a pandas\.DataFrame is not of one type"):
        tagcorpus.tag(frame, "length", text_column="body")
    lazy = pytest.importorskip("polars").LazyFrame({"text": ["a"]})
    with pytest.raises(TypeError, match=r"polars\.LazyFrame: pass the result of its collect\(\)"):
        tagcorpus.tag(lazy, "length")
    many = pytest.importorskip("datasets").DatasetDict(train=pytest.importorskip("datasets").Dataset(TABLE))
    with pytest.raises(TypeError, match=r"DatasetDict whose 'train' is a datasets\.Dataset: pass one of its tables"):
        tagcorpus.tag(many, "length")


# Taggers that are kept


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "_kept", type(in_memory._kept)())


def test_taggers_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    load = instances.load_free

    def counted(tagger: str, parameters: Any, name: str) -> Any:
        built.append(name)
        return load(tagger, parameters, name)

    monkeypatch.setattr(in_memory, "load_free", counted)
    for _ in range(3):
        tagcorpus.tag(["a"], ["length", "tokens"])
    assert built == ["length", "tokens"]
    parameters = {"tokens": {"tokenizer": "r50k_base"}}
    for _ in range(2):
        tagcorpus.tag(["a"], ["length", "tokens"], parameters)
    assert built == ["length", "tokens"] * 2
    for i in range(10):
        tagcorpus.tag(["a"], f"t{i}=length")
    assert len(in_memory._kept) == in_memory.MOST_KEPT


def test_a_file_that_changed_is_read_again(tmp_path: pathlib.Path) -> None:
    ranks = tmp_path / "r.tiktoken"
    lines = [f"{base64.b64encode(bytes([b])).decode()} {b}\n" for b in range(256)]
    ranks.write_text("".join(lines))
    parameters = {"tokens": {"tokenizer": str(ranks)}}
    assert tagcorpus.tag(["aa aa"], "tokens", parameters)["tokens.num_tokens"].to_pylist() == [5]
    ranks.write_text("".join([*lines, f"{base64.b64encode(b'aa').decode()} 256\n"]))
    assert tagcorpus.tag(["aa aa"], "tokens", parameters)["tokens.num_tokens"].to_pylist() == [3]


PLUGIN = """
from dataclasses import dataclass
import pyarrow as pa
from tagcorpus.taggers import Parameters, column

@dataclass(frozen=True)
class Constant(Parameters):
    version = "1"
    columns = pa.schema([column("value", pa.int64(), "always the same", "number")])

    def tag(self, batch):
        return pa.record_batch([pa.array([VALUE] * batch.num_rows)], schema=self.columns)

TAGGER = Constant
"""


def test_a_tagger_file_that_changed_is_run_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "constant_of_test.py"
    for value in (1, 2):
        file.write_text(PLUGIN.replace("VALUE", str(value)))
        add_files([str(file)])
        tagger = tagcorpus.TextTagger("constant_of_test")
        for found in (
            tagcorpus.tag(["a"], "constant_of_test"),
            tagger(["a"]),
            pickle.loads(pickle.dumps(tagger))(["a"]),
        ):
            assert found["constant_of_test.value"].to_pylist() == [value]


def test_a_tagger_is_an_object() -> None:
    tagger = tagcorpus.TextTagger(["length", "tokens"], {"tokens": {"tokenizer": "r50k_base"}})
    expected = tagcorpus.tag(TEXTS, ["length", "tokens"], {"tokens": {"tokenizer": "r50k_base"}})
    assert tagger(TEXTS).equals(expected)
    assert tagger(TABLE, id_column="key")["id"].to_pylist() == ["7", "8", "9"]
    pickled = pickle.dumps(tagger)
    assert len(pickled) < 2000, "parameters, no ranks"
    assert pickle.loads(pickled)(TEXTS).equals(expected)
    assert repr(tagger) == "TextTagger(['length=length', 'tokens=tokens'])"
    with pytest.raises(ConfigError, match="unknown instance 'tokns'"):
        tagcorpus.TextTagger(["tokens"], {"tokns": {}})


def test_threads_share_a_tagger() -> None:
    """One call computes at a time."""
    tagger = tagcorpus.TextTagger(["length", "tokens", "language"])
    instance = tagger._instances[0]
    inside, most = 0, 0
    tag = type(instance.tagger).tag

    class Watched:
        columns = instance.tagger.columns

        def tag(self, batch: Any) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            try:
                return tag(instance.tagger, batch)
            finally:
                inside -= 1

    object.__setattr__(instance, "tagger", Watched())
    texts = [[f"text {i} " * (n % 5) for n in range(50)] for i in range(16)]
    expected = [tagger(t) for t in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tagger, texts)) == expected
        assert list(pool.map(lambda t: tagcorpus.tag(t, ["length", "tokens"]).num_rows, texts)) == [50] * 16
    assert most == 1


def test_a_child_is_not_locked_by_a_thread_of_its_parent() -> None:
    tagger = tagcorpus.TextTagger("length")
    tagger(["a"])
    holds, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with tagger._lock, in_memory._keeping:
            holds.set()
            may_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    child = os.fork()
    if child == 0:
        free = tagger._lock.acquire(blocking=False) and in_memory._keeping.acquire(blocking=False)
        os._exit(0 if free else 1)
    may_go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

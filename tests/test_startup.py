"""What a run on a small local file imports: little, whatever else is installed; and what stands in for what it leaves out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from tagcorpus.kernels.documents.keywords import count_keywords
from tagcorpus.kernels.documents.tokens import count_distinct
from tagcorpus.pipelines.attributes.summary import PERCENTILES, order_statistics, percentiles
from tagcorpus.pipelines.storage.local_files import LocalFiles, local_path
from tagcorpus.taggers import keywords
from tagcorpus.taggers._interface import installed, late_kernels
from tagcorpus.taggers._interface.arrow import call
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.tokens import distinct_by_sorting

SMALL_FILE = Path(__file__).parent.parent / "examples" / "gens.jsonl"
NEVER = (
    "huggingface_hub", "datatrove.io", "datatrove.executor", "fsspec", "pandas", "scipy", "numba", "llvmlite", "ray", "openai",
    "awkward", "gigatoken", "asyncio", "aiohttp", "requests", "torch", "transformers", "tokenizers", "sklearn", "matplotlib",
    "pyarrow.dataset",
)  # fmt: skip
NOT_FOR_LENGTH = (*NEVER, "tiktoken", "fasttext", "pycld2", "pyarrow.compute", "multiprocessing")
# In a child, whose modules are its own: runs the command line and prints what it has imported.
CHILD = """
import contextlib, io, json, sys
from tagcorpus.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""


def run_child(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("options", "never"), [(["--taggers", "length"], NOT_FOR_LENGTH), ([], NEVER)])
def test_what_a_small_run_imports(tmp_path: Path, options: list[str], never: tuple[str, ...]) -> None:
    output = tmp_path / "out"
    command = ["run", "tag", "--input", str(SMALL_FILE), "--output", str(output), *options]
    modules = set(json.loads(run_child(CHILD, *command)))
    summary = json.loads((output / "summary" / "tag.json").read_text())
    assert summary["instances"]["length"]["columns"]["char_len"]["n"] == 53
    assert "datatrove.pipeline.base" in modules
    assert modules & set(never) == set()


# pandas


def test_pandas_is_still_known_to_pyarrow() -> None:
    """pa.array takes NaN in a pandas object for a missing value, and elsewhere for a number."""
    pytest.importorskip("pandas")
    code = """
import sys
from tagcorpus.pipelines.execution import late_pandas
late_pandas.postpone()
import pyarrow as pa
assert pa.array([1, None]).null_count == 1
assert "pandas" not in sys.modules
assert len(pa.table({"a": [1]}).to_pandas()) == 1
import pandas
late_pandas.postpone()
assert pandas.__spec__.loader is pandas.__loader__
print(pa.array(pandas.Series([1.0, float("nan")])).null_count, pa.array([1.0, float("nan")]).null_count)
"""
    assert run_child(code).split() == ["1", "0"]
    # The same where somebody imports pandas before pyarrow is asked for anything else.
    code = code.replace('assert len(pa.table({"a": [1]}).to_pandas()) == 1\n', "")
    assert run_child(code).split() == ["1", "0"]


# Numba


@pytest.mark.e2e
def test_numba_has_scipy_and_awkward_where_a_program_needs_them() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("awkward")
    code = """
import tagcorpus.kernels.fixed_point
import awkward, numba, numpy as np
product = numba.njit(lambda a, b: np.dot(a, b))
second = numba.njit(lambda rows: rows[0][1])
print(product(np.ones((2, 2)), np.ones((2, 2)))[0, 0], second(awkward.Array([[1, 5], [7]])))
"""
    assert run_child(code).split() == ["2.0", "5"]


# Kernels


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=8))
def test_distinct_ids_without_a_kernel(documents: list[list[int]]) -> None:
    ids = np.array([i for d in documents for i in d], np.uint32)
    offsets = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    counts = distinct_by_sorting(ids, offsets)
    assert counts.dtype == np.int64
    assert counts.tolist() == naive.distinct_per_document(ids, offsets)
    assert counts.tolist() == count_distinct(ids, offsets, 41).tolist()


WORDY = st.lists(
    st.sampled_from([*"aAwWhHoO:0٣19%._ \né'ſK", "What", "how", "so", "user:", "A:", "Question:", "3.14", "and ", "12345678901234"]),
    max_size=40,
).map("".join)  # fmt: skip


@given(st.lists(WORDY, max_size=6))
def test_keywords_without_a_kernel(texts: list[str]) -> None:
    counts = keywords.found_by_re(texts)
    assert counts.shape == (len(texts), 5)
    assert counts.dtype == np.int64
    assert counts.tolist() == [list(naive.keyword_counts(text).values()) for text in texts]
    assert counts.tolist() == count_keywords(*DocumentBatch.from_texts(texts).utf8, *TABLES).tolist()


TABLES = keywords.tables()


def test_a_missing_text_has_no_keywords() -> None:
    assert keywords.found_by_re([None, "What and 1"]).tolist() == [[0, 0, 0, 0, 0], [1, 0, 1, 0, 1]]


def test_when_a_kernel_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_kernels, "_spent_seconds", 0.0)
    assert late_kernels.is_kernel_due(0.0)  # Numba is imported here
    monkeypatch.delitem(sys.modules, "numba")
    third = late_kernels.NUMBA_SECONDS / 3
    assert [late_kernels.is_kernel_due(third * 1.01) for _ in range(4)] == [False, False, True, True]


def test_both_ways_give_the_same_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from tagcorpus.taggers.tokens import Tokens

    batch = DocumentBatch.from_texts(["What is 3.14? User: so", "", "and and AND ٣ ſo"])
    by_kernel = [Tokens().tag(batch), keywords.Keywords().tag(batch)]
    monkeypatch.delitem(sys.modules, "numba")
    monkeypatch.setattr(late_kernels, "_spent_seconds", 0.0)
    assert [Tokens().tag(batch), keywords.Keywords().tag(batch)] == by_kernel


# Percentiles


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50), st.integers(1, 3))
def test_percentiles_of_few_values_are_those_of_many(values: list[float], pieces: int) -> None:
    array = np.array([*values, -0.0, 0.0])
    ranks = list(range(len(array)))
    by_bits = order_statistics(lambda: np.array_split(array, pieces), ranks)
    from tagcorpus.pipelines.attributes import summary

    at_once = summary._sorted_at(lambda: np.array_split(array, pieces), ranks)
    assert [math.copysign(1, v) for v in at_once] == [math.copysign(1, v) for v in by_bits]
    assert at_once == by_bits
    expected = np.percentile(array, PERCENTILES)
    if np.isfinite(expected).all():
        assert percentiles(lambda: [array], len(array), PERCENTILES) == pytest.approx(expected.tolist(), rel=1e-9)


# What is installed


@pytest.mark.parametrize("name", ["numpy", "fasttext-community", "Fasttext_Community", "zstandard", "no-such-package"])
def test_versions_are_those_of_importlib_metadata(name: str) -> None:
    from importlib import metadata

    try:
        expected = metadata.version(name)
    except metadata.PackageNotFoundError:
        expected = None
    assert installed.version(name) == expected


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, folder: str, entry_points: str = "", metadata: str = "METADATA") -> None:
    (site / folder).mkdir()
    (site / folder / metadata).write_text("Metadata-Version: 2.1\nName: start-test\nVersion: 1.5\n")
    (site / folder / "entry_points.txt").write_text(entry_points)


def test_an_installation_is_noticed(site: Path) -> None:
    assert installed.version("start.test") is None
    assert installed.entry_points("start.group") == ()
    install(site, "start_test-1.5.dist-info", "[start.group]\nx = a.b:C\n")
    assert installed.version("start.test") == "1.5"
    assert [e.value for e in installed.entry_points("start.group")] == ["a.b:C"]
    assert installed.entry_points("start") == ()


def test_eggs_are_left_to_importlib_metadata(site: Path) -> None:
    install(site, "start_test.egg-info", "[start.group]\nx = a.b:C\n", "PKG-INFO")
    assert installed.version("start-test") == "1.5"
    assert [e.value for e in installed.entry_points("start.group")] == ["a.b:C"]
    assert installed.version("no-such-package") is None


# Local files and Arrow's functions


def test_local_files_answer_as_fsspec(tmp_path: Path) -> None:
    from fsspec.implementations.local import LocalFileSystem

    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("a/deep/x [1].txt", "a/.hidden", "b", "é"):
        (tmp_path / name).write_bytes(b"0123456789")
    (tmp_path / "link to folder").symlink_to("a")
    (tmp_path / "link to file").symlink_to("b")
    (tmp_path / "link to nothing").symlink_to("nowhere")
    ours, theirs = LocalFiles(), LocalFileSystem()
    paths = [str(tmp_path), *(str(p) for p in tmp_path.rglob("*")), str(tmp_path / "absent"), f"{tmp_path}/a/"]
    for path in paths:
        assert ours.find(path) == theirs.find(path)
        assert ours.exists(path) == theirs.exists(path)
        assert ours.isdir(path) == theirs.isdir(path)
    file = str(tmp_path / "b")
    assert ours.size(file) == theirs.size(file)
    for start, end in ((0, None), (2, 5), (8, 40), (10, 12)):
        assert ours.cat_file(file, start, end) == theirs.cat_file(file, start, end)
    assert sorted(ours.ls(str(tmp_path))) == sorted(theirs.ls(str(tmp_path), detail=False))
    assert ours.glob(f"{tmp_path}/**/x*") == theirs.glob(f"{tmp_path}/**/x*")


def test_local_files_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "link").symlink_to(kept)
    LocalFiles().rm(str(tmp_path / "link"), recursive=True)
    assert (kept / "file").exists()
    LocalFiles().rm(str(kept), recursive=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        LocalFiles().rm(str(kept), recursive=True)


def test_paths_of_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("file:///a/b/") == "/a/b"
    assert local_path("local:///a") == "/a"
    assert local_path("x") == f"{tmp_path}/x"


def test_arrow_by_name() -> None:
    texts = pa.chunked_array([pa.array(["é", None, "xx", "é"], pa.large_string())])
    cases: list[tuple[Any, Any]] = [
        (call("utf8_length", texts), pc.utf8_length(texts)),
        (call("drop_null", texts), pc.drop_null(texts)),
        (call("value_counts", texts), pc.value_counts(texts)),
        (call("sum", pa.array([True, None])), pc.sum(pa.array([True, None]))),
        (call("coalesce", pc.utf8_length(texts), 0), pc.fill_null(pc.utf8_length(texts), 0)),
    ]
    for ours, theirs in cases:
        assert ours.equals(theirs)
        assert ours.type == theirs.type


# The base install


def test_the_fast_tokenizer_comes_with_the_base_install() -> None:
    import configparser

    from packaging.requirements import Requirement

    config = configparser.ConfigParser()
    config.read(Path(__file__).parent.parent / "setup.cfg")
    base = [
        Requirement(line)
        for line in config["options"]["install_requires"].split("\n")
        if line.strip("# ") and line[0] != "#"
    ]
    (gigatoken,) = (r for r in base if r.name == "gigatoken")
    assert config["options.extras_require"]["fast"].strip() == "", "a name that is kept"
    assert gigatoken.marker is not None
    here = {"python_version": "3.11", "platform_machine": "x86_64"}
    assert gigatoken.marker.evaluate(here)
    assert gigatoken.marker.evaluate(here | {"platform_machine": "aarch64", "python_version": "3.13"})
    # No wheels there: tagcorpus is installed without it, and tiktoken does the work.
    assert not gigatoken.marker.evaluate(here | {"platform_machine": "riscv64"})
    assert not gigatoken.marker.evaluate(here | {"platform_machine": "ppc64le"})
    assert not gigatoken.marker.evaluate(here | {"python_version": "3.15"})

"""Machines that lack something: one sentence with the remedy, or a run that does without."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from profiles import one_by_default

import tagcorpus
from tagcorpus import cli, errors
from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.pipelines import tag as pipeline
from tagcorpus.pipelines.execution import worker_processes
from tagcorpus.taggers._llm import cache


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "How do I make bread?"}) + "\n")
    return path


@pytest.mark.parametrize("number", one_by_default("many", "0", "-1", ""))
def test_a_number_of_threads_that_numba_refuses(number: str) -> None:
    code = "import tagcorpus; print(tagcorpus.tag(['a b'], 'tokens')['tokens.num_tokens'].to_pylist())"
    environment = {**os.environ, "NUMBA_NUM_THREADS": number}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[2]\n"), done.stderr


def test_memory_that_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with the limit where there is one, and in the ledger."""

    def summarise(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 512 KiB")

    monkeypatch.setattr(pipeline, "summarise", summarise)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2_000_000 * 1024, 0))
    output = source.parent / "out"
    with pytest.raises(tagcorpus.TagcorpusError) as raised:
        tagcorpus.run("tag", input=source, output=output, taggers="length", workers=1)
    assert str(raised.value) == (
        "out of memory (Unable to allocate 512 KiB); this shell limits the address space (ulimit -v 2000000): raise the limit "
        "to 8000000 or more"
    )
    assert raised.value.exit_code == 1
    (ledger,) = output.glob("runs/*/ledger.json")
    assert json.loads(ledger.read_text())["exit_code"] == 1


def test_memory_that_is_refused_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 0))
    assert str(errors.out_of_memory(MemoryError())) == (
        "out of memory (MemoryError); give the run fewer --workers, or more memory"
    )
    assert errors.is_lack_of_memory(RuntimeError("can't start new thread"))
    assert not errors.is_lack_of_memory(RuntimeError("another"))


def test_an_address_space_in_which_nothing_can_start(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before NumPy is imported: its BLAS would try again without end."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400_000 * 1024, 0))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    done = CliRunner().invoke(cli.main, ["run", "tag", "-i", str(source), "-o", str(source.parent / "out")])
    assert (done.exit_code, done.stderr) == (
        1,
        "tagcorpus: the memory does not suffice to start; this shell limits the address space (ulimit -v 400000): raise the "
        "limit to 8000000 or more\n",
    )


@pytest.mark.parametrize(
    ("limit", "threads"), [(1_500_000 * 1024, "1"), (8 << 30, None), (resource.RLIM_INFINITY, None)]
)
def test_threads_of_blas_where_memory_is_limited(
    limit: int, threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, 0))
    errors.check_address_space()
    assert os.environ.get("OPENBLAS_NUM_THREADS") == threads


def test_shared_memory_that_cannot_be_written(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(worker_processes, "ProcessPoolExecutor", refused)
    source.write_text(source.read_text() * 400)
    with pytest.raises(OutputError, match=r"semaphores, which cannot be made in /dev/shm .* run with workers=1"):
        tagcorpus.run("tag", input=source, output=source.parent / "o", taggers="length", workers=2, chunk_bytes=4096)


def test_a_user_without_a_home(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tagcorpus.kernels.compiling.folder import default_folder

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is where there is no home
    monkeypatch.chdir(tmp_path)
    assert os.path.isabs(default_folder())
    assert not (tmp_path / "~").exists()
    with pytest.raises(ConfigError, match=r"HOME is not set, and this user has no home\. Set HOME, or --set"):
        cache.default_path()
    result = tagcorpus.run("domain", input=source, output="out", domain={"backend": "fasttext"}, workers=1)
    assert result.exit_code == 0, "the embedded model has no cache of answers"

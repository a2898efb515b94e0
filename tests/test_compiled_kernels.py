"""Compiled kernels come out of the cache without Numba's compiler, and only where all their symbols are known."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numba
import pytest
from numba.core.caching import FunctionCache

from tagcorpus.kernels.compiling import cached
from tagcorpus.kernels.compiling.cached import are_symbols_known, sources_stamp
from tagcorpus.kernels.compiling.folder import VERSIONS, cache_folder
from tagcorpus.kernels.compiling.object_code import undefined_symbols

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
ASSEMBLY = """
declare i64 @tagcorpus_first(i64)
declare i64 @tagcorpus_second(i64)
define i64 @own(i64 %x) {
  %y = call i64 @tagcorpus_first(i64 %x)
  %z = call i64 @tagcorpus_second(i64 %y)
  ret i64 %z
}
"""
# In a child, whose Numba is its own: prints the results of a kernel, and what compiling would have imported.
CHILD = """
import sys
import numpy as np
from tagcorpus.kernels.documents.tokens import count_distinct
ids = np.array([7, 2, 7, 2, 2], np.uint32)
ids.flags.writeable = False
print(count_distinct(ids, np.array([0, 3, 3, 5]), 8).tolist(), *(m for m in ("numba.np.arraymath", "scipy.linalg") if m in sys.modules))
try:
    count_distinct(ids, np.array([0, 5]), 7)
except ValueError as error:
    print(error)
"""


def object_code() -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    return bytes(machine.emit_object(llvm.parse_assembly(ASSEMBLY)))


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_symbols_that_object_code_needs() -> None:
    code = object_code()
    assert sorted(undefined_symbols(code) or []) == ["tagcorpus_first", "tagcorpus_second"]
    llvm.add_symbol("tagcorpus_first", 1)
    assert not are_symbols_known((("name", "object", (code, b"")),))
    llvm.add_symbol("tagcorpus_second", 1)
    assert are_symbols_known((("name", "object", (code, b"")),))
    assert not are_symbols_known((("name", "bitcode", b"BC"),))
    assert not are_symbols_known((("name", "object", (b"MZ" + code, b"")),))
    assert undefined_symbols(b"\xcf\xfa\xed\xfe") is None


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
@pytest.mark.parametrize("before", ["", "import numba"])
def test_a_kernel_of_the_cache_needs_no_compiler(tmp_path: Path, before: str) -> None:
    import tagcorpus.kernels.documents.tokens  # noqa: F401 - compiles it where the cache has none

    child = [sys.executable, "-c", before + CHILD]
    out = subprocess.run(child, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert out == "[2, 0, 1]\na token id is not below n_vocab\n"


def test_every_kernel_is_loaded_that_way() -> None:
    assert [str(p) for p in KERNELS.rglob("*.py") if "from numba import njit" in p.read_text()] == []


KERNEL = """
from tagcorpus.kernels.compiling.cached import njit

@njit("int64(int64)", cache=True)
def double(x):
    return 2 * x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the sources `own.py` and `other.py`, whose compiled kernels are cached in its folder `cache`."""
    (tmp_path / "own.py").write_text(KERNEL)
    (tmp_path / "other.py").write_text("UNITS = 3\n")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    numba.config.reload_config()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(cached, "sources_stamp", lambda: sources_stamp.__wrapped__(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    numba.config.reload_config()  # type: ignore[no-untyped-call]


def hits(folder: Path) -> int:
    """How many kernels of `own.py` came out of the cache; its kernel gives the right value."""
    spec = importlib.util.spec_from_file_location("own", folder / "own.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.double(4) == 8
    return sum(module.double.stats.cache_hits.values())


def test_a_change_of_any_kernel_source_compiles_all_kernels_again(folder: Path) -> None:
    """A constant of another module is compiled into a kernel; the kernel's own source does not show that it changed."""
    assert [hits(folder), hits(folder)] == [0, 1]
    (folder / "other.py").write_text("UNITS = 4\n")
    assert [hits(folder), hits(folder)] == [0, 1]
    assert len(list(folder.glob("cache/*/*"))) == 2
    (folder / "other.py").write_text("UNITS = 3\n")
    assert hits(folder) == 1


def test_equal_sources_in_another_folder_have_the_same_compiled_kernels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Ray cluster unpacks the package into a folder of its own."""
    hits(folder)
    (folder / "elsewhere").mkdir()
    for name in ("own.py", "other.py"):
        (folder / name).rename(folder / "elsewhere" / name)
    monkeypatch.setattr(cached, "sources_stamp", lambda: sources_stamp.__wrapped__(folder / "elsewhere"))
    assert hits(folder / "elsewhere") == 1


def test_another_python_or_numpy_has_its_own_compiled_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the user's choice may be that of several installations."""
    monkeypatch.setattr(cached, "VERSIONS", f"{VERSIONS}-other")
    assert [hits(folder), hits(folder)] == [0, 1]
    monkeypatch.setattr(cached, "VERSIONS", VERSIONS)
    assert [hits(folder), hits(folder)] == [0, 1]


def test_an_empty_name_of_the_folder_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path it would be the working directory."""
    for name in (None, ""):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        if name is not None:
            monkeypatch.setenv("NUMBA_CACHE_DIR", name)
        assert cache_folder() == str(tmp_path / "tagcorpus" / VERSIONS)
        assert os.environ["NUMBA_CACHE_DIR"] == cache_folder()


def test_the_lock_of_an_editor_is_not_a_source(folder: Path) -> None:
    stamp = sources_stamp.__wrapped__
    sources = stamp(folder)
    (folder / ".#own.py").symlink_to("somebody@somewhere.123:456")
    assert stamp(folder) == sources


def test_kernels_of_the_oldest_sources_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "_KEPT_STATES", 3)
    for units in range(5):
        (folder / "other.py").write_text(f"UNITS = {units}\n")
        assert hits(folder) == 0
    assert hits(folder) == 1
    assert len(list(folder.glob("cache/*/*"))) == 3


def test_a_damaged_kernel_of_the_cache_is_compiled_again(folder: Path) -> None:
    hits(folder)
    (path,) = folder.glob("cache/*/*")
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    for other in (b"", content[:31], content[:-1], bytes(damaged)):
        path.write_bytes(other)
        assert [hits(folder), hits(folder)] == [0, 1]


def test_a_cache_that_cannot_be_written_to_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert hits(folder) == 0
    assert list(folder.glob("cache/*/*")) == []


def test_kernels_without_a_folder_for_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FunctionCache._impl_class, "_locator_classes", [])
    assert hits(folder) == 0


def test_another_release_of_numba_has_its_own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached.has_known_parts()
    monkeypatch.setitem(cached._PARTS, FunctionCache, ("a_part_that_no_release_has",))
    monkeypatch.setattr(cached, "_Cache", None)
    assert [hits(folder), hits(folder)] == [0, 1]


def test_an_installation_without_sources(folder: Path) -> None:
    """It has compiled modules in their place. Where it has neither, nothing says what a compiled kernel was made from."""
    stamp = sources_stamp.__wrapped__
    sources = stamp(folder)
    (folder / "other.pyc").write_bytes(b"compiled")
    assert stamp(folder) == sources
    for name in ("own.py", "other.py"):
        (folder / name).rename(folder / f"{name}.txt")
    assert stamp(folder) != sources
    (folder / "other.pyc").unlink()
    (folder / "own.py.txt").rename(folder / "own.txt")
    with pytest.raises(RuntimeError):
        stamp(folder)

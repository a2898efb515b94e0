"""Publishing: whole or not at all, in the right order, under any name; and which temporary files go when."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tagcorpus.errors import OutputError
from tagcorpus.pipelines.storage.folder import STALE_SECONDS, Folder, new_suffix

NAMES = [
    "plain.txt",
    "deep/er/x.txt",
    "with space",
    "100%.json",
    "a%20b",
    "[x]*?.txt",
    "naïve 日本語.txt",
    "~",
    "x" * 255,
]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out [1] 50% ä"))


def everything(folder: Folder) -> list[str]:
    return sorted(str(p.relative_to(folder.root)) for p in Path(folder.root).rglob("*") if p.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_any_name(folder: Folder, name: str) -> None:
    assert not folder.exists(name)
    assert folder.read(name) is None
    folder.publish(name, b"one")
    folder.publish(name, b"two!")
    assert folder.read(name) == b"two!"
    assert folder.size(name) == 4
    assert folder.files() == everything(folder) == [name]
    folder.remove(name)
    folder.remove(name)
    assert everything(folder) == []


@pytest.mark.parametrize("name", ["plain.txt", "deep/er/x.txt", "[x]*?.txt", "100%.json"])
def test_object_store(name: str, request: pytest.FixtureRequest) -> None:
    """fsspec's memory filesystem is one: a put is atomic, and `rm` would take [x] for a pattern."""
    folder = Folder(f"memory://{request.node.name.replace('[', '_')[:20]}")
    folder.publish("x.txt", b"another")
    folder.publish(name, b"one")
    assert folder.read(name) == b"one"
    assert folder.files() == sorted(["x.txt", name])
    folder.remove(name)
    assert folder.files() == ["x.txt"]
    folder.remove("")
    assert folder.files() == []


def test_exception_in_the_block_leaves_nothing(folder: Folder) -> None:
    folder.publish("a/x", b"before")
    for error in (ValueError, KeyboardInterrupt, OSError):
        with pytest.raises(OutputError if error is OSError else error):  # noqa: PT012, SIM117
            with folder.publishing("a/x") as sink:
                sink.write(b"half")
                raise error
    assert everything(folder) == ["a/x"]
    assert folder.read("a/x") == b"before"


def test_published_only_after_it_is_safe_on_disk(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle: int) -> None:
        happened.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def note_replace(source: str, target: str) -> None:
        happened.append(("rename", target))
        assert Path(source).read_bytes() == b"data"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    folder.publish("a/b/x", b"data")
    root, up = folder.root, os.path.dirname(folder.root)
    # Each new folder is made safe in the one above it.
    assert happened[:3] == [("fsync", up), ("fsync", root), ("fsync", f"{root}/a")]
    kinds = happened[3:]
    assert kinds[0][0] == "fsync"
    assert os.path.basename(kinds[0][1]).startswith(".")
    assert kinds[1:] == [("rename", f"{root}/a/b/x"), ("fsync", f"{root}/a/b")]


def test_many_publishers_of_one_name(folder: Folder) -> None:
    contents = [bytes([65 + i]) * 100_000 for i in range(4)]
    seen: list[bytes | None] = []

    def publish(content: bytes) -> None:
        for _ in range(20):
            folder.publish("new/x", content)
            seen.append(folder.read("new/x"))

    threads = [threading.Thread(target=publish, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= set(contents)
    assert len(seen) == 80
    assert everything(folder) == ["new/x"]


def test_sweep(folder: Folder) -> None:
    root = Path(folder.root)
    folder.publish("a/kept", b"")
    now, own = time.time(), new_suffix()
    for name, age in {
        f".{own}-abc.tmp": 0,
        ".0badf00d-abc.tmp": STALE_SECONDS - 3600,
        ".0badf00d-def.tmp": STALE_SECONDS + 3600,
        ".somebody.else": STALE_SECONDS + 3600,
        "a.tmp": STALE_SECONDS + 3600,
    }.items():
        path = root / "a" / name
        path.write_bytes(b"half")
        os.utime(path, (now - age, now - age))
    assert folder.files() == ["a/a.tmp", "a/kept"]
    folder.sweep({own})
    assert everything(folder) == ["a/.0badf00d-abc.tmp", "a/.somebody.else", "a/a.tmp", "a/kept"]


def test_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with pytest.raises(OutputError, match=r"x/y/z could not be written: .*x is not a folder"):
        Folder(str(tmp_path)).publish("x/y/z", b"")
    assert Folder(str(tmp_path)).read("x/y/z") is None


def test_folder_where_a_file_must_be(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        Folder(str(tmp_path)).publish("x", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "the disk is full: .*x could not be written .* run the same command again"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "x could not be written: Input/output error"),
    ],
)
def test_what_the_disk_says(folder: Folder, number: int, told: str) -> None:
    with pytest.raises(OutputError, match=told), folder.publishing("x"):
        raise OSError(number, os.strerror(number))
    assert everything(folder) == []


def test_no_permission() -> None:
    root = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others altogether
    try:
        folder = Folder(str(root))
        folder.publish("a/x", b"one")
        folder.publish("b/x", b"one")
        for path, mode in ((root, 0o755), (root / "a", 0o555), (root / "b/x", 0o000), (root / "b", 0o777)):
            path.chmod(mode)
        if os.getuid() == 0:  # nothing is forbidden to root
            os.seteuid(65534)
        with pytest.raises(OutputError, match="could not be written: Permission denied"):
            folder.publish("a/x", b"two")
        with pytest.raises(OutputError, match="could not be removed: Permission denied"):
            folder.remove("a/x")
        with pytest.raises(OutputError, match="could not be read: Permission denied"):
            folder.read("b/x")
        assert folder.read("a/x") == b"one"
    finally:
        os.seteuid(os.getuid())
        shutil.rmtree(root)


def test_travels_to_workers(folder: Folder) -> None:
    folder.publish("x", b"one")
    assert pickle.loads(pickle.dumps(folder)).read("x") == b"one"
    remote = Folder("memory://travels")
    remote.publish("x", b"two")
    assert pickle.loads(pickle.dumps(remote)).read("x") == b"two"

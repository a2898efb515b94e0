"""The cache of LLM answers is for its owner: others may read neither the file nor the folder it is in by default."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagcorpus.taggers._llm.cache import AnswerCache, default_path
from tagcorpus.taggers._llm.reply import Answer


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _generous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the cache's own doing, everybody might read all of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = os.umask(0)
    yield
    os.umask(before)


def used(path: Path) -> list[int]:
    """Rights of the file and of those that SQLite keeps beside it, while the cache is open."""
    cache = AnswerCache(path)
    cache.put([(b"key", Answer("web"))])
    found = [rights(p) for p in sorted(path.parent.glob(f"{path.name}*"))]
    assert cache.get(b"key") == Answer("web")
    cache.close()
    return found


def test_a_new_cache_is_private() -> None:
    assert used(default_path()) == [0o600] * 3
    assert rights(default_path().parent) == 0o700


def test_an_existing_cache_is_tightened_and_still_read() -> None:
    path = default_path()
    used(path)
    path.chmod(0o664)
    path.parent.chmod(0o775)
    assert used(path) == [0o600] * 3
    assert rights(path.parent) == 0o700


def test_a_folder_that_holds_other_things_keeps_its_rights(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    assert used(shared / "answers.sqlite") == [0o600] * 3
    assert rights(shared) == 0o755
    assert used(tmp_path / "new/answers.sqlite") == [0o600] * 3
    assert rights(tmp_path / "new") == 0o700


@pytest.mark.parametrize("refuse", ["owner", "chmod"])
def test_rights_that_cannot_be_changed_do_not_fail_a_run(refuse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = default_path()
    used(path)
    path.chmod(0o644)
    owner = os.getuid()
    if refuse == "owner":
        monkeypatch.setattr("os.getuid", lambda: owner + 1)
    else:

        def chmod(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "chmod", chmod)
    used(path)
    assert rights(path) == 0o644

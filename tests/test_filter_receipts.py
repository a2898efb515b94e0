"""Filtered rows are taken for those of a rule only by a receipt that came before them and holds their digests."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import tagcorpus
from tagcorpus.errors import ReplacedError
from tagcorpus.pipelines.attributes.read import recorded
from tagcorpus.pipelines.filter import Filter
from tagcorpus.pipelines.filtering import rewrite
from tagcorpus.pipelines.filtering.condition import Condition
from tagcorpus.pipelines.readers.plan import Plan, load_plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import CHECKSUM, sealed

pytest.importorskip("duckdb")
A, B = "char_len < 5", "char_len >= 5"


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of which half are kept by A and the others by B, all of one length in the file: sizes tell nothing."""
    tmp_path = tmp_path_factory.mktemp("tagged")
    lines = [json.dumps({"text": "x" * (4 + i % 2), "pad": "p" * (1 - i % 2)}) for i in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    run("tag", tmp_path, taggers=["length"])
    return tmp_path


@pytest.fixture
def root(tagged: Path, tmp_path: Path) -> Path:
    shutil.copytree(tagged, tmp_path / "root", copy_function=shutil.copy2)
    return tmp_path / "root"


def run(pipeline: str, root: Path, **options: Any) -> Any:
    given = {"input": str(root / "a.jsonl"), "output": str(root / "out"), "workers": 1}
    return tagcorpus.run(pipeline, **given, **options)  # type: ignore[call-overload]


def step(root: Path, rule: str) -> dict[str, Any]:
    """What `run filter --where` does with its one file."""
    output = Folder(str(root / "out"))
    (planned,) = load_plan(output)
    condition = Condition(rule, [recorded(output, "length", planned)], {"length": ["char_len"]})
    (found,) = Filter(output, Plan((planned,)), planned.reader_options, condition, False).run(rank=0)
    return found


def filtered(root: Path) -> tuple[str, str]:
    folder = root / "out/filtered"
    return (folder / "filtered_a.jsonl").read_text(), (folder / "removed_a.jsonl").read_text()


def receipt(root: Path) -> Path:
    return root / "out/summary/filtered/a.jsonl.json"


def inode(root: Path) -> int:
    return (root / "out/filtered/filtered_a.jsonl").stat().st_ino


class Killed(BaseException):
    """As if the process were gone: nothing of ours runs after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, root: Path, n: int, rule: str) -> list[str]:
    """A run of a rule that is killed before it has published its n-th file of the filter; what it had published."""
    replace, done = os.replace, list[str]()

    def dying(source: str, target: str) -> None:
        if "filtered" in target:
            if len(done) == n:
                raise Killed
            done.append(Path(target).name)
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            step(root, rule)
    return done


@pytest.mark.parametrize("n", [0, 1, 2])
def test_another_rule_that_is_killed(root: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Rule A, rule B killed at each moment, rule A again: A's rows."""
    step(root, A)
    of_a = filtered(root)
    done = killed_at(monkeypatch, root, n, B)
    assert done == ["a.jsonl.json", "filtered_a.jsonl", "removed_a.jsonl"][:n]
    assert step(root, A)["kept"] == 10
    assert filtered(root) == of_a
    killed_at(monkeypatch, root, n, B)
    step(root, B)
    assert filtered(root)[0].count("\n") == 10
    assert filtered(root)[0] != of_a[0]


def test_what_is_there_is_kept(root: Path) -> None:
    step(root, A)
    before = inode(root), receipt(root).read_bytes()
    assert step(root, A)["kept"] == 10
    assert (inode(root), receipt(root).read_bytes()) == before


@pytest.mark.parametrize("name", ["filtered_a.jsonl", "removed_a.jsonl"])
def test_a_flipped_bit_in_a_filtered_file(root: Path, name: str) -> None:
    step(root, A)
    whole, path = filtered(root), root / "out/filtered" / name
    path.write_text(path.read_text().replace("x", "y", 1))
    step(root, A)
    assert filtered(root) == whole


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"key": 3}', b"\xff", "another count", "key only", "empty"]
)
def test_a_damaged_receipt(root: Path, content: bytes | str) -> None:
    result = step(root, A)
    before = receipt(root).read_bytes()
    if content == "another count":
        content = before.replace(b'"kept": 10', b'"kept": 11')
    elif content == "key only":
        content = json.dumps({"key": json.loads(before)["key"]}).encode()
    elif content == "empty":
        content = sealed({"key": ""})
    assert isinstance(content, bytes)
    receipt(root).write_bytes(content)
    again = step(root, A)
    assert {k: v for k, v in again.items() if k in json.loads(before)} == {
        k: v for k, v in result.items() if k in json.loads(before)
    }
    assert receipt(root).read_bytes() == before


def test_a_receipt_of_an_earlier_version(root: Path) -> None:
    """It has no digests, so the files are written once more, and the run says so."""
    run("filter", root, where=A)
    whole, value = filtered(root), json.loads(receipt(root).read_text())
    receipt(root).write_text(json.dumps({k: v for k, v in value.items() if k not in ("digests", CHECKSUM)}, indent=1))
    log = Path(run("filter", root, where=A).ledger).with_name("log.txt").read_text()
    assert "filtered rows of 1 file are written again: an earlier version kept no digest of them" in log
    assert filtered(root) == whole
    before = inode(root)
    assert "written again" not in Path(run("filter", root, where=A).ledger).with_name("log.txt").read_text()
    assert inode(root) == before


def test_two_rules_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While A decides over its rows, B comes and ends. One of both is right, and whoever is not says so."""
    split = rewrite.split
    others: list[Any] = []

    def with_another_run(
        planned: Any, reader_options: Any, verdicts: Iterator[Any], kept: BinaryIO, removed: BinaryIO
    ) -> rewrite.Split:
        monkeypatch.setattr(rewrite, "split", split)
        others.append(step(root, B))
        return split(planned, reader_options, verdicts, kept, removed)

    monkeypatch.setattr(rewrite, "split", with_another_run)
    assert step(root, A)["kept"] == others[0]["kept"] == 10
    of_last = filtered(root)
    assert {json.loads(line)["text"] for line in of_last[0].splitlines()} == {"xxxx"}
    before = inode(root)
    step(root, A)
    assert inode(root) == before


def test_another_rule_between_the_receipt_and_its_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Folder.publish

    def and_then_another_run(folder: Folder, name: str, data: bytes) -> None:
        publish(folder, name, data)
        if name.startswith("summary/filtered/"):
            monkeypatch.setattr(Folder, "publish", publish)
            step(root, B)

    monkeypatch.setattr(Folder, "publish", and_then_another_run)
    with pytest.raises(ReplacedError, match="is of another run, which filters with another rule") as raised:
        step(root, A)
    assert raised.value.exit_code == 4
    assert step(root, B)["kept"] == 10
    assert {json.loads(line)["text"] for line in filtered(root)[0].splitlines()} == {"xxxxx"}


def test_compressed_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": "x" * (4 + i % 2)}) + "\n" for i in range(20))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    given: dict[str, Any] = {"input": str(tmp_path / "a.jsonl.gz"), "output": str(tmp_path / "out"), "workers": 1}
    tagcorpus.run("tag", **given, taggers=["length"])
    tagcorpus.run("filter", **given, where=A)
    path = tmp_path / "out/filtered/filtered_a.jsonl.gz"
    before = path.stat().st_ino
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 10
    tagcorpus.run("filter", **given, where=A)
    assert path.stat().st_ino == before

"""Footers of parts: a flipped bit there is noticed wherever a part counts as done, and old parts are proven, not made again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tagcorpus
from tagcorpus.errors import InputError
from tagcorpus.pipelines.attributes import digests
from tagcorpus.pipelines.attributes import parts as sidecars
from tagcorpus.pipelines.attributes.digests import Digests, digest_of, footer_of, read_footer, recording
from tagcorpus.pipelines.attributes.parts import part_name, stored_part
from tagcorpus.pipelines.attributes.read import recorded
from tagcorpus.pipelines.attributes.resuming import ResumeState, resume_state
from tagcorpus.pipelines.doctor import status
from tagcorpus.pipelines.readers.plan import Plan, load_plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder

Tag = Callable[..., Any]


@pytest.fixture
def tag(tmp_path: Path) -> Tag:
    lines = [json.dumps({"text": "x" * (1 + i % 9)}) for i in range(150)]
    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in [*lines, "not JSON", "", *lines]))

    def run(*taggers: str, **options: Any) -> Any:
        given = {"input": str(tmp_path / "a.jsonl"), "output": str(tmp_path / "out"), "workers": 1}
        return tagcorpus.run("tag", **given, taggers=list(taggers or ("length",)), chunk_bytes=1024, **options)  # type: ignore[call-overload]

    return run


def parts(root: Path, instance: str = "length") -> list[Path]:
    return sorted((root / "out/attributes" / instance / "a.jsonl").iterdir())


def stamps(root: Path, instance: str = "length") -> dict[str, int]:
    return {p.name: p.stat().st_ino for p in parts(root, instance)}


def flipped(data: bytes, bit: int) -> bytes:
    found = bytearray(data)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def of_an_old_version(root: Path) -> None:
    """What a version without digests leaves."""
    for path in (root / "out/digests").iterdir():
        path.unlink()
    (root / "out/digests").rmdir()


def looked(root: Path, *, is_onlooker: bool = False) -> ResumeState:
    output = Folder(str(root / "out"))
    (planned,) = load_plan(output)
    return resume_state(
        output, Plan((planned,)), ReaderOptions(), [recorded(output, "length", planned)], is_onlooker=is_onlooker
    )


def test_a_flipped_bit_in_a_footer_makes_the_part_anew(tag: Tag, tmp_path: Path) -> None:
    """Any bit: seeded ones of all, and those of the counts and of the number of rows."""
    tag()
    path = parts(tmp_path)[1]
    whole = path.read_bytes()
    start = len(whole) - len(footer_of(whole))
    counts = whole.index(b'"documents": ') + len(b'"documents": ')
    bits = [
        counts * 8,
        whole.index(b'"text_bytes": ') * 8 + 8 * 14,
        *random.Random(3).sample(range(start * 8, len(whole) * 8), 150),
    ]
    for bit in bits:
        path.write_bytes(flipped(whole, bit))
        now = looked(tmp_path)
        assert (len(now.done), now.stale + now.damaged) == (len(parts(tmp_path)) - 1, 1), f"bit {bit}"
    before = stamps(tmp_path)
    result = tag()
    assert result.exit_code == 0
    assert path.read_bytes() == whole
    assert {n for n, i in stamps(tmp_path).items() if before[n] != i} == {path.name}


def test_what_is_damaged_is_said(tag: Tag, tmp_path: Path) -> None:
    tag()
    path = parts(tmp_path)[0]
    whole = path.read_bytes()
    at = whole.index(b'"text_bytes": ') + 14
    path.write_bytes(flipped(whole, at * 8))
    with pytest.raises(
        InputError, match=r"part-00000\.parquet is damaged: run the pipeline again, which makes the part again"
    ):
        tagcorpus.read(str(tmp_path / "out"))
    ledger = json.loads(Path(tag().ledger).read_text())
    assert "1 damaged parts recomputed" in ledger["notes"]
    assert tagcorpus.read(str(tmp_path / "out")).count_rows() == 300


def test_nothing_is_done_twice(tag: Tag, tmp_path: Path) -> None:
    tag()
    before = stamps(tmp_path)
    index = tmp_path / "out/digests/length.json"
    stamp = index.stat().st_ino
    assert tag().exit_code == 0
    assert tag("language").exit_code == 0
    assert stamps(tmp_path) == before
    assert index.stat().st_ino == stamp
    now = looked(tmp_path)
    assert (now.stale, now.damaged, now.proven) == (0, 0, 0)


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"parts": {"a.jsonl": ["x y"]}}'])
def test_parts_without_digests_are_proven_and_kept(tag: Tag, tmp_path: Path, content: bytes | None) -> None:
    """Those of earlier versions, those of a killed run, and all where the index is damaged."""
    tag()
    before, index = stamps(tmp_path), (tmp_path / "out/digests/length.json").read_bytes()
    of_an_old_version(tmp_path)
    if content is not None:
        Folder(str(tmp_path / "out")).publish("digests/length.json", content)
    seen = looked(tmp_path, is_onlooker=True)
    assert (len(seen.done), seen.proven) == (len(before), 0)
    assert ((tmp_path / "out/digests").exists()) == (content is not None)
    result = tag()
    assert result.exit_code == 0
    (said,) = (
        line for line in Path(result.ledger).with_name("log.txt").read_text().splitlines() if "no digest" in line
    )
    assert f"{len(before)} had no digest and were proven by reading them" in said
    assert stamps(tmp_path) == before
    assert (tmp_path / "out/digests/length.json").read_bytes() == index


def test_parts_in_a_store_are_proven(tag: Tag, tmp_path: Path) -> None:
    tag()
    of_an_old_version(tmp_path)
    local, store = Folder(str(tmp_path / "out")), Folder("memory://proven")
    for name in local.files():
        store.publish(name, local.read(name) or b"")
    plan = Plan(tuple(load_plan(store)))
    instance = recorded(store, "length", plan.files[0])
    assert [resume_state(store, plan, ReaderOptions(), [instance]).proven for _ in range(2)] == [len(plan.chunks), 0]
    name = part_name("length", "a.jsonl", 0)
    whole = store.read(name) or b""
    store.publish(name, flipped(whole, len(whole) * 8 - 800))
    now = resume_state(store, plan, ReaderOptions(), [instance])
    assert (len(now.done), now.stale + now.damaged) == (len(plan.chunks) - 1, 1)


def test_onlookers_write_nothing(tag: Tag, tmp_path: Path) -> None:
    tag()
    of_an_old_version(tmp_path)
    tag(dry_run=True)
    told = status.report(str(tmp_path / "out"), as_json=True)
    assert json.loads(told)["instances"]["length"]["ranges_done"] == len(parts(tmp_path))
    assert not (tmp_path / "out/digests").exists()


@pytest.mark.parametrize("damage", ["page", "rows", "documents", "column", "row numbers"])
def test_an_old_part_that_is_not_whole_is_made_anew(tag: Tag, tmp_path: Path, damage: str) -> None:
    tag()
    of_an_old_version(tmp_path)
    path = parts(tmp_path)[1]
    whole = path.read_bytes()
    if damage == "page":
        broken = flipped(whole, whole.index(b"\x28\xb5\x2f\xfd") * 8 + 80)  # behind the head of a zstd frame
    elif damage == "documents":
        at = whole.index(b'"documents": ') + len(b'"documents": ')
        broken = flipped(whole, at * 8)
    else:
        broken = _rewritten(path, damage)
    assert broken != whole
    path.write_bytes(broken)
    assert tag().exit_code == 0
    assert path.read_bytes() == whole


def _rewritten(path: Path, damage: str) -> bytes:
    """A part with the footer's counts and key of another content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if damage == "rows":
        table = table.slice(1)
    elif damage == "column":
        table = table.rename_columns(["row", "sub", "id", "char_lem"])
    else:
        table = table.set_column(0, "row", pa.array([r + 500 for r in table["row"].to_pylist()], pa.int64()))
    pq.write_table(table, path)
    return path.read_bytes()


def test_conservation_is_checked_for_resumed_parts(tag: Tag, tmp_path: Path) -> None:
    """Also with a digest that fits: whoever wrote such a part did not account for a row."""
    tag()
    output = Folder(str(tmp_path / "out"))
    (planned,) = load_plan(output)
    name = part_name("length", "a.jsonl", 0)
    stored = stored_part(output, name)
    assert stored is not None
    stored.counts.read -= 1
    table = sidecars.read_part(output, name)
    schema = pa.schema([table.schema.field("char_len")])
    entry = sidecars.write_part(output, name, schema, table.to_batches(), stored.key, stored.counts)
    digests.put(output, Plan((planned,)), {(0, "length"): entry})
    now = looked(tmp_path)
    assert (now.damaged, (0, "length") in now.done) == (1, False)
    assert tag().exit_code == 0
    assert looked(tmp_path).damaged == 0


# A run may be killed between any two of: the entry goes, the part comes, the entry comes


def test_an_entry_of_another_key_says_nothing(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    Digests(output, "x").put({("a", 1): "key digest"})
    known = Digests(output, "x")
    assert known.of("a", 1, "key") == "digest"
    assert [known.of("a", 1, "other"), known.of("a", 0, "key"), known.of("a", 2, "key"), known.of("b", 1, "key")] == [
        ""
    ] * 4


def test_entries_go_first_and_come_last(tag: Tag, tmp_path: Path) -> None:
    tag()
    output = Folder(str(tmp_path / "out"))
    plan = Plan(tuple(load_plan(output)))
    n = len(plan.chunks)

    def known() -> list[bool]:
        found = Digests(output, "length")
        stored = [stored_part(output, part_name("length", "a.jsonl", k)) for k in range(n)]
        return [bool(s and found.of("a.jsonl", k, s.key)) for k, s in enumerate(stored)]

    todo = [frozenset({"length"} if k == 1 else ()) for k in range(n)]

    def interrupted() -> None:
        with recording(output, plan, todo) as entries:
            assert known() == [k != 1 for k in range(n)]
            second = stored_part(output, part_name("length", "a.jsonl", 1))
            assert second is not None
            entries[1, "length"] = f"{second.key} {second.digest}"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(known())


def test_a_part_made_again_with_other_bytes_is_kept(tag: Tag, tmp_path: Path) -> None:
    """Another version of a library writes other bytes under the same key; a kill before the entry comes costs a reading."""
    tag()
    output = Folder(str(tmp_path / "out"))
    plan = Plan(tuple(load_plan(output)))
    path = parts(tmp_path)[0]
    with recording(output, plan, [frozenset({"length"})]):
        import pyarrow.parquet as pq

        pq.write_table(pq.read_table(path), path, compression="none", write_page_checksum=True)
    before = stamps(tmp_path)
    now = looked(tmp_path)
    assert (now.proven, now.damaged, len(now.done)) == (1, 0, len(plan.chunks))
    tag()
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("size", [0, 7, 8, 100, digests.TAIL_BYTES - 8, digests.TAIL_BYTES - 7, 3 * digests.TAIL_BYTES])
def test_footers_of_any_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "part"
    footer = bytes(size) + size.to_bytes(4, "little") + b"PAR1"
    path.write_bytes(b"PAR1 pages " + footer)
    with path.open("rb") as file:
        assert read_footer(file) == footer
    assert footer_of(path.read_bytes()) == footer
    assert digest_of(footer) != digest_of(footer[1:])


@pytest.mark.parametrize("data", [b"", b"PAR1", b"\xff\xff\xff\xffPAR1", b"no footer at all"])
def test_no_footer(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "part").write_bytes(data)
    with (tmp_path / "part").open("rb") as file, pytest.raises(ValueError, match="no footer"):
        read_footer(file)

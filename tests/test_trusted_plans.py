"""A plan is believed only as it was written: one that was altered is made anew, also where it is still JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import Planner, planner, write  # noqa: F401 - a fixture

from tagcorpus.cli import main
from tagcorpus.errors import InputError
from tagcorpus.pipelines.readers.plan import load_plan
from tagcorpus.pipelines.storage.sealed import CHECKSUM, is_sealed, opened, sealed

Change = Callable[[list[dict[str, Any]]], object]


def moved(chunks: list[dict[str, Any]]) -> None:
    """A row goes from one range to its neighbour; all of them still follow one another."""
    chunks[0]["rows"] -= 1
    chunks[1]["first_row"] -= 1
    chunks[1]["rows"] += 1


CHANGES: dict[str, Change] = {
    "first chunk missing": lambda chunks: chunks.pop(0),
    "middle chunk missing": lambda chunks: chunks.pop(1),
    "last chunk missing": lambda chunks: chunks.pop(),
    "a chunk twice": lambda chunks: chunks.insert(1, dict(chunks[0])),
    "more rows": lambda chunks: chunks[1].update(rows=chunks[1]["rows"] + 1),
    "rows shifted": lambda chunks: chunks[-1].update(first_row=0),
    "bytes shifted": lambda chunks: chunks[1].update(start=chunks[1]["start"] + 1),
    "negative rows": lambda chunks: chunks[0].update(rows=-1),
    "skipped elsewhere": lambda chunks: chunks[0].update(skipped=[[10**6, 10**6 + 1]]),
}
UNSEEN: dict[str, Change] = {  # what only a checksum tells, or the reader
    "another digest": lambda chunks: chunks[0].update(digest="0" * 32),
    "rows moved": moved,
}


def altered(path: Path, change: Change, *, is_old: bool) -> None:
    """Alter the chunks of a stored plan. `is_old`: as a version without checksums wrote it."""
    value = json.loads(path.read_bytes())
    change(value["ranges"])
    if is_old:
        del value[CHECKSUM]
    path.write_text(json.dumps(value, indent=1))


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), min_size=1))
def test_what_is_sealed_is_opened(value: dict[str, Any]) -> None:
    value.pop(CHECKSUM, None)
    value["entry"] = 1
    assert is_sealed(sealed(value))
    assert opened(sealed(value)) == value
    assert opened(json.dumps(value).encode()) == value
    assert not is_sealed(json.dumps(value).encode())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_a_flipped_bit_is_noticed(data: st.DataObject) -> None:
    whole = sealed({"rows": 12, "names": ["a", "b"], "nested": {"x": 1.5}})
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    found = opened(bytes(flipped))
    if found is not None:  # the bit was in the name of the checksum: all the rest is as it was, and counts as unproven
        assert not is_sealed(bytes(flipped))
        assert (found["rows"], found["names"], found["nested"]) == (12, ["a", "b"], {"x": 1.5})


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b"null", b'{"checksum": "0"}', b"\xff"])
def test_what_is_nothing_is_not_opened(data: bytes | None) -> None:
    assert opened(data) is None


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_altered_plan_is_made_anew(planner: Planner, change: Change, is_old: bool) -> None:  # noqa: F811
    first = planner()
    altered(planner.root / "out/plan/b.jsonl.json", change, is_old=is_old)
    with pytest.raises(InputError, match=r"plan/b\.jsonl\.json is damaged\. Run the pipeline again"):
        load_plan(planner.output)
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]
    assert [f.chunks for f in load_plan(planner.output)] == [f.chunks for f in first.files]


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN.keys())
def test_a_checksum_tells_what_the_ranges_do_not(planner: Planner, change: Change) -> None:  # noqa: F811
    first = planner()
    altered(planner.root / "out/plan/b.jsonl.json", change, is_old=False)
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow", "packed.jsonl.zst"])
def test_the_last_chunk_of_other_formats(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    good_inputs(tmp_path / "in")
    own = Planner(tmp_path)
    first = own(tmp_path / "in" / name)
    assert len(first.chunks) > 1 or name == "a.arrow"  # where it is the first chunk that is missing
    altered(tmp_path / "out/plan" / f"{name}.json", CHANGES["last chunk missing"], is_old=True)
    assert own(tmp_path / "in" / name) == first
    assert own.indexed == [name]


def test_a_plan_of_another_file_is_none(planner: Planner) -> None:  # noqa: F811
    first = planner()
    plans = planner.root / "out/plan"
    (plans / "b.jsonl.json").write_bytes((plans / "a.jsonl.json").read_bytes())
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]


def good_inputs(root: Path) -> None:
    texts = [f"text {i} " * 30 for i in range(300)]
    lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    write(root / "large.jsonl", 5000, "a somewhat longer line")
    (root / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    (root / "no_newline.jsonl").write_text(lines.rstrip())
    (root / "blank.jsonl").write_text(f"\n\n{lines}\n\n")
    (root / "empty.jsonl").write_text("")
    (root / "packed.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    (root / "cut.jsonl.zst").write_bytes(zstandard.compress(lines.encode())[:-50])
    (root / "a.csv").write_text("id,text\n" + "".join(f'{i},"{t}\n{t}"\n' for i, t in enumerate(texts)))
    (root / "unclosed.csv").write_text('\n\nid,text\n1,"' + "".join(f"{t}\n" for t in texts))
    (root / "empty.csv").write_text("")
    table = pa.table({"text": texts})
    pq.write_table(table, root / "a.parquet", row_group_size=40)
    pq.write_table(table.slice(0, 0), root / "empty.parquet")
    (root / "broken.parquet").write_bytes(b"PAR1 is all that is right here")
    with pa.ipc.new_file(root / "a.arrow", table.schema) as writer:
        writer.write_table(table, 30)


@pytest.mark.parametrize("is_old", [False, True])
def test_plans_of_good_files_are_kept(tmp_path: Path, is_old: bool) -> None:
    """With a checksum, nothing is indexed twice; without one, only what cannot show that its last chunk is there."""
    (tmp_path / "in").mkdir()
    good_inputs(tmp_path / "in")
    own = Planner(tmp_path)
    first = own()
    assert len(own.indexed) > 13
    if is_old:
        for path in (tmp_path / "out/plan").iterdir():
            altered(path, lambda _: None, is_old=True)
    assert own() == first
    shown = {"large", "bom", "no_newline", "blank", "empty"}
    others = {f.file.name for f in first.files if f.file.name.removesuffix(".jsonl") not in shown}
    assert set(own.indexed) == (others if is_old else set())
    assert {f.file.name: f.chunks for f in load_plan(own.output)} == {f.file.name: f.chunks for f in first.files}


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN.keys())
def test_the_same_command_again_helps(tmp_path: Path, change: Change) -> None:
    """An old plan that fits together and is wrong: the reader notices, and the next run makes it anew."""
    write(tmp_path / "a.jsonl", 300)

    def tag(output: str) -> int:
        out = str(tmp_path / output)
        arguments = ["run", "tag", "--input", str(tmp_path / "a.jsonl"), "--output", out, "--taggers", "length"]
        return CliRunner().invoke(main, [*arguments, "--workers", "1", "--set", "chunk_bytes=2048"]).exit_code

    def parts(output: str) -> dict[str, bytes]:
        folder = tmp_path / output / "attributes/length/a.jsonl"
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}

    assert tag("undisturbed") == tag("out") == 0
    altered(tmp_path / "out/plan/a.jsonl.json", change, is_old=True)
    assert tag("out") in (1, 4)
    assert tag("out") == 0
    assert parts("out") == parts("undisturbed")

"""What is in quarantine is proven as the parts are: a file that was edited makes its part anew, an old one is taken as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tagcorpus

BY_READER = "out/quarantine/a.jsonl/part-00000.jsonl"
BY_TAGGER = "out/quarantine/a.jsonl/part-00000.fails.jsonl"
TAGGER = """
from dataclasses import dataclass
from typing import ClassVar
import pyarrow as pa
from tagcorpus.taggers._interface.base import Parameters, column

@dataclass(frozen=True)
class Fails(Parameters):
    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("n", pa.int64(), "length", "characters")])

    def tag(self, batch):
        if "bad" in batch.texts:
            raise ValueError("bad")
        return pa.record_batch([pa.array([len(t) for t in batch.texts], pa.int64())], schema=self.columns)

TAGGER = Fails
"""


def tag(root: Path, *taggers: str, **options: Any) -> Any:
    if not (root / "a.jsonl").exists():
        rows = [*[json.dumps({"text": f"text {i}"}) for i in range(20)], "not JSON", json.dumps({"text": "bad"})]
        (root / "a.jsonl").write_text("\n".join(rows))
        (root / "fails.py").write_text(TAGGER)
    return tagcorpus.run(
        "tag",
        input=root / "a.jsonl",
        output=root / "out",
        taggers=taggers or ["length"],
        tagger_module=root / "fails.py",
        workers=1,
        **options,
    )


def computed(result: Any) -> bool:
    """Whether a chunk was computed, or all was there already."""
    return not json.loads(Path(result.ledger).read_text())["ranges"][0].get("is_resumed", False)


@pytest.mark.parametrize("name", [BY_READER, BY_TAGGER])
@pytest.mark.parametrize("edit", [b"", b'{"row": 20}\n', None])
def test_an_edited_file_is_made_anew(tmp_path: Path, name: str, edit: bytes | None) -> None:
    assert computed(tag(tmp_path, "length", "fails"))
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"row", b"Row") if edit is None else edit)
    result = tag(tmp_path, "length", "fails")
    assert (result.exit_code, computed(result)) == (0, True)
    assert path.read_bytes() == whole
    assert any("damaged parts recomputed" in n for n in json.loads(Path(result.ledger).read_text())["notes"])
    assert not computed(tag(tmp_path, "length", "fails"))


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    tag(tmp_path, "length", "fails")
    index = tmp_path / "out/digests/(reader).json"
    stamp = index.stat().st_ino
    for taggers in (("length",), ("fails",), ("length", "fails")):
        assert not computed(tag(tmp_path, *taggers))
    assert index.stat().st_ino == stamp
    assert computed(tag(tmp_path, "tokens")), "another tagger, which writes the same quarantine again"
    assert not computed(tag(tmp_path, "length"))
    assert tag(tmp_path, "length", overwrite=True).exit_code == 0
    assert not computed(tag(tmp_path, "length", "fails", "tokens"))


@pytest.mark.parametrize("is_old", [True, False])
def test_quarantine_without_a_digest_is_taken_and_then_proven(tmp_path: Path, is_old: bool) -> None:
    """Of a version without any digest, and of one with digests of parts alone."""
    tag(tmp_path, "length", "fails")
    for path in (tmp_path / "out/digests").glob("*.json"):
        path.unlink()
    if not is_old:
        assert not computed(tag(tmp_path, "length", "fails"))
        (tmp_path / "out/digests/(reader).json").unlink()
    result = tag(tmp_path, "length", "fails")
    assert not computed(result)
    (tmp_path / BY_READER).write_bytes(b"{}\n")
    assert computed(tag(tmp_path, "length", "fails"))

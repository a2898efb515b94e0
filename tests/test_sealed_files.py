"""Files that later runs rely on, beside plans and parts: what was altered is made anew or named, and never believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tagcorpus
from tagcorpus.errors import InputError
from tagcorpus.pipelines import entropy
from tagcorpus.pipelines.feature_table.provenance import Provenance, provenance_name, read_provenance, written
from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork
from tagcorpus.pipelines.group_statistics.groups import Group, entropy_name
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import CHECKSUM, sealed

Tag = Callable[..., Any]


@pytest.fixture
def tag(tmp_path: Path) -> Tag:
    lines = [json.dumps({"text": "x" * (1 + i % 9)}) for i in range(50)]
    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def run(*taggers: str) -> Any:
        given = {"input": str(tmp_path / "a.jsonl"), "output": str(tmp_path / "out"), "workers": 1}
        return tagcorpus.run("tag", **given, taggers=list(taggers))  # type: ignore[call-overload]

    return run


def altered(path: Path, before: str, after: str, *, is_old: bool = False) -> None:
    """Replace text in a JSON file, which stays JSON. `is_old`: as a version without checksums wrote it."""
    text = path.read_text()
    assert before in text
    value = json.loads(text.replace(before, after, 1))
    if is_old:
        del value[CHECKSUM]
    path.write_text(json.dumps(value, indent=1))


def instances(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "out/summary/tag.json").read_text())["instances"]
    return found


def test_an_altered_summary_is_made_anew_from_the_parts(tag: Tag, tmp_path: Path) -> None:
    tag("length", "size=length")
    before = instances(tmp_path)
    altered(tmp_path / "out/summary/tag.json", '"p50": 5.0', '"p50": 6.0')
    tag("language")
    found = instances(tmp_path)
    assert list(found) == ["language", "length", "size"]
    assert {name: found[name] for name in before} == before


def test_an_altered_summary_names_what_is_not_there(tag: Tag, tmp_path: Path) -> None:
    tag("length")
    altered(tmp_path / "out/summary/tag.json", '"length": {', '"../length": {')
    tag("language")
    assert list(instances(tmp_path)) == ["language"]


def test_a_summary_of_an_earlier_version(tag: Tag, tmp_path: Path) -> None:
    """Kept as it is where its columns are of equally many documents."""
    path = tmp_path / "out/summary/tag.json"
    tag("keywords")
    before = instances(tmp_path)["keywords"]
    altered(path, '"mean": ', '"mean": ', is_old=True)
    tag("length")
    assert instances(tmp_path)["keywords"] == before
    value = json.loads(path.read_text())
    del value[CHECKSUM]
    value["instances"]["keywords"]["columns"]["numbers"]["n"] += 1
    path.write_text(json.dumps(value))
    tag("length")
    assert list(instances(tmp_path)) == ["length"]


def test_an_altered_claim_is_written_anew(tag: Tag, tmp_path: Path) -> None:
    """Believed, it would refuse the very command that made the parts."""
    path = tmp_path / "out/attributes/repetition/tagger.json"
    tag("repetition")
    before = path.read_bytes()
    altered(path, '"line_threshold": 0.6', '"line_threshold": 0.7')
    with pytest.raises(
        InputError, match=r"repetition/tagger\.json is damaged: run the pipeline again, which writes the file again"
    ):
        tagcorpus.read(str(tmp_path / "out"))
    assert tag("repetition").exit_code == 0
    assert path.read_bytes() == before
    altered(path, '"tagger"', '"tagger"', is_old=True)  # of an earlier version: as good
    assert tagcorpus.read(str(tmp_path / "out")).count_rows() == 50
    assert tag("repetition").exit_code == 0


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [(lambda data: data, True), (lambda data: data.replace(b"1.5", b"1.6"), False), (lambda data: data[:-9], False)],
)
def test_figures_of_an_entropy_run(tmp_path: Path, change: Callable[[bytes], bytes], is_kept: bool) -> None:
    output = Folder(str(tmp_path))
    figures = {"corpus": "key", "mean_corpus_entropy": 1.5}
    output.publish("summary/x.json", change(sealed({**figures, "instances": {}})))
    options: Any = SimpleNamespace(contexts=False, overwrite=False)
    corpus: Any = SimpleNamespace(output=output, instance="x", key="key")
    assert entropy._stored(corpus, options) == (figures if is_kept else {})
    output.publish("summary/x.json", json.dumps(figures).encode())  # of an earlier version
    assert entropy._stored(corpus, options) == figures


def test_the_entropy_of_a_model(tmp_path: Path) -> None:
    output, group = Folder(str(tmp_path)), Group("m", ("a",))
    engine, run = SimpleNamespace(starts_afresh=False), SimpleNamespace(output=output)
    work: Any = SimpleNamespace(engine=engine, run=run, values=None, groups=[group], keys={"m": "key"})
    data = sealed({"key": "key", "mean_corpus_entropy": 1.5})
    output.publish(entropy_name("m"), data)
    assert EntropyWork.stored(work)["m"]["mean_corpus_entropy"] == 1.5
    output.publish(entropy_name("m"), data.replace(b"1.5", b"1.6"))
    assert EntropyWork.stored(work) == {}


def test_the_provenance_of_a_table(tmp_path: Path) -> None:
    table, data = tmp_path / "t.csv", b"id\nm\n"
    table.write_bytes(data)
    known = Provenance([], {"m": 0}, {"m": {"files": ["é"]}}, {})
    path = Path(provenance_name(str(table)))
    path.write_bytes(written(known, str(table), data, ["id"], {"m": {"id": "m"}}, {"seed": 1}, {}))
    assert isinstance(read_provenance(str(table)), Provenance)
    whole = path.read_text()
    assert "é" in whole
    path.write_text(whole.replace('"recipe": 1', '"recipe": 2'))
    assert read_provenance(str(table)) == "damaged"
    altered(path, '"recipe": 2', '"recipe": 1', is_old=True)
    assert isinstance(read_provenance(str(table)), Provenance)

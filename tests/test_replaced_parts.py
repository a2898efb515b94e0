"""Two runs with other options on one output: no summary, filter or table is made of parts that another run has made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from feature_sidecars import READING, instances, plan_of, write_sidecars

import tagcorpus
from tagcorpus.errors import InputError, ReplacedError
from tagcorpus.pipelines import domain
from tagcorpus.pipelines.attributes.parts import part_name, part_of
from tagcorpus.pipelines.attributes.read import joined
from tagcorpus.pipelines.attributes.summary import summarise
from tagcorpus.pipelines.dispatch import conduct
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.filter import Filter, Flag
from tagcorpus.pipelines.filtering.condition import Condition
from tagcorpus.pipelines.group_statistics import kept
from tagcorpus.pipelines.group_statistics.groups import Group, Values, by_column, entropy_name
from tagcorpus.pipelines.group_statistics.rows import ChunkRows
from tagcorpus.pipelines.group_statistics.statistics import statistics
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.labelling.label_counts import label_counts
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import sealed

SHARD = 1024
ROWS = 120


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two text columns of different lengths, in several chunks."""
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": "x" * (1 + i % 7), "body": "y" * (20 + i % 5)}) for i in range(ROWS)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def options_of(corpus: Path, **more: Any) -> dict[str, Any]:
    given = {"input": [str(corpus)], "output": str(corpus.parent / "out"), "taggers": ["length"], "workers": 1}
    return {**given, "chunk_bytes": SHARD, **more}


def lengths(corpus: Path) -> list[int]:
    found: list[int] = tagcorpus.read(str(corpus.parent / "out")).to_table()["char_len"].to_pylist()
    return found


def interrupted(corpus: Path, between: Callable[[], object], at: str = "tag", **more: Any) -> Result:
    """A run of `tag`, in which `between` happens once when the engine has tagged, or once before it begins to."""

    class Disturbed(Engine):
        def tag(self, plan: Plan, instances: Any) -> None:
            if at == "plan":
                between()
            super().tag(plan, instances)
            if at == "tag":
                between()

    options = load_options("tag", None, (), options_of(corpus, **more))
    return conduct.run_options("tag", options, Display(quiet=True), make_engine=Disturbed)


def test_parts_replaced_before_the_summary(corpus: Path) -> None:
    other: list[Result] = []

    def run_other() -> None:
        other.append(tagcorpus.run("tag", **options_of(corpus, text_column="body")))

    with pytest.raises(ReplacedError) as raised:
        interrupted(corpus, run_other)
    assert raised.value.exit_code == 4
    name = Path(other[0].ledger).parent.name
    assert f"(the newest other run there is {name}" in str(raised.value)
    assert "part-00000.parquet is of another run: its key is not that of this input with these options" in str(
        raised.value
    )
    # The other run is right, and stays so: its summary is that of its parts.
    summary = json.loads((corpus.parent / "out/summary/tag.json").read_text())
    assert summary["instances"]["length"]["columns"]["char_len"]["min"] == 20
    assert min(lengths(corpus)) == 20
    ledgers = {p.parent.name: json.loads(p.read_text()) for p in (corpus.parent / "out/runs").glob("*/ledger.json")}
    assert sorted(ledger["exit_code"] for ledger in ledgers.values()) == [0, 4]
    # The same command again is right, too.
    again = tagcorpus.run("tag", **options_of(corpus))
    assert again.exit_code == 0
    assert again.summary["instances"]["length"]["columns"]["char_len"]["max"] == 7
    assert max(lengths(corpus)) == 7


def test_some_parts_replaced_while_a_run_works(corpus: Path) -> None:
    """What was published before the other run came is its parts; what comes later is this run's: a mix is no result."""
    parts = corpus.parent / "out/attributes/length/a.jsonl"
    stored: dict[str, bytes] = {}
    tagcorpus.run("tag", **options_of(corpus, text_column="body"))
    stored.update({p.name: p.read_bytes() for p in parts.iterdir()})

    def mix() -> None:
        for name in sorted(stored)[::2]:
            (parts / name).write_bytes(stored[name])

    with pytest.raises(ReplacedError):
        interrupted(corpus, mix)
    with pytest.raises(InputError, match=r"parts of 'length' in .*out are of several runs"):
        lengths(corpus)
    assert tagcorpus.run("tag", **options_of(corpus)).exit_code == 0
    assert max(lengths(corpus)) == 7


def test_parts_replaced_while_the_summary_is_made(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts were read when the other run came: the summary that is about to be published is of parts that are gone."""
    from tagcorpus.pipelines.attributes import summary

    of_instance = summary._of_instance

    def and_then_the_other_run(*arguments: Any) -> dict[str, Any]:
        found = of_instance(*arguments)
        monkeypatch.setattr(summary, "_of_instance", of_instance)
        tagcorpus.run("tag", **options_of(corpus, text_column="body"))
        return found

    monkeypatch.setattr(summary, "_of_instance", and_then_the_other_run)
    with pytest.raises(ReplacedError):
        tagcorpus.run("tag", **options_of(corpus))
    told = json.loads((corpus.parent / "out/summary/tag.json").read_text())
    assert told["instances"]["length"]["columns"]["char_len"]["min"] == 20


def test_equal_runs_do_no_harm(corpus: Path) -> None:
    result = interrupted(corpus, lambda: tagcorpus.run("tag", **options_of(corpus, overwrite=True)))
    assert result.exit_code == 0
    assert interrupted(corpus, lambda: tagcorpus.run("tag", **options_of(corpus)), at="plan").exit_code == 0


def test_another_tagger_meanwhile_does_no_harm(corpus: Path) -> None:
    result = interrupted(corpus, lambda: tagcorpus.run("tag", **options_of(corpus, taggers=["language"])))
    assert result.exit_code == 0
    assert list(result.summary["instances"]) == ["length"]


def test_a_whole_output_of_other_options_can_be_read(corpus: Path) -> None:
    """Two taggers, run with different options one after the other: no part is a mix, and reading refuses nothing."""
    tagcorpus.run("tag", **options_of(corpus))
    tagcorpus.run("tag", **options_of(corpus, taggers=["size=length"], text_column="body"))
    table = tagcorpus.read(str(corpus.parent / "out")).to_table()
    assert table.column_names == ["input", "row", "sub", "id", "length.char_len", "size.char_len"]
    assert max(table["length.char_len"].to_pylist()) == 7
    assert min(table["size.char_len"].to_pylist()) == 20


# Whoever reads a part, one by one


USING = instances("repetition", "length", "language", "domain")
PLAN = plan_of({"a.jsonl": [3, 2]})


def rows() -> dict[str, Any]:
    numbers = range(5)
    prediction = {"prediction": "web", "stage": "web", "language": "en", "n_calls": 1, "is_off_menu": False}
    return {
        "repetition": {n: {"is_kept": True, "reason": ""} for n in numbers},
        "length": {n: {"char_len": n} for n in numbers},
        "language": {n: {"language": "en", "language_score": 1.0} for n in numbers},
        "domain": dict.fromkeys(numbers, prediction),
    }


def every_chunk(read: Callable[[Any, int], object]) -> None:
    for planned, k in PLAN.chunks:
        read(planned, k)


def _condition(output: Folder) -> None:
    rule = Condition("char_len > 1", [USING["length"]], {"length": ["char_len"]})
    every_chunk(lambda planned, k: list(rule.judged(output, planned, k)))


def _filter(output: Folder) -> None:
    list(Filter(output, PLAN, READING, Flag(USING["repetition"], "is_kept"), False)._verdicts(PLAN.files[0]))


def _labels(output: Folder) -> None:
    run: Any = SimpleNamespace(output=output)
    label_counts(run, PLAN, USING["domain"])


def _kept(output: Folder) -> None:
    every_chunk(lambda planned, k: kept.kept(output, USING["repetition"], planned, k))


def _numbered(output: Folder) -> None:
    values = Values(USING["language"], "language", ("en",))
    every_chunk(lambda planned, k: kept.numbered(output, USING["repetition"], values, planned, k))


def _rows_of(output: Folder) -> None:
    groups = by_column(output, PLAN, USING["language"], "language")
    every_chunk(lambda planned, k: ChunkRows(output, planned, k, USING).rows_of(groups))


READERS: dict[str, tuple[str, Callable[[Folder], object]]] = {
    "summary": ("length", lambda output: summarise(output, PLAN, [USING["length"]], Counts(), "tag")),
    "result file": ("length", lambda output: list(joined(output, PLAN.files, [USING["length"]]))),
    "duplicate ids": ("length", lambda output: count_duplicate_ids(output, PLAN, USING["length"])),
    "filter": ("repetition", _filter),
    "where": ("length", _condition),
    "domain table": ("domain", _labels),
    "kept documents": ("repetition", _kept),
    "groups of a column": ("language", lambda output: by_column(output, PLAN, USING["language"], "language")),
    "groups of rows": ("language", _rows_of),
    "numbers of groups": ("language", _numbered),
    "features": ("length", lambda output: statistics(output, PLAN, [_group()], {k: USING[k] for k in ("repetition", "length")})),
}  # fmt: skip


def _group() -> Group:
    return Group("m", ("a.jsonl",))


@pytest.mark.parametrize(("role", "read"), READERS.values(), ids=READERS.keys())
def test_every_reader_compares_the_key(tmp_path: Path, role: str, read: Callable[[Folder], object]) -> None:
    if read is _condition:
        pytest.importorskip("duckdb")
    output = Folder(str(tmp_path))
    write_sidecars(output, PLAN, USING, {"a.jsonl": rows()})
    read(output)
    theirs = Folder(str(tmp_path / "theirs"))
    write_sidecars(theirs, PLAN, USING, {"a.jsonl": rows()}, replace(READING, max_line_bytes=1 << 19))
    name = part_name(role, "a.jsonl", 1)
    output.publish(name, theirs.read(name) or b"")
    with pytest.raises(ReplacedError, match=r"part-00001\.parquet is of another run"):
        read(output)


def test_an_entropy_of_another_run(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    write_sidecars(output, PLAN, USING, {"a.jsonl": rows()})
    output.publish(entropy_name("m"), sealed({"key": "ours", "mean_corpus_entropy": 1.5, "num_tokens": 10}))
    using = {k: USING[k] for k in ("repetition", "length")}
    (found,) = statistics(output, PLAN, [_group()], using, entropy_keys={"m": "ours"})
    assert found.counts["entropy_tokens"] == 10
    with pytest.raises(ReplacedError, match=r"m\.entropy\.json is of another run"):
        statistics(output, PLAN, [_group()], using, entropy_keys={"m": "theirs"})


def test_chosen_rows_are_another_part(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    write_sidecars(output, PLAN, USING, {"a.jsonl": rows()})
    chosen = replace(USING["domain"], chosen={"a.jsonl": {"kept_by": 1}})
    with pytest.raises(ReplacedError):
        part_of(output, PLAN.files[0], 0, chosen)
    assert part_of(output, PLAN.files[0], 0, replace(chosen, is_whole_enough=True)).num_rows == 3


def test_no_part_is_read_by_its_name_alone() -> None:
    """A reader that is added later proves keys, too."""
    root = Path(domain.__file__).parents[1]
    trusting = [
        str(path.relative_to(root))
        for path in (root / "pipelines").rglob("*.py")
        if re.search(r"(?<!def )\bread_part\(", path.read_text(encoding="utf-8"))
    ]
    assert sorted(trusting) == ["pipelines/attributes/parts.py", "pipelines/attributes/read.py"]

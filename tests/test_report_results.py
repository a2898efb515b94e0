"""The report's sections on audits, comparisons and agreement with gold labels."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from slurm_commands import invoke

from tagcorpus.pipelines.report.contents.contents import Contents, gather
from tagcorpus.pipelines.report.sections.agreement import agreement_section
from tagcorpus.pipelines.report.sections.audit import audit_section
from tagcorpus.pipelines.report.sections.comparison import comparison_section

EVIL = "<script>x</script>.jsonl"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    folder = tmp_path_factory.mktemp("results")
    (folder / "in").mkdir()
    for name, size in (("short.jsonl", 2), (EVIL.replace("/", ""), 40)):
        rows = [{"id": f"{name[:2]}{i}", "text": "some word " * (size + i % 5)} for i in range(60)]
        (folder / "in" / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    tables = {"gold": ["a"] * 30 + ["<b>"] * 10, "given": ["a"] * 25 + ["<b>"] * 15}
    for name, labels in tables.items():
        lines = [json.dumps({"id": str(i), "label": label}) for i, label in enumerate(labels)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    out = str(folder / "out")
    for words in (
        ("run", "tag", "--input", str(folder / "in"), "--output", out, "--taggers", "length"),
        ("audit", out, "--column", "length.char_len"),
        ("compare", out, "--group", "input=short.jsonl", "--columns", "char_len"),
        ("agreement", str(folder / "given.jsonl"), str(folder / "gold.jsonl"), "--output", f"{out}/agreement"),
    ):
        done = invoke(*words)
        assert done.code == 0, done.err
    Path(out, "audit/broken.json").write_text("{")
    return gather(out)


def stripped(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def test_audit(contents: Contents) -> None:
    section = audit_section(contents)
    assert section is not None
    shown = stripped(section.body)
    assert "source: the score depends on it strongly" in shown
    assert re.search(r"source \S+ % \S+ to \S+ % 2 differs", shown)
    assert "<script>" not in section.body


def test_comparison(contents: Contents) -> None:
    section = comparison_section(contents)
    assert section is not None
    shown = stripped(section.body)
    assert (
        "A: input=short.jsonl (60 documents). B: all but input=short.jsonl (60 documents). 1 of 1 columns differ"
        in shown
    )
    assert re.search(r"More in B: \d+ to \d+ 0\.0 % of A, \d+\.0 % of B \S+: \d+ some word some word", shown)
    assert re.search(r"length\.char_len −1\.000 −1\.00 to −1\.00 \S+ sd", shown)


def test_agreement(contents: Contents) -> None:
    section = agreement_section(contents)
    assert section is not None
    shown = stripped(section.body)
    assert "40 documents have labels of both" in shown
    assert "Gold <b> a All <b> 10 · 10 a 5 25 30" in shown
    assert re.search(r"a 75\.0 % 62\.5 % 1 \S+ to \S+ 0\.833", shown)
    assert "<b>" not in section.body.replace("<b>0", "").replace("<b>1", "")


def test_no_results(tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl"
    source.write_text('{"text": "x"}\n')
    assert (
        invoke("run", "tag", "--input", str(source), "--output", str(tmp_path / "o"), "--taggers", "length").code == 0
    )
    bare = gather(str(tmp_path / "o"))
    assert [make(bare) for make in (audit_section, comparison_section, agreement_section)] == [None, None, None]

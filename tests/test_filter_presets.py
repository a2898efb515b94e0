"""`run filter --preset`: published conditions over the columns of `signals`, computed where they are missing."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.filtering.condition import references
from tagcorpus.pipelines.filtering.presets import presets
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.taggers.signals import Signals

PROSE = "The river was quick and the house that we have with brown walls is over the mountain number {}. "
DOCUMENTS = {
    "prose": (
        "The ferry left before sunrise, and only three people were on deck. One of them had a map of the islands.\n"
        "She wanted to see the lighthouse that her grandfather built with his own hands. Fog covered most of it.\n"
        "Nobody could say when the next boat would be there! So they walked along the shore until the lamps were lit.\n"
    ),
    "short": "The house.",
    "hashes": "".join(PROSE.format(i) + "# # #\n" for i in range(5)),
    "lines": "The same line of the text that we have with it.\n" * 10,
    "empty": "",
}


def write(path: Path) -> Path:
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in DOCUMENTS.items()))
    return path


def keep(path: Path, output: Path, **options: Any) -> dict[str, str]:
    """The reason of each document, empty for a kept one."""
    tagcorpus.run("filter", input=str(path), output=str(output), **options)
    folder, reasons = output / "filtered", {}
    for name in ("filtered_d.jsonl", "removed_d.jsonl"):
        for line in (folder / name).read_text().splitlines():
            row = json.loads(line)
            reasons[row["id"]] = row.get("filter_reason", "")
    return reasons


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("presets") / "d.jsonl")


def test_gopher_says_which_rule_removes(path: Path, tmp_path: Path) -> None:
    assert keep(path, tmp_path / "out", preset="gopher") == {
        "prose": "",
        "short": "gopher_short_doc",
        "hashes": "gopher_too_many_hashes",
        "lines": "dup_line_frac",
        "empty": "gopher_short_doc",
    }
    assert (tmp_path / "out" / "attributes" / "signals").is_dir()


def test_several_presets_use_the_same_attributes(path: Path, tmp_path: Path) -> None:
    tagcorpus.run("tag", input=str(path), output=str(tmp_path / "out"), taggers=["signals"])
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "attributes").rglob("*.parquet")}
    assert keep(path, tmp_path / "out", preset="c4-verdict")["lines"] == ""
    assert keep(path, tmp_path / "out", preset="c4-verdict")["short"] == "too_few_sentences"
    assert keep(path, tmp_path / "out", preset="fineweb")["lines"] == "char_dup_ratio"
    assert keep(path, tmp_path / "out", preset="redpajama")["short"] == "word_count"
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "attributes").rglob("*.parquet")} == parts


def test_a_preset_is_a_condition_for_where(path: Path, tmp_path: Path) -> None:
    by_preset = keep(path, tmp_path / "out", preset="gopher")
    by_where = keep(path, tmp_path / "out", where=presets()["gopher"].where)
    assert {name: not reason for name, reason in by_preset.items()} == {n: not r for n, r in by_where.items()}


@pytest.mark.e2e
def test_parameters_of_signals_count(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    keep(path, tmp_path / "out", preset="gopher")
    with pytest.raises(ConfigError, match="already holds 'signals'"):
        keep(path, tmp_path / "out", preset="gopher", parameters={"signals": {"words": "datatrove"}})


@pytest.mark.parametrize(
    "options", [{"where": "num_chars > 1"}, {"keep": "datatrove_filter.is_kept"}], ids=["where", "keep"]
)
def test_one_rule_at_a_time(path: Path, tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"preset='fineweb' and (where|keep .*) are two rules; give one of them"):
        keep(path, tmp_path / "out", preset="fineweb", **options)


def test_a_row_the_tagger_fails_on_is_removed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = Signals.tag

    def failing(self: Signals, batch: Any) -> Any:
        if any(text.startswith("The house") for text in batch.texts):
            raise ValueError("no")
        return tag(self, batch)

    monkeypatch.setattr(Signals, "tag", failing)
    reasons = keep(path, tmp_path / "out", preset="fineweb", workers=1)
    assert reasons["short"] == "tagger_failed"
    assert reasons["prose"] == ""


def test_every_preset_has_an_option_and_names_columns_that_exist() -> None:
    choices = typing.get_args(typing.get_type_hints(FilterOptions)["preset"])[0]
    assert list(presets()) == list(typing.get_args(choices))
    for preset in presets().values():
        assert preset.about
        assert preset.source
        assert {name for (name,) in references(preset.where)} <= set(Signals.columns.names)
        for reason, condition in preset.keep.items():
            assert reason.replace("_", "").isalnum(), reason
            assert len(references(condition)) == 1, condition

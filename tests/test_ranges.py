"""Numbers as options: NaN, infinity and numbers out of range are refused on every way in; ordinary numbers are not."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.declare import Option, fields_of
from tagcorpus.pipelines.options.tree import COMMANDS
from tagcorpus.pipelines.run import run

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = [
    (command, o)
    for command in COMMANDS
    for o in fields_of(command.options)
    if o.kind in (int, float) and not o.declaration.is_positional
]
UNLIMITED = {("mix", "make", "temperature"), ("mix", "propose", "epochs"), ("max_quarantined",)}
"""Options for which infinity has a meaning."""


def test_every_number_has_a_range() -> None:
    without = {o.key for _, o in NUMBERS if not o.declaration.range}
    assert without == {"seed"}  # of pipelines, where it is part of what is hashed


@pytest.mark.parametrize("words", sorted({command.words for command, _ in NUMBERS}), ids=" ".join)
def test_what_is_not_an_ordinary_number_is_refused(words: tuple[str, ...]) -> None:
    for o in (o for command, o in NUMBERS if command.words == words):
        refusal = o.declaration.refusal
        is_unlimited = bool(UNLIMITED & {(*words, o.key), (o.key,)})
        passed = [v for v in (math.nan, -math.inf, math.inf, 10**30, -(10**30)) if refusal("k", v) is None]
        assert passed == [math.inf] * is_unlimited, o.key
        assert o.default is None or refusal("k", o.default) is None, o.key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mix", "fit", "a", "b", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["agreement", "a", "b", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["report", "a", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["shares", "a", "--width", "inf"], "--width must be above 0 and at most 100, got inf"),
        (["shares", "a", "--width", "101"], "--width must be above 0 and at most 100, got 101.0"),
        (["shares", "a", "--draw", "0"], "--draw must be at least 1, got 0"),
        (["compare", "a", "--floor", "inf"], "--floor must be at least 0 and finite, got inf"),
        (["predict", "--db", "a", "--extrapolate", "0"], "--extrapolate must be at least 1, got 0"),
        (["predict", "--db", "a", "--seed", str(10**30)], "--seed must be within 64 bits, got one of 100"),
        (["mix", "swarm", "0", "a", "-o", "b", "--tokens", "1M"], "N must be at least 1, got 0"),
        (["run", "tag", "--input", "a", "--sample", "inf"], "--sample must be above 0 and at most 1, got inf"),
        (["run", "tag", "--input", "a", "--set", "num_gpus=.inf"], "num_gpus must be at least 0 and finite, got inf"),
        (["run", "entropy", "--input", "a", "--ngram", "0"], "--ngram must be at least 1, got 0"),
    ],
)
def test_messages(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_file_of_options_and_keywords_are_checked_alike(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("max_quarantined: .nan\n")
    with pytest.raises(ConfigError, match=r"max_quarantined must be at least 0, or inf, got nan"):
        run("tag", input="a", config=str(config))
    with pytest.raises(ConfigError, match=r"^max_quarantined must be at least 0, or inf, got nan"):
        run("tag", input="a", max_quarantined=math.nan)
    with pytest.raises(ConfigError, match=r"threshold.* must be a number, got nan"):
        run("tag", input="a", taggers="fasttext", fasttext={"threshold": math.nan})


def test_the_help_shows_ranges() -> None:
    text = " ".join(CliRunner().invoke(main, ["mix", "propose", "--help"]).output.split())
    assert "[above 0, or inf; default: 4.0]" in text
    assert "[at least 0]" in text


def test_no_number_of_the_pages_is_refused() -> None:
    """Every `--flag NUMBER` in README, docs and examples is in the range of each command that has the flag."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    flags: dict[str, list[Option]] = {}
    for _, o in NUMBERS:
        for flag in o.flags:
            flags.setdefault(flag, []).append(o)
    n = 0
    for flag, number in re.findall(r"(?<!\S)(--?[a-z-]+)[ =](\d[\d_.e]*)(?=[\s`\\,;)]|$)", text):
        for o in flags.get(flag, []):
            n += 1
            assert o.declaration.refusal(flag, o.kind(float(number.rstrip(".")))) is None, (flag, number)
    assert n > 50

"""Amounts of tokens, documents and bytes are written alike in every command that takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.counting.corpus import memory_bytes
from tagcorpus.pipelines.filtering.best import Amount
from tagcorpus.pipelines.mixes.weights import token_count
from tagcorpus.pipelines.options.declaring.amounts import amount
from tagcorpus.pipelines.options.declaring.declare import Option, options_of
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.tree import COMMANDS


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("300000", 300_000),
        ("40M", 40_000_000),
        ("0.5M", 500_000),
        (".5k", 500),
        ("-.5k", -500),
        ("1.5b", 1_500_000_000),
        ("2G", 2 * 10**9),
        ("1e6", 10**6),
        ("1E+6", 10**6),
        ("1_000", 1000),
        ("1,000,000", 10**6),
        (" 20 k ", 20_000),
        ("0", 0),
        ("-5", -5),
        ("+7", 7),
    ],
)
def test_counts(text: str, number: int) -> None:
    assert amount(text, "count", "--tokens") == number


@pytest.mark.parametrize("text", ["", "M", "1.5", "1e-6", "0.0001K", "1,5M", ".5", ".", ".k", "5.k", "1..5k", ".5.5k", "20MB", "2KiB", "10%", "nan", "inf", "0x10", "1e400", "1 2", "٣"])  # fmt: skip
def test_what_is_not_a_count_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--tokens takes a whole number such as 300000, 20M, 1\.5B or 1e6, got"):
        amount(text, "count", "--tokens")


@pytest.mark.parametrize(
    ("text", "number"),
    [("4000000000", 4 * 10**9), ("800MB", 8 * 10**8), ("1gb", 10**9), ("2GiB", 2 << 30), ("64mi", 64 << 20), ("5B", 5)],
)
def test_sizes(text: str, number: int) -> None:
    assert amount(text, "bytes", "file_bytes") == number


@given(st.integers(0, 10**15))
def test_whole_numbers_are_themselves(number: int) -> None:
    ways = amount(str(number), "count", ""), amount(f"{number:,}", "count", ""), amount(f"{number:_}", "bytes", "")
    assert ways == (number, number, number)


def test_options_of_text_read_the_same_amounts() -> None:
    assert token_count("1e6", "--tokens") == memory_bytes("1e6kB") // 1000 == 10**6
    assert Amount.read("5K", "--top") == Amount(documents=5000)
    assert Amount.read("0.5 %", "--top") == Amount(share=0.005)
    assert Amount.read("0.1", "--top") == Amount.read(".1", "--top") == Amount.read("10%", "--top") == Amount(share=0.1)
    assert Amount.read("1", "--top") == Amount(documents=1)
    assert (Amount.read(".5k", "--top"), Amount.read(".5%", "--top")) == (Amount(documents=500), Amount(share=0.005))
    for text in ("0", "-5", "0.0", "1.0", "1.5", "-0.1", "0,1", "120%", "1e3%", "%", ".%"):
        with pytest.raises(ConfigError, match="--top takes a share such as 10%, or a number of documents such as 5000"):
            Amount.read(text, "--top")


def options_with(unit: str) -> list[tuple[tuple[str, ...], Option]]:
    return [(c.words, o) for c in COMMANDS for o in options_of(c.options) if o.declaration.unit == unit]


def test_whole_numbers_of_tokens_documents_and_bytes_are_amounts() -> None:
    """A new option that counts them must say so."""
    counted = {"TOKENS", "T"}
    for command in COMMANDS:
        for one in options_of(command.options):
            if one.kind is int and (one.metavar in counted or one.key.endswith(("_bytes", "max_requests", "limit"))):
                assert one.declaration.unit is not None, (command.words, one.key)


@pytest.mark.parametrize(("words", "option"), [(w, o) for w, o in options_with("count") if o.flags])
def test_the_command_line_takes_amounts(words: tuple[str, ...], option: Option) -> None:
    result = invoke(*words, option.flags[0], "3.5")
    assert result.code == 2
    assert "takes a whole number such as 300000, 20M, 1.5B or 1e6, got '3.5'" in " ".join(result.err.split())


@pytest.mark.parametrize(("value", "number"), [("20M", 20_000_000), ("1e6", 10**6), (1e6, 10**6), (5, 5)])
def test_files_and_python_take_amounts(tmp_path: Path, value: Any, number: int) -> None:
    options: Any = load_options("filter", options={"input": ["a"], "tokens_at_most": value}, are_keywords=True)
    assert options.tokens_at_most == number
    config = tmp_path / "config.yaml"
    config.write_text(f"tokens_at_most: {value}\nchunk_bytes: 64MiB\n")
    options = load_options("filter", str(config), ["limit=1_000"], {"input": ["a"]})
    assert (options.tokens_at_most, options.chunk_bytes, options.limit) == (number, 64 << 20, 1000)


@pytest.mark.parametrize("value", ["20Q", 1.5, True, float("nan")])
def test_wrong_amounts_in_python_name_the_key(value: Any) -> None:
    with pytest.raises(ConfigError, match="tokens_at_most"):
        load_options("filter", options={"input": ["a"], "tokens_at_most": value}, are_keywords=True)


def test_shares_are_also_percentages() -> None:
    shares = {"--sample", "--held-out", "--bracket", "--min-kept-share", "--held-out-share"}
    every = {o.flags[0] for c in COMMANDS for o in options_of(c.options) if o.flags and o.declaration.is_share}
    assert every >= shares
    assert "--min-kappa" not in every
    for text, message in (("10%", "No such file"), ("0.1", "No such file"), ("120%", "is not a valid float"), ("0%", "is not a valid float"), ("1.5", "at most 1")):  # fmt: skip
        result = invoke("run", "tag", "--input", "absent.jsonl", "--sample", text)
        assert (result.code, message.lower() in " ".join(result.err.split()).lower()) == (2, True), (text, result.err)


def test_bounds_hold_for_amounts() -> None:
    result = invoke("run", "filter", "--input", "x.jsonl", "--tokens", "-5M")
    assert (result.code, "must be at least 1, got -5000000" in " ".join(result.err.split())) == (2, True), result.err

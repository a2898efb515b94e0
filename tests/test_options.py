"""One declaration for each option: what is made from it agrees with the code that uses it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import re
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import derived
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.common import SETTINGS
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, Declaration, fields_of, option, options_of
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.pages import to_yaml
from tagcorpus.pipelines.options.python_words import in_python
from tagcorpus.pipelines.options.tree import COMMANDS, OPTIONS, Command
from tagcorpus.taggers import tagger_class

WITH_FLAG = {"entropy-lm": "lm_entropy"}  # sections that are not called like their tagger


@pytest.mark.parametrize("name", derived.FILES)
def test_files_made_from_the_declarations_are_current(name: str) -> None:
    """After a change of options: python tests/derived.py"""
    written = (derived.ROOT / name).read_text(encoding="utf-8")
    made = derived.FILES[name]()
    if name.endswith(".py"):  # the layout is the formatter's, which not every installation has
        written, made = (ast.dump(ast.parse(text)) for text in (written, made))
    assert written == made


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_help_shows_every_flag_once_and_its_text(command: Command) -> None:
    page = CliRunner().invoke(main, [*command.words, "--help"], terminal_width=200).output
    text = " ".join(page.split())
    for o in [*options_of(command.options), *(SETTINGS if command.pipeline else ())]:
        if o.declaration.is_positional:
            assert o.metavar in text.split("Options")[0]
            continue
        for flag in o.flags:
            shown = flag.replace("/", " / ")
            assert len(re.findall(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", page.split("Input:")[-1])) >= 1, flag
        assert not o.flags or " ".join(o.help.split())[:60] in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_no_two_options_of_a_command_share_a_flag(command: Command) -> None:
    declared = [f for o in [*options_of(command.options), *SETTINGS] for flags in o.flags for f in flags.split("/")]
    assert len(declared) - len(set(declared)) == (
        2 if command.words == ("config",) else 0
    )  # its own --config and --set


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.calls], ids=lambda c: " ".join(c.words))
def test_fields_of_a_command_are_the_keywords_of_its_function(command: Command) -> None:
    parameters = inspect.signature(command.function).parameters
    if "options" not in parameters:
        assert {f.name for f in dataclasses.fields(command.options)} == set(parameters) - {"display"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_declarations_are_sound(command: Command) -> None:
    for o in options_of(command.options):
        help_text = o.declaration.help
        assert o.declaration.is_positional or re.fullmatch(r"[A-Z`a-z0-9].*[.)?]", help_text), (o.key, help_text)
        default = o.default if o.kind in (int, float) and o.default is not REQUIRED else None
        assert o.declaration.refusal(o.key, default) is None


def test_shorthands_of_taggers_parameters_name_real_ones_with_their_defaults() -> None:
    for cls in OPTIONS.values():
        for o in cls.SHORTHANDS:
            section, _, name = o.key.rpartition(".")
            if not section:
                continue
            fields = {f.name: f for f in dataclasses.fields(tagger_class(WITH_FLAG.get(section, section)))}
            assert name in fields, o.key
            if o.default is not None:
                assert o.default in (fields[name].default, cls.PARAMETERS.get(section, {}).get(name)), o.key


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.pipeline], ids=lambda c: " ".join(c.words))
def test_what_is_typed_is_what_arrives(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flag of a pipeline, through click, gives the value of the key that it is declared for. A line has each key once at most."""
    received: list[dict[str, Any]] = []
    monkeypatch.setattr("tagcorpus.cli._guarded", lambda _command, values: received.append(values))
    samples: dict[Any, tuple[str, Any]] = {int: ("3", 3), float: ("0.5", 0.5), str: ("x", "x")}
    lines: list[tuple[list[str], dict[str, Any]]] = []
    for o in options_of(command.options):
        for flag in (f for flags in o.flags for f in flags.split("/") if f.startswith("--")):
            if o.constant is not REQUIRED or o.kind is bool:
                typed, value = [], o.constant if o.constant is not REQUIRED else not flag.startswith("--detach")
            elif o.choices:
                typed, value = [o.choices[-1]], o.choices[-1]
            else:
                text, value = samples.get(o.kind, ("a=b", ["a=b"]))
                typed = [text]
            line, values = next((line for line in lines if o.key not in line[1]), ([], {}))
            if not line:
                lines.append((line, values))
            line += [flag.replace("-", "_").replace("__", "--", 1), *typed]
            values[o.key] = value
    for line, values in lines:
        done = CliRunner().invoke(main, [*command.words, *line])
        assert done.exit_code == 0, (line, done.output)
        assert received.pop() == values


@given(
    st.floats(allow_nan=True) | st.integers(),
    *[st.none() | st.integers(-5, 5) for _ in range(4)],
)
def test_bounds_against_plain_comparisons(value: float, at_least: int, above: int, at_most: int, below: int) -> None:
    declaration = Declaration("", at_least=at_least, above=above, at_most=at_most, below=below)
    is_within = (
        (-(2**63) < value < 2**63 if isinstance(value, int) else math.isfinite(value))
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    refusal = declaration.refusal("k", value)
    assert (refusal is None) == is_within
    if refusal is not None:
        assert refusal.startswith("k must be ")
        assert refusal.endswith(f", got {value}") or abs(value) >= 2**63


def test_sections_defaults_and_choices() -> None:
    @dataclasses.dataclass(frozen=True)
    class Inner:
        size: int | None = option(None, "Size.", at_least=1)

    assert (
        [(o.key, o.kind, o.default) for o in fields_of(Inner)] == [("size", int, None)]
        if not typing.TYPE_CHECKING
        else True
    )
    (executor,) = (o for o in fields_of(OPTIONS["tag"]) if o.key == "executor")
    assert executor.choices == ("local", "ray", "slurm")
    assert executor.help.endswith("[default: local]")
    first, second = OPTIONS["tag"](), OPTIONS["tag"]()
    first.input.append("x")
    assert second.input == []


@pytest.mark.parametrize(
    ("message", "python"),
    [
        ("give --output FOLDER, or say --overwrite", "give output=FOLDER, or say overwrite=True"),
        ("--input is empty", "input is empty"),
        ("--set tokens.tokenizer must be str, got 3", "tokens={'tokenizer': ...} must be str, got 3"),
        ("say --set tokens.engine=tiktoken)", "say tokens={'engine': tiktoken})"),
        ("--set chunk_bytes=65536, from the start", "chunk_bytes=65536, from the start"),
        ("more calls than --max-requests 10,000; nothing", "more calls than domain={'max_requests': 10000}; nothing"),
        ("--no-llm-cache keeps none", "domain={'llm_cache': 'none'} keeps none"),
        ("unknown tagger 'x' (--taggers)", "unknown tagger 'x' (taggers)"),
        ("--unknown-flag stays, as do a -- b and pip install --no-deps x", None),
        ("--text_column too", "text_column too"),
        ("see --storage-options profile=NAME)", "see storage_options={'profile': NAME})"),
        (
            "no part: tagcorpus run tag --input a --set chunk_bytes=3; then --overwrite",
            "no part: tagcorpus run tag --input a --set chunk_bytes=3; then overwrite=True",
        ),
        (
            "name --backend openai, or --executor slurm runs",
            "name domain={'backend': 'openai'}, or executor='slurm' runs",
        ),
        ("--overwrite replaces it; --output here", "overwrite=True replaces it; output here"),
    ],
)
def test_messages_in_pythons_words(message: str, python: str | None) -> None:
    assert in_python(message) == (python or message)


def test_python_names_arguments(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "a"}\n')
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text_columm": "x"}, "unknown key 'text_columm' (text_columm): did you mean 'text_column'?"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"limit": [3]}, "limit must be int or null, got [3]"),
        ({"limit": "3.5"}, "limit takes a whole number such as 300000, 20M, 1.5B or 1e6, got '3.5'"),
        ({"text_column": "t", "output": tmp_path / "o"}, "text_column"),
        ({"length": {"x": 1}}, "length has no parameters (length={'x': ...})"),
    ]
    for options, message in cases:
        with pytest.raises(ConfigError if "output" not in options else tagcorpus.TagcorpusError) as raised:
            tagcorpus.run("tag", input=source, **options)
        assert message in str(raised.value)
        assert "--" not in str(raised.value)


def test_parameters_of_an_instance_of_any_name(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "a b"}\n')
    result = tagcorpus.run(
        "tag",
        input=source,
        output=tmp_path / "out",
        taggers="gpt2-like=tokens",
        parameters={"gpt2-like": {"tokenizer": "gpt2"}},
        workers=1,
    )
    assert result.summary["instances"]["gpt2-like"]["columns"]["num_tokens"]["mean"] == 2


def test_every_pipeline_has_its_signature() -> None:
    overloads = typing.get_overloads(import_module("tagcorpus.pipelines.run").run)
    hints = [typing.get_type_hints(f) for f in overloads]
    assert [typing.get_args(h["pipeline"]) for h in hints] == [(name,) for name in OPTIONS]
    for hint, cls in zip(hints, OPTIONS.values(), strict=True):
        (keywords,) = typing.get_args(hint["options"])
        assert {o.key.partition(".")[0] for o in fields_of(cls)} <= set(typing.get_type_hints(keywords))


def test_the_command_line_has_no_list_of_flags() -> None:
    source = (derived.ROOT / "cli.py").read_text()
    assert set(re.findall(r'"(--?[a-z][\w-]*)"', source)) <= {"-h", "--help"}
    assert isinstance(main, click.Group)


def test_config_prints_help_as_comments() -> None:
    printed = CliRunner().invoke(main, ["config", "entropy"]).stdout
    assert "# ---- Input\n# File, folder, glob" in printed
    assert "\n# Tokens of context: 1 is bigram entropy, 2 trigram entropy. At least 1.\nngram: 1\n" in printed
    assert "\nslurm:\n  # Slurm: wait for" in printed
    assert load_options("entropy").memory == "1GB"  # type: ignore[attr-defined]


def test_tag_names_arguments_too() -> None:
    with pytest.raises(ConfigError) as raised:
        tagcorpus.tag(["a"], ["tokens"], {"tokens": {"tokenizer": 3}})
    assert str(raised.value).startswith("parameters={'tokens': {'tokenizer': ...}} must be str")


@pytest.mark.parametrize("taggers", [None, 3, [1], ["length", None]])
def test_taggers_are_names(taggers: Any) -> None:
    with pytest.raises(TypeError, match=r"^taggers takes names, such as"):
        tagcorpus.tag(["a"], taggers)


@pytest.mark.parametrize("given", [{"sets": ["shard_bytes=4096"]}, {"options": {"shard_bytes": 4096}}])
def test_old_names_of_options_are_accepted(given: dict[str, Any]) -> None:
    assert load_options("tag", **given).chunk_bytes == 4096
    assert "shard_bytes" not in to_yaml(load_options("tag"), {})

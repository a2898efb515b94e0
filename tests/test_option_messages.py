"""What options say of themselves and of wrong values: where the value comes from, in the words of the one who gave it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.declare import fields_of
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.pages import in_words_of_keys, to_yaml
from tagcorpus.pipelines.options.tree import OPTIONS

TABLE = pa.table({"text": ["a long text " * 200] * 50})
MEMORY = "For a table or texts in memory there is tagcorpus.tag"


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        tagcorpus.run("tag", **options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": TABLE}, f"input must be list[str], got a value of type pyarrow.Table. {MEMORY}"),
        ({"input": [TABLE, "a"]}, f"input must be list[str], got a list of Table, str. {MEMORY}"),
        ({"input": {"text": ["a"] * 900}}, f"input must be list[str], got a mapping. {MEMORY}"),
        ({"input": "a", "output": TABLE}, "output must be str or null, got a value of type pyarrow.Table"),
        (
            {"input": "a", "limit": "x" * 900},
            f"limit takes a whole number such as 300000, 20M, 1.5B or 1e6, got '{'x' * 50}'...",
        ),
        ({"input": "a", "csv": {"quote": 1.5}}, "csv.quote must be str, got 1.5"),
        ({"input": "a", "shard_bytes": 5}, "chunk_bytes must be at least 1024, got 5"),
    ],
)
def test_messages_in_python(options: dict[str, Any], message: str) -> None:
    assert refusal(**options) == message


def test_a_bound_names_the_source_of_the_value(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("chunk_bytes: 5\nslurm: {max_array: 0}\n")
    given: list[tuple[dict[str, Any], str]] = [
        ({"config": str(config)}, f"{config}: chunk_bytes must be at least 1024, got 5"),
        ({"sets": ["shard_bytes=5"]}, "--set chunk_bytes must be at least 1024, got 5"),
        ({"sets": ["slurm.max_array=0"]}, "--set slurm.max_array must be at least 1, got 0"),
        ({"options": {"limit": 0}}, "--limit must be at least 1, got 0"),
        ({"config": str(config), "sets": ["chunk_bytes=2048"]}, f"{config}: slurm.max_array must be at least 1, got 0"),
    ]
    for source, message in given:
        with pytest.raises(ConfigError) as raised:
            load_options("tag", **source)
        assert str(raised.value) == message


@pytest.mark.parametrize("pipeline", OPTIONS)
def test_a_configuration_speaks_of_keys(pipeline: str) -> None:
    """A reader of YAML has no flags, and cannot repeat a key."""
    text = to_yaml(load_options(pipeline), {})
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert len(comments) > 30
    assert not [line for line in comments if re.search(r" --[a-z]|repeat", line)]


def test_lists_and_mappings_are_called_so() -> None:
    words = {o.key: in_words_of_keys(o) for o in fields_of(OPTIONS["tag"])}
    assert words["glob"] == "In folders, only paths that match; a list."
    assert words["storage_options"].endswith("; a mapping.")
    assert words["input"].endswith(" Several: a list.")

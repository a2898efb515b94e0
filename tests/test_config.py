"""Where an option's value comes from, what is refused, and what `tagcorpus config` and `tagcorpus taggers` print."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines import terminal
from tagcorpus.pipelines.doctor import tagger_pages
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.tree import pipelines
from tagcorpus.taggers import load, names, tagger_class


def file(folder: Path, text: str) -> str:
    path = folder / "c.yaml"
    path.write_text(text)
    return str(path)


def test_precedence(tmp_path: Path) -> None:
    path = file(tmp_path, "seed: 1\nlimit: 1\nworkers: 1\ntokens: {tokenizer: r50k_base, pattern: r50k_base}\n")
    found = load_options(
        "tag", path, ["limit=2", "workers=2", "tokens.tokenizer=cl100k_base"], {"workers": 3, "tokens.pattern": "x"}
    )
    assert isinstance(found, TagOptions)
    assert (found.sample, found.seed, found.limit, found.workers) == (None, 1, 2, 3)
    assert found.parameters == {"tokens": {"tokenizer": "cl100k_base", "pattern": "x"}}
    assert found.taggers == ["length", "tokens", "keywords", "language", "repetition"]


def test_a_later_value_may_be_null(tmp_path: Path) -> None:
    assert load_options("tag", file(tmp_path, "limit: 5\n"), ["limit=null"]).limit is None


def test_set_reads_yaml() -> None:
    found = load_options("tag", None, ["taggers=[length, tokens]", "overwrite=true", "text_column=a.b", "sample=0.5"])
    assert isinstance(found, TagOptions)
    assert (found.taggers, found.overwrite, found.sample) == (["length", "tokens"], True, 0.5)


@pytest.mark.parametrize(
    "text", ["?", "4.1", "yes", "null", "", "*.x", "a: b", "a # b", "[a, b]", "{", "-", "!x", "2026-01-01"]
)
def test_set_keeps_text_as_it_was_typed_where_text_is_wanted(text: str) -> None:
    sets = [f"{key}={text}" for key in ("text_column", "domain.model", "words.tokenizer", "language.model")]
    found = load_options("tag", None, [*sets, "taggers=length,words=tokens"])
    assert found.text_column == text
    assert found.parameters == {"domain": {"model": text}, "words": {"tokenizer": text}, "language": {"model": text}}
    named_later = load_options("tag", None, sets, {"taggers": ["words=tokens"]})
    assert named_later.parameters == found.parameters


def test_set_reads_yaml_where_something_else_is_wanted() -> None:
    sets = ["text_column='a b'", 'domain.model="4.1"', "domain.concurrency=3", "slurm.qos=1e3"]
    sets += ["output=null", "ray_address=10", "slurm.hours=1.5", "overwrite=yes"]
    found = load_options("domain", None, sets)
    assert found.text_column == "a b"
    assert found.parameters == {"domain": {"backend": "auto", "model": "4.1", "concurrency": 3}}
    assert (found.output, found.ray_address, found.slurm.qos, found.slurm.hours) == (None, "10", "1e3", 1.5)
    assert found.overwrite is True


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("*.jsonl", ["*.jsonl"]),
        ("*.jsonl, 1.5,yes", ["*.jsonl", "1.5", "yes"]),
        ("[*.jsonl, b]", ["*.jsonl", "b"]),
        ("[1.5, yes, 'a, b']", ["1.5", "yes", "a, b"]),
        ("[]", []),
        ("", []),
    ],
)
def test_set_takes_a_list_of_texts(text: str, found: list[str]) -> None:
    assert load_options("tag", None, [f"glob={text}"]).glob == found


@pytest.mark.parametrize(
    ("text", "sets", "told"),
    [
        ("limt: 3", [], "unknown key 'limt' ({path}): did you mean 'limit'?"),
        ("limit: three", [], "{path}: limit takes a whole number such as 300000, 20M, 1.5B or 1e6, got 'three'"),
        ("overwrite: 1", [], "{path}: overwrite must be bool, got 1"),
        ("seed: true", [], "{path}: seed must be int, got True"),
        ("input: a.jsonl", [], "{path}: input must be list[str], got 'a.jsonl'"),
        ("glob: [1]", [], "{path}: glob must be list[str], got [1]"),
        ("seed: {a: 1}", [], "{path}: seed must be int, got a mapping"),
        ("- seed", [], "{path}: must be a mapping of keys to values, got list"),
        ("a: [1", [], "--config {path} is not YAML:"),
        ("", ["seed=x"], "--set seed must be int, got 'x'"),
        ("", ["sed=1"], "unknown key 'sed' (--set sed): did you mean 'seed'?"),
        ("", ["seed"], "--set takes KEY=VALUE, got 'seed'"),
        ("", ["limit=0"], "--set limit must be at least 1, got 0"),
        ("", ["shard_bytes=10"], "--set chunk_bytes must be at least 1024, got 10"),
        ("", ["sample=0"], "--set sample must be above 0 and at most 1, got 0"),
        ("", ["sample=.nan"], "--set sample must be above 0 and at most 1, got nan"),
        ("", ["preset=x"], "unknown key 'preset' (--set preset): it is a parameter, given as repetition.preset"),
        ("tokens: {tokeniser: x}", [], "unknown parameter 'tokeniser'"),
        ("tokens: {tokenizer: 3}", [], "--set tokens.tokenizer must be str, got 3"),
        ("", ["tokns.tokenizer=x"], "unknown section or instance 'tokns'"),
        ("", ["repetition.preset=sctrict"], "--set repetition.preset must be 'strict' or 'lenient', got 'sctrict'"),
        ("", ["taggers=[langth]"], "unknown tagger 'langth' (--taggers): did you mean 'length'?"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, text: str, sets: list[str], told: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        terminal.config("tag", path, sets)
    assert str(error.value).startswith(told.format(path=path))


def test_a_missing_file_and_an_unknown_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config .*none\.yaml cannot be read: No such file or directory"):
        load_options("tag", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"unknown pipeline 'fitler' \(PIPELINE\): did you mean 'filter'\?"):
        terminal.config("fitler", None, [])


def test_unknown_backend() -> None:
    with pytest.raises(ConfigError, match=r"unknown backend 'opena' .*: did you mean 'openai'\? Known: auto"):
        terminal.config("domain", None, ["domain.backend=opena"])


@pytest.mark.parametrize("pipeline", pipelines())
@pytest.mark.parametrize("changed", [False, True])
def test_what_is_printed_loads_back(tmp_path: Path, pipeline: str, changed: bool) -> None:
    more = {
        "tag": ["taggers=[length, words=tokens]", "words.tokenizer=r50k_base", "text_column=größe"],
        "filter": ["repetition.preset=lenient", "sample=0.5"],
        "domain": ["domain.backend=openai", "domain.base_url=http://127.0.0.1:9/v1", "domain.concurrency=3"],
        "entropy": ["ngram=2", "memory=2GB", "token_budget=1000"],
        "features": [
            "domain.sample=10",
            "domain.backend=fasttext",
            "tokens.tokenizer=r50k_base",
            "min_kept_share=0.25",
        ],
        "tokenize": ["held_out=0.1", "eos=<|endoftext|>"],
        "annotate": ["annotate.concurrency=3"],
    }
    needed = ["annotate.schema=code_quality"] if pipeline == "annotate" else []
    printed = terminal.config(pipeline, None, [*needed, *(more[pipeline] if changed else [])])
    assert terminal.config(pipeline, file(tmp_path, printed), []) == printed
    values = yaml.safe_load(printed)
    known = {
        f.name for f in dataclasses.fields(load_options(pipeline)) if f.name not in ("parameters", "from_environment")
    }
    assert known <= set(values)
    if changed:
        assert printed != terminal.config(pipeline, None, needed)
        assert values.get("words", {"tokenizer": "r50k_base"})["tokenizer"] == "r50k_base"


def test_every_parameter_of_the_taggers_in_use_is_printed() -> None:
    values = yaml.safe_load(terminal.config("tag", None, []))
    for name in values["taggers"]:
        assert set(values[name]) == {f.name for f in dataclasses.fields(tagger_class(name))}


def test_the_list_of_taggers() -> None:
    *lines, empty, extras = tagger_pages.taggers(None).splitlines()
    assert (empty, extras[:22]) == ("", "tagcorpus taggers NAME")
    assert any(line.startswith("code ") and line.endswith(" [code]") for line in lines)
    told = dict(line.split(maxsplit=1) for line in lines if not line.startswith(" "))
    assert list(told) == names()
    for name, sentence in told.items():
        assert sentence[0].isupper(), name
        assert len(sentence.partition(" [")[0]) < 100, name
        columns = next(lines[i + 1] for i, line in enumerate(lines) if line.split()[0] == name)
        shown, _, rest = columns.strip().partition(", and ")
        known = load(name).columns.names
        assert shown.split(", ") == known[: tagger_pages.SHOWN_COLUMNS]
        assert rest == (
            f"{len(known) - len(shown.split(', '))} more" if len(known) > tagger_pages.SHOWN_COLUMNS else ""
        )


@pytest.mark.parametrize("name", names())
def test_one_tagger(name: str) -> None:
    shown = tagger_pages.taggers(name)
    for field in load(name).columns:
        line = next(line for line in shown.splitlines() if line.startswith(f"  {field.name} "))
        assert field.metadata[b"meaning"].decode() in line
        assert f"[{field.metadata[b'unit'].decode()}]" in line
    for parameter in dataclasses.fields(tagger_class(name)):
        (line,) = [line for line in shown.splitlines() if f"--set {name}.{parameter.name}=" in line]
        key, _, value = line.split("--set ", 1)[1].partition("=")
        assert key == f"{name}.{parameter.name}"
        assert yaml.safe_load(value) == parameter.default
        load(name, {parameter.name: yaml.safe_load(value)})  # what is printed can be given
        described = shown.splitlines()[shown.splitlines().index(line) + 1].strip()
        assert re.fullmatch(r"[^:]+: \S.{10,}", described), (
            f"{parameter.name} has no line in the docstring of {name}'s class"
        )
    for source in {field.metadata[b"source"].decode() for field in load(name).columns}:
        assert source in shown


def test_an_unknown_tagger_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'language'"):
        tagger_pages.taggers("langauge")

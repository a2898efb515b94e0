"""What every tagger must do, over all of `names()`, and what `load` says when asked for something that is not."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines import describe, selftests
from tagcorpus.taggers import load, names, tagger_class
from tagcorpus.taggers._batch import DocumentBatch

SENTENCE = "However, the committee met on 14 March and agreed what it would do next. "

NASTY = [
    "",
    " \t\n \u3000",
    "\n\n\n",
    "👩\u200d👧\u200d👦 🎉🎉 emoji and text, so what?",
    "東京は日本の首都であり、世界最大の都市の一つです。人口は約1400万人である。",
    "\x00",
    "before\x00after, with enough text around it to be taken for a real document",
    "\x01\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\x9f and so on, but why?",
    "<|endoftext|>",
    "Question: What is <|endoftext|>? Answer: ordinary text. <|fim_prefix|>",
    "\ufffd\ufeff\u2028\u2029e\u0301\u202e",
    "a",
    "word " * 60,
    "the same line again\n" * 30,
    "def f(x):\n    return x + 1\n\n\nprint(f(41))\n",
    SENTENCE * 5,
    SENTENCE * (200_000 // len(SENTENCE)),
    "z" * 5_000,
    "𝕊𝕥𝕪𝕝𝕖𝕕 ſtuff Kelvin İstanbul ı",
]


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def tagger(name: str) -> Any:
    return load(name)


def rows(tagger: Any, texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tagger.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return found


# Conformance


def test_the_schema_is_exact(tagger: Any) -> None:
    found = tagger.tag(DocumentBatch.from_texts(NASTY))
    assert isinstance(found, pa.RecordBatch)
    assert found.schema.equals(tagger.columns, check_metadata=True)
    found.validate(full=True)


def test_every_column_has_meaning_and_unit(tagger: Any) -> None:
    assert len(tagger.columns) > 0
    for field in tagger.columns:
        for key in (b"meaning", b"unit"):
            assert (field.metadata or {}).get(key, b"").strip(), f"{field.name} has no {key.decode()}"


def test_an_empty_batch_has_no_rows(tagger: Any) -> None:
    found = tagger.tag(DocumentBatch.from_texts([]))
    assert found.num_rows == 0
    assert found.schema.equals(tagger.columns, check_metadata=True)
    without_chunks = DocumentBatch(DocumentBatch.from_texts(["x"]).table.schema.empty_table())
    assert tagger.tag(without_chunks).num_rows == 0


def test_every_row_is_the_document_on_its_own(tagger: Any) -> None:
    together = rows(tagger, NASTY)
    assert len(together) == len(NASTY)
    for text, row in zip(NASTY, together, strict=True):
        assert rows(tagger, [text]) == [row], f"{text[:40]!r} depends on its neighbours"


def test_deterministic(name: str) -> None:
    assert rows(load(name), NASTY) == rows(load(name), NASTY)


def test_order_follows_the_batch(tagger: Any) -> None:
    assert rows(tagger, NASTY[::-1]) == rows(tagger, NASTY)[::-1]


def test_a_sliced_batch_gives_the_slice(tagger: Any) -> None:
    batch = DocumentBatch.from_texts(NASTY)
    whole = tagger.tag(batch).to_pylist()
    for start, length in ((0, 3), (4, 7), (len(NASTY) - 2, 2), (5, 0)):
        assert tagger.tag(batch.slice(start, length)).to_pylist() == whole[start : start + length]


def test_texts_in_several_chunks(tagger: Any) -> None:
    half = len(NASTY) // 2
    parts = [DocumentBatch.from_texts(NASTY[:half]).table, DocumentBatch.from_texts(NASTY[half:]).table]
    assert tagger.tag(DocumentBatch(pa.concat_tables(parts))).to_pylist() == rows(tagger, NASTY)


def test_the_batch_is_left_as_it_was(tagger: Any) -> None:
    batch = DocumentBatch.from_texts(NASTY)
    before = batch.table
    tagger.tag(batch)
    assert batch.table.equals(before)
    assert batch.texts == NASTY


def test_pickles_small_after_use_and_works_again(tagger: Any) -> None:
    before = rows(tagger, NASTY[:8])
    pickled = pickle.dumps(tagger)
    assert len(pickled) < 2_000, "models must stay out of the pickle"
    again = pickle.loads(pickled)
    assert again == tagger
    assert again.version == tagger.version
    assert again.fingerprint() == tagger.fingerprint()
    assert rows(again, NASTY[:8]) == before


def test_the_fingerprint_is_stable_json(name: str) -> None:
    tagger = load(name)
    before = json.dumps(tagger.fingerprint(), sort_keys=True)
    tagger.tag(DocumentBatch.from_texts(["some text"]))
    assert json.dumps(tagger.fingerprint(), sort_keys=True) == before
    assert json.dumps(load(name).fingerprint(), sort_keys=True) == before


def test_a_version_that_can_be_compared(tagger: Any) -> None:
    assert isinstance(tagger.version, str)
    assert tagger.version


def test_module_and_class_say_what_they_do(name: str) -> None:
    cls = tagger_class(name)
    assert sys.modules[cls.__module__].__doc__
    assert not (cls.__doc__ or f"{cls.__name__}(").startswith(f"{cls.__name__}("), "dataclass wrote that one"


# Names and parameters


def test_names_are_sorted_and_have_no_private_modules() -> None:
    assert names() == sorted(set(names()))
    assert {"length", "tokens", "language"} <= set(names())
    assert not [name for name in names() if name.startswith("_")]


def test_an_unknown_tagger() -> None:
    with pytest.raises(ConfigError) as error:
        load("langth")
    assert str(error.value).startswith("unknown tagger 'langth' (--taggers): did you mean 'length'? Known: ")
    assert all(name in str(error.value) for name in names())


def test_a_tagger_like_no_other() -> None:
    with pytest.raises(ConfigError, match=r"^unknown tagger 'zzzzzz' \(--taggers\)\. Known: "):
        load("zzzzzz")


def test_a_private_module_is_no_tagger() -> None:
    with pytest.raises(ConfigError, match="unknown tagger '_batch'"):
        load("_batch")


@pytest.mark.parametrize(
    ("name", "parameters", "instance", "message"),
    [
        (
            "tokens",
            {"tokeniser": "p50k_base"},
            None,
            "unknown parameter 'tokeniser' (--set tokens.tokeniser): did you mean 'tokenizer'? Known: engine, pattern, tokenizer",
        ),
        ("tokens", {"tokenizer": 50}, None, "--set tokens.tokenizer must be str, got 50"),
        ("tokens", {"tokenizer": None}, "llama", "--set llama.tokenizer must be str, got None"),
        ("language", {"model": True}, None, "--set language.model must be str, got True"),
        ("length", {"unit": "byte"}, None, "length has no parameters (--set length.unit)"),
    ],
)
def test_what_is_wrong_with_a_parameter(
    name: str, parameters: dict[str, Any], instance: str | None, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(name, parameters, instance)
    assert str(error.value) == message


def test_a_choice_names_its_choices() -> None:
    with pytest.raises(ConfigError, match=r"^--set language\.engine must be .*cld2.*fasttext.*, got 'cld3'$"):
        load("language", {"engine": "cld3"})


# Plug-ins


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes a distribution known that brings taggers; its module is `source`."""

    def install(source: str = "", distribution: str = "somebodys", **entries: str) -> None:
        info = tmp_path / distribution / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        told = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[tagcorpus.taggers]\n{told}")
        (tmp_path / distribution / f"{distribution}_module.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path / distribution))

    yield install
    sys.modules.pop("somebodys_module", None)


GOOD = """
import dataclasses, pyarrow as pa

@dataclasses.dataclass(frozen=True)
class Given:
    "Says what it was given."
    mark: str
    version = "1"
    columns = pa.schema([pa.field("mark", pa.string())])
"""


@pytest.mark.parametrize(
    ("entry", "source", "error"),
    [
        ("no_such_module:X", "", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("somebodys_module:X", "", "AttributeError: module 'somebodys_module' has no attribute 'X'"),
        ("somebodys_module:X", "1 / 0", "ZeroDivisionError: division by zero"),
        ("somebodys_module:X", "raise SystemExit('off')", "SystemExit: off"),
        ("somebodys_module:X", "X = 3", "is no dataclass"),
        ("somebodys_module:X", "class X: pass", "is no dataclass"),
    ],
)
def test_a_broken_plugin_is_named_and_hides_nothing(
    plugin: Callable[..., None], entry: str, source: str, error: str
) -> None:
    plugin(source, broken=entry)
    with pytest.raises(ConfigError) as raised:
        load("broken")
    assert f"the tagger 'broken' of somebodys 1.0 ({entry}) " in str(raised.value)
    assert error in str(raised.value)
    lines = describe.taggers(None).splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == names()
    (line,) = [line for line in lines if "cannot be used" in line]
    assert line.startswith("broken       cannot be used: the tagger 'broken' of somebodys 1.0")
    finding = selftests.plugins()
    assert finding.state == "broken"
    assert error in finding.found


@pytest.mark.parametrize("name", ["length", "fresh"])
def test_a_name_belongs_to_one_tagger(plugin: Callable[..., None], name: str) -> None:
    plugin(**{name: "somebodys_module:X"})
    other = "tagcorpus itself"
    if name == "fresh":
        plugin(distribution="elsewhere", fresh="elsewhere_module:Y")
        other = "elsewhere 1.0 (elsewhere_module:Y)"
    with pytest.raises(ConfigError, match=f"^the tagger name '{name}' is claimed by ") as error:
        load(name)
    assert "somebodys 1.0 (somebodys_module:X)" in str(error.value)
    assert other in str(error.value)


def test_a_parameter_without_a_default_must_be_given(plugin: Callable[..., None]) -> None:
    plugin(GOOD, given="somebodys_module:Given")
    with pytest.raises(ConfigError, match=r"^g needs --set g\.mark=…$"):
        load("given", {}, "g")
    loaded: Any = load("given", {"mark": "?"})
    assert loaded.mark == "?"
    assert (selftests.plugins().state, selftests.plugins().found) == ("ok", "given")
    assert "cannot be used: given needs --set given.mark=…" in describe.taggers(None)


# Imports


def test_importing_the_interface_loads_nothing_heavy() -> None:
    heavy = ["numba", "tiktoken", "fasttext", "pycld2", "openai", "ray", "nltk", "pyarrow", "numpy", "datatrove"]
    assert loaded("import tagcorpus.taggers as t; t.names()", heavy) == []


@pytest.mark.parametrize("name", names())
def test_a_tagger_loads_no_model_package_before_it_is_used(name: str) -> None:
    heavy = ["numba", "tiktoken", "fasttext", "pycld2", "openai", "ray", "nltk", "tokenizers"]
    assert loaded(f"from tagcorpus.taggers import load; load({name!r})", heavy) == []


def loaded(code: str, modules: list[str]) -> list[str]:
    show = f"{code}; import sys, json; print(json.dumps([m for m in {modules!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found

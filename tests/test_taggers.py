"""What every tagger must do, over all of `names()`, and what `load` says when asked for something that is not."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from fasttext_models import train

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.doctor import selftests, tagger_pages
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.taggers import DocumentBatch, Parameters, column, load, names, tagger_class
from tagcorpus.testing import TEXTS, check_tagger

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def needed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Parameters that a tagger cannot work without, by its name."""
    return {
        "fasttext": {"model": str(train(tmp_path_factory.mktemp("fasttext"), "model.bin"))},
        "syntax": {"backend": "parsed"},
    }


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


# Taggers that need a model, a schema or an index which only their own tests make.
ELSEWHERE = {
    "annotate": "test_annotate.py",
    "joined": "test_join.py",
    "lm_entropy": "test_lm_entropy.py",
    "quality": "test_quality.py",
}


@pytest.fixture
def tagger(name: str, needed: dict[str, dict[str, Any]]) -> Any:
    if name in ELSEWHERE:
        pytest.skip(f"it needs a file: {ELSEWHERE[name]}")
    return load(name, needed.get(name))


# Conformance


def test_every_tagger_conforms(tagger: Any) -> None:
    check_tagger(tagger)


def test_the_same_from_two_instances(tagger: Any, name: str, needed: dict[str, dict[str, Any]]) -> None:
    assert tagger == load(name, needed.get(name))
    first, second = (load(name, needed.get(name)) for _ in range(2))
    batch = DocumentBatch.from_texts(list(TEXTS))
    assert first.tag(batch).to_pylist() == second.tag(DocumentBatch.from_texts(list(TEXTS))).to_pylist()
    assert json.dumps(first.fingerprint()) == json.dumps(second.fingerprint())


def test_module_and_class_say_what_they_do(name: str) -> None:
    cls = tagger_class(name)
    assert sys.modules[cls.__module__].__doc__
    assert not (cls.__doc__ or f"{cls.__name__}(").startswith(f"{cls.__name__}("), "dataclass wrote that one"


@dataclasses.dataclass(frozen=True)
class Good(Parameters):
    """The length of a text, in a tagger that keeps its promises: the others below break one each."""

    version: Any = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("n", pa.float64(), "length", "characters")])

    def tag(self, batch: DocumentBatch) -> Any:
        return self.answer([float(len(t)) for t in batch.texts])

    def answer(self, values: list[float | None]) -> pa.RecordBatch:
        return pa.record_batch([pa.array(values, pa.float64())], schema=self.columns)


class NoUnit(Good):
    columns = pa.schema([column("n", pa.float64(), "length", " ")])


class Key(Good):
    columns = pa.schema([column("row", pa.float64(), "length", "characters")])


class Plain(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return pa.record_batch([pa.array([1.0] * batch.num_rows)], names=["n"])


class NoBatch(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return super().tag(batch).to_pylist()


class Short(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return super().tag(batch).slice(1)


class Neighbours(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return self.answer([float(batch.num_rows)] * batch.num_rows)


class Order(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return self.answer([float(i) for i in range(batch.num_rows)])


class Chance(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return self.answer([random.random() for _ in batch.texts])


class Heavy(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        self.__dict__["model"] = "x" * 3000
        return super().tag(batch)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def fingerprint(self) -> dict[str, Any]:
        return {}


class Meddler(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        found = super().tag(batch)
        batch.texts[:] = []
        return found


class Spoken(Good):
    def fingerprint(self) -> dict[str, Any]:
        return {"x": {1}}


class Drifting(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        return self.answer([len(t) + 1e-6 * batch.num_rows for t in batch.texts])


class Raising(Good):
    """On documents with something in them that it cannot do."""

    def tag(self, batch: DocumentBatch) -> Any:
        if any("\x00" in t for t in batch.texts):
            raise ValueError("no zero bytes, please")
        return super().tag(batch)


class RaisingAtMany(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        if batch.num_rows > 1:
            raise KeyError("x" * 1000)
        return super().tag(batch)


class Unable(Good):
    def tag(self, batch: DocumentBatch) -> Any:
        raise TaggerError(f"no parser for {batch.num_rows} texts")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (NoUnit(), "^column n has no unit in its metadata"),
        (Key(), "^column row has the name of a key of the rows"),
        (Plain(), "^all texts: tag\\(\\) returned the columns n double, not n double with their metadata"),
        (NoBatch(), "^all texts: tag\\(\\) returned list, not a pyarrow.RecordBatch"),
        (Short(), "^all texts: 19 documents gave 18 rows"),
        (Neighbours(), "^'' depends on its neighbours: on its own: column n is 1.0, was 19.0"),
        (Order(), "^the texts in the opposite order: column n is "),
        (Chance(), "^the same batch a second time: column n is "),
        (Heavy(), "^the pickle after use has 3,... bytes, more than 2,000"),
        (Meddler(), "^tag\\(\\) changed the batch"),
        (Spoken(), "^fingerprint\\(\\) must be made of JSON values: "),
        (Good(version=""), "^version is empty"),
        (Good(version=1), "^version must be a text, got 1"),
        (Drifting(), "depends on its neighbours"),
        (
            Raising(),
            r"^all texts: tag\(\) raised ValueError: 'no zero bytes, please', on the text '\\x00'$",
        ),
        (RaisingAtMany(), r"^all texts: tag\(\) raised KeyError: .{190,200}, and on none of the texts alone$"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Good) else "",
)
def test_a_broken_promise_is_named(bad: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_tagger(bad)


def test_what_a_tagger_raises_is_named_with_its_text() -> None:
    with pytest.raises(AssertionError, match=r"on the text 'long \\x00x{40,}\.\.\.$") as found:
        check_tagger(Raising(), ["fine", "long \x00" + "x" * 10_000])
    assert isinstance(found.value.__cause__, ValueError)
    with pytest.raises(TaggerError, match=r"^no parser for 19 texts$"):
        check_tagger(Unable())


def test_a_promise_that_is_kept() -> None:
    check_tagger(Good())
    check_tagger(Good(), [])
    check_tagger(Drifting(), tolerance=1e-4)


@pytest.mark.parametrize("page", ["syntax.md", "code-tagger.md"])
def test_the_example_of_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines of JSON, through its command, give its table."""
    monkeypatch.chdir(tmp_path)
    told = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (documents,) = re.findall(r"```json\n(.*?)```", told, re.DOTALL)
    (command,) = re.findall(r"^(?:\$ )?tagcorpus (run tag --input .* --output .*)$", told, re.MULTILINE)
    table = re.search(r"\n\n((?:\|.*\n)+)", told[told.index(documents) :])
    assert table is not None
    names_told, _, *rows_told = [[c.strip() for c in line.strip("|").split("|")] for line in table[1].splitlines()]
    Path(re.findall(r"--input (\S+)", command)[0]).write_text(documents, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(command.split())
    with Path(re.findall(r"--output (\S+)", command)[0]).open(encoding="utf-8", newline="") as file:
        found = [[row[name] for name in names_told] for row in csv.DictReader(file)]
    assert found == rows_told


def test_what_authors_need_is_public() -> None:
    import tagcorpus.taggers as public

    assert (public.Parameters, public.column, public.DocumentBatch) == (Parameters, column, DocumentBatch)
    with pytest.raises(AttributeError, match="has no attribute 'Colum'"):
        public.Colum  # noqa: B018


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
    def tag(self, batch):
        print("printed")
        return pa.record_batch([pa.array([self.mark] * batch.num_rows)], schema=self.columns)
    def fingerprint(self):
        return {"mark": self.mark}
"""


@pytest.mark.parametrize(
    ("entry", "source", "error"),
    [
        ("no_such_module:X", "", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("somebodys_module:X", "", "AttributeError: module 'somebodys_module' has no attribute 'X'"),
        ("somebodys_module:X", "1 / 0", "ZeroDivisionError: division by zero"),
        ("somebodys_module:X", "raise SystemExit('off')", "SystemExit: off"),
        ("somebodys_module:X", "X = 3", "must be a dataclass"),
        ("somebodys_module:X", "class X: pass", "must be a dataclass"),
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
    lines = tagger_pages.taggers(None).splitlines()[:-2]  # what stands below is about extras
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == names()
    (line,) = [line for line in lines if "cannot be used" in line]
    assert " ".join(line.split()).startswith("broken cannot be used: the tagger 'broken' of somebodys 1.0")
    finding = selftests.plugins()
    assert finding.state == "broken"
    assert error in finding.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('version = "1"', "version = 1"), "version must be a text that is not empty, got 1$"),
        (("columns =", "column ="), r"columns must be a pyarrow\.Schema with columns, got None$"),
        (
            ("def fingerprint", "def print"),
            r"it has no fingerprint\(\): derive it from tagcorpus\.taggers\.Parameters$",
        ),
        (("def tag", "def tags"), r"it has no tag\(\): derive it from "),
        (('{"mark": self.mark}', "{1}"), r"fingerprint\(\) must be made of JSON values: TypeError: Object of type set"),
        (
            ("    mark: str\n", "    mark: str\n    def __post_init__(self): 1 / 0\n"),
            "made: ZeroDivisionError: division by zero$",
        ),
        (
            ("    mark: str\n", "    mark: str\n    def __post_init__(self): self.__dict__['f'] = lambda: 1\n"),
            "it cannot be pickled, and so not travel to a worker: .*<lambda>.* Derive it from",
        ),
    ],
)
def test_a_plugin_that_is_no_tagger_is_refused_at_once(
    plugin: Callable[..., None], change: tuple[str, str], message: str
) -> None:
    plugin(GOOD.replace(*change), given="somebodys_module:Given")
    with pytest.raises(ConfigError, match=f"^the tagger 'given' cannot be .*{message}") as error:
        load("given", {"mark": "?"})
    assert "\n" not in str(error.value)


def test_what_a_plugin_prints_is_no_result(plugin: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    plugin(GOOD, given="somebodys_module:Given")
    item = TaggedBatch(DocumentBatch.from_texts(["a", "b"]), frozenset(["g"]))
    list(Tag(Instance("g", "given", load("given", {"mark": "?"}))).run([item]))
    assert item.attributes["g"].to_pydict() == {"mark": ["?", "?"]}
    told = capsys.readouterr()
    assert (told.out, set(told.err.split())) == ("", {"printed"})


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
    assert (selftests.plugins().state, selftests.plugins().message) == ("ok", "given")
    assert "cannot be used: given needs --set given.mark=…" in tagger_pages.taggers(None)


# Imports


def test_importing_the_interface_loads_nothing_heavy() -> None:
    heavy = ["numba", "tiktoken", "fasttext", "pycld2", "openai", "ray", "nltk", "pyarrow", "numpy", "datatrove"]
    assert loaded("import tagcorpus.taggers as t; t.names()", heavy) == []


def test_no_tagger_loads_a_model_package_before_it_is_used() -> None:
    heavy = ["numba", "tiktoken", "fasttext", "pycld2", "openai", "ray", "nltk", "tokenizers", "tree_sitter"]
    assert loaded("from tagcorpus.taggers import load, names; [load(n) for n in names()]", heavy) == []


def loaded(code: str, modules: list[str]) -> list[str]:
    show = f"{code}; import sys, json; print(json.dumps([m for m in {modules!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found

"""Where commands may write: a table of every command with an output, and what may be there when it starts."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slurm_commands import invoke
from token_outputs import write_tokens

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.declare import options_of
from tagcorpus.pipelines.options.tree import COMMANDS
from tagcorpus.pipelines.storage import outputs
from tagcorpus.pipelines.storage.outputs import GUESTS, MARKS, TAGGING, check_file, check_folder, folder_and_name

MINE = b"mine, and not to be lost\n"
NOTES = (".DS_Store", "notes.md", "LICENSE")
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Writer:
    """A command with an output.

    arguments  {out} is the output, {w} the folder of inputs, {k} the number of the inputs: 1, or 2 for others
    ending     of a file; "" for a folder
    name       a file that the command writes in its folder
    again      what becomes of the output with the other inputs: "refused", "replaced", or "added"
    """

    arguments: str
    ending: str = ""
    name: str = ""
    again: str = "refused"
    needs: str = ""


MIX = "--sequence-length 16"
FIT = "mix fit {w}/mixes/shares.csv {w}/outcomes{k}.csv --outcome bits_python --permutations 0 --workers 1 -o {out}"
STORE = "--db {w}/database --features {w}/database/features.csv --sel-features entropy_mean --workers 1"
PREDICT = f"predict {STORE} --task hellaswag -o {{out}}"
TAG = "--input {w}/in{k}/a.jsonl --output {out} --taggers length --workers 1"
WRITERS = {
    "run tag": Writer(f"run tag {TAG}"),
    "run tag, file": Writer(f"run tag {TAG} --work {{w}}/work{{k}}", ".csv"),
    "run features, file": Writer(
        "run features --input {w}/generations{k} --output {out} --work {w}/features{k} --workers 1",
        ".csv",
        again="replaced",
    ),
    "join": Writer("join {w}/in{k}/a.jsonl {w}/tags{k} -o {out} --workers 1"),
    "export, file": Writer("export {w}/tags{k} {out}", ".jsonl"),
    "export, data set": Writer("export {w}/tags{k} {out} --format dataset", name="README.md"),
    "export, Dolma": Writer("export {w}/tags{k} {out} --format dolma", name="a.jsonl"),
    "report": Writer("report {w}/tags{k} -o {out}", ".html", needs="plotly"),
    "agreement": Writer("agreement {w}/labels{k}.csv {w}/labels1.csv -o {out}", name="matrix.csv"),
    "shares": Writer("shares {w}/labels{k}.csv --draw 3 --seed {k} --output {out}", ".csv"),
    "distil": Writer("distil {w}/many{k}.csv -o {out} --trials 1 --save-anyway", name="README.md"),
    "mix make": Writer(f"mix make {{w}}/tokens{{k}} -o {{out}} {MIX}", name="megatron.txt"),
    "mix swarm": Writer(f"mix swarm 2 {{w}}/tokens{{k}} -o {{out}} --tokens 160 --epochs 4 {MIX}", name="swarm.csv"),
    "mix fit": Writer(FIT, name="predictions.csv", needs="lightgbm"),
    "mix propose": Writer("mix propose {w}/fit{k} --lowest -o {out}", ".json", needs="lightgbm"),
    "train": Writer("train {w}/mix{k} -o {out} --model llama-toy", name="config.json", needs="torch"),
    "tasks": Writer("tasks {out}", name="free_text.py", again="replaced"),
    "predict": Writer(PREDICT, name="prediction/predictions.csv", needs="xgboost"),
    "predict, file": Writer(PREDICT, ".csv", needs="xgboost"),
    "predict --decide": Writer("predict --decide --target-size 1B --db {w}/database -o {out}", ".csv", needs="xgboost"),
    "store export": Writer("store export {w}/database{k} {out}", name="schema.sql", needs="duckdb"),
    "store export, file": Writer("store export {w}/database{k} {out}", ".duckdb", needs="duckdb"),
}
FOLDERS = [name for name, writer in WRITERS.items() if not writer.ending]
FILES = [name for name, writer in WRITERS.items() if writer.ending]
# Those that take seconds are e2e. Training and predicting take minutes: their own tests have them.
COSTLY = (
    "join",
    "run tag, file",
    "agreement",
    "store export",
    "store export, file",
    "distil",
    "mix fit",
    "mix propose",
    "run features, file",
    "report",
)
WHOLE = [
    pytest.param(name, marks=[pytest.mark.e2e] if name in COSTLY else [])
    for name in WRITERS
    if name not in ("train", "predict", "predict, file", "predict --decide")
]


def command_of(name: str) -> str:
    """The command in `MARKS`."""
    return name.partition(",")[0].partition(" --")[0].replace("run tag", "run").replace("run features", "run")


def test_every_command_with_an_output_is_in_the_table() -> None:
    """Pipelines have the same options and checks; two of them are in the table."""

    def has_output(options: Any) -> bool:
        every = options_of(options)
        return any(o.metavar == "OUT" or (o.declaration.is_path and o.declaration.group == "Output") for o in every)

    known = {" ".join(c.words) for c in COMMANDS if not c.pipeline and has_output(c.options)} - {"doctor"}
    assert {*known, "tasks", "run tag", "run features"} == {n.partition(",")[0].partition(" --")[0] for n in WRITERS}


def rows(n: int, k: int) -> list[dict[str, str]]:
    return [
        {"id": f"d{i}", "text": f"document {i} of {k}" + " and more" * k, "label": "ab"[i % (k + 1) % 2]}
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of each input of the cheap commands."""
    w = tmp_path_factory.mktemp("inputs")
    (w / "database").symlink_to(EXAMPLES / "database")
    (w / "database1").symlink_to(EXAMPLES / "database")
    (w / "mixes").symlink_to(EXAMPLES / "mixes")
    for k in (1, 2):
        (w / f"in{k}").mkdir()
        (w / f"in{k}/a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows(12, k)))
        (w / f"labels{k}.csv").write_text("".join(["id,label\n", *(f"{r['id']},{r['label']}\n" for r in rows(12, k))]))
        tagcorpus.run("tag", input=w / f"in{k}", output=w / f"tags{k}", taggers="length", workers=1)
        write_tokens(w / f"tokens{k}", {"web": [300 * k], "code": [300]}, held_out=True)
    return w


@pytest.fixture(scope="module")
def costly(inputs: Path) -> Path:
    """The inputs of the other commands, too."""
    texts = (EXAMPLES / "mixes/outcomes.csv").read_text().splitlines()
    for k, lines in ((1, texts), (2, texts[:-1])):
        (inputs / f"outcomes{k}.csv").write_text("\n".join([*lines, ""]))
        many = [
            f"{r['text']} {'sea ship' if i % 2 else 'pan stove'},{'sea' if i % 2 else 'kitchen'}\n"
            for i, r in enumerate(rows(60, k))
        ]
        (inputs / f"many{k}.csv").write_text("".join(["text,label\n", *many]))
        (inputs / f"generations{k}").symlink_to(EXAMPLES / "generations" / ("harbour" if k == 1 else "mill"))
    return inputs


@pytest.fixture(scope="module")
def fits(costly: Path) -> Path:
    """The inputs of `mix propose`, too."""
    for k in (1, 2):
        call("mix fit", costly, costly / f"fit{k}", k)
    return costly


def inputs_of(name: str, request: pytest.FixtureRequest) -> Path:
    fixture = "fits" if name == "mix propose" else "costly" if name in COSTLY else "inputs"
    w: Path = request.getfixturevalue(fixture)
    return w


def call(name: str, w: Path, out: Path | str, k: int = 1) -> Any:
    if importlib.util.find_spec(WRITERS[name].needs or "pyarrow") is None:
        pytest.skip(f"needs {WRITERS[name].needs}")
    return invoke(*(a.format(w=w, out=out, k=k) for a in WRITERS[name].arguments.split()))


def tree(folder: Path) -> dict[str, bytes | str]:
    """All files, also hidden ones, and links, without the reports of runs."""
    paths = (p for p in sorted(folder.rglob("*")) if "runs" not in p.parts)
    return {
        str(p): os.readlink(p) if p.is_symlink() else p.read_bytes() for p in paths if p.is_symlink() or p.is_file()
    }


def refused(name: str, place: Path, out: Path | str, words: str, w: Path | None = None) -> None:
    """The command ends with exit 2 and one sentence, and nothing in the place has changed. Its inputs need not exist: the place
    is looked at first."""
    before = tree(place)
    if name.startswith("store export"):  # whatever is there, other contents are never replaced
        words = "exists already, and has other contents, and is never written over"
    ended = call(name, w or place / "absent", out)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert words in " ".join(ended.err.split()), ended.err
    assert ended.err.count("\n") <= 3
    assert tree(place) == before


def mark(folder: Path, command: str) -> None:
    """A folder as the command leaves it, as far as others look at it."""
    for name in MARKS[command][0].names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if MARKS[command][0].sign:
            path.write_bytes(b"{\n " + MARKS[command][0].sign + b": 1}\n")
        else:
            path.mkdir(exist_ok=True)


OWNERS = [c for c, marks in MARKS.items() if marks and c not in GUESTS]


@pytest.mark.parametrize(
    "name", [n for n in FOLDERS if n not in ("export, data set", "export, Dolma", "store export", "run tag")]
)
def test_a_folder_of_another_command_is_refused(name: str, tmp_path: Path) -> None:
    own = command_of(name)
    for owner in OWNERS:
        mark(tmp_path / owner, owner)
        if own not in (owner, *GUESTS) and {own, owner} != set(TAGGING):
            refused(name, tmp_path, tmp_path / owner, f"is a folder of tagcorpus {owner}: name another folder")


@pytest.mark.parametrize("name", ["export, data set", "export, Dolma", "store export", "run tag"])
def test_a_folder_of_another_command_is_refused_by_those_that_read_first(
    name: str, inputs: Path, tmp_path: Path
) -> None:
    others = sorted(set(OWNERS) - {command_of(name)} - ({"join"} if name == "run tag" else set()))
    for owner in others[:1] if name == "store export" else others:
        mark(tmp_path / owner, owner)
        refused(name, tmp_path, tmp_path / owner, "is a folder of tagcorpus", inputs)


@pytest.mark.parametrize("name", [n for n, w in WRITERS.items() if w.name])
def test_a_file_that_the_command_did_not_write_is_not_replaced(name: str, inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / WRITERS[name].name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(MINE)
    refused(name, tmp_path, tmp_path, path.name, inputs)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_users_is_not_replaced(name: str, costly: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{WRITERS[name].ending}"
    out.write_bytes(MINE)
    (tmp_path / f"link{out.suffix}").symlink_to(out)
    for place in (out, tmp_path / f"link{out.suffix}"):
        refused(name, tmp_path, place, f"{place} exists already", costly)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_is_no_file(name: str, costly: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{WRITERS[name].ending}"
    out.mkdir()
    (out / "mine").write_bytes(MINE)
    refused(name, tmp_path, out, "is a folder, and its ending asks for a file", costly)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_or_a_broken_link_is_no_folder(name: str, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(MINE)
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    refused(name, tmp_path, tmp_path / "file", "is an existing file", inputs)
    if name == "store export":  # the file store says the rest, with exit 1
        return
    refused(name, tmp_path, tmp_path / "file/below", "is an existing file; it must be a folder", inputs)
    refused(name, tmp_path, tmp_path / "link", "is a link to nothing; it must be a folder", inputs)


@pytest.mark.parametrize("name", WHOLE)
def test_good_places_are_good(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """New and empty places, the same command again, and folders with files that are none of the command's business."""
    w = inputs_of(name, request)
    ending = WRITERS[name].ending
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    if ending:
        (tmp_path / f"empty{ending}").touch()
        (tmp_path / f"to{ending}").symlink_to(tmp_path / f"real/target{ending}")
        places = [f"new/below/x{ending}", f"link/x{ending}", f"to{ending}"]
        places += [f"empty{ending}"] if ending != ".duckdb" else []
    else:
        (tmp_path / "empty").mkdir()
        (tmp_path / "notes").mkdir()
        for note in NOTES:
            (tmp_path / "notes" / note).write_bytes(MINE)
        places = ["new/below", "empty", "link", "notes"]
        places = places[:-1] if name == "store export" else places  # it is written whole, by a rename
    for place in places if name not in COSTLY else places[:1]:
        first = call(name, w, tmp_path / place)
        assert first.code in (0, 3), (place, first.err)
        made = tree(tmp_path)
        again = call(name, w, tmp_path / place)
        assert again.code == first.code, (place, again.err)
        assert tree(tmp_path).keys() == made.keys()
    notes = [p for p in (tmp_path / "notes").rglob("*") if p.name in NOTES] if (tmp_path / "notes").exists() else []
    assert all(p.read_bytes() == MINE for p in notes)
    if ending:
        assert (tmp_path / f"to{ending}").is_symlink() or name in COSTLY


@pytest.mark.parametrize("name", [n for n in WHOLE if not str(n.values[0]).startswith(("store", "tasks"))])
def test_other_inputs(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """They are refused, or replace everything that the same command wrote."""
    w = inputs_of(name, request)
    out = tmp_path / f"out{WRITERS[name].ending}"
    assert call(name, w, out).code in (0, 3)
    before = tree(tmp_path)
    if WRITERS[name].again == "refused":
        ended = call(name, w, out, 2)
        assert (ended.code, ended.out) == (2, ""), ended.err
        assert tree(tmp_path) == before
    else:
        assert call(name, w, out, 2).code in (0, 3)
        alone = tmp_path / "alone" / out.name
        call(name, w, alone, 2)
        assert {Path(p).name for p in tree(out if out.is_dir() else tmp_path)} >= {out.name} or out.is_dir()
        assert {p.name for p in out.rglob("*")} == {p.name for p in alone.rglob("*")}


def test_an_export_that_was_edited_is_the_users(inputs: Path, tmp_path: Path) -> None:
    """A renewed export replaces what it wrote, also after the output has got more tags, and nothing else."""
    w = tmp_path / "w"
    w.mkdir()
    (w / "in1").symlink_to(inputs / "in1")
    tagcorpus.run("tag", input=w / "in1", output=w / "tags1", taggers="length", workers=1)
    assert call("export, data set", w, tmp_path / "set").code == 0
    assert call("export, file", w, tmp_path / "x.jsonl").code == 0
    tagcorpus.run("tag", input=w / "in1", output=w / "tags1", taggers="length,language", workers=1)
    assert call("export, data set", w, tmp_path / "set").code == 0
    assert call("export, file", w, tmp_path / "x.jsonl").code == 0
    assert "language.language" in (tmp_path / "x.jsonl").read_text()
    (tmp_path / "set/README.md").write_bytes(MINE)
    refused("export, data set", tmp_path, tmp_path / "set", "README.md exists already", w)


SPELLINGS: list[tuple[str, Callable[[Path], str]]] = [
    ("as it is", str),
    ("with a dot", lambda p: f"{p.parent}/./{p.name}"),
    ("through its parent", lambda p: f"{p.parent}/x/../{p.name}"),
    ("relative", os.path.relpath),
    ("with two slashes", lambda p: f"{p.parent}//{p.name}"),
    ("a link", lambda p: str(p.parent / f"link-to-{p.name}")),
    ("a hard link", lambda p: str(p.parent / f"hard-{p.name}")),
    ("below a link", lambda p: str(p.parent.parent / "way" / p.name)),
    ("as a URL", lambda p: f"file://{p}"),
]


@pytest.mark.parametrize("spelled", [s for _, s in SPELLINGS], ids=[i for i, _ in SPELLINGS])
def test_an_input_is_an_input_by_every_name(tmp_path: Path, spelled: Callable[[Path], str]) -> None:
    (tmp_path / "d/x").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "d")
    path = tmp_path / "d/table.csv"
    path.write_bytes(MINE)
    (path.parent / "link-to-table.csv").symlink_to(path)
    (path.parent / "hard-table.csv").hardlink_to(path)
    for one, other in ((spelled(path), str(path)), (str(path), spelled(path))):
        with pytest.raises(ConfigError, match="is an input file; the result would overwrite it"):
            check_file(one, lambda *_: True, "", inputs=[None, other])
    with pytest.raises(ConfigError, match=r"table\.csv in it is an input file"):
        check_folder("mix fit", str(path.parent), ["table.csv"], inputs=[spelled(path)])
    check_file(str(path), lambda *_: True, "", inputs=[str(tmp_path / "d/other.csv"), "s3://b/d/table.csv"])


@pytest.mark.parametrize("end", ["", "/", "/.", "/../tags"])
def test_a_folder_is_its_input_by_every_name(tmp_path: Path, end: str) -> None:
    (tmp_path / "tags").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "tags")
    for name in ("tags", "link"):
        with pytest.raises(ConfigError, match="is also the input: name another folder"):
            check_folder("join", f"{tmp_path}/{name}{end}", inputs=[str(tmp_path / "tags")])
    check_folder("agreement", str(tmp_path / "tags"), ["agreement.json"], inputs=[str(tmp_path / "tags")])


def test_object_stores_have_the_same_rule(tmp_path: Path) -> None:
    import fsspec

    memory, url = fsspec.filesystem("memory"), f"memory://{tmp_path.name}"
    check_folder("mix make", f"{url}/new", ["megatron.txt"])
    memory.pipe(f"{url}/notes/megatron.txt", MINE)
    with pytest.raises(ConfigError, match=r"has megatron\.txt, which tagcorpus mix make did not write there"):
        check_folder("mix make", f"{url}/notes", ["mix.json", "megatron.txt"])
    memory.pipe(f"{url}/run/plan/a.json", b"{}")
    memory.pipe(f"{url}/run/runs/1/command.json", b"{}")
    with pytest.raises(ConfigError, match="is a folder of tagcorpus run"):
        check_folder("mix make", f"{url}/run")
    check_folder("run", f"{url}/run")
    with pytest.raises(ConfigError, match="is an input file"):
        check_file(f"{url}/notes/megatron.txt", lambda *_: True, "", inputs=[f"{url}/notes//megatron.txt"])
    with pytest.raises(ConfigError, match="exists already, and is not ours"):
        check_file(f"{url}/notes/megatron.txt", outputs.begins_with(b"other"), "is not ours")


def test_a_folder_of_two_commands_is_still_each_ones(tmp_path: Path) -> None:
    """Earlier versions let commands write into one folder."""
    mark(tmp_path, "run")
    mark(tmp_path, "mix make")
    check_folder("run", str(tmp_path))
    check_folder("mix make", str(tmp_path), ["mix.json"])
    with pytest.raises(ConfigError, match="is a folder of tagcorpus run"):
        check_folder("train", str(tmp_path))


def test_a_file_of_the_same_name_with_other_content_is_no_mark(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(MINE)
    check_folder("mix make", str(tmp_path), ["mix.json"])
    with pytest.raises(ConfigError, match=r"has run\.json, which tagcorpus train did not write there"):
        check_folder("train", str(tmp_path), ["run.json"])


def test_two_inputs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """A moved or copied input is the same one; another file of that name would replace its results."""
    for name, text in (("one", "x"), ("copy", "x"), ("two", "y"), ("long", "longer")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text(json.dumps({"text": text}) + "\n")

    def run(name: str, **options: Any) -> Any:
        return tagcorpus.run(
            "tag", input=tmp_path / name / "a.jsonl", output=tmp_path / "out", taggers="length", workers=1, **options
        )

    run("one")
    run("copy")
    with pytest.raises(
        ConfigError, match=r"holds results of .*copy/a\.jsonl, and .*two/a\.jsonl has the same name there"
    ):
        run("two")
    with pytest.raises(ConfigError, match=r"long/a\.jsonl has the same name there"):
        run("long")
    (tmp_path / "copy/a.jsonl").write_text('{"text": "one that grew"}\n')
    assert run("copy").exit_code == 0
    assert run("two", overwrite=True).exit_code == 0


def test_a_link_to_a_file_stands_for_the_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "x.csv").symlink_to("real/y.csv")
    folder, name = folder_and_name(str(tmp_path / "x.csv"))
    assert (folder.root, name) == (str(tmp_path / "real"), "y.csv")

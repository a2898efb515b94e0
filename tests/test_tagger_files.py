"""A tagger in a file of its own: the one of the docs runs everywhere, its code counts, and what is wrong is said."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugins import SCRIPT
from slurm_commands import invoke, pretend

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.taggers import add_files, load, tagger_class
from tagcorpus.testing import check_tagger

DOCS = Path(__file__).resolve().parents[1] / "docs" / "taggers.md"
TEXTS = ["Stop! Now!", "Why? Because!", "Fine."]


@pytest.fixture
def block() -> str:
    """The example in docs/taggers.md."""
    found = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    assert sum(bool(line.strip()) for line in found.splitlines()) <= 20
    return str(found)


@pytest.fixture
def file(tmp_path: Path, block: str, request: pytest.FixtureRequest) -> Path:
    """It stays known in this process, so every test has a name of its own."""
    path = tmp_path / f"{re.sub(r'[^a-z_]', '', request.node.name)[:40]}.py"
    path.write_text(block)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS * 60))
    return path


def command(source: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """From another folder, without anything of the tests on the path."""
    place = file.parent / "elsewhere"
    place.mkdir(exist_ok=True)
    arguments = [
        "run",
        "tag",
        "-i",
        str(source),
        "-o",
        str(source.parent / "out"),
        "--tagger-module",
        str(file),
        "--json",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [SCRIPT, *arguments, "--set", "chunk_bytes=1024", *options],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def marks(source: Path, instance: str) -> list[int]:
    found: list[int] = tagcorpus.read(source.parent / "out", instance).to_table()["exclaims"].to_pylist()
    return found


def test_in_worker_processes(source: Path, file: Path) -> None:
    name = file.stem
    done = command(source, file, "-t", f"{name},ask={name}", "--set", "ask.mark=?", "-w", "2")
    assert done.returncode == 0, done.stderr
    assert "; 2 workers" in done.stderr
    assert marks(source, name) == [2, 1, 0] * 60
    assert marks(source, "ask") == [0, 1, 0] * 60


@pytest.mark.slow
def test_on_ray(source: Path, file: Path) -> None:
    done = command(source, file, "-t", file.stem, "-w", "2", "--executor", "ray")
    assert done.returncode == 0, done.stderr
    assert marks(source, file.stem) == [2, 1, 0] * 60


@pytest.mark.e2e
def test_on_slurm(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was launched is what is computed and finished, though the file is changed meanwhile, and gone then."""
    slurm = pretend(tmp_path, monkeypatch)
    slurm.write("in.jsonl", TEXTS * 60)
    launched = slurm.launch("--tagger-module", str(file), "--set", "slurm.max_array=2", taggers=f"{file.stem},length")
    assert launched.code == 0, launched.err
    file.write_text("TAGGER = None\n")
    assert slurm.work(1, 0).code == 0
    file.unlink()
    assert slurm.work(1, 1).code == 0
    finished = slurm.work(2)
    assert finished.code == 0, finished.err
    found = tagcorpus.read(slurm.out, file.stem).to_table()["exclaims"].to_pylist()
    assert found == [2, 1, 0] * 60


@pytest.mark.e2e
def test_changed_code_is_computed_again_and_told(source: Path, file: Path) -> None:
    assert command(source, file, "-t", file.stem, "-w", "1").returncode == 0
    again = command(source, file, "-t", file.stem, "-w", "1")
    assert "; 4 of 4 parts are there already" in again.stderr
    file.write_text(file.read_text().replace("text.count(self.mark)", "10 * text.count(self.mark)"))
    changed = command(source, file, "-t", file.stem, "-w", "1")
    assert changed.returncode == 0, changed.stderr
    assert "; 4 parts are of an earlier input or version, to be computed again" in changed.stderr
    assert marks(source, file.stem) == [20, 10, 0] * 60


def test_from_python(source: Path, file: Path) -> None:
    out = source.parent / "out"
    tagcorpus.run("tag", input=source, output=out, taggers=file.stem, tagger_module=file, workers=1)
    assert marks(source, file.stem) == [2, 1, 0] * 60
    assert tagcorpus.tag(TEXTS, [file.stem])[f"{file.stem}.exclaims"].to_pylist() == [2, 1, 0]
    identity = json.loads((out / "attributes" / file.stem / "tagger.json").read_text())
    assert re.fullmatch(r"1, code xxh3-128:[0-9a-f]{32}", identity["version"])


def test_it_conforms(file: Path) -> None:
    add_files([str(file)])
    check_tagger(load(file.stem, {"mark": "?"}))


def test_a_file_takes_the_place_of_its_earlier_self(file: Path) -> None:
    add_files([str(file)])
    before = tagger_class(file.stem)
    add_files([str(file)])
    assert tagger_class(file.stem) is before
    file.write_text(file.read_text().replace("Exclaim", "Other"))
    add_files([str(file)])
    assert tagger_class(file.stem).__name__ == "Other"


def test_it_is_listed(file: Path) -> None:
    done = invoke("taggers", "--tagger-module", str(file))
    assert done.code == 0
    lines = done.out.splitlines()
    (k,) = (i for i, line in enumerate(lines) if line.startswith(file.stem))
    assert "Exclamation marks per document" in lines[k]
    assert lines[k + 1].strip() == "exclaims"
    done = invoke("taggers", file.stem, "--tagger_module", str(file))
    assert done.code == 0
    assert f"--set {file.stem}.mark='!'" in done.out


BROKEN = [
    ("", r"has no TAGGER: end it with TAGGER = the tagger's class$"),
    ("x = (\n", r"broken\.py, line 1 cannot be loaded: SyntaxError: '\(' was never closed$"),
    ("import no_such_module\n", r"cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'$"),
    ("raise SystemExit('off')\n", r"cannot be loaded: SystemExit: off$"),
    ("TAGGER = 3\n", r"TAGGER must be a dataclass that this file defines, got 3$"),
    ("class TAGGER: pass\n", r"TAGGER must be a dataclass that this file defines, got <class "),
    (
        "from tagcorpus.taggers.length import TAGGER\n",
        r"TAGGER must be a dataclass that this file defines, got <class ",
    ),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content)
    for _ in range(2):
        with pytest.raises(ConfigError, match=message) as error:
            add_files([str(path)])
        assert str(error.value).startswith(f"--tagger-module {path}")


def test_what_is_wrong_with_a_name(tmp_path: Path, file: Path, block: str) -> None:
    def refused(message: str, *paths: Path) -> None:
        with pytest.raises(ConfigError, match=message):
            add_files(map(str, paths))

    refused("No such file or directory$", tmp_path / "none.py")
    refused(r"^--tagger-module takes a file NAME\.py", tmp_path / "my-tagger.py")
    refused(r"^--tagger-module takes a file NAME\.py", tmp_path / "_own.py")
    refused(r"^--tagger-module takes a file NAME\.py", tmp_path / "tagger.txt")
    (tmp_path / "length.py").write_text(block)
    refused(r"there is a tagger 'length' already; give the file another name$", tmp_path / "length.py")
    (tmp_path / "elsewhere").mkdir()
    twin = tmp_path / "elsewhere" / file.name
    twin.write_text(block)
    refused("would both be the tagger ", file, twin)


def test_the_command_says_it_without_a_traceback(source: Path, tmp_path: Path) -> None:
    done = invoke("run", "tag", "-i", str(source), "--tagger-module", str(tmp_path / "none.py"), "-t", "none")
    assert done.code == 2
    assert done.err == f"tagcorpus: --tagger-module {tmp_path / 'none.py'}: No such file or directory\n"


def test_an_instance_takes_its_code_along(file: Path) -> None:
    """Where nobody has seen the file."""
    code = (
        "import sys, pickle; from tagcorpus.taggers import DocumentBatch\n"
        "instance = pickle.loads(sys.stdin.buffer.read())\n"
        "print(instance.tagger.tag(DocumentBatch.from_texts(['!!'])).to_pydict(), instance.identity()['version'])"
    )
    add_files([str(file)])
    instance: Any = Instance("mine", file.stem, load(file.stem))
    pickled = pickle.dumps(instance)
    file.unlink()
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)
    assert done.stdout.decode().strip() == f"{{'exclaims': [2]}} {instance.identity()['version']}"


def test_a_node_with_other_grammars_is_refused() -> None:
    """The version of some taggers depends on what is installed where they run."""
    make, arguments = Instance("code", "code", load("code")).__reduce__()
    assert make(*arguments) == Instance("code", "code", load("code"))
    other = [*arguments]
    other[2] = other[2].replace("tree-sitter-c 0.", "tree-sitter-c 9.")
    with pytest.raises(
        ConfigError, match=r"^node .* would compute 'code' with version 2, .* the launcher has 2, .*-c 9\."
    ):
        make(*other)

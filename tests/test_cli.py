"""The command line as a contract: spellings, streams, exit codes and the words of errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tagcorpus
from tagcorpus.cli import main


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def gens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "gens.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": f"text {i}", "body": f"body {i}!"}) + "\n" for i in range(5)))
    return path


def test_version() -> None:
    assert tagcorpus.__version__ in invoke("--version").output


@pytest.mark.parametrize("command", [["run", "tag"], ["run", "filter"], ["run", "domain"], ["taggers"], ["config"]])
def test_help_says_what_it_does(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_result_to_stdout_and_progress_to_stderr(gens: Path) -> None:
    result = invoke("run", "tag", "--input", gens, "--taggers", "length")
    assert result.exit_code == 0
    assert "5 documents" in result.stdout
    assert "length.char_len" in result.stdout
    assert "1 file, 5 rows, 1 chunk" in result.stderr
    assert (gens.parent / "gens.tagcorpus/attributes/length/gens.jsonl/part-00000.parquet").is_file()


def test_json_is_all_there_is_on_stdout(gens: Path) -> None:
    value = json.loads(invoke("run", "tag", "--input", gens, "--taggers", "length", "--json").stdout)
    assert value["counts"]["documents"] == 5
    assert value["summary"]["instances"]["length"]["columns"]["char_len"]["mean"] == 6.0
    assert value["exit_code"] == 0


def test_underscore_spellings_and_aliases(gens: Path) -> None:
    result = invoke(
        "run", "tag", "--input", gens, "--text_column=body", "--num_docs", "2", "--feature", "char_len", "--json"
    )
    value = json.loads(result.stdout)
    assert value["counts"]["documents"] == 2
    assert value["summary"]["instances"]["length"]["columns"]["char_len"]["mean"] == 7.0
    assert value["output"].endswith("gens.limit2.tagcorpus")


def test_values_with_underscores_stay_as_they_are(gens: Path) -> None:
    gens.write_text('{"my_text": "abc"}\n')
    value = json.loads(
        invoke("run", "tag", "--input", gens, "--text-column", "my_text", "--taggers", "length", "--json").stdout
    )
    assert value["counts"]["documents"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--taggers", "langth"], "unknown tagger 'langth' (--taggers): did you mean 'length'?"),
        (["--set", "tokens.tokeniser=x"], "did you mean 'tokenizer'?"),
        (["--set", "chunk_byte=1"], "did you mean 'chunk_bytes'?"),
        (["--set", "length.x=1"], "length has no parameters"),
        (["--set", "nothing.x=1"], "unknown section or instance 'nothing'"),
        (["--set", "novalue"], "--set takes KEY=VALUE"),
        (["--limit", "0"], "limit must be at least 1, got 0"),
        (["--sample", "1.5"], "sample must be above 0 and at most 1, got 1.5"),
        (["--work", "x"], "--work goes with"),
        (["--config", "none.yaml"], "--config none.yaml"),
        (["--text-column", "txt"], "the columns there are body, id, text. Name the right one with --text-column"),
        (["--taggers", "a=length,a=tokens"], "names 'a' twice"),
        (["--set", "executor=rey"], "unknown executor 'rey' (--set executor): did you mean 'ray'?"),
    ],
)
def test_wrong_usage_is_exit_2_and_one_sentence(gens: Path, arguments: list[str], told: str) -> None:
    result = invoke("run", "tag", "--input", gens, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_several_values_in_a_row(gens: Path) -> None:
    """As a shell makes them of *.jsonl."""
    other = gens.with_name("other.jsonl")
    other.write_text('{"text": "another"}\n')
    arguments = ["-i", gens.name, other.name, "-t", "length", "language", "--json", "-o", "out"]
    value = json.loads(invoke("run", "tag", *arguments).stdout)
    assert value["counts"]["documents"] == 6
    assert list(value["summary"]["instances"]) == ["length", "language"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "tag", "gens.jsonl"], "unexpected extra argument (gens.jsonl). Input is given as --input PATH"),
        (["tag", "-i", "gens.jsonl"], "No such command 'tag'. Did you mean 'run tag'?"),
        (["domain"], "Did you mean 'run domain'?"),
        (["run", "tags"], "No such command 'tags'"),
        (["status", "gens.jsonl"], "is not an output of tagcorpus"),
        (["status", "out", "--storage-options", "anon=true"], "neither input nor output is a URL"),
        (["status", "memory://x", "--storage-options", "anonn=1"], "unknown storage option of memory 'anonn'"),
        (["report", "memory://x", "--storage-options", "x"], "--storage-options takes K=V"),
        (["doctor", "--storage-options", "anon=true"], "--storage-options needs an --output that is a URL"),
        (["run", "tag", "-i", "gens.jsonl", "-o", "a.txt"], "--output a.txt: it must be a folder, or a file in .csv"),
    ],
)
def test_what_a_new_user_types(gens: Path, arguments: list[str], told: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert list(gens.parent.iterdir()) == [gens]


def test_the_main_result_is_named(gens: Path) -> None:
    assert invoke("run", "tag", "-i", gens, "-t", "length", "-o", "r.csv").stdout.splitlines()[-1] == "  r.csv"
    assert invoke("run", "domain", "-i", gens, "-o", "d.csv").stdout.splitlines()[-1] == "  d.csv"
    assert (
        max(map(len, invoke("run", "domain", "-i", gens, "-o", "dom").stdout.replace(str(gens.parent), "").split("\n")))
        <= 80
    )


@pytest.mark.parametrize("command", [[], ["run"], ["store"]])
def test_commands_are_told_whole(command: list[str]) -> None:
    assert "..." not in CliRunner().invoke(main, [*command, "--help"], terminal_width=80).output.split("Commands:")[1]


def test_as_a_module(gens: Path) -> None:
    arguments = ["run", "tag", "-i", str(gens), "-t", "length", "-o", "out", "-w", "2", "--set", "chunk_bytes=1024"]
    gens.write_bytes(gens.read_bytes() * 20)  # chunks for two workers, which import the module too
    done = subprocess.run([sys.executable, "-m", "tagcorpus", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "100 documents -> out"), done.stderr
    (command,) = Path("out").glob("runs/*/command.json")
    assert json.loads(command.read_text())["command"].startswith("tagcorpus run tag -i ")
    wrong = subprocess.run([sys.executable, "-m", "tagcorpus", "rum"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Usage: python -m tagcorpus [OPTIONS] COMMAND")


def test_completion_knows_commands_options_and_files() -> None:
    import click.shell_completion

    def completed(*words: str, incomplete: str) -> list[tuple[str, str]]:
        complete = click.shell_completion.BashComplete(main, {}, "tagcorpus", "_TAGCORPUS_COMPLETE")
        return [(c.type, c.value) for c in complete.get_completions(list(words), incomplete)]

    assert completed("run", incomplete="do") == [("plain", "domain")]
    assert completed("run", "domain", incomplete="--base") == [("plain", "--base-url")]
    assert completed("run", "domain", "--backend", incomplete="f") == [("plain", "fasttext")]
    assert completed("run", "domain", "--backend", incomplete="st") == [("file", "st")]
    assert completed("run", "tag", "--input", incomplete="ge") == [("file", "ge")]


def test_input_is_needed() -> None:
    result = invoke("run", "tag")
    assert result.exit_code == 2
    assert "give --input PATH" in result.stderr


def test_missing_input_is_named(tmp_path: Path) -> None:
    result = invoke("run", "tag", "--input", tmp_path / "nope.jsonl")
    assert result.exit_code == 2
    assert "nope.jsonl" in result.stderr


def test_default_folder_of_another_input_is_not_taken(gens: Path) -> None:
    assert invoke("run", "tag", "--input", gens, "--taggers", "length").exit_code == 0
    other = gens.parent / "other"
    other.mkdir()
    (other / "gens.jsonl").write_text('{"text": "another"}\n')
    result = invoke("run", "tag", "--input", other / "gens.jsonl", "--taggers", "length")
    assert result.exit_code == 2
    assert "holds results of another input" in result.stderr
    assert "--output" in result.stderr


def test_dry_run_writes_nothing(gens: Path) -> None:
    result = invoke("run", "tag", "--input", gens, "--dry-run")
    assert result.exit_code == 0
    assert "chunks_to_compute" in result.stdout
    assert not (gens.parent / "gens.tagcorpus").exists()


def test_taggers_lists_all_and_describes_one() -> None:
    listed = invoke("taggers").stdout
    assert "char_len" in listed
    one = invoke("taggers", "tokens").stdout
    assert "[tokens]" in one
    assert "--set tokens.tokenizer='p50k_base'" in one
    wrong = invoke("taggers", "token")
    assert wrong.exit_code == 2
    assert "did you mean 'tokens'?" in wrong.stderr


def test_config_prints_what_a_run_would_use() -> None:
    shown = invoke("config", "tag", "--set", "tokens.tokenizer=gpt2").stdout
    assert "tokenizer: gpt2" in shown
    assert "chunk_bytes: null" in shown


def test_one_row_is_singular(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": "a"}\n')
    result = invoke(
        "run", "tag", "--input", tmp_path / "one.jsonl", "--taggers", "length", "--output", tmp_path / "out"
    )
    assert result.exit_code == 0
    assert "1 file, 1 row, 1 chunk" in result.stderr

"""The command line with --executor slurm, on the Slurm of slurm_commands.py: what is submitted, and what it makes."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plugins import ended, install, temporary
from slurm_commands import Slurm, everything, pretend

from tagcorpus import run
from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, IncompleteError, TagcorpusError
from tagcorpus.pipelines.slurm.array import _time, job_id

ROWS = [
    *(f"{i} The first thing is what they do with {i} of them. " + "word " * (i % 7) for i in range(60)),
    b"not json",
    "",
    "same words again and again and again " * 30,
    "!raise!",
    b'{"text": 3}',
]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    plugins = install(tmp_path / "plugins")
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugins), str(Path(__file__).parent)]))
    return pretend(tmp_path, monkeypatch)


@pytest.fixture
def corpus(slurm: Slurm) -> Slurm:
    slurm.write("a.jsonl", ROWS)
    slurm.write("b.jsonl.gz", [f"b {text}" if isinstance(text, str) else text for text in ROWS if text != "!raise!"])
    return slurm


@pytest.mark.e2e
def test_ranks_by_hand_give_the_bytes_of_a_local_run(corpus: Slurm) -> None:
    launched = corpus.launch("--set", "slurm.max_array=3")
    assert launched.code == 0
    assert "exit 0 means submitted, not done" in launched.err
    assert not list(corpus.out.rglob("*.parquet"))
    assert corpus.n_tasks(1) == 3
    corpus.all_tasks(1)
    finished = corpus.work(2)
    assert finished.code == 0, finished.err
    assert "rows are in quarantine" in finished.err
    assert "125 documents (4 in quarantine, of 129 rows) -> " in finished.out
    assert everything(corpus.out) == corpus.local()
    assert temporary(corpus.out) == []
    ledger = corpus.ledger()
    assert (ledger["exit_code"], ledger["executor"], ledger["ranges_done"]) == (0, "slurm", ledger["ranges_planned"])
    assert all(r["seconds"] > 0 for r in ledger["ranges"])
    # One run: what the launcher began, the finish job ended.
    assert len(list((corpus.out / "runs").iterdir())) == 1


def test_scripts(corpus: Slurm) -> None:
    options = {
        "partition": "cpu", "account": "p123", "qos": "long", "hours": 1.51, "cpus_per_task": 2, "mem_per_cpu_gb": 3,
        "max_array": 4, "workers": 7,
    }  # fmt: skip
    launched = corpus.launch(*(a for k, v in options.items() for a in ("--set", f"slurm.{k}={v}")), "--json")
    told = launched.json()["summary"]["slurm"]
    assert (told["array_job"], told["finish_job"]) == ("1", "2")
    logs = f"{corpus.out}/runs/{told['run']}/slurm/logs"
    assert told["tasks"] == corpus.n_tasks(1) <= 4
    common = {
        "cpus-per-task": "2", "mem-per-cpu": "3G", "nodes": "1", "partition": "cpu", "job-name": "tagcorpus-tag",
        "time": "01:31:00", "account": "p123", "qos": "long", "requeue": "",
    }  # fmt: skip
    array = {"output": f"{logs}/%A_%a.out", "array": f"0-{told['tasks'] - 1}%7", "signal": "B:USR1@60"}
    assert corpus.directives(1) == common | array | {"error": array["output"]}
    finish = f"{logs}/finish_%j.out"
    assert corpus.directives(2) == common | {"output": finish, "error": finish}
    assert corpus.arguments(1)[:-1] == ["--export=ALL,RUN_OFFSET=0"]
    assert corpus.arguments(2)[:-1] == ["--export=ALL", "--dependency=afterany:1"]
    assert Path(logs).is_dir()  # Slurm does not make it
    for job, what in ((1, "work"), (2, "finish")):
        command = (
            f"exec {sys.executable} -P -m tagcorpus.pipelines.slurm.tasks {what} {corpus.out}/runs/{told['run']}/slurm"
        )
        assert corpus.script(job).splitlines()[-1].rstrip("/") == command
        assert subprocess.run(["bash", "-n"], input=corpus.script(job), text=True, check=False).returncode == 0


def test_what_is_not_set_is_left_to_the_cluster(corpus: Slurm) -> None:
    corpus.launch()
    for job in (1, 2):
        assert not {"partition", "account", "qos", "time"} & set(corpus.directives(job))
    assert "%" not in corpus.directives(1)["array"]


@pytest.mark.e2e
def test_environment_of_another_python(corpus: Slurm) -> None:
    corpus.launch("--set", f"slurm.env_command=export PATH={Path(sys.executable).parent}:$PATH MARK=1")
    script = corpus.script(1)
    assert script.index("MARK=1") < script.index("exec python -P -m")
    assert corpus.work(1, 0).code == 0


def test_tasks_are_runs_of_neighbours_and_cover_what_is_missing(corpus: Slurm) -> None:
    corpus.launch("--set", "slurm.max_array=4")
    chunks = len(json.loads((corpus.out / "plan/a.jsonl.json").read_text())["ranges"])
    assert corpus.call(1, 0).code == 0
    first = {p.name for p in corpus.out.glob("attributes/marks/a.jsonl/*.parquet")}
    assert first == {f"part-{k:05d}.parquet" for k in range(len(first))}
    assert 0 < len(first) < chunks
    # What is there is not submitted again, not even by another launch while the array is running.
    launched = corpus.launch("--set", "slurm.max_array=1000", "--json")
    assert launched.json()["summary"]["slurm"]["ranges"] == corpus.n_tasks(3)
    before = {p: p.stat().st_mtime_ns for p in corpus.out.rglob("*.parquet")}
    corpus.call_tasks(3)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert corpus.call(4).code == 0
    assert everything(corpus.out) == corpus.local()


@pytest.mark.e2e
def test_task_with_several_cpus_and_a_worker_that_dies(slurm: Slurm, tmp_path: Path) -> None:
    slurm.write("a.jsonl", [*ROWS, "!die!"])
    deaths = tmp_path / "deaths"
    deaths.write_text("2")
    slurm.launch("--set", "slurm.cpus_per_task=2", "--set", "slurm.max_array=1")
    done = slurm.work(1, 0, SLURM_CPUS_PER_TASK="2", PLUGIN_DEATHS=str(deaths))
    assert done.code == 0, done.err
    assert "2 workers" in done.err
    assert deaths.read_text() == "-1"
    assert slurm.call(2).code == 0


@pytest.mark.e2e
def test_finish_names_what_is_missing_and_the_same_command_completes_it(corpus: Slurm) -> None:
    corpus.launch("--set", "slurm.max_array=5")
    for task in range(corpus.n_tasks(1)):
        if task != 1:
            assert corpus.call(1, task).code == 0
    finished = corpus.call(2)
    assert finished.code == 4
    assert "2 of 10 chunks are missing: chunk 2 of a.jsonl, chunk 3 of a.jsonl. Logs are in" in finished.err
    assert "the same command submits what is missing" in finished.err
    assert "Traceback" not in finished.err
    assert not (corpus.out / "summary").exists()
    assert corpus.ledger()["exit_code"] == 4
    corpus.launch()
    assert corpus.n_tasks(3) == 2
    corpus.call_tasks(3)
    assert corpus.call(4).code == 0
    assert everything(corpus.out) == corpus.local()


def test_finish_says_why_a_task_failed(slurm: Slurm) -> None:
    for name, text in {"a": "!llm!", "b": "fine", "c": "!tagger!"}.items():
        slurm.write(f"{name}.jsonl", [text])
    slurm.launch()
    assert [slurm.call(1, task).code for task in range(slurm.n_tasks(1))] == [4, 0, 1]
    finished = slurm.call(2)
    assert finished.code == 1
    assert re.search(r"2 array tasks failed; on \S+: my model is gone \(7\)", finished.err)
    assert "the same command" not in finished.err


def test_finish_names_a_column_that_no_document_has(slurm: Slurm) -> None:
    slurm.write("a.jsonl", ["print(1)"])
    slurm.launch("--set", "code.column=language_name", taggers="code")
    slurm.call_tasks(1)
    finished = slurm.call(2)
    assert finished.code == 0, finished.err
    assert "no document has a value in the column 'language_name', which code.column names" in finished.err
    assert any("'language_name'" in note for note in slurm.ledger()["notes"])


def test_task_that_slurm_starts_again_goes_on(corpus: Slurm) -> None:
    corpus.launch("--set", "slurm.max_array=1")
    assert corpus.call(1, 0).code == 0
    parts = sorted(corpus.out.rglob("*.parquet"))
    parts[0].unlink()
    kept = {
        p: p.stat().st_mtime_ns for p in parts[1:] if p.name != parts[0].name or p.parent.name != parts[0].parent.name
    }
    again = corpus.call(1, 0, SLURM_RESTART_COUNT="1")
    assert again.code == 0
    assert ": 1 chunk, 1 worker" in again.err
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert corpus.call(2).code == 0
    assert everything(corpus.out) == corpus.local()


@pytest.mark.e2e
@pytest.mark.parametrize(("number", "cpus"), [(signal.SIGTERM, 2), (signal.SIGUSR1, 1)])
def test_task_that_is_told_to_end(slurm: Slurm, number: signal.Signals, cpus: int) -> None:
    # The row at which the task waits is in the last and smallest chunk, which no worker begins before the others.
    slurm.write("a.jsonl", [f"{i} " + "x" * (90 if i < 88 else 8) + ("!wait!" if i == 89 else "") for i in range(90)])
    slurm.launch("--set", "slurm.max_array=1", "--set", f"slurm.cpus_per_task={cpus}")
    fifo = slurm.root / "fifo"
    os.mkfifo(fifo)
    told = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = slurm.start(1, 0, PLUGIN_WAITING=str(fifo), SLURM_CPUS_PER_TASK=str(cpus))
    readable, _, _ = select.select([told], [], [], 60)
    os.close(told)
    assert readable, ended(process)
    process.send_signal(number)
    done = ended(process)  # all its workers have closed stderr: none is left
    assert done.code == 4
    assert "Slurm ended the task before its end" in done.err
    assert "Traceback" not in done.err
    assert temporary(slurm.out) == []
    parts = {p: p.stat().st_mtime_ns for p in slurm.out.rglob("*.parquet")}
    assert parts
    finished = slurm.call(2)
    assert finished.code == 4
    assert "Slurm ended the task before its end" in finished.err
    slurm.launch()
    slurm.call_tasks(3)
    assert slurm.call(4).code == 0
    assert {p: p.stat().st_mtime_ns for p in parts} == parts
    assert everything(slurm.out) == slurm.local()


def test_begun_here_and_finished_there_and_the_other_way(corpus: Slurm) -> None:
    assert corpus.command(taggers="length").code == 0
    corpus.launch("--set", "slurm.max_array=2")
    assert corpus.call(1, 1).code == 0
    assert corpus.command().code == 0  # local: what task 0 left undone
    assert everything(corpus.out) == corpus.local()


def test_nothing_left_to_compute(corpus: Slurm) -> None:
    assert corpus.command().code == 0
    done = everything(corpus.out)
    for name in ("tag.json", "tag.csv"):
        (corpus.out / "summary" / name).unlink()
    launched = corpus.launch()
    assert "nothing is left to compute; submitted finish job 1" in launched.err
    assert corpus.arguments(1)[:-1] == ["--export=ALL"]
    assert corpus.call(1).code == 0
    assert everything(corpus.out) == done


@pytest.mark.e2e
def test_overwrite_computes_all_and_removes_nothing_first(corpus: Slurm) -> None:
    assert corpus.command(pipeline="filter").code == 0
    done = everything(corpus.out)
    kept = corpus.out / "filtered/filtered_a.jsonl"
    kept.write_bytes(b"x" * kept.stat().st_size)  # its receipt still fits
    before = {p: p.stat().st_mtime_ns for p in corpus.out.rglob("*.parquet")}
    for job, tasks in ((1, [0]), (3, [0, 1])):
        launched = corpus.launch("--overwrite", "--set", "slurm.max_array=2", pipeline="filter")
        assert launched.code == 0
        assert {p: p.stat().st_mtime_ns for p in corpus.out.rglob("*.parquet")}.keys() == before.keys()
        for task in tasks:
            # Started again or not: older parts are no reason to skip a chunk.
            assert corpus.call(job, task, SLURM_RESTART_COUNT=str(task)).code == 0
        finished = corpus.call(job + 1)
        if len(tasks) == 1:
            assert finished.code == 4
            assert re.search(r"5 of 10 chunks are missing: chunk \d of", finished.err)
    assert finished.code == 0, finished.err
    assert not before.items() & {p: p.stat().st_mtime_ns for p in before}.items()
    assert everything(corpus.out) == done


def test_input_that_changes_after_the_launch(slurm: Slurm) -> None:
    slurm.write("a.jsonl", ["one"])
    slurm.launch()
    slurm.call_tasks(1)
    slurm.write("a.jsonl", ["another"])
    finished = slurm.call(2)
    assert finished.code == 4
    assert "1 of 1 chunks are missing" in finished.err
    assert not (slurm.out / "summary").exists()


@pytest.mark.e2e
def test_filter_by_a_condition_has_nothing_to_compute(corpus: Slurm) -> None:
    condition = ["--where", "char_len > 60"]
    for output in (corpus.out, corpus.root / "local"):
        assert corpus.command(taggers="length", output=output).code == 0
    assert corpus.command(*condition, pipeline="filter", output=corpus.root / "local").code == 0
    assert corpus.launch(*condition, pipeline="filter").code == 0
    assert corpus.call(1).code == 0
    assert everything(corpus.out) == everything(corpus.root / "local")


def test_limit_and_relative_paths(corpus: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus.root)
    fixed = ["run", "tag", "-i", "data/a.jsonl", "--taggers", "marks", "--limit", "40", "--set", "chunk_bytes=1500"]
    slurm = ["--executor", "slurm", "--set", "slurm.max_array=2", "-o", "all.csv", "--work", "out"]
    assert CliRunner().invoke(main, [*fixed, *slurm]).exit_code == 0
    (corpus.root / "data/new.jsonl").write_text("too late for this run\n")
    corpus.call_tasks(1)
    assert corpus.call(2).code == 0
    assert CliRunner().invoke(main, [*fixed, "-o", "local.csv", "--work", "local"]).exit_code == 0
    assert Path("all.csv").read_bytes() == Path("local.csv").read_bytes()
    assert everything(corpus.out) == everything(corpus.root / "local")


def test_dry_run_submits_nothing(corpus: Slurm) -> None:
    done = corpus.launch("--dry-run", "--json")
    assert done.code == 0
    assert done.json()["summary"]["dry_run"]["chunks_to_compute"] > 3
    assert list(corpus.jobs.iterdir()) == []
    assert not corpus.out.exists()


# Waiting


def wait(slurm: Slurm, taggers: str = "marks") -> Any:
    return run(
        "tag",
        input=[slurm.root / "data"],
        output=slurm.out,
        taggers=[taggers],
        executor="slurm",
        chunk_bytes=1500,
        slurm={"wait": True, "poll_seconds": 0, "max_array": 2},
    )


@pytest.mark.e2e
def test_waiting_gives_what_a_local_run_gives(corpus: Slurm) -> None:
    launched = corpus.launch("--wait", "--set", "slurm.poll_seconds=0", "--set", "slurm.max_array=2")
    assert launched.code == 0, launched.err
    assert "submitted array job 1 (2 tasks" in launched.err
    assert "exit 0 means submitted" not in launched.err
    # The controller was busy at first, and nothing was made of it; then two tasks ran.
    assert "slurm: 1 pending, 2 running" in launched.err
    assert "rows are in quarantine" in launched.err
    local = corpus.command(output=corpus.root / "local")
    assert launched.out.replace(str(corpus.out), "X") == local.out.replace(str(corpus.root / "local"), "X")
    assert everything(corpus.out) == everything(corpus.root / "local")
    assert (corpus.jobs / "squeue.arguments").read_text().splitlines()[0].split() == [
        "--noheader",
        "--array",
        "--jobs=1,2",
        "--format=%T",
    ]


@pytest.mark.e2e
def test_waiting_for_a_run_with_too_much_in_quarantine(slurm: Slurm) -> None:
    slurm.write("z.jsonl", ["fine", *[b"bad"] * 20])
    result = wait(slurm)
    assert result.exit_code == 3
    assert result.counts.quarantined["not_json"] == 20
    assert result.messages[-1] == "that is more than the 10 rows allowed (--max-quarantined)"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [("!tagger!", TagcorpusError, "my model is gone"), ("!llm!", IncompleteError, "1 of 1 chunks are missing")],
)
def test_waiting_for_a_run_that_fails(slurm: Slurm, text: str, kind: type[TagcorpusError], told: str) -> None:
    slurm.write("c.jsonl", [text])
    with pytest.raises(kind, match=told) as caught:
        wait(slurm)
    assert type(caught.value) is kind


@pytest.mark.e2e
def test_waiting_for_a_finish_job_that_is_cancelled(slurm: Slurm) -> None:
    slurm.write("c.jsonl", ["fine"])
    (slurm.jobs / "never").write_text("2.script")
    with pytest.raises(IncompleteError, match=r"finish job 2 is gone, and wrote no ledger"):
        wait(slurm)


def test_interrupt_while_waiting(slurm: Slurm) -> None:
    slurm.write("c.jsonl", ["fine"])
    (slurm.jobs / "interrupt").touch()
    done = slurm.launch("--wait", "--set", "slurm.poll_seconds=0")
    assert done.code == 130
    assert "no longer waiting; the jobs go on, `scancel 1 2` ends them" in done.err
    assert not list(slurm.out.rglob("ledger.json"))  # it is not over


# What cannot be


def test_no_slurm_here(corpus: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(os.pathsep)[2])
    done = corpus.launch()
    assert done.code == 2
    assert "needs Slurm's sbatch, which is not on the PATH here" in done.err
    assert not corpus.out.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-i", "{data}"], "--executor slurm needs --output FOLDER, a folder that the launcher and all nodes share"),
        (["-i", "{data}", "-o", "x.csv"], "--executor slurm with an --output file needs --work FOLDER"),
        (["-i", "-", "-o", "{out}"], "--executor slurm cannot read standard input"),
        (["-i", "{data}", "-o", "{out}", "--set", "slurm.partion=x"], "unknown key 'partion' (--set slurm.partion (slurm)): did you mean 'partition'?"),
        (["-i", "{data}", "-o", "{out}", "--set", "slurm.max_array=0"], "slurm.max_array must be at least 1, got 0"),
        (["-i", "{data}", "-o", "{out}", "--set", "slurm.hours=0"], "slurm.hours must be above 0 and below 10000, got 0"),
        (["-i", "{data}", "-o", "{out}", "--set", "slurm.hours=12:00:00"], "slurm.hours must be above 0 and below 10000, got 43200"),
        (["-i", "{data}", "-o", "{out}", "--set", "slurm=x"], "must be a mapping of keys to values, got str"),
        (["-i", "{data}", "-o", "{out}", "--executor", "pbs"], "'pbs' is not one of"),
    ],
)  # fmt: skip
def test_usage(corpus: Slurm, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str) -> None:
    monkeypatch.chdir(corpus.root)
    filled = [o.format(data=corpus.root / "data", out=corpus.out) for o in options]
    done = CliRunner().invoke(main, ["run", "tag", "--executor", "slurm", *filled])
    assert done.exit_code == 2
    assert told in done.stderr
    assert list(corpus.jobs.iterdir()) == []
    assert not corpus.out.exists()


@pytest.mark.parametrize("pipeline", ["domain", "tag"])
def test_endpoint_cannot_be_shared(corpus: Slurm, pipeline: str) -> None:
    options = ["--set", "domain.backend=openai", "--set", "domain.base_url=http://127.0.0.1:9/v1"]
    done = corpus.launch(*options, pipeline=pipeline, taggers="length,domain")
    assert done.code == 2
    assert "domain asks an LLM endpoint, and all calls of a run go through one caller" in done.err
    assert not corpus.out.exists()


@pytest.mark.parametrize("refused", ["1", "2"])
def test_sbatch_refuses(corpus: Slurm, refused: str) -> None:
    (corpus.jobs / "refuse").write_text(refused)
    done = corpus.launch()
    assert done.code == 2
    assert "sbatch refused the job" in done.err
    cancelled = corpus.jobs / "cancelled"
    assert (cancelled.read_text().split() if cancelled.exists() else []) == (["1"] if refused == "2" else [])
    assert corpus.ledger()["exit_code"] == 2


def test_node_that_does_not_see_the_input(corpus: Slurm) -> None:
    corpus.launch("--set", "slurm.max_array=1")
    (corpus.root / "data").rename(corpus.root / "elsewhere")
    done = corpus.call(1, 0)
    assert done.code == 2
    assert re.search(r"node \S+ does not see the input \S+: it must be in a folder that all nodes share", done.err)
    assert not list(corpus.out.rglob("*.parquet"))


def test_node_that_does_not_see_the_output(corpus: Slurm) -> None:
    corpus.launch("--set", "slurm.max_array=1")
    corpus.out.rename(corpus.root / "elsewhere")
    for done in (corpus.call(1, 0), corpus.call(2)):
        assert done.code == 2
        assert re.search(r"is not there on node \S+: the output must be a folder that all nodes share", done.err)
    assert not corpus.out.exists()


@pytest.mark.e2e
def test_node_with_another_version(corpus: Slurm, tmp_path: Path) -> None:
    corpus.launch("--set", "slurm.max_array=1")
    info = tmp_path / "other/tiktoken-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiktoken\nVersion: 0.0.1\n")
    done = corpus.work(1, 0, PYTHONPATH=f"{info.parent}{os.pathsep}{os.environ['PYTHONPATH']}")
    assert done.code == 2
    assert "has tiktoken 0.0.1, the launcher" in done.err


def test_status_of_what_is_submitted(slurm: Slurm) -> None:
    for name, text in {"a": "!llm!", "b": "fine", "c": "fine"}.items():
        slurm.write(f"{name}.jsonl", [text])
    slurm.launch()
    for task in (0, 1):
        slurm.call(1, task)
    told = CliRunner().invoke(main, ["status", str(slurm.out)]).stdout
    assert re.search(r"marks +1 of 3 ", told)
    assert "on Slurm: tag, since" in told
    assert "array job 1: 2 of 3 tasks ended, 1 of them with an error" in told
    assert "the endpoint kept failing" in told
    slurm.call(2)
    told = CliRunner().invoke(main, ["status", str(slurm.out)]).stdout
    assert "on Slurm" not in told
    assert "exit 4" in told


# Small parts


@pytest.mark.parametrize(
    ("answer", "number"),
    [("Submitted batch job 12\n", "12"), ("Submitted batch job 12 on cluster c1\n", "12"), ("12;c1\n", "12")],
)
def test_job_id(answer: str, number: str) -> None:
    assert job_id(answer) == number


def test_no_job_id() -> None:
    with pytest.raises(ConfigError, match="without a job number: 'welcome'"):
        job_id("welcome\n")


@pytest.mark.parametrize(("hours", "told"), [(None, None), (1, "01:00:00"), (0.001, "00:01:00"), (100.5, "100:30:00")])
def test_time(hours: float | None, told: str | None) -> None:
    assert _time(hours) == told

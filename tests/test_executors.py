"""The executor on its own: three ways to dispatch ranks, deaths, failures and which of them wins, interrupts."""

from __future__ import annotations

import ast
import multiprocessing.forkserver
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from plugin_taggers import Act

from tagcorpus.errors import (
    BudgetError,
    ConfigError,
    LLMError,
    OutputError,
    TagcorpusError,
    TaggerError,
)
from tagcorpus.pipelines.execution.executor import PlanExecutor
from tagcorpus.pipelines.execution.worker_pool import WorkerPool
from tagcorpus.pipelines.execution.worker_processes import _put_off_signals
from tagcorpus.pipelines.progress.progress_record import ProgressRecord, ProgressWriter

INLINE = {"workers": 1}
PROCESSES = {"workers": 2}
THREADS = {"workers": 2, "threads": True}
everywhere = pytest.mark.parametrize("how", [INLINE, PROCESSES, THREADS], ids=["inline", "processes", "threads"])


def executor(actions: dict[int, str], how: dict[str, Any], units: list[list[int]] | None = None) -> PlanExecutor:
    units = units or [[r] for r in range(6)]
    return PlanExecutor([Act(actions)], units, describe=lambda r: f"chunk {r}", **how)


@everywhere
def test_every_rank_once(how: dict[str, Any]) -> None:
    done: list[int] = []
    running = executor({}, how, [[4, 5], [0], [], [2, 3, 1]])
    assert running.run(lambda rank, _: done.append(rank)) == {r: [10 * r] for r in range(6)}
    assert sorted(done) == list(range(6))
    if how is not INLINE:
        assert [done.index(2), done.index(3), done.index(1)] == sorted([done.index(2), done.index(3), done.index(1)])


@everywhere
def test_nothing_to_do(how: dict[str, Any]) -> None:
    assert PlanExecutor([Act({})], [], describe=str, **how).run() == {}


@everywhere
@pytest.mark.parametrize(
    ("action", "kind", "told"),
    [
        ("!raise!", TagcorpusError, "chunk 1 failed: ValueError: cannot take"),
        # A library that calls sys.exit(0) must not end the run as if it were done.
        ("!exit!", TagcorpusError, "chunk 1 failed: SystemExit: 0"),
        ("panic", TagcorpusError, "chunk 1 failed: PanicException: index out of bounds"),
        ("!tagger!", TaggerError, "my model is gone (7)"),
        ("!budget!", BudgetError, "the budget is spent"),
        ("config", ConfigError, "cannot be so"),
    ],
)
def test_failure_is_named_and_ends_the_run(
    how: dict[str, Any], action: str, kind: type[TagcorpusError], told: str
) -> None:
    done: list[int] = []
    with pytest.raises(TagcorpusError) as caught:
        executor({1: action}, how, [[0], [1, 9], [2], [3]]).run(lambda rank, _: done.append(rank))
    assert type(caught.value) is kind
    assert told in str(caught.value)
    assert 9 not in done


@everywhere
def test_incomplete_range_lets_others_go_on(how: dict[str, Any]) -> None:
    done: list[int] = []
    with pytest.raises(LLMError):
        executor({1: "!llm!", 3: "!llm!"}, how).run(lambda rank, _: done.append(rank))
    assert sorted(done) == [0, 2, 4, 5]


@everywhere
def test_three_incomplete_ranges_in_a_row_end_the_run(how: dict[str, Any]) -> None:
    done: list[int] = []
    actions = dict.fromkeys(range(1, 20), "!llm!")
    with pytest.raises(LLMError):
        executor(actions, how, [[r] for r in range(20)]).run(lambda rank, _: done.append(rank))
    assert done == [0]


@everywhere
@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        ({0: "!llm!", 1: "!budget!"}, BudgetError),
        ({0: "!llm!", 2: "!tagger!"}, TaggerError),
        ({0: "!llm!", 5: "config"}, ConfigError),
    ],
)
def test_which_failure_is_the_runs(how: dict[str, Any], actions: dict[int, str], kind: type[TagcorpusError]) -> None:
    with pytest.raises(kind):
        executor(actions, how).run()


def test_dead_workers_rank_is_done_again(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("2")
    assert executor({3: f"!die!{deaths}"}, PROCESSES).run() == {r: [10 * r] for r in range(6)}


def test_rank_that_kills_three_workers_is_named_with_its_rows(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("9")
    done: list[int] = []
    with pytest.raises(TagcorpusError, match=r"chunk 3 killed its worker 3 times \(rows 300 to 309 were in flight\)"):
        executor({3: f"!die!{deaths}"}, PROCESSES).run(lambda rank, _: done.append(rank))
    assert deaths.read_text() == "6"
    assert {0, 1, 2} <= set(done)


def test_worker_that_dies_between_ranks_costs_nothing() -> None:
    running = executor({}, PROCESSES)

    def kill(rank: int, _: object) -> None:
        if rank == 2:
            for record in running.progress():
                if record.pid > 0 and record.pid != os.getpid():
                    os.kill(record.pid, signal.SIGKILL)

    assert running.run(kill) == {r: [10 * r] for r in range(6)}


def test_worker_that_was_found_dead_is_replaced_at_once() -> None:
    with WorkerPool() as pool:
        worker: Any = pool.worker([Act({})])
        assert worker.submit(1).result() == [10]
        (process,) = worker._pool._processes.values()
        manager = worker._pool._executor_manager_thread
        process.kill()
        manager.join(10)  # it has noticed
        assert worker.submit(2).result() == [20]
        worker.close(None)


def test_worker_processes_stay_for_the_next_pass() -> None:
    """With the pipeline of that pass, and whether or not a rank failed; they end with the pool."""

    def pids(pool: WorkerPool, *more: str) -> set[int]:
        actions = dict(enumerate(["pid", "pid", *more]))  # the first two go to a worker each
        how = PROCESSES | {"pool": pool}
        results = executor(actions, how, [[r] for r in range(4)]).run()
        assert [results[r] for r in (2, 3)] == [[20], [30]]
        return {results[0][0], results[1][0]}

    with WorkerPool() as pool:
        first = pids(pool)
        assert len(first) == 2
        assert pids(pool) == first
        with pytest.raises(ConfigError):
            pids(pool, "config")
        assert pids(pool) == first
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class Enough(BaseException):
    """Stands for Ctrl-C."""


def test_interrupt_ends_threads_at_their_next_batch() -> None:
    def interrupt(_rank: int, _: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        executor({0: "forever", 1: "forever"}, {"workers": 3, "threads": True}).run(interrupt)
    for thread in threading.enumerate():
        if thread.name.startswith("range"):
            thread.join(10)
            assert not thread.is_alive()


def test_interrupt_kills_workers() -> None:
    running = executor({0: "forever"}, PROCESSES)
    pids: list[int] = []

    def interrupt(_rank: int, _: object) -> None:
        pids.extend(b.pid for b in running.progress() if b.pid > 0 and b.pid != os.getpid())
        raise Enough

    with pytest.raises(Enough):  # would not come back while rank 0 runs
        running.run(interrupt)
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_beats_say_what_is_in_flight() -> None:
    running = executor({}, INLINE)
    seen: list[ProgressRecord] = []
    original = Act.run

    class Looks(Act):
        def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
            yield from original(self, data, rank, world_size)
            seen.append(ProgressRecord(**vars(running.progress()[0])))

    running.pipeline = [Looks({})]
    running.run()
    assert [(b.rank, b.first_row, b.last_row) for b in seen] == [(r, r * 100, r * 100 + 9) for r in range(6)]
    assert running.progress()[0].rank == -1


def test_progress_record_of_a_worker_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert ProgressWriter.read(str(path)) == ProgressRecord()
    path.write_bytes(b"half")
    assert ProgressWriter.read(str(path)) == ProgressRecord()
    ProgressWriter.create(str(path))
    record = ProgressWriter(str(path))
    record.start(3)
    record.batch(5, 9)
    record.done(4, 100)
    read = ProgressWriter.read(str(path))
    assert (read.rank, read.rows, read.n_bytes, read.first_row, read.last_row) == (3, 4, 100, 5, 9)
    assert read.pid == os.getpid()


def test_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(OutputError, match=r"no temporary file could be made in .*not there"):
        executor({}, PROCESSES).run()


def test_pipeline_is_small_when_pickled() -> None:
    assert len(pickle.dumps([Act({})])) < 1000


@pytest.mark.e2e
def test_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has at most 107 bytes; batch systems give their jobs folders that leave no room for one."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    code = "import sys; sys.path[:0] = sys.argv[2:]\nfrom test_executors import *\n"
    code += "if __name__ == '__main__': print(executor({}, PROCESSES).run())"
    monkeypatch.setenv("TMPDIR", str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ast.literal_eval(done.stdout or "0") == {r: [10 * r] for r in range(6)}, done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_being_started_is_known_when_the_run_ends(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The launcher is interrupted while it waits for the fork server to say the new worker's process id."""
    said: list[int] = []
    read_signed = multiprocessing.forkserver.read_signed

    def interrupted(fd: int) -> int:
        if not said:
            signal.raise_signal(number)
        value: int = read_signed(fd)
        said.append(value)
        return value

    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    monkeypatch.setattr(multiprocessing.forkserver, "read_signed", interrupted)
    before = signal.signal(number, end)
    try:
        with WorkerPool() as pool:
            worker = pool.worker([Act({})])
            with pytest.raises(Ended):
                worker.submit(0)
            assert signal.getsignal(number) is end
            (process,) = worker._pool._processes.values()  # type: ignore[attr-defined]
            assert said[0] == process.pid
            worker.close(Ended)
            assert not process.is_alive()
    finally:
        signal.signal(number, before)


def test_a_second_ctrl_c_waits_for_nothing() -> None:
    came: list[str] = []

    def start() -> None:
        with _put_off_signals():
            signal.raise_signal(signal.SIGINT)
            came.append("after the first")
            signal.raise_signal(signal.SIGINT)
            came.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert came == ["after the first"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="signal masks are read from /proc")
def test_ctrl_c_does_not_reach_the_fork_server(tmp_path: Path) -> None:
    code = """
import multiprocessing.forkserver
from tagcorpus.pipelines.execution.worker_processes import _start_fork_server
_start_fork_server()
pid = multiprocessing.forkserver._forkserver._forkserver_pid
print(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("SigBlk")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert int(done.stdout, 16) >> (signal.SIGINT - 1) & 1

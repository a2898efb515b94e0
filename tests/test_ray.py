"""The command line on a Ray cluster of several nodes: results, deaths, failures, what it says, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sysconfig
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from plugin_taggers import Act
from plugins import SCRIPT, Ended, jsonl, tree

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.execution.on_ray import Cluster, _check_node, node_versions
from tagcorpus.pipelines.execution.workers import WorkerDied
from tagcorpus.pipelines.inputs.discover import find
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.storage.folder import Folder

LOOPBACK = "127.0.0.1"
# The last one keeps Ray from talking to this machine by its outer address, which a firewall may close.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SECONDS = 90


@dataclass
class Nodes:
    """A head without a CPU and two nodes with one each."""

    cluster: Any
    folder: Path
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK))

    def kill_the_one_of(self, worker: int) -> None:
        """Kill the node that runs this worker, and let a new one take its place once the run has ended."""
        raylet = parent(worker)
        (node,) = [n for n in self.nodes if n.all_processes["raylet"][0].process.pid == raylet]
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("ray")
    info = folder / "plugins" / "ray_taggers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ray-taggers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tagcorpus.taggers]\nheld = ray_taggers:Held\nsurroundings = ray_taggers:Surroundings\n"
    )
    path = os.pathsep.join([str(folder / "plugins"), str(Path(__file__).parent)])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**RAY, "PYTHONPATH": path}.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray.cluster_utils import Cluster as RayCluster

        head = {"num_cpus": 0, "node_ip_address": LOOPBACK, "include_dashboard": False}
        found = Nodes(RayCluster(initialize_head=True, head_node_args=head), folder)
        found.add()
        found.add()
        (folder / "a.jsonl").write_bytes(jsonl([*texts(100, at30="!hold!", at60="!kill!"), b"\xff not UTF-8"]))
        for what in ("hold", "kill"):
            (folder / what).mkdir()
        os.mkfifo(folder / "told")
        yield found
        found.cluster.shutdown()


@dataclass
class Run:
    """The console script at work on the one input, with an output of its own."""

    root: Path
    nodes: Nodes
    tagger: str = "held"

    def command(self, output: str, executor: str, *options: str) -> list[str]:
        own = ["--set", f"held.folder={self.nodes.folder}"] if "held" in self.tagger else []
        return [
            SCRIPT, "run", "tag", "-i", str(self.nodes.folder / "a.jsonl"), "-o", str(self.root / output),
            "--taggers", self.tagger, "--executor", executor, "--set", "chunk_bytes=2000", *own, *options,
        ]  # fmt: skip

    def start(self, output: str, executor: str, *options: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        where = {"RAY_ADDRESS": self.nodes.address} if executor == "ray" else {}
        return subprocess.Popen(
            self.command(output, executor, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self.root,
            env={**os.environ, **where},
            start_new_session=True,
        )

    def run(self, output: str, executor: str, *options: str, cwd: Path | None = None) -> Ended:
        return ended(self.start(output, executor, *options, cwd=cwd))

    def tokens(self, what: str, n: int) -> None:
        """The next n times, texts with this mark do what they say."""
        for old in (self.nodes.folder / what).iterdir():
            old.unlink()
        for i in range(n):
            (self.nodes.folder / what / str(i)).touch()

    def left(self, what: str) -> int:
        return len(list((self.nodes.folder / what).iterdir()))

    def held(self) -> int:
        """The process that has come to `!hold!`."""
        return int((self.nodes.folder / "told").read_text())


@pytest.fixture
def run(tmp_path: Path, nodes: Nodes) -> Run:
    found = Run(tmp_path, nodes)
    for what in ("hold", "kill"):
        found.tokens(what, 0)
    return found


@pytest.fixture(scope="module")
def local(nodes: Nodes) -> dict[str, bytes]:
    """What an undisturbed local run publishes."""
    found = Run(nodes.folder, nodes).run("local", "local", "--workers", "1")
    assert found.code == 0, found.err
    return tree(nodes.folder / "local")


def ended(process: subprocess.Popen[str]) -> Ended:
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Ended(process.returncode, out, err)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def texts(n: int, **special: str) -> list[str]:
    return [f"document {i} " + special.get(f"at{i}", "") + "x" * 80 for i in range(n)]


@dataclass
class Undisturbed:
    """A run of two taggers on the cluster: its output, what it said, and what were the nodes' process ids then."""

    output: Path
    said: Ended
    raylets: set[int]


@pytest.fixture(scope="module")
def undisturbed(nodes: Nodes) -> Undisturbed:
    run = Run(nodes.folder, nodes, "held,surroundings")
    found = run.run("undisturbed", "ray", cwd=Path(tagcorpus.__file__).parent)
    assert found.code == 0, found.err
    raylets = {n.all_processes["raylet"][0].process.pid for n in nodes.nodes}
    return Undisturbed(nodes.folder / "undisturbed", found, raylets)


@pytest.mark.e2e
def test_run_is_the_same_as_local(undisturbed: Undisturbed, local: dict[str, bytes]) -> None:
    output, found = undisturbed.output, undisturbed.said
    assert "ray: 3 nodes, 2 CPUs" in found.err
    assert "; 2 workers" in found.err  # by default as many as the cluster has CPUs
    # The summary, of two taggers here, is compared after a killed node.
    both = {n: d for n, d in tree(output).items() if not n.startswith(("attributes/surroundings/", "summary/"))}
    assert both == {n: d for n, d in local.items() if not n.startswith("summary/")}
    assert len(both) > 3
    assert "(raylet)" not in found.out
    (ledger,) = output.glob("runs/*/ledger.json")
    assert json.loads(ledger.read_text())["executor"] == "ray"


@pytest.mark.slow
def test_more_workers_than_cpus(run: Run, local: dict[str, bytes]) -> None:
    """Those for which there is no place hold nothing back."""
    found = run.run("ray", "ray", "--workers", "5")
    assert found.code == 0, found.err
    assert tree(run.root / "ray") == local


@pytest.mark.e2e
def test_killed_node(run: Run, local: dict[str, bytes]) -> None:
    """What was on it is done on the nodes that are left, though no CPU there is free for another worker."""
    run.tokens("hold", 1)
    running = run.start("ray", "ray")
    run.nodes.kill_the_one_of(run.held())
    try:
        found = ended(running)
    finally:
        run.nodes.add()
    assert found.code == 0, found.err
    assert tree(run.root / "ray") == local
    assert "(raylet)" not in found.out  # Ray says there what befell the node


@pytest.mark.slow
def test_killed_worker(run: Run, local: dict[str, bytes]) -> None:
    run.tokens("kill", 1)
    found = run.run("ray", "ray")
    assert found.code == 0, found.err
    assert run.left("kill") == 0
    assert tree(run.root / "ray") == local


@pytest.mark.slow
def test_range_that_kills_three_workers(run: Run) -> None:
    run.tokens("kill", 9)
    found = run.run("ray", "ray")
    assert found.code == 1
    assert re.search(r"chunk \d of a.jsonl killed its worker 3 times", found.err)
    assert run.left("kill") == 6


@pytest.mark.slow
def test_failing_range_is_named_with_its_error(run: Run) -> None:
    part = run.root / "ray" / "attributes" / "held" / "a.jsonl" / "part-00001.parquet"
    (part / "in the way").mkdir(parents=True)
    found = run.run("ray", "ray")
    assert found.code == 1
    assert "part-00001.parquet" in found.err
    assert "Traceback" not in found.err


@pytest.mark.e2e
@pytest.mark.parametrize("address", [f"{LOOPBACK}:1", f"ray://{LOOPBACK}:1", "no.such.host.invalid:6379"])
def test_wrong_address(tmp_path: Path, address: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(["some text"]))
    command = [SCRIPT, "run", "tag", "-i", "a.jsonl", "--taggers", "length", "--executor", "ray"]
    found = ended(
        subprocess.Popen(
            [*command, "--ray-address", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **RAY},
        )
    )
    assert found.code == 2
    assert f"no Ray cluster could be reached at {address} (--ray-address, RAY_ADDRESS)" in found.err
    assert "Traceback" not in found.err


@pytest.mark.e2e
def test_code_on_the_nodes(undisturbed: Undisturbed) -> None:
    """The shipped copy and nothing of the launcher's folder, which here is the repository root."""
    root = Path(tagcorpus.__file__).parent
    parts = sorted((undisturbed.output / "attributes/surroundings").rglob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert rows
    assert {(r["cwd"], r["has_kernels"]) for r in rows} == {("", False)}
    packages = {Path(r["package"]) for r in rows}
    assert root not in packages
    assert {p.name for p in packages} == {"tagcorpus"}
    assert {r["nodes_pid"] for r in rows} <= undisturbed.raylets


@pytest.mark.slow
def test_interrupt(run: Run, local: dict[str, bytes]) -> None:
    run.tokens("hold", 1)
    running = run.start("ray", "ray")
    worker = run.held()
    os.killpg(running.pid, signal.SIGINT)
    found = ended(running)
    assert found.code == 130, found.err
    assert "interrupted; finished chunks are kept" in found.err
    gone(worker)
    assert run.run("ray", "local", "--workers", "1").code == 0
    assert tree(run.root / "ray") == local


def gone(pid: int) -> None:
    """Wait until a process that is not ours has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    ready, _, _ = select.select([fd], [], [], SECONDS)
    os.close(fd)
    assert ready, f"process {pid} lives on"


@pytest.mark.slow
def test_cluster_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(texts(20)))
    mark = f"RAY_TEST_MARK={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    command = [SCRIPT, "run", "tag", "-i", "a.jsonl", "--taggers", "length", "--executor", "ray", "--workers", "1"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    found = ended(
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**environment, **RAY, name: value},
        )
    )
    assert found.code == 0, found.err
    assert "ray: 1 node, " in found.err
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = mark.encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if is_ours:
            gone(int(process.name))


@pytest.mark.slow
def test_llm_calls_are_made_by_the_launcher(run: Run) -> None:
    from stub_llm import StubLLM

    with StubLLM() as stub:
        command = [SCRIPT, "run", "domain", "-i", str(run.nodes.folder / "a.jsonl"), "-o", "out", "--backend", "openai", "--executor", "ray",
                   "--base-url", stub.base_url, "--set", "chunk_bytes=2000"]  # fmt: skip
        found = ended(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=run.root,
                env={**os.environ, "RAY_ADDRESS": run.nodes.address},
            )
        )
        assert found.code == 0, found.err
        assert "the endpoint is asked from this machine, by one caller" in found.err
        assert len(stub.calls) == len({(c.stage, c.text) for c in stub.calls})


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--group-by", "of")], ids=["models", "values of a column"])
def test_features_are_the_same_as_local(run: Run, options: tuple[str, ...]) -> None:
    names = ("acme/alpha", "acme/beta")
    for n, model in enumerate(names, start=2):
        (run.root / "g" / model).mkdir(parents=True)
        lines = (
            {"text": f"Document {i} says {i * n} or {i // n} and no more. " * n, "of": f"part {i % 3}"}
            for i in range(60)
        )
        (run.root / "g" / model / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {}
    for executor in ("ray", "local"):
        command = [SCRIPT, "run", "features", "-i", "g", "-o", executor, "--executor", executor, "--set", "chunk_bytes=2000",
                   "--extended", "--tokenizer", "p50k_base", "--backend", "fasttext", *options]  # fmt: skip
        where = {"RAY_ADDRESS": run.nodes.address} if executor == "ray" else {}
        told = ended(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=run.root,
                env={**os.environ, **where},
            )
        )
        # The filter removes all texts of acme/beta, whose row has then no value.
        assert told.code == (0 if options else 3), told.err
        found[executor] = {
            **tree(run.root / executor, "attributes", "tokens", "summary/features"),
            **{p.name: p.read_bytes() for p in (run.root / executor).glob("features*")},
        }
    assert found["ray"] == found["local"]
    table = found["ray"]["features.csv"].decode().splitlines()
    assert [row.partition(",")[0] for row in table[1:]] == (["part 0", "part 1", "part 2"] if options else list(names))


@pytest.fixture
def joined(nodes: Nodes) -> Iterator[tuple[Cluster, list[str]]]:
    """This process on the cluster, with all that is said there."""
    said: list[str] = []
    with Cluster(nodes.address, said.append, patience_seconds=0) as cluster:
        yield cluster, said


@pytest.mark.slow  # joins in this process, whose first import of ray must be here
def test_full_cluster_is_told(joined: tuple[Cluster, list[str]]) -> None:
    cluster, said = joined
    first = [cluster.worker([Act({})]) for _ in range(2)]
    for worker in first:
        assert worker.submit(4).result(SECONDS) == [40]
    third = cluster.worker([Act({})])
    waiting = third.submit(5)
    third.progress()
    third.progress()
    assert "waiting for a free CPU: none of this run's workers could be started" in said[-1]
    assert "of the cluster's 2 CPUs are free" in said[-1]
    n = len(said)
    third.progress()  # not again at once
    assert len(said) == n
    first[0].end()
    assert waiting.result(SECONDS) == [50]
    for worker in [first[1], third]:
        worker.end()


@pytest.mark.slow  # joins in this process, whose first import of ray must be here
def test_workers_stay_for_the_next_pass(joined: tuple[Cluster, list[str]]) -> None:
    cluster, _ = joined
    ended_well = (None, None, None)

    def pid(actions: dict[int, str], rank: int) -> int:
        """What a worker of the next pass says."""
        worker = cluster.worker([Act(actions)])
        try:
            (found,) = worker.submit(rank).result(SECONDS)
        except WorkerDied:  # as the executor does
            worker.restart()
            (found,) = worker.submit(rank).result(SECONDS)
        worker.close(*ended_well)
        return int(found)

    first = pid({1: "pid"}, 1)
    assert pid({}, 1) == 10  # another pipeline
    assert pid({1: "pid"}, 1) == first
    os.kill(first, signal.SIGKILL)  # while it has nothing to do
    second = pid({1: "pid"}, 1)
    assert second != first
    worker = cluster.worker([Act({})])
    assert worker.submit(3).result(SECONDS) == [30]
    worker.close(KeyboardInterrupt, None, None)  # a pass that did not end well keeps nobody
    third = pid({1: "pid"}, 1)
    assert third != second
    cluster.let_go()
    gone(third)


@pytest.mark.slow  # joins in this process, whose first import of ray must be here
def test_preflight(joined: tuple[Cluster, list[str]], tmp_path: Path) -> None:
    cluster, said = joined
    (tmp_path / "a.jsonl").write_bytes(jsonl(["text"]))
    files = find([str(tmp_path / "a.jsonl")], [], [])
    output = Folder(str(tmp_path / "out"))
    cluster.preflight(files, output)
    assert "the same shared folder on every node" in said[-1]
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"node \S+ cannot take part: it cannot read the input .*a\.jsonl"):
        cluster.preflight(files, output)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"node \S+ cannot take part: .*file"):
        cluster.preflight([], Folder(str(tmp_path / "file" / "out")))
    other = {**node_versions(), "pyarrow": "1.0"}
    with pytest.raises(ConfigError, match=r"node far has pyarrow 1\.0, the launcher .*pip install 'pyarrow=="):
        cluster._answer(cluster.ray.put({"problem": "", "versions": other}), "far")


@pytest.mark.e2e
def test_node_that_does_not_see_the_others_output(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    nothing: InputFile | None = None
    for node in ("a", "b"):
        assert _check_node("write", nothing, output, "probe", ["a", "b"], node)["problem"] == ""
    assert _check_node("read", nothing, output, "probe", ["a", "b"], "a")["problem"] == ""
    (tmp_path / "probe" / "b").unlink()
    assert "does not see" in _check_node("read", nothing, output, "probe", ["a", "b"], "a")["problem"]


@pytest.mark.slow
def test_real_cluster_of_two_processes(tmp_path: Path) -> None:
    """`ray start --head`, and a second `ray start --address`."""
    ray = str(Path(sysconfig.get_path("scripts")) / "ray")
    own = {**os.environ, **RAY, "PYTHONUNBUFFERED": "1"}
    own.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")  # `ray start` then takes no second node
    mark = {"RAY_TEST_MARK": uuid.uuid4().hex}
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    address = f"{LOOPBACK}:{port}"
    started: list[subprocess.Popen[str]] = []
    try:
        for role in (["--head", f"--port={port}", "--include-dashboard=false"], [f"--address={address}"]):
            process = subprocess.Popen(
                [ray, "start", *role, "--num-cpus=1", "--block"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**own, **mark},
            )
            started.append(process)
            assert process.stdout is not None
            told: list[str] = []
            for line in process.stdout:
                told.append(line)
                if "Ray runtime started" in line:
                    break
            assert "Ray runtime started" in told[-1], "".join(told)
            threading.Thread(target=process.stdout.read, daemon=True).start()
        (tmp_path / "a.jsonl").write_bytes(jsonl(texts(200)))
        trees = {}
        for executor in ("ray", "local"):
            command = [SCRIPT, "run", "tag", "-i", "a.jsonl", "-o", executor, "--executor", executor,
                       "--set", "chunk_bytes=2000"]  # fmt: skip
            found = ended(
                subprocess.Popen(
                    [*command, *(["--ray-address", address] if executor == "ray" else [])],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=own,
                )
            )  # fmt: skip
            assert found.code == 0, found.err
            assert executor == "local" or "ray: 2 nodes, 2 CPUs" in found.err
            trees[executor] = tree(tmp_path / executor)
        assert trees["ray"] == trees["local"]
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
    assert not any(mark["RAY_TEST_MARK"].encode() in e for e in environments())


def environments() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "environ").read_bytes()
        except OSError:
            continue

"""Chunks on a Ray cluster: workers are actors, one CPU each, that load the pipeline once and run rank after rank.

A worker stays from one pass of a run to the next: what it has imported, compiled and loaded, it has for the whole run.
Workers have GPUs where `num_gpus` says so. Code travels as the explicit list of this package's folders, staged in a
temporary folder; the working directory on the nodes is empty, so that nothing from the launcher's current folder shadows
a package there. Before anything is computed, every node must show that it reads the input, sees what another node wrote
to the output, and runs the same versions.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import platform
import re
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import tagcorpus
from tagcorpus.errors import ConfigError, OutputError, TagcorpusError
from tagcorpus.pipelines.execution import late_pandas
from tagcorpus.pipelines.execution.workers import Step, WorkerDied, fold
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.progress.progress_record import ProgressRecord, ProgressWriter, set_progress_writer
from tagcorpus.pipelines.storage import folder
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.installed import versions_of

PACKAGES = ("configs", "kernels", "pipelines", "predictor", "taggers")
VERSIONS_THAT_MUST_AGREE = ("ray", "pyarrow", "numpy", "tiktoken", "pycld2", "fasttext-community", "datatrove")
PREFLIGHT_SECONDS = 120
CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 20.0


class Cluster:
    """A connection to a Ray cluster, or a cluster started on this machine where no address is given.

    Use it in a `with` block. Raises ConfigError where the cluster cannot be reached. Workers that have no place in the
    cluster after `patience_seconds` are mentioned, then ever less often. Each worker has one CPU and `num_gpus` GPUs, of
    which a share below 1 is one that workers have in common.
    """

    def __init__(
        self,
        address: str | None,
        say: Callable[[str], None],
        patience_seconds: float = PATIENCE_SECONDS,
        num_gpus: float = 0,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.ray: Any = ray
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.say, self.num_gpus, self.suffix = say, num_gpus, folder.new_suffix()
        self._patience, self._waiting_since, self._next_notice_seconds = patience_seconds, 0.0, patience_seconds
        self._lock = threading.Lock()
        self._stage = tempfile.mkdtemp(prefix="tagcorpus-ray-")
        self._is_ours = False
        self._until_exit = contextlib.ExitStack()
        self._idle: list[RayWorker] = []

    def __enter__(self) -> Cluster:
        # Ray prints what befalls nodes to stdout, where results go.
        self._until_exit.enter_context(contextlib.redirect_stdout(sys.stderr))
        if not self.ray.is_initialized():
            try:
                if self.address:
                    self._knock(self.address)
                self._connect()
            except BaseException:
                self.__exit__()
                raise
        resources = self.ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0)
        self.workers = max(1, workers_at_once(cpus, gpus, self.num_gpus))
        nodes = [n for n in self.ray.nodes() if n["Alive"]]
        gpu_note = f", {gpus:g} GPUs of which each worker takes {self.num_gpus:g}" if self.num_gpus else ""
        self.say(f"ray: {len(nodes)} node{'s' * (len(nodes) != 1)}, {cpus} CPUs{gpu_note}")
        return self

    def _knock(self, address: str) -> None:
        """Raise ConfigError where nobody listens: Ray itself would wait for minutes, and sometimes for ever."""
        match = re.fullmatch(r"(ray://)?([\w.\-]+|\[[\da-fA-F:]+\]):(\d+)", address)
        if match is None:
            return
        host, port, why = match[2].strip("[]"), int(match[3]), ""
        if not match[1] and host in ("localhost", "127.0.0.1", "::1"):
            # What Ray makes of it, too: the address by which other machines reach this one.
            host = self.ray.util.get_node_ip_address()
            why = f" (Ray takes {address} for {host}:{port}; a head that listens on loopback only must be started without --node-ip-address)"
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"no Ray cluster could be reached at {address} (--ray-address, RAY_ADDRESS): {error}{why}; "
                "see whether it runs (ray status), or start one (ray start --head)"
            ) from error

    def _connect(self) -> None:
        environment = {"py_modules": [_staged_package(self._stage)], "working_dir": _folder(self._stage, "empty")}
        arguments: dict[str, Any] = {
            "runtime_env": environment,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "namespace": "tagcorpus",
        }
        if self.address:
            arguments["address"] = self.address
        else:
            # A cluster of our own, on this machine's loopback only, for this run only.
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
            arguments |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            self.ray.init(**arguments)
        except Exception as error:
            if "AF_UNIX path length" in str(error):
                raise ConfigError(
                    "the path of Ray's temporary folder is too long for its sockets, which have 107 bytes: set RAY_TMPDIR to a "
                    "short one (RAY_TMPDIR=/tmp)"
                ) from error
            raise ConfigError(
                f"no Ray cluster could be reached at {self.address or 'this machine'} (--ray-address, RAY_ADDRESS): {error}"
            ) from error
        self._is_ours = True

    def __exit__(self, *_: object) -> None:
        self.let_go()
        if self._is_ours:
            self.ray.shutdown()
        shutil.rmtree(self._stage, ignore_errors=True)
        self._until_exit.close()

    def preflight(self, files: Sequence[InputFile], output: Folder, workers: int = 0) -> None:
        """Raise ConfigError, naming the node, unless every node can do its part. Meanwhile, start workers."""
        nodes = {n["NodeID"]: n["NodeManagerHostname"] for n in self.ray.nodes() if n["Alive"]}
        # Ray gives the process of a node's check to a worker, as soon as the check has ended.
        self.start_workers(workers - len(nodes))
        if output.is_local and len(nodes) > 1:
            self.say("the output is a local path: it must be the same shared folder on every node")
        probe = f"runs/.probe-{secrets.token_hex(4)}"
        check = self.ray.remote(num_cpus=0, max_retries=0)(_check_node)
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        first = files[0] if files else None
        try:
            for stage in ("write", "read"):
                refs = {
                    node: check.options(scheduling_strategy=strategy(node, soft=False)).remote(
                        stage, first, output, probe, sorted(nodes), node
                    )
                    for node in nodes
                }
                for node, ref in refs.items():
                    try:
                        self._answer(ref, nodes[node])
                    except ConfigError:
                        # It may have died only now, or lately: a cluster needs a while to notice.
                        if any(n["NodeID"] == node and n["Alive"] for n in self.ray.nodes()):
                            raise
                        self.say(f"node {nodes.pop(node)} is gone; going on without it")
        finally:
            with contextlib.suppress(Exception):
                output.remove(probe)
        self.start_workers(workers)

    def _answer(self, ref: Any, host: str) -> None:
        try:
            answer = self.ray.get(ref, timeout=PREFLIGHT_SECONDS)
        except self.ray.exceptions.GetTimeoutError:
            raise ConfigError(
                f"node {host} did not answer within {PREFLIGHT_SECONDS} s; is it overloaded or gone?"
            ) from None
        except self.ray.exceptions.RayError as error:
            raise ConfigError(f"node {host} cannot take part: {error}") from error
        if answer["problem"]:
            raise ConfigError(f"node {host} cannot take part: {answer['problem']}")
        mine = node_versions()
        for name, version in answer["versions"].items():
            if version != mine[name]:
                raise ConfigError(
                    f"node {host} has {name} {version or 'not at all'}, the launcher {mine[name]}: "
                    f"results could differ; install the same there (pip install '{name}=={mine[name]}')"
                )

    def start_workers(self, n: int) -> None:
        """Have `n` workers before a pass needs them. Their processes come up while the launcher goes on."""
        self._idle += [self._new_worker() for _ in range(n - len(self._idle))]

    def _new_worker(self) -> RayWorker:
        return RayWorker(self.ray, self._idle, self._see, self.num_gpus, self.suffix)

    def worker(self, pipeline: Sequence[Step]) -> RayWorker:
        """An idle worker, or a new one, in the cluster for one pass."""
        # First those that were started first: they are up, or will be first.
        worker = self._idle.pop(0) if self._idle else self._new_worker()
        worker.take(pickle.dumps(list(pipeline)))
        return worker

    def let_go(self) -> None:
        """End the idle workers, which gives back their CPUs and GPUs."""
        while self._idle:
            self._idle.pop().end()

    def _see(self, is_up: bool) -> None:
        """A worker says whether its process has started. While none has, say what the run waits for."""
        now = time.monotonic()
        with self._lock:
            if is_up or not self._waiting_since:
                self._waiting_since, self._next_notice_seconds = now, self._patience
                return
            waited = now - self._waiting_since
            if waited < self._next_notice_seconds:
                return
            self._next_notice_seconds = max(waited, 1.0) * 2
        free, total = self.ray.available_resources(), self.ray.cluster_resources()
        there = " and ".join(
            f"{int(free.get(kind, 0))} of the cluster's {int(total.get(kind, 0))} {kind}s"
            for kind in (["CPU", "GPU"] if self.num_gpus else ["CPU"])
        )
        gpu_note = f" and {self.num_gpus:g} GPU (num_gpus)" if self.num_gpus else ""
        self.say(
            f"waiting for a free CPU{gpu_note}: none of this run's workers could be started for {waited:.0f} s, {there} are "
            "free; other jobs hold them (ray status), or nodes are still to come"
        )


class RayWorker:
    """A worker that is an actor; when it or its node dies, a fresh one takes its place elsewhere.

    idle  where it puts itself when a pass has ended well
    """

    def __init__(
        self, ray: Any, idle: list[RayWorker], see: Callable[[bool], None], num_gpus: float = 0, suffix: str = ""
    ) -> None:
        self._ray, self._idle, self._see = ray, idle, see
        self._suffix = suffix or folder.new_suffix()
        self._gpus = {"num_gpus": num_gpus} if num_gpus else {}
        self._progress = ProgressRecord()
        self._actor: Any = None
        self._payload: Any = None
        self._is_payload_known = False
        self._running: Future[list[Any]] | None = None
        self.restart()

    def take(self, payload: bytes) -> None:
        """The next pass."""
        self._payload, self._is_payload_known = self._ray.put(payload), False
        self._progress = ProgressRecord()
        self._pending = self._actor.progress.remote()  # an earlier answer would be of the pass before

    def restart(self) -> None:
        self.end()
        # Two threads: one runs chunks, the other answers how far it is.
        actor = self._ray.remote(num_cpus=1, **self._gpus, max_concurrency=2, max_restarts=0)(Worker)
        self._actor = actor.remote(self._suffix)
        self._is_payload_known, self._running = False, None
        self._up = self._actor.progress.remote()
        self._pending = self._up

    def submit(self, rank: int) -> Future[list[Any]]:
        future: Future[list[Any]] = Future()
        future.set_running_or_notify_cancel()

        def answer(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                future.set_exception(WorkerDied(str(error)))
                return
            result = done.result()
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        payload = None if self._is_payload_known else self._payload
        self._is_payload_known, self._running = True, future
        self._actor.run.remote(rank, payload).future().add_done_callback(answer)
        return future

    def progress(self) -> ProgressRecord:
        """The newest record that has arrived. Requests the next one."""
        actor, ref = self._actor, self._pending
        self._see(self.is_up())
        if self._ray.wait([ref], timeout=0)[0]:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._progress = self._ray.get(ref)
            if actor is self._actor:
                self._pending = actor.progress.remote()
        return self._progress

    def is_up(self) -> bool:
        return bool(self._ray.wait([self._up], timeout=0)[0])

    def close(self, kind: object, *_: object) -> None:
        # One that has not started, or may still come to a rank that was taken back, is of no use to the next pass.
        if kind is None and self.is_up() and (self._running is None or self._running.done()):
            self._payload = None
            self._idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """Kill the worker."""
        if self._actor is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(self._actor)


class Worker:
    """What an actor runs. Exceptions go back as values: Ray would wrap them in text of its own."""

    def __init__(self, suffix: str) -> None:
        self._payload = b""
        self._pipeline: Any = None
        self._progress = ProgressWriter()
        folder.set_suffix(suffix)
        # What every pass over documents needs. The process loads it while the launcher checks the nodes and plans.
        late_pandas.postpone()
        importlib.import_module("tagcorpus.pipelines.execution.steps")

    def run(self, rank: int, payload: bytes | None) -> list[Any] | BaseException:
        """payload: the pipeline, with the first rank of a pass only."""
        try:
            if payload is not None:
                self._payload, self._pipeline = payload, None
            if self._pipeline is None:
                self._pipeline = pickle.loads(self._payload)
            set_progress_writer(self._progress)
            return fold(self._pipeline, rank)
        except Exception as error:
            return error

    def progress(self) -> ProgressRecord:
        return self._progress.record


def workers_at_once(cpus: int, gpus: float, num_gpus: float) -> int:
    """So many workers of one CPU and `num_gpus` GPUs have a place on so many."""
    return min(cpus, int(gpus / num_gpus + 1e-9)) if num_gpus else cpus


def node_versions() -> dict[str, str]:
    """Versions that must be the same on every node."""
    own = {"python": platform.python_version(), "tagcorpus": tagcorpus.__version__}
    return own | dict.fromkeys(VERSIONS_THAT_MUST_AGREE, "") | versions_of(VERSIONS_THAT_MUST_AGREE)


def _check_node(
    stage: str, file: InputFile | None, output: Folder, probe: str, nodes: list[str], node: str
) -> dict[str, Any]:
    """Runs on a node: write a probe, or read everybody's probes and the input."""
    problem = ""
    try:
        if stage == "write":
            output.publish(f"{probe}/{node}", node.encode())
        else:
            missing = [n for n in nodes if output.read(f"{probe}/{n}") != n.encode()]
            if missing:
                problem = (
                    f"it does not see in {output} what {len(missing)} other nodes wrote there; use a shared folder"
                )
            if file is not None:
                with file.open() as source:
                    source.read(1)
    except OutputError as error:
        problem = str(error)
    except (OSError, TagcorpusError) as error:
        problem = f"it cannot read the input {file.path if file else ''}: {error}"
    return {"problem": problem, "versions": node_versions()}


def _folder(parent: str, name: str) -> str:
    path = os.path.join(parent, name)
    os.makedirs(path, exist_ok=True)
    return path


def _staged_package(stage: str) -> str:
    """A copy of the package's own folders and nothing else: an editable install lies among tests, data and git."""
    home = Path(tagcorpus.__file__).parent
    target = Path(stage) / "tagcorpus"
    target.mkdir()
    for file in [*home.glob("*.py"), home / "py.typed"]:
        if file.name != "conftest.py":
            shutil.copy(file, target)
    for package in PACKAGES:
        shutil.copytree(home / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    return str(target)

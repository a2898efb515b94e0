"""A Ray cluster of two nodes, one CPU each, and a program that has joined it: in a process of its own, since Ray keeps
the environment of its first import. Run as a script it answers requests, JSON lines `[pipeline, options]` on its
standard input, with the exit code of each run on its standard output."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
SECONDS = 300
# The last one keeps Ray from talking to this machine by its outer address, which a firewall may close.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Driver:
    """One request at a time; between sending it and waiting for its answer there is time for something else."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def send(self, pipeline: str, **options: Any) -> None:
        self._requests.write(json.dumps([pipeline, options]) + "\n")
        self._requests.flush()

    def answer(self) -> int:
        assert select.select([self._answers], [], [], SECONDS)[0], f"no answer from the driver within {SECONDS} s"
        line = self._answers.readline()
        assert line, "the driver is gone; what it said stands above"
        return int(line)


@contextmanager
def driver(folder: Path, environment: dict[str, str]) -> Iterator[Driver]:
    """Stops the cluster at the end. `folder` is where it works."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**kept, **RAY, **environment},
    ) as process:
        yield Driver(process)
        assert process.stdin is not None
        process.stdin.close()  # no more requests: it ends, and with it the cluster


def main() -> None:
    from ray.cluster_utils import Cluster

    import tagcorpus
    from tagcorpus.pipelines.execution import on_ray

    answers = sys.stdout
    one: dict[str, Any] = {"num_cpus": 1, "node_ip_address": LOOPBACK}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
    try:
        cluster.add_node(**one)
        # Joined once, as a long-lived program would; that the command line joins by itself is tested elsewhere.
        with on_ray.Cluster(cluster.address, lambda said: print(said, file=sys.stderr)):
            for line in sys.stdin:
                pipeline, options = json.loads(line)
                print(tagcorpus.run(pipeline, executor="ray", **options).exit_code, file=answers, flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()

"""`python -m tagcorpus.pipelines.execution.ray_nodes ADDRESS`: join a running Ray cluster, print the versions on each node, leave.

Never starts a cluster. The last line on stdout is a JSON object: `own` versions, and `ray_nodes` by node address.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

TASK_SECONDS = 40.0


def versions_by_node(address: str) -> dict[str, Any]:
    """`own`: versions here; `ray_nodes`: those on every living node. Raises what ray raises where there is no cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Nested: sent to the nodes by value, which may have another version of this module, or none.
    def versions() -> dict[str, str]:
        import platform
        from importlib import metadata

        names = [
            "tagcorpus",
            "numpy",
            "pyarrow",
            "numba",
            "tiktoken",
            "pycld2",
            "fasttext-community",
            "datatrove",
            "ray",
        ]
        by_node = {"python": platform.python_version()}
        for name in names:
            try:
                by_node[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return by_node

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Without a CPU, so that a busy node answers too.
    task = ray.remote(num_cpus=0)(versions)
    tasks = {}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            tasks[f"{node['NodeManagerAddress']}/{node['NodeID'][:8]}"] = task.options(
                scheduling_strategy=where
            ).remote()
    by_node = {name: ray.get(one, timeout=TASK_SECONDS) for name, one in tasks.items()}
    ray.shutdown()
    return {"ray_nodes": by_node, "own": versions()}


if __name__ == "__main__":
    print("\n" + json.dumps(versions_by_node(sys.argv[1])), flush=True)

"""Wherever and with however many workers: the same bytes. Also where a run begun in one place is resumed in another."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugins import SCRIPT, jsonl, tree

LOOPBACK = "127.0.0.1"
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ROOMS = ("attributes", "quarantine", "summary", "filtered")
PIPELINES = {
    "tag": ["--taggers", "length,tokens,keywords,language,repetition"],
    "filter": [],
    "domain": ["--backend", "fasttext"],
}
RANGES = 8


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray cluster of two nodes, one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RAY.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray.cluster_utils import Cluster

        one: dict[str, Any] = {"num_cpus": 1, "node_ip_address": LOOPBACK}
        cluster: Any = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
        cluster.add_node(**one)
        yield str(cluster.address)
        cluster.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, several ranges: many kinds of text, lines without a text, one that is not UTF-8, blank ones."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sub").mkdir()
    kinds: list[Any] = [
        "The committee met on Tuesday. It discussed twelve proposals, and why should it not?",
        "def f(x):\n    return x + 1\n",
        "Der Ausschuss trat am Dienstag zusammen und besprach zwölf Vorschläge.",
        "same line\n" * 30,
        "",
        "日本語の文章です。これは短い例です。",
        b"\xff\xfe not UTF-8",
        {"id": "no text", "other": 1},
        b"   ",
        "Explain how the number 42 was chosen, step by step. " * 5,
    ]
    for n, name in enumerate(("a.jsonl", "sub/b.jsonl")):
        rows = [f"{n} {i} {k}" if isinstance(k, str) and k else k for i in range(12) for k in kinds]
        (folder / name).write_bytes(jsonl(rows))
    return folder


def run(pipeline: str, corpus: Path, output: Path, workers: int, address: str | None) -> None:
    where = ["--executor", "ray", "--ray-address", address] if address else []
    command = [SCRIPT, "run", pipeline, "-i", str(corpus), "-o", str(output), "--workers", str(workers), *where,
               "--set", "shard_bytes=3000", "--max-quarantined", "1000", *PIPELINES[pipeline]]  # fmt: skip
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **RAY},
        start_new_session=True,
    )  # fmt: skip
    try:
        _, told = running.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    assert running.returncode == 0, told


def published(output: Path) -> dict[str, bytes]:
    found = tree(output, *ROOMS)
    assert sum(name.startswith("attributes") for name in found) >= RANGES
    if (output / "predicted_domains.csv").exists():
        found["predicted_domains.csv"] = (output / "predicted_domains.csv").read_bytes()
    return found


def take_away(output: Path, is_odd: bool) -> None:
    """Every second part, and what is made of all of them."""
    parts = sorted((output / "attributes").rglob("part-*.parquet"))
    for part in parts[is_odd::2]:
        part.unlink()
    for room in ("summary", "filtered"):
        for file in (output / room).rglob("*"):
            if file.is_file():
                file.unlink()


def test_same_bytes_everywhere(pipeline: str, corpus: Path, address: str, tmp_path: Path) -> None:
    run(pipeline, corpus, tmp_path / "one", 1, None)
    wanted = published(tmp_path / "one")
    assert wanted.keys() >= {f"summary/{pipeline}.json"}
    assert any(name.startswith("quarantine") for name in wanted)
    assert any(name.startswith("filtered/") for name in wanted) == (pipeline == "filter")
    assert ("predicted_domains.csv" in wanted) == (pipeline == "domain")
    for workers in (2, 4):
        run(pipeline, corpus, tmp_path / str(workers), workers, None)
        assert published(tmp_path / str(workers)) == wanted
    run(pipeline, corpus, tmp_path / "ray", 2, address)
    assert published(tmp_path / "ray") == wanted
    # Begun locally, resumed on Ray; and the other way round.
    for begun, there in (("2", address), ("ray", None)):
        take_away(tmp_path / begun, is_odd=there is None)
        assert tree(tmp_path / begun, *ROOMS) != wanted
        run(pipeline, corpus, tmp_path / begun, 2, there)
        assert published(tmp_path / begun) == wanted


@pytest.fixture(params=["tag", *(pytest.param(p, marks=pytest.mark.slow) for p in PIPELINES if p != "tag")])
def pipeline(request: pytest.FixtureRequest) -> str:
    return str(request.param)

"""How close the caller comes to the ideal call rate (concurrency / latency) against a stub server in another process.

    python benchmarks/llm_rate.py [--latency 0.1] [--concurrency 64] [--documents 1024]

Every document walks through all stages of the packaged tree (its worst case) through `Domain.tag`, in as many threads as the tagger
asks for, with a fresh answer cache on disk. The SDK is imported and the connections are open before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.domain import Domain

STUB = Path(__file__).resolve().parents[1] / "tests" / "stub_llm.py"
WORDS = "the river rose again before dawn and nobody in the village had slept "


def batches(n: int, size: int, mark: str) -> list[DocumentBatch]:
    """`n` distinct documents of about 2,000 characters in batches of `size`."""
    texts = [f"{mark} {i}: {WORDS * 28}" for i in range(n)]
    return [DocumentBatch.from_texts(texts[i : i + size]) for i in range(0, n, size)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency", type=float, default=0.1, help="seconds the server takes for each answer")
    options.add_argument("--concurrency", type=int, default=64)
    options.add_argument("--documents", type=int, default=1024)
    options.add_argument("--no-cache", action="store_true")
    chosen = options.parse_args()
    command = [sys.executable, str(STUB), "--latency", str(chosen.latency)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        tagger = Domain(
            backend="openai",
            base_url=server.stdout.readline().strip(),
            concurrency=chosen.concurrency,
            max_requests=10**9,
            llm_cache="none" if chosen.no_cache else str(Path(folder) / "llm.sqlite"),
        )
        with ThreadPoolExecutor(tagger.concurrent_batches) as threads:
            list(threads.map(tagger.tag, batches(2 * chosen.concurrency, chosen.concurrency, "warm")))
            before, cpu, start = tagger.usage()["requests"], time.process_time(), time.perf_counter()
            list(threads.map(tagger.tag, batches(chosen.documents, 64, "timed")))
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            calls = tagger.usage()["requests"] - before
        tagger.close()
        seen = json.loads(server.communicate()[0])
    ideal = chosen.concurrency / chosen.latency
    print(
        json.dumps(
            {
                "ideal_calls_per_second": ideal,
                "reached_calls_per_second": round(calls / seconds, 1),
                "ratio": round(calls / seconds / ideal, 4),
                "cpu_ms_per_call": round(cpu / calls * 1000, 3),
                "calls": calls,
                "server_calls": seen["calls"],
                "server_most_in_flight": seen["most_in_flight"],
            }
        )
    )


if __name__ == "__main__":
    main()

"""`run features` against the separate commands it stands for, and what one more model costs.

    python benchmarks/features.py --corpus CORPUS --work DIR [--models 20] [--generations 5000] [--rounds 2]

The generations are distinct pieces of 1,400 characters of the corpus that benchmarks/corpus.py makes. Both sides use as
many workers as the machine has. Prints wall seconds, their ratios within a round, and the largest resident memory of a
process; the table of the cheap taggers, entropy and the embedded domain model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

CHARS = 1400
NAMED = ("--backend", "fasttext", "--tokenizer", "p50k_base")


def pieces(corpus: Path) -> Iterator[str]:
    for path in sorted((corpus / "jsonl").glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                yield from (text[i : i + CHARS] for i in range(0, len(text) - CHARS + 1, CHARS))


def make(root: Path, corpus: Path, models: int, generations: int) -> list[Path]:
    found, texts = [], pieces(corpus)
    for m in range(models):
        folder = root / "org" / f"model-{m:02d}"
        folder.mkdir(parents=True)
        with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
            for i in range(generations):
                file.write(json.dumps({"id": str(i), "text": next(texts)}) + "\n")
        found.append(folder)
    return found


def peak_below(pid: int, peak: dict[str, int]) -> None:
    """Keeps the largest VmHWM, in KiB, of the processes of a session."""
    while os.path.exists(f"/proc/{pid}"):
        for other in (p for p in os.listdir("/proc") if p.isdigit()):
            try:
                if os.getsid(int(other)) == pid:
                    told = Path(f"/proc/{other}/status").read_text()
                    peak["kib"] = max(peak["kib"], int(told.split("VmHWM:")[1].split()[0]))
            except (OSError, IndexError):
                continue
        time.sleep(0.2)


def seconds(peak: dict[str, int], *command: str | Path) -> float:
    script = Path(sys.executable).with_name("tagcorpus")
    start = time.perf_counter()
    with subprocess.Popen(
        [script, "run", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        watch = threading.Thread(target=peak_below, args=(process.pid, peak))
        watch.start()
        code = process.wait()
        took = time.perf_counter() - start
        watch.join()
    if code:
        raise RuntimeError(f"exit {code}: {' '.join(map(str, command))}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--generations", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    everything, alone, table = given.work / "all", given.work / "alone", given.work / "features.csv"
    *_, last = make(everything, given.corpus, given.models + 1, given.generations)
    (alone / last.parent.name).mkdir(parents=True)
    moved = last.rename(alone / last.parent.name / last.name)
    apart, output, one = given.work / "apart", given.work / "together", given.work / "one"
    peak = {"kib": 0}
    into_table = ("--input", everything, "--output", table, "--work", output, *NAMED)
    against_apart, against_alone = [], []
    for _ in range(given.rounds):
        for folder in (output, apart, one):
            shutil.rmtree(folder, ignore_errors=True)
        together = seconds(peak, "features", *into_table)
        other: dict[str, int] = {"kib": 0}
        into = ("--input", everything, "--output", apart)
        one_by_one = [
            seconds(other, pipeline, *into, *more)
            for pipeline, more in (("tag", ()), ("filter", ()), ("domain", ("--backend", "fasttext")), ("entropy", ()))
        ]
        single = seconds(other, "features", "--input", alone, "--output", one, *NAMED)
        moved.rename(last)
        added = seconds(other, "features", *into_table)
        last.rename(moved)
        shutil.rmtree(output)  # the added model's results with it
        against_apart.append(together / sum(one_by_one))
        against_alone.append(added / single)
        print(
            f"features {together:.1f} s, apart {sum(one_by_one):.1f} s ({', '.join(f'{s:.1f}' for s in one_by_one)}), one model "
            f"{single:.1f} s, added {added:.1f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    print(f"features / separate commands, wall: {statistics.median(against_apart):.2f}  {against_apart}")
    print(f"one model added / alone, wall: {statistics.median(against_alone):.2f}  {against_alone}")
    print(f"largest resident memory of a process: {peak['kib'] / 1024:.0f} MiB")


if __name__ == "__main__":
    main()

"""Peak memory of `tagcorpus run tag` with several large fastText models, which all workers share.

    python benchmarks/fasttext_memory.py --input CORPUS --work DIR [--models 5] [--workers 4] [--gigabytes 2] [--documents 5000]

CORPUS has JSONL files with a field `text`. One model is trained with so many buckets that its file has the size, and is copied; each copy has another
last byte of a row, so that the files differ. Words, parts of words and pairs of words are looked up, so that the run touches most of a file. While the
run lasts, the proportional set size (PSS) of all its processes is read from /proc, which counts a page once however many processes map it. The
models and the output are removed at the end. The exit code is 1 if the peak is above --limit. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fasttext_reader import texts_of

DIMENSION = 100
SETTINGS = {"loss": "softmax", "dim": DIMENSION, "wordNgrams": 2, "minn": 3, "maxn": 6, "minCount": 2, "epoch": 1}
KINDS = ("Pss", "Pss_File", "Pss_Anon")
INTERVAL = 2  # seconds between two readings, each of which takes up to half a second for 10 GB


def train(path: Path, lines: Path, gigabytes: float) -> None:
    import fasttext

    buckets = int(gigabytes * 1e9 / (4 * DIMENSION))
    fasttext.train_supervised(str(lines), **SETTINGS, bucket=buckets, thread=2, verbose=0).save_model(str(path))


def write_texts(folder: Path, lines: Path, documents: Path, n_train: int, n_documents: int) -> None:
    """Lines that the model is trained on, and the documents of the run, in one file."""
    with lines.open("w", encoding="utf-8") as file:
        for i, text in enumerate(itertools.islice(texts_of(folder), n_train)):
            file.write(f"__label__{i % 5} {' '.join(text[:1500].split())}\n")
    with documents.open("w", encoding="utf-8") as file:
        for text in itertools.islice(texts_of(folder), n_documents):
            file.write(json.dumps({"text": text}) + "\n")


def copy(source: Path, target: Path, number: int) -> None:
    """A copy with another byte in the input matrix: its last row but some, of a bucket that hardly any text has."""
    shutil.copyfile(source, target)
    with target.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        data[-(1 << 20)] = number


def descendants(root: int) -> Iterator[int]:
    """The process, and all that it or they have started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # the process has ended
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    waiting = [root]
    while waiting:
        waiting += children.get(process := waiting.pop(), [])
        yield process


def memory(root: int) -> dict[str, int]:
    """Sums over the processes, in KiB."""
    sums = dict.fromkeys(KINDS, 0)
    for process in descendants(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            kind, _, value = line.partition(":")
            if kind in sums:
                sums[kind] += int(value.split()[0])
    return sums


def run(models: list[Path], documents: Path, output: Path, workers: int) -> tuple[dict[str, int], float]:
    """(memory at the peak of PSS, in KiB; seconds) of the command."""
    names = [f"model{i}" for i in range(len(models))]
    taggers = ",".join(f"{name}=fasttext" for name in names)
    command = [sys.executable, *f"-m tagcorpus run tag --workers {workers} --taggers {taggers}".split()]
    command += ["--input", str(documents), "--output", str(output)]
    command += [word for name, path in zip(names, models, strict=True) for word in ("--set", f"{name}.model={path}")]
    peak = dict.fromkeys(KINDS, 0)
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory(process.pid), key=lambda sums: sums["Pss"])
            time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"the run failed with status {process.returncode}")
    return peak, time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--input", type=Path, required=True, help="folder of JSONL files with a field text")
    parser.add_argument("--work", type=Path, required=True, help="folder of the models; needs their size on disk")
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of a model")
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--train", type=int, default=1_000, help="texts that the model is trained on")
    parser.add_argument("--limit", type=float, default=12.0, help="of the peak, in GB")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    folder = options.work / "fasttext_memory"
    folder.mkdir()
    try:
        lines, documents = folder / "train.txt", folder / "documents.jsonl"
        write_texts(options.input, lines, documents, options.train, options.documents)
        models = [folder / f"{i}.bin" for i in range(options.models)]
        train(models[0], lines, options.gigabytes)
        for number, path in enumerate(models[1:], 1):
            copy(models[0], path, number)
        n_bytes = sum(path.stat().st_size for path in models)
        peak, seconds = run(models, documents, folder / "output", options.workers)
    finally:
        shutil.rmtree(folder)
    total, shared, own = (peak[kind] * 1024 / 1e9 for kind in KINDS)
    print(
        f"{options.models} models, {n_bytes / 1e9:.1f} GB; {options.workers} workers, {options.documents:,} documents, {seconds:.0f} s\n"
        f"peak PSS {total:.2f} GB: {shared:.2f} GB of files, {own:.2f} GB of the processes' own"
    )
    return 0 if total <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())

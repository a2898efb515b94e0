"""Contexts' entropies from ready ids, by the kernel in memory or by the passes that `run entropy` makes over the disk.

    python benchmarks/_spill.py memory|spilled --ngram N --work DIR FOLDER

Prints the CPU seconds of that part alone as JSON. The ids come from a token cache below DIR, made where it is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tagcorpus.kernels.entropy import entropy_in_memory
from tagcorpus.pipelines.counting.corpus import Corpus, key_ranges
from tagcorpus.pipelines.counting.passes import Count, Merge, counted
from tagcorpus.pipelines.dispatch.conduct import begin
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.entropy import _corpus, _packed
from tagcorpus.pipelines.options.commands.entropy import EntropyOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.taggers._tokenizers.loading import load


def opened(source: Path, output: Path, n: int) -> Corpus:
    given = {"input": [str(source)], "output": str(output), "workers": 1, "ngram": n}
    options = load_options("entropy", None, (), given)
    assert isinstance(options, EntropyOptions)
    stack = ExitStack()
    run, inputs, engine = begin("entropy", options, Display(quiet=True), (), stack)
    tokenizer = load("p50k_base")
    corpus, _ = _corpus(run, inputs, plan_of(run, inputs, engine), _packed(options, tokenizer), tokenizer)
    return corpus


def in_memory(corpus: Corpus) -> float:
    batches = [b for r in range(len(corpus.plan.chunks)) for b in corpus.source.open(r)]
    ids = np.concatenate([b.ids for b in batches])
    lengths = np.concatenate([np.diff(b.offsets) for b in batches])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    del batches
    entropy_in_memory(ids, offsets, corpus.packing)  # kernels loaded, as the other side has them
    started = time.process_time()
    entropy_in_memory(ids, offsets, corpus.packing)
    return time.process_time() - started


def spilled(corpus: Corpus) -> float:
    """With writing, reading and checking of the runs and of what is written back; reading the ids is taken off."""
    ranks = range(len(corpus.plan.chunks))
    started = time.process_time()
    for r in ranks:
        for _ in corpus.source.open(r):
            pass
    reader_options = time.process_time() - started
    started = time.process_time()
    count = Count(corpus)
    for r in ranks:
        list(count.run(rank=r))
    files = [f for r in ranks if (f := counted(corpus, r)) is not None]
    cuts = key_ranges(files, corpus.packing.bits, corpus.limits.interval_entries)
    merge = Merge(corpus, cuts)
    for i in range(len(cuts)):
        list(merge.run(rank=i))
    return time.process_time() - started - reader_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["memory", "spilled"])
    parser.add_argument("source", type=Path)
    parser.add_argument("--ngram", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    corpus = opened(given.source, given.work / given.source.name, given.ngram)
    tokens = sum(len(b.ids) for r in range(len(corpus.plan.chunks)) for b in corpus.source.open(r))
    shutil.rmtree(given.work / given.source.name / "spill", ignore_errors=True)
    if given.how == "memory":
        cpu = in_memory(corpus)
    else:
        spilled(corpus)  # kernels loaded from their cache, as the other side has them
        shutil.rmtree(given.work / given.source.name / "spill", ignore_errors=True)
        cpu = spilled(corpus)
    shutil.rmtree(given.work / given.source.name / "spill", ignore_errors=True)
    print(json.dumps({"cpu": cpu, "tokens": tokens}))


if __name__ == "__main__":
    main()

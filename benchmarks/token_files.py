"""MB of text per CPU second: `run tokenize` against datatrove's tokenizers and the package tokenizers, run in turn.

    python benchmarks/token_files.py CORPUS.jsonl TOKENIZER.json [ROUNDS]

Each contender is a process of its own with one worker, and its user and system time counts from start to end, imports
included. The tokenizer needs an end-of-text token (`<|endoftext|>`).
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

OURS = """
import tagcorpus
tagcorpus.run("tokenize", input=CORPUS, output=OUT, tokenizer=TOKENIZER, eos="<|endoftext|>", workers=1)
"""
DATATROVE = """
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import CLASS
import os
reader = JsonlReader(os.path.dirname(CORPUS), glob_pattern=os.path.basename(CORPUS))
step = CLASS(output_folder=OUT, tokenizer_name_or_path=TOKENIZER, eos_token="<|endoftext|>")
LocalPipelineExecutor([reader, step], tasks=1, workers=1, logging_dir=OUT + "/logs").run()
"""
TOKENIZERS = """
import json
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(TOKENIZER)
for line in open(CORPUS, encoding="utf-8"):
    tokenizer.encode(json.loads(line)["text"])
"""
CONTENDERS = {
    "tagcorpus": OURS,
    "datatrove MegatronDocumentTokenizer": DATATROVE.replace("CLASS", "MegatronDocumentTokenizer"),
    "datatrove DocumentTokenizer": DATATROVE.replace("CLASS", "DocumentTokenizer"),
    "tokenizers, ids only": TOKENIZERS,
}


def cpu_seconds(code: str, corpus: str, tokenizer: str) -> float:
    """User and system time of one process and its children."""
    folder = tempfile.mkdtemp()
    values = {"CORPUS": repr(corpus), "OUT": repr(f"{folder}/out"), "TOKENIZER": repr(tokenizer)}
    for name, value in values.items():
        code = code.replace(name, value)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(corpus: str, tokenizer: str, rounds: int = 3) -> None:
    """Print the median of each contender, and the median of its paired ratios to ours."""
    corpus, tokenizer = os.path.abspath(corpus), os.path.abspath(tokenizer)
    megabytes = os.path.getsize(corpus) / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, code in CONTENDERS.items():
            seconds[name].append(cpu_seconds(code, corpus, tokenizer))
    ours = seconds["tagcorpus"]
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, ours, strict=True))
        print(
            f"{name:<38} {megabytes / statistics.median(own):8.2f} MB per CPU second; takes {ratio:.1f} times our CPU time"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))

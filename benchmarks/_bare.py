"""The tokenizer and nothing else: texts are in memory before the clock starts. Prints CPU seconds.

python benchmarks/_bare.py tiktoken|gigatoken FOLDER
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import tiktoken

AT_ONCE = 1024  # documents, as in a batch of the reader


def main() -> None:
    engine, folder = sys.argv[1:]
    texts = [json.loads(line)["text"] for path in sorted(Path(folder).glob("*.jsonl")) for line in path.open()]
    encoding = tiktoken.get_encoding("p50k_base")
    if engine == "tiktoken":
        start = time.process_time()
        for text in texts:
            encoding.encode_to_numpy(text, disallowed_special=())
    else:
        from gigatoken import Tokenizer

        from tagcorpus.taggers._tokenizers.gigatoken_ids import ranks_file

        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "ranks.tiktoken"
            path.write_bytes(ranks_file(encoding._mergeable_ranks, "p50k_base"))
            tokenizer = Tokenizer.from_tiktoken(path, pretokenizer="r50k")
        start = time.process_time()
        for i in range(0, len(texts), AT_ONCE):
            tokenizer.encode_batch(texts[i : i + AT_ONCE], parallel=False)
    print(json.dumps({"cpu": time.process_time() - start}))


if __name__ == "__main__":
    main()

"""The four cheap features as one would write them first: one pass over the files for each, line by line.

    python benchmarks/_passes.py FOLDER OUTPUT

Every pass parses each line with the standard library and writes JSON lines of id and value. One process runs all four, so
start-up is paid once. The tokenizer is tiktoken's p50k_base, found in TIKTOKEN_CACHE_DIR.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiktoken

from tagcorpus.taggers.keywords import STEMS, WORDS

Feature = Callable[[str], Any]


def features() -> dict[str, Feature]:
    encoding = tiktoken.get_encoding("p50k_base")
    patterns = {
        **{name: re.compile(rf"\b({'|'.join(words.split())})\b", re.IGNORECASE) for name, words in WORDS.items()},
        "instruction_words": re.compile(f"({'|'.join(f'{stem}:' for stem in STEMS.split())})", re.IGNORECASE),
        "numbers": re.compile(r"\b\d+\b"),
    }

    def distinct(text: str) -> tuple[int, float]:
        ids = encoding.encode_ordinary(text)
        n = len(set(ids))
        return n, n / len(ids) if ids else 0.0

    def keywords(text: str) -> dict[str, float]:
        counts = {name: len(pattern.findall(text)) for name, pattern in patterns.items()}
        return {**counts, **{f"{name}_ratio": 100_000 * n / max(len(text), 1) for name, n in counts.items()}}

    return {
        "char_len": len,
        "num_tokens": lambda text: len(encoding.encode_ordinary(text)),
        "ttr": distinct,
        "keywords": keywords,
    }


def main() -> None:
    files, output = sorted(Path(sys.argv[1]).glob("*.jsonl")), Path(sys.argv[2])
    output.mkdir(parents=True)
    for name, feature in features().items():
        with (output / f"{name}.jsonl").open("w") as sink:
            for path in files:
                with path.open() as source:
                    for line in source:
                        record = json.loads(line)
                        sink.write(json.dumps({"id": record["id"], name: feature(record["text"])}) + "\n")


if __name__ == "__main__":
    main()

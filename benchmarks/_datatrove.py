"""The tokens tagger's work in plain datatrove: JsonlReader, a step that calls tiktoken, JsonlWriter; one task.

python benchmarks/_datatrove.py FOLDER OUTPUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import tiktoken
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


class CountTokens(PipelineStep):
    type = "tag"
    name = "tokens"

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:  # noqa: ARG002
        encoding = tiktoken.get_encoding("p50k_base")
        for document in data:
            ids = encoding.encode_ordinary(document.text)
            distinct = len(set(ids))
            document.metadata |= {"num_tokens": len(ids), "unique_tokens": distinct, "ttr": distinct / max(len(ids), 1)}
            yield document


if __name__ == "__main__":
    folder, output = sys.argv[1:]
    LocalPipelineExecutor(
        [JsonlReader(folder), CountTokens(), JsonlWriter(f"{output}/out", compression=None)],
        tasks=1,
        workers=1,
        logging_dir=f"{output}/logs",
    ).run()

"""Files of questions as the Batch API takes them, and what is known of each file: `batches/NNNN.requests.jsonl` and `NNNN.json`.

A line's `custom_id` is the key of its answer in the cache and the name of the question's stage. So a file of results can be judged
without the documents.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import xxhash

from tagcorpus.errors import DamagedError
from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.caller import Question
from tagcorpus.taggers._llm.request import LIMITS
from tagcorpus.taggers._llm.usage import Purse
from tagcorpus.taggers._tokenizers.interface import Tokenizer

PLACE = "batches"
ENDPOINT = "/v1/chat/completions"
MOST_LINES = 50_000
MOST_BYTES = 200_000_000
"""Limits of OpenAI for one file."""
BYTES_PER_TOKEN = 3
"""Bytes of a prompt that are counted as a token where the model's tokenizer is not here: English has four."""


@dataclass
class BatchFile:
    """One file of questions. `mark` is random, and in the metadata of its batch. `most_usd` is the money that was set aside for it by the run `run`; `failed` has the ids of questions
    that were answered by a failure. `status` is new, sent or done."""

    name: str
    lines: int
    tokens: int
    digest: str
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    most_usd: float = 0.0
    run: str = ""
    file_id: str = ""
    batch_id: str = ""
    status: str = "new"
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> str:
        return f"{PLACE}/{self.name}.requests.jsonl"

    @property
    def results(self) -> str:
        return f"{PLACE}/{self.name}.results.jsonl"

    def save(self, output: Folder) -> None:
        output.publish(f"{PLACE}/{self.name}.json", json.dumps(asdict(self), indent=1).encode())

    def ids(self, output: Folder) -> set[str]:
        """The ids of the questions. Raises DamagedError where the file is not as it was written."""
        digest, ids = xxhash.xxh3_128(), set()
        with output.open(self.requests) as file:
            for line in file:
                digest.update(line)
                ids.add(json.loads(line)["custom_id"])
        if digest.hexdigest() != self.digest:
            raise DamagedError(f"{output.path(self.requests)} is not as it was written. Remove the folder {PLACE}/")
        return ids


def batch_files(output: Folder) -> list[BatchFile]:
    """All files of an output, in their order. Questions that a killed run left without a record are removed."""
    names = output.files(PLACE)
    files = []
    for name in sorted(n for n in names if n.endswith(".requests.jsonl")):
        record = output.read(name.replace(".requests.jsonl", ".json"))
        try:
            files.append(BatchFile(**json.loads(record or b"")))
        except (ValueError, TypeError):
            output.remove(name)
    return files


class RequestWriter:
    """Writes questions into files within the limits. `most_tokens` and `most_usd` are of one file."""

    def __init__(
        self, output: Folder, first: int, tokenizer: Tokenizer | None, purse: Purse | None, most_tokens: int
    ) -> None:
        self.files: list[BatchFile] = []
        self._output, self._number, self._tokenizer, self._purse = output, first, tokenizer, purse
        self._most_tokens = most_tokens
        self._most_usd = purse.left if purse is not None else float("inf")
        self._ids: set[str] = set()
        self._stack = ExitStack()
        self._sink: BinaryIO | None = None
        self._bytes = 0

    def add(self, question: Question) -> None:
        """Write a question, unless an equal one is written already."""
        name = f"{question.key.hex()}.{question.conversation.stage}"
        if name in self._ids:
            return
        self._ids.add(name)
        line = (
            json.dumps({"custom_id": name, "method": "POST", "url": ENDPOINT, "body": question.body}).encode() + b"\n"
        )
        tokens = self._tokens(question.body)
        usd = self._purse.most(question.body, LIMITS) if self._purse is not None else 0.0
        if self._sink is not None and self._is_full(len(line), tokens, usd):
            self.close()
        if self._sink is None:
            self.files.append(BatchFile(f"{self._number:04}", 0, 0, ""))
            self._number += 1
            self._sink = self._stack.enter_context(self._output.publishing(self.files[-1].requests))
            self._digest, self._bytes = xxhash.xxh3_128(), 0
        self._sink.write(line)
        self._digest.update(line)
        self._bytes += len(line)
        file = self.files[-1]
        file.lines, file.tokens, file.most_usd = file.lines + 1, file.tokens + tokens, file.most_usd + usd

    def close(self) -> None:
        """Publish the file that is open, and its record."""
        if self._sink is not None:
            self._stack.close()
            self._sink = None
            self.files[-1].digest = self._digest.hexdigest()
            self.files[-1].save(self._output)

    def discard(self) -> None:
        """Remove the file that is open."""
        if self._sink is not None:
            self._sink = None
            name = self.files.pop().requests
            self._stack.close()
            self._output.remove(name)

    def _is_full(self, n_bytes: int, tokens: int, usd: float) -> bool:
        file = self.files[-1]
        return (
            file.lines >= MOST_LINES
            or self._bytes + n_bytes > MOST_BYTES
            or file.tokens + tokens > self._most_tokens
            or file.most_usd + usd > self._most_usd
        )

    def _tokens(self, body: dict[str, Any]) -> int:
        contents = [str(message["content"]) for message in body["messages"]]
        if self._tokenizer is not None:
            return len(self._tokenizer.encode_batch(contents).ids)
        return sum(len(content.encode("utf-8", "surrogatepass")) for content in contents) // BYTES_PER_TOKEN + 1


class WriteQuestions:
    """Writes the next question about each document without an answer; yields how many documents had one."""

    def __init__(self, tagger: EndpointTagger, writer: RequestWriter, settled: frozenset[str]) -> None:
        self.tagger, self.writer, self.settled = tagger, writer, settled

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[int]:
        questions, llm_caller, n = self.tagger.questions, self.tagger.llm_caller, 0
        for item in data:
            for text in item.documents.texts if isinstance(item, TaggedBatch) else ():
                question = None if questions.is_short(text) else llm_caller.next_question(questions.start(text))
                if question is not None and question.key.hex() not in self.settled:
                    self.writer.add(question)
                    n += 1
        yield n

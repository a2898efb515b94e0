"""Samples of the LM evaluation harness: which files hold no generation at all, and of which task a file is.

A multiple-choice or perplexity task logs log-likelihoods where a generation task logs texts: numbers, written as text by the
harness of today, alone or with whether the answer is the greedy one (`["-12.3", "False"]`). A file of nothing else is set
aside. One file has one kind of task, so the first records of a file that is named as the harness names it decide; of
other files every record up to the first generation is looked at.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.formats import tables
from tagcorpus.pipelines.generation_files.model_files import stem, task_of
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import BadRecord, leaves, parse
from tagcorpus.pipelines.inputs.signatures import BOM
from tagcorpus.pipelines.inputs.streams import ByteStream, Damaged
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions

LIKELIHOODS = "log-likelihoods and no generation"
# Records of a file of the harness that decide what it holds.
LOOK_AT_ROWS = 100
BLOCK_BYTES = 1 << 16
# Log-likelihoods as Python writes floats; none is above 0.
_LIKELIHOOD = re.compile(r"-\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)|0\.0|-inf|nan")
_SAMPLES = re.compile(r"(?:filtered_)?samples_.")


def without_generations(files: Iterable[InputFile], reader_options: ReaderOptions) -> dict[str, str]:
    """Path -> why, of the files that hold samples, and among them not one generation."""
    if reader_options.fields.text_column and not reader_options.fields.is_resps:
        return {}
    looked_at = [file for file in files if _may_be_of_samples(file)]
    is_local = all(file.is_local for file in looked_at)
    with ThreadPoolExecutor(1 if is_local else 32) as pool:
        verdicts = pool.map(lambda file: _holds_likelihoods(file, reader_options), looked_at)
        return {file.path: LIKELIHOODS for file, verdict in zip(looked_at, verdicts, strict=True) if verdict}


def is_of_samples(file: InputFile, reader_options: ReaderOptions) -> bool:
    """Whether the first record of the file is a sample of the harness."""
    first = next(records(file, reader_options), None)
    return first is not None and reader_options.fields.is_harness(first)


def is_likelihood(sample: Mapping[str, Any]) -> bool:
    """Whether a sample holds numbers where generations would be, and no text."""
    values = [leaf for leaf in leaves(sample.get("resps")) if leaf is not None]
    texts = [leaf for leaf in values if isinstance(leaf, str)]
    numbers = [t for t in texts if _LIKELIHOOD.fullmatch(t)]
    if texts and _asks_for_text(sample.get("arguments")):
        return False
    others = [leaf for leaf in values if not isinstance(leaf, str)]
    is_all = all(t in ("True", "False") or _LIKELIHOOD.fullmatch(t) for t in texts)
    is_all = is_all and all(isinstance(leaf, (int, float)) for leaf in others)
    return is_all and bool(numbers or others)


def _may_be_of_samples(file: InputFile) -> bool:
    """A look costs a request in a store, and a read of a row group in a table: there the name decides."""
    if file.format == "jsonl" and file.is_local:
        return True
    return file.format != "csv" and _SAMPLES.match(stem(file.name.rpartition("/")[2])) is not None


def _holds_likelihoods(file: InputFile, reader_options: ReaderOptions) -> bool:
    is_named = bool(task_of(file.name))
    has_any = False
    try:
        for sample in itertools.islice(records(file, reader_options), LOOK_AT_ROWS if is_named else None):
            if not reader_options.fields.is_harness(sample):
                return False
            is_one = is_likelihood(sample)
            if not is_one and any(isinstance(leaf, str) for leaf in leaves(sample.get("resps"))):
                return False
            has_any = has_any or is_one
    except (OSError, TagcorpusError, Damaged):
        return False  # told when the file is read
    return has_any


def _asks_for_text(arguments: Any) -> bool:
    """Whether a request has settings of generation, which is a mapping beside the prompt."""
    return any(isinstance(part, dict) for request in _values(arguments) for part in _values(request))


def _values(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def records(file: InputFile, reader_options: ReaderOptions) -> Iterator[dict[str, Any]]:
    """The objects of a file in order; what is not one is passed over."""
    if file.format == "jsonl":
        for line in _lines(file, reader_options.max_line_bytes):
            try:
                yield parse(line)
            except BadRecord:
                continue
    elif file.is_table:
        for chunk in tables.index(file, 1 << 26, reader_options.fields.top_columns(), LOOK_AT_ROWS):
            for _, _, _, value in ChunkReader(file, chunk, reader_options).records():
                if isinstance(value, dict):
                    yield value


def _lines(file: InputFile, max_line_bytes: int) -> Iterator[bytes]:
    """The lines of a file up to the first that is too long."""
    stream = ByteStream(file, is_look=True)
    try:
        rest = b""
        while block := stream.read(max(BLOCK_BYTES, len(rest))):
            if not stream.position - len(block):
                block = block.removeprefix(BOM)
            *whole, rest = (rest + block).split(b"\n")
            yield from whole
            if len(rest) > max_line_bytes:
                return
        yield rest
    finally:
        stream.close()

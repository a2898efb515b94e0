"""What generations show that are not what a model wrote alone: its prompts, marks of a chat template, one text many times; and files
that do not have the samples that the results file beside them counts.

The first records of each file on this machine tell. Nothing is left out: the user is told, and decides.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.generation_files.harness import LOOK_AT_ROWS, records
from tagcorpus.pipelines.generation_files.model_files import task_of
from tagcorpus.pipelines.generation_files.model_names import ResultsBeside
from tagcorpus.pipelines.generation_files.models import Models
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import BadRecord, DocumentFields
from tagcorpus.pipelines.inputs.streams import Damaged
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions

LEAST_TEXTS = 5
"""Fewer say nothing."""
LEAST_PROMPT_CHARS = 4
SHOWN_MODELS = 3
_MARK = r"<\|[^|<>]{1,40}\|>|</?s>|<eos>|<bos>|<(?:start|end)_of_turn>|\[/?INST\]"
_MARKED = re.compile(rf"\s*(?:{_MARK})|(?:.|\n)*(?:{_MARK})\s*\Z")
_SAYS = {
    "prompt": "begin with their prompt, so that the features describe prompts, too. Cut the prompts off",
    "mark": "begin or end with a mark such as </s> or <|im_end|>. Cut the marks off",
    "same": "are one and the same text: was nothing sampled?",
}


def in_texts(models: Models, reader_options: ReaderOptions) -> list[str]:
    """Lines on the models of whose first generations at least half have an oddity."""
    by_kind: dict[str, list[str]] = {}
    for model, files in models.files.items():
        counts: Counter[str] = Counter()
        for file in files:
            counts.update(_counts(file, reader_options))
        for kind in _SAYS:
            if counts["all"] >= LEAST_TEXTS and 2 * counts[kind] >= counts["all"]:
                by_kind.setdefault(kind, []).append(f"{model} ({counts[kind]:,} of {counts['all']:,})")
    return [
        f"generations of {', '.join(by_kind[kind][:SHOWN_MODELS])}{_more(by_kind[kind])} {says}"
        for kind, says in _SAYS.items()
        if kind in by_kind
    ]


def in_numbers(plan: Plan) -> Iterator[str]:
    """Lines on files of the harness that have other numbers of samples than the results file beside them names."""
    results = ResultsBeside()
    for planned in plan.files:
        task = task_of(planned.file.name)
        if not task or planned.is_trial or not planned.file.is_local:
            continue
        beside = results.named(planned.file.path)
        expected = beside.samples.get(task) if beside is not None else None
        if beside is not None and expected is not None and (n := _samples(planned)) != expected:
            yield (
                f"{planned.file.name} has {n:,} samples, and {beside.path.rpartition('/')[2]} counts {expected:,} (n-samples): is the "
                "file whole?"
            )


def _samples(planned: PlannedFile) -> int:
    """Lines of a file, each sample once where it is there under several filters."""
    return planned.rows - sum(stop - start for chunk in planned.chunks for start, stop in chunk.skipped)


def _more(models: list[str]) -> str:
    n = len(models) - SHOWN_MODELS
    return f" and {n:,} more model{'s' * (n != 1)}" if n > 0 else ""


def _counts(file: InputFile, reader_options: ReaderOptions) -> Counter[str]:
    counts: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    if not file.is_local:  # each look would be a request
        return counts
    try:
        for record in itertools.islice(records(file, reader_options), LOOK_AT_ROWS):
            prompt = _prompt(record)
            for text in _texts(record, reader_options.fields):
                counts["all"] += 1
                counts["prompt"] += len(prompt) >= LEAST_PROMPT_CHARS and text.lstrip().startswith(prompt)
                counts["mark"] += _MARKED.match(text) is not None
                texts[text] += bool(text.strip())
    except (OSError, TagcorpusError, Damaged):
        return Counter()  # told when the file is read
    counts["same"] = max(texts.values(), default=0)
    return counts


def _texts(record: dict[str, Any], fields: DocumentFields) -> list[str]:
    try:
        return [text for _, _, text in fields.documents(record, "")]
    except BadRecord:
        return []


def _prompt(record: Mapping[str, Any]) -> str:
    """The prompt of a record: of the first request of a sample, else in the column `prompt`. Empty where there is none."""
    waiting = [record.get("arguments"), record.get("prompt")]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, dict | list) and value:
            first = next(iter(value.values())) if isinstance(value, dict) else value[0]
            waiting.insert(0, first)
    return ""

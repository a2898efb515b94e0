"""Outputs of an earlier commit that today's code must resume: which there are, and how they are packed and moved.

tests/outputs_a604fc3/NAME.tar.zst holds, for one case: `input/`, the output when the run had ended (`complete/`) and when
it was killed on the way (`half/`), and the cache of a language model's answers. Paths of the folder in which they were made
are written as /corpus in them. tests/make_old_outputs.py makes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import small_inputs
import zstandard
from stub_llm import NEGATIVE, Call, Reply, StubLLM, answer

FOLDER = Path(__file__).parent / "outputs_a604fc3"
HOME = "/corpus"
# A fixed port, since the address of an endpoint is part of the keys of answers and parts.
STUB_PORT = 23171
BASE_URL = f"http://127.0.0.1:{STUB_PORT}/v1"
TAGGERS = ["length", "tokens", "keywords", "language", "repetition", "code", "syntax"]


def _corpus(folder: Path) -> None:
    small_inputs.write_corpus(folder)
    for name in ("d.arrow", "f.jsonl.zst"):
        (folder / name).unlink()


@dataclass(frozen=True)
class Case:
    """Runs of one output, `out`, over `input`.

    steps    pipeline and options of each run, in order
    kill_at  the last run was killed as it was about to publish a file whose name ends so
    kill_at_answer  the last run was killed at this call to the language model
    """

    steps: tuple[tuple[str, dict[str, Any]], ...]
    kill_at: str = ""
    kill_at_answer: int = 0
    write_input: Callable[[Path], None] = field(default=_corpus)

    @property
    def is_asking(self) -> bool:
        return any("base_url" in options.get("domain", {}) for _, options in self.steps)


_SMALL = {"shard_bytes": 4096}
_FILTER = ("filter", _SMALL)
CASES = {
    "tag": Case(
        (
            (
                "tag",
                {**_SMALL, "taggers": TAGGERS, "syntax": {"backend": "parsed"}, "output": "tags.csv", "work": "out"},
            ),
        ),
        kill_at="attributes/language/b.csv/part-00001.parquet",
    ),
    "filter": Case((_FILTER,), kill_at="summary/filtered/c.parquet.json"),
    "where": Case(
        (
            ("tag", {**_SMALL, "taggers": ["length", "language"]}),
            ("filter", {**_SMALL, "where": "length.char_len > 40 and language.language = 'en'"}),
        ),
        kill_at="filtered/filtered_c.parquet",
    ),
    "domain": Case((("domain", _SMALL),), kill_at="attributes/domain/c.parquet/part-00001.parquet"),
    "domain_openai": Case(
        (
            (
                "domain",
                {
                    **_SMALL,
                    "domain": {"backend": "openai", "base_url": BASE_URL, "llm_cache": "llm.sqlite", "concurrency": 1},
                },
            ),
        ),
        kill_at_answer=60,
    ),
    "entropy": Case(
        (("entropy", {**_SMALL, "ngram": 1, "contexts": True, "token_budget": 500, "replicates": 2}),),
        kill_at="attributes/entropy-1gram/c.parquet/part-00001.parquet",
    ),
    # Killed in its first pass: some token ids are there, and no part.
    "bigrams": Case((("entropy", {**_SMALL, "ngram": 2}),), kill_at="c.parquet/part-00001.arrow"),
    "features": Case(
        (
            (
                "features",
                {
                    **_SMALL,
                    "extended": True,
                    "replicates": 2,
                    "domain": {"backend": "fasttext"},
                    "tokens": {"tokenizer": "p50k_base"},
                },
            ),
        ),
        kill_at="summary/features/mill%2Floop-tiny.entropy.json",
        write_input=small_inputs.write_generations,
    ),
}


def options_of(case: Case, step: int = -1) -> tuple[str, dict[str, Any]]:
    """Pipeline and options of one run, for the folder in which `input` lies."""
    pipeline, options = case.steps[step]
    return pipeline, {"input": ["input"], "output": "out", "workers": 1, **options}


def reply(call: Call) -> Reply:
    """The language model: programs are code, what names a river is a book, the rest is unknown."""
    if call.stage == "code" and "return" in call.text:
        return answer("code")
    return answer("books" if call.stage == "remaining" and "river" in call.text else NEGATIVE[call.stage])


@contextlib.contextmanager
def language_model(is_asked: bool) -> Iterator[list[Call]]:
    """The calls that a language model on the fixed port gets. Other test runs on this machine wait for the port."""
    if not is_asked:
        yield []
        return
    with (Path(tempfile.gettempdir()) / "tagcorpus-test-port.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with StubLLM(reply, port=STUB_PORT, model="stub-1") as stub:
                yield stub.calls
        finally:
            # A process that was forked meanwhile has the file open, too: closing it would not end the lock.
            fcntl.flock(lock, fcntl.LOCK_UN)


def pack(folder: Path, name: str) -> None:
    """Put all files below `folder` into the archive of this name, without times and owners."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(str(path.relative_to(folder)))
                info.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(info, file)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.tar.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(raw.getvalue()))


def unpack(folder: Path, name: str, state: str) -> Path:
    """Lay out `input` and `out` (as `state`, complete or half, has it) in a folder, and say which folder.

    The place that the output was made in is replaced by this one, everywhere but in Parquet, which has no paths.
    """
    data = zstandard.ZstdDecompressor().decompress((FOLDER / f"{name}.tar.zst").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            room, _, rest = member.name.partition("/")
            if room not in ("input", state) or not (file := tar.extractfile(member)):
                continue
            path = folder / ("input" if room == "input" else "") / rest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())
    replace_paths(folder / "out", HOME, str(folder))
    return folder


def replace_paths(output: Path, before: str, after: str) -> None:
    """Replace a folder by another in every text file of an output."""
    for path in output.rglob("*"):
        if path.suffix in (".json", ".yaml", ".txt") and path.is_file():
            path.write_text(path.read_text().replace(before, after))


def adopt_inputs(output: Path) -> None:
    """Let the plan stand for the copied input: an input counts as unchanged by inode and times, which no copy keeps."""
    for path in (output / "plan").rglob("*.json"):
        plan = json.loads(path.read_text())
        if "identity" in plan:
            status = os.stat(plan["path"])
            plan["identity"] = {
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "ctime_ns": status.st_ctime_ns,
                "inode": status.st_ino,
            }
            path.write_text(json.dumps(plan, indent=1))

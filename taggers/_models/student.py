"""A student of `tagcorpus distil`: a folder with the model file and student.json.

student.json says how a text is prepared for the model, and what the labels of the model are called. Without it, a model whose texts
were prepared in another way than the tagger's would answer, and answer wrongly. Files are told apart by their digests, not by their
names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.digest import of_file
from tagcorpus.taggers._interface.windows import BEGIN, mean_by_label, spans

DESCRIPTION = "student.json"
LINE, FEATURES, TEXT = "line", "features", "text"
"""Preparations: the text as one line; the tokens of `embedded_domain.features`; the text as it is, for an encoder."""
FILES = {"model.ftz", "model.bin", "head.npy"}
PREFIX = "__label__"


@dataclass(frozen=True)
class Student:
    """A student as student.json describes it.

    path         of the model file
    labels       name in the model -> label
    preparation  LINE, FEATURES or TEXT
    max_chars    characters of a text that are read
    digest       of the model file
    encoder      {"folder", "digest"} of the sentence encoder that TEXT needs; else empty
    figures      agreement on documents held out
    """

    path: Path
    name: str
    labels: dict[str, str]
    preparation: str
    max_chars: int
    digest: str
    encoder: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def ranked(self, model: Any, texts: list[str], k: int = 1) -> list[list[tuple[str, float]]]:
        """The k most probable labels of every text with their probabilities, by the loaded model."""
        if not texts:
            return []
        names, shares = model.predict([prepared(t, self.preparation, self.max_chars) for t in texts], k=k)
        return [
            # Sums of rounded exponentials can leave the interval by a hair.
            [
                (self.labels[name.removeprefix(PREFIX)], min(1.0, max(0.0, float(share))))
                for name, share in zip(own, values, strict=True)
            ]
            for own, values in zip(names, shares, strict=True)
        ]

    def best(self, model: Any, texts: list[str], windows: Sequence[str] = (BEGIN,)) -> list[tuple[str, float]]:
        """The most probable label of every text; of one that is longer than the model reads, by the mean over the windows."""
        pieces = [[text[a:b] for a, b in spans(len(text), self.max_chars, windows)] for text in texts]
        k = 1 if all(len(own) == 1 for own in pieces) else len(self.labels)
        answers = iter(self.ranked(model, [piece for own in pieces for piece in own], k))
        ranked = [[next(answers) for _ in own] for own in pieces]
        return [own[0][0] if len(own) == 1 else mean_by_label([dict(one) for one in own])[0] for own in ranked]

    @property
    def identity(self) -> list[Any]:
        """What decides the answers, for fingerprints."""
        return [self.digest, self.preparation, self.max_chars, sorted(self.labels.items()), self.encoder.get("digest")]

    def head(self) -> Any:
        """The linear head over its encoder. Raises ConfigError where the encoder is another than at distilling."""
        from tagcorpus.taggers._models.sentence_encoder import Encoder, Head

        encoder = Encoder(self.encoder["folder"])
        if encoder.digest != self.encoder["digest"]:
            raise ConfigError(
                f"the encoder in {self.encoder['folder']!r} is not the one of {self.path.parent / DESCRIPTION}: "
                "put the right one there, or distil again"
            )
        return Head(encoder, np.load(self.path, allow_pickle=False), list(self.labels))


def prepared(text: str, preparation: str, max_chars: int) -> str:
    """What the model reads."""
    if preparation == FEATURES:
        from tagcorpus.taggers._models.embedded_domain import features

        return features(text[:max_chars])
    # fastText takes no surrogates.
    clean = text[:max_chars].encode("utf-8", "replace").decode("utf-8")
    return clean if preparation == TEXT else clean.replace("\n", " ")


def is_student(place: str) -> bool:
    """Whether the place is a folder with student.json, or a file beside one."""
    path = Path(place)
    return bool(place) and ((path if path.is_dir() else path.parent) / DESCRIPTION).is_file()


def student_at(place: str, parameter: str) -> Student:
    """The student in a folder, or of a model file in it.

    parameter  what names the place, for messages
    Raises ConfigError where there is none, or where the model file is another than student.json describes.
    """
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    description = folder / DESCRIPTION
    if not Path(place).exists():
        raise ConfigError(f"{parameter}: {place!r} is not there. Name a folder that `tagcorpus distil` wrote")
    try:
        value = json.loads(description.read_bytes())
        student = Student(
            folder / str(value["file"]),
            str(value["name"]),
            {str(name): str(label) for name, label in value["labels"].items()},
            str(value["preparation"]),
            int(value["max_chars"]),
            str(value["digest"]),
            {str(key): str(v) for key, v in value["encoder"].items()},
            dict(value["figures"]),
        )
    except OSError:
        raise ConfigError(
            f"{parameter}: {str(folder)!r} has no {DESCRIPTION}. Name a folder that `tagcorpus distil` wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{parameter}: {description} is damaged ({error!r}). Run `tagcorpus distil` again") from None
    if student.preparation not in (LINE, FEATURES, TEXT) or student.path.name not in FILES or "/" in value["file"]:
        raise ConfigError(f"{parameter}: {description} has a file or a preparation that this version does not know")
    if not student.path.is_file() or of_file(student.path) != student.digest:
        raise ConfigError(
            f"{parameter}: {student.path} is not the file that {DESCRIPTION} describes. Copy the whole folder again"
        )
    if (student.preparation == TEXT) != (student.encoder.keys() >= {"folder", "digest"}):
        raise ConfigError(f"{parameter}: {description} is damaged (encoder). Run `tagcorpus distil` again")
    return student

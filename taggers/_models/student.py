"""A student of `tagcorpus distil`: a folder with the model file and student.json.

student.json says how a text is prepared for the model, and what the labels of the model are called. Without it, a model whose texts
were prepared in another way than the tagger's would answer, and answer wrongly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.digest import of_file

MODEL, DESCRIPTION = "model.ftz", "student.json"
LINE, FEATURES = "line", "features"
"""Preparations: the text as one line; the tokens of `embedded_domain.features`."""
PREFIX = "__label__"


@dataclass(frozen=True)
class Student:
    """A student as student.json describes it.

    path         of the model file
    labels       name in the model -> label
    preparation  LINE or FEATURES
    max_chars    characters of a text that are read
    digest       of the model file
    figures      agreement on documents held out
    """

    path: str
    name: str
    labels: dict[str, str]
    preparation: str
    max_chars: int
    digest: str
    figures: dict[str, Any] = field(default_factory=dict)

    def lines(self, texts: list[str]) -> list[str]:
        return [prepared(text, self.preparation, self.max_chars) for text in texts]

    def classify(self, model: Any, texts: list[str]) -> list[tuple[str, float]]:
        """(most probable label, its probability) of every text, by the loaded model."""
        if not texts:
            return []
        names, shares = model.predict(self.lines(texts), k=1)
        return [
            (self.labels[name[0].removeprefix(PREFIX)], min(1.0, max(0.0, float(share[0]))))
            for name, share in zip(names, shares, strict=True)
        ]

    @cached_property
    def identity(self) -> list[Any]:
        """What decides the answers, for fingerprints."""
        return [self.digest, self.preparation, self.max_chars, sorted(self.labels.items())]


def prepared(text: str, preparation: str, max_chars: int) -> str:
    """The line that the model reads."""
    if preparation == FEATURES:
        from tagcorpus.taggers._models.embedded_domain import features

        return features(text[:max_chars])
    return text[:max_chars].replace("\n", " ")


def student_beside(model: Path) -> Student | None:
    """The student whose model file this is; None where no student.json is beside the file."""
    return student_at(model) if (model.parent / DESCRIPTION).is_file() else None


def student_at(place: str | Path, parameter: str = "domain.model") -> Student:
    """The student in a folder, or of the model file in it.

    Raises ConfigError where there is none, or the model file is another than student.json describes."""
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    model = folder / MODEL
    if not Path(place).exists():
        raise ConfigError(f"{parameter}: {str(place)!r} is not there. Name a folder that `tagcorpus distil` wrote")
    try:
        value = json.loads((folder / DESCRIPTION).read_bytes())
        student = Student(
            str(model),
            str(value["name"]),
            dict(value["labels"]),
            str(value["preparation"]),
            int(value["max_chars"]),
            str(value["model"]),
            dict(value["figures"]),
        )
    except OSError:
        raise ConfigError(
            f"{parameter}: {str(folder)!r} has no {DESCRIPTION}. Name a folder that `tagcorpus distil` wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{parameter}: {folder / DESCRIPTION} is damaged ({error!r}). Run `tagcorpus distil` again"
        ) from None
    if student.preparation not in (LINE, FEATURES):
        raise ConfigError(f"{parameter}: {folder / DESCRIPTION} has an unknown preparation {student.preparation!r}")
    if not model.is_file() or of_file(model) != student.digest:
        raise ConfigError(
            f"{parameter}: {model} is not the file that {DESCRIPTION} describes. Copy the whole folder again"
        )
    return student

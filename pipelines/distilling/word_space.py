"""Logistic regression over words, their encoder vectors and style tokens, written as a fastText model.

fastText's softmax over the mean of its input vectors is a linear model, too. So the model is not trained by fastText's stochastic
descent, which is noisy on a few hundred documents. It is solved (convex and deterministic), and its weights become the matrices of a
fastText model:

    score(document) = mean over its tokens of row(token)
    row(token)      = idf(token) * (a weight of its own + encoder vector of the word . weights) + bias

The second term carries what was learnt on seen words to words that no training document has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
SHARES = (1.0, 1.0, 0.3)
"""Share of the penalised space that goes to words of their own, encoder vectors and style tokens."""
STYLE = "§"
FEWEST_ROWS = 256
"""fastText quantises no matrix with fewer rows."""


class Document(NamedTuple):
    tokens: list[str]
    label: str
    weight: float


class Linear(NamedTuple):
    """row(token) for every known token, [n_tokens, n_labels], bias included."""

    tokens: list[str]
    table: F64


class Space:
    """The three blocks of input, built from training documents only: own words, encoder vectors, style tokens."""

    def __init__(self, train: Sequence[Document], general: Sequence[str], vectors: Mapping[str, F64]) -> None:
        import scipy.sparse as sp

        seen: Counter[str] = Counter()
        for document in train:
            seen.update(set(document.tokens))
        style = sorted(t for t in seen if t.startswith(STYLE))
        own = sorted(set(seen) - set(style))
        self.unseen = sorted(set(general) - set(own))
        self.tokens = [*own, *self.unseen, *style]
        self.place = {t: i for i, t in enumerate(self.tokens)}
        n = len(train)
        idf = [math.log((1 + n) / (1 + seen[t])) + 1 for t in self.tokens]
        n_words = len(self.tokens) - len(style)
        zero = np.zeros(len(next(iter(vectors.values()), np.zeros(1))))
        # One row a token: what it adds to the mean in each block.
        self.blocks: list[Any] = [
            sp.diags([idf[i] if i < len(own) else 0.0 for i in range(len(idf))]).tocsr()[:, : len(own)],
            np.array([idf[i] * vectors.get(t, zero) if i < n_words else zero for i, t in enumerate(self.tokens)]),
            sp.diags([float(i >= n_words) for i in range(len(idf))]).tocsr()[:, n_words:],
        ]
        means = self._means(train)
        self.scales = [_scale(share, means @ block) for share, block in zip(SHARES, self.blocks, strict=True)]
        self.centre = np.mean(self._project(means), axis=0)

    def _means(self, chosen: Sequence[Document]) -> Any:
        """[n_documents, n_tokens]: share of each known token; fastText's end-of-line token counts as one more."""
        import scipy.sparse as sp

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

    def _project(self, means: Any) -> F64:
        return np.hstack([s * _dense(means @ b) for s, b in zip(self.scales, self.blocks, strict=True)])

    def points(self, chosen: Sequence[Document]) -> F64:
        return np.asarray(self._project(self._means(chosen)) - self.centre)

    def rows_of(self, weights: F64, bias: F64) -> F64:
        """[n_tokens, n_labels] such that a mean of rows equals points @ weights + bias."""
        parts, start = np.zeros((len(self.tokens), weights.shape[1])), 0
        for scale, block in zip(self.scales, self.blocks, strict=True):
            parts += scale * np.asarray(block @ weights[start : start + block.shape[1]])
            start += block.shape[1]
        return np.asarray(parts + (bias - self.centre @ weights))


def _scale(share: float, projected: Any) -> float:
    size = float(np.mean(np.sum(np.square(_dense(projected)), axis=1)))
    return math.sqrt(share / sum(SHARES) / size) if size else 0.0


def _dense(block: Any) -> F64:
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block)


def fit(
    train: Sequence[Document],
    general: Sequence[str],
    vectors: Mapping[str, F64],
    labels: Sequence[str],
    penalty: float,
    power: float,
) -> tuple[Space, F64, F64]:
    """Weights [n_columns, n_labels] and bias [n_labels] in the space of the training documents.

    penalty  scikit-learn's C: the larger, the less the weights are held back
    power    0 = labels as frequent as in training, 1 = equal priors
    """
    from sklearn.linear_model import LogisticRegression

    space = Space(train, general, vectors)
    points = space.points(train)
    names = np.array([d.label for d in train])
    weight = np.array([d.weight for d in train])
    # The solution lies in the span of the documents: solve there, where there are n_documents columns, not 60,000.
    square, axes = np.linalg.eigh(points @ points.T)
    keep = square > 1e-9 * square[-1]
    axes, size = axes[:, keep], np.sqrt(square[keep])
    model = LogisticRegression(C=penalty, max_iter=400, tol=1e-4)
    model.fit(axes * size, names, sample_weight=weight)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row, for the second label
        coefficients, intercept = np.vstack([-coefficients / 2, coefficients / 2]), np.array([-0.5, 0.5]) * intercept
    known = list(model.classes_)
    order = [known.index(label) for label in labels]
    prior = np.array([weight[names == label].sum() for label in labels]) / weight.sum()
    weights = points.T @ ((axes / size) @ coefficients[order].T)
    return space, weights, intercept[order] - power * np.log(prior)


def write(linear: Linear, labels: Sequence[str], output: Path, work: Path, seed: int, is_quantised: bool) -> bool:
    """A fastText model whose input rows are `linear.table` and whose output matrix is the identity. Returns whether the file is
    quantised. work: a folder for the vocabulary."""
    import fasttext

    # fastText ends every document with a token of its own, `</s>`: it takes the mean row.
    end = linear.table.mean(0)
    listing = work / "vocabulary.txt"
    # fastText learns its dictionary from a file: every token once, every label at least once.
    n_lines = max(len(linear.tokens), len(labels))
    lines = [f"__label__{labels[i % len(labels)]} {linear.tokens[i % len(linear.tokens)]}" for i in range(n_lines)]
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = len(labels) + len(labels) % 2
    model = fasttext.train_supervised(
        str(listing),
        dim=size,
        epoch=1,
        lr=0.0,
        minCount=1,
        wordNgrams=1,
        minn=0,
        maxn=0,
        thread=1,
        seed=seed,
        verbose=0,
    )
    words = model.get_words(on_unicode_error="strict")
    place = {t: i for i, t in enumerate(linear.tokens)}
    table = np.zeros((len(words), size), np.float32)
    for i, word in enumerate(words):
        table[i, : len(labels)] = linear.table[place[word]] if word in place else end
    outputs = np.zeros((len(labels), size), np.float32)
    for i, name in enumerate(model.get_labels()):
        outputs[i, list(labels).index(name.removeprefix("__label__"))] = 1
    model.set_matrices(table, outputs)
    return save(model, output, is_quantised)


def save(model: Any, path: Path, is_quantised: bool) -> bool:
    """Save a fastText model. Returns whether the file is quantised, which needs FEWEST_ROWS words."""
    is_quantised = is_quantised and len(model.get_words(on_unicode_error="replace")) >= FEWEST_ROWS
    if is_quantised:
        model.quantize(qnorm=True, dsub=2, cutoff=0, retrain=False, thread=1)
    model.save_model(str(path))
    return is_quantised

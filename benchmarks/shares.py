"""Coverage and width of the intervals of `tagcorpus shares`: on resamples of labelled documents, and on a simulated corpus.

python benchmarks/shares.py LABELLED.csv [--audit 200] [--resamples 500]

LABELLED.csv has `text` and `prediction`, an LLM's labels. The embedded model is the student. Each resample draws an audit sample
without replacement, and the truth is the share in the whole file. The simulated corpus has 10^7 documents with the confusion of the
file.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

import numpy as np

import tagcorpus
from tagcorpus.pipelines.labels.label_table import read_labels
from tagcorpus.pipelines.labels.share_intervals import Counts, calls_for, llm_only, prediction_powered


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("labelled")
    parser.add_argument("--audit", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=500)
    arguments = parser.parse_args()
    rows = list(read_labels(arguments.labelled, "text", "prediction").labels.values())
    texts = [str(row.columns["text"]) for row in rows]
    tags = tagcorpus.tag(texts, "domain", {"domain": {"backend": "fasttext"}})
    student = np.array([str(v) for v in tags["domain.prediction"].to_pylist()])
    truth = np.array([row.label for row in rows])
    print(f"{Path(arguments.labelled).name}: {len(rows)} documents, audit of {arguments.audit}")
    generator = np.random.default_rng(0)
    audits = [generator.choice(len(rows), arguments.audit, replace=False) for _ in range(arguments.resamples)]
    for label, _ in Counter(truth).most_common(6):
        y, f = truth == label, student == label
        of = [_counts(len(y), int(f.sum()), y[a], f[a]) for a in audits]
        _report(label, of, float(y.mean()), _correlation(y, f))
    print("simulated, 10^7 documents")
    for label, _ in Counter(truth).most_common(6):
        y, f = truth == label, student == label
        cells = np.array([(y & f).sum(), (~y & f).sum(), (y & ~f).sum(), (~y & ~f).sum()])
        corpus = generator.multinomial(10_000_000, cells / cells.sum())
        n_student, n_truth = int(corpus[0] + corpus[1]), int(corpus[0] + corpus[2])
        drawn = generator.multivariate_hypergeometric(
            corpus, arguments.audit, size=arguments.resamples, method="marginals"
        )
        of = [Counts(int(corpus.sum()), n_student, *map(int, row)) for row in drawn]
        _report(label, of, n_truth / corpus.sum(), _correlation(y, f))


def _correlation(y: np.ndarray, f: np.ndarray) -> float:
    return float(np.corrcoef(y, f)[0, 1]) if 0 < f.mean() < 1 else 0.0


def _counts(documents: int, n_student: int, y: np.ndarray, f: np.ndarray) -> Counts:
    return Counts(
        documents, n_student, int((y & f).sum()), int((~y & f).sum()), int((y & ~f).sum()), int((~y & ~f).sum())
    )


def _report(label: str, of: list[Counts], truth: float, rho: float) -> None:
    powered, alone = [prediction_powered(c) for c in of], [llm_only(c) for c in of]
    holds, holds_alone = (np.mean([s.low <= truth <= s.high for s in group]) for group in (powered, alone))
    width, width_alone = (float(np.mean([s.width for s in group])) for group in (powered, alone))
    planned = float(np.median([calls_for(width, c) for c in of]))
    print(
        f"  {label:<18} share {100 * truth:5.1f} %  coverage {100 * holds:5.1f} % (audit alone {100 * holds_alone:5.1f} %)  "
        f"width {width / width_alone:.3f} of the audit alone, sqrt(1 - rho^2) {math.sqrt(1 - rho**2):.3f}, "
        f"planned {planned:.0f} for {of[0].audited} audited"
    )


if __name__ == "__main__":
    main()

"""Shares of labels in a corpus from a student's labels of all documents and an LLM's labels of a simple random audit sample.

Prediction-powered inference (Angelopoulos et al., 2023) with power tuning (PPI++). With f the student's label and y the LLM's (0 or 1 for
one domain), the share is  mean_audit(y) + lambda * (mean_all(f) - mean_audit(f)),  and lambda = cov(y, f) / var(f) makes its variance
least. The audit sample is a part of the corpus, and the share is that of this corpus: the variance has the factor 1 - n/N.

Only four counts of a domain enter, so that a corpus of any size costs the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Counts:
    """Counts for one domain.

    documents, student  documents of the corpus; how many of them the student gives the domain
    both, student_only, llm_only, neither  documents of the audit sample, by who gives the domain
    """

    documents: int
    student: int
    both: int
    student_only: int
    llm_only: int
    neither: int

    @property
    def audited(self) -> int:
        return self.both + self.student_only + self.llm_only + self.neither


@dataclass(frozen=True)
class Share:
    """A share of documents with its 95 % interval."""

    share: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


def llm_only(counts: Counts) -> Share:
    """Share by the audit sample alone."""
    n = counts.audited
    share = (counts.both + counts.llm_only) / n
    return wilson(share, _effective(n, counts.documents, 1.0))


def prediction_powered(counts: Counts) -> Share:
    """Share by the student's labels of all documents, corrected by the audit sample."""
    n = counts.audited
    y, f = (counts.both + counts.llm_only) / n, (counts.both + counts.student_only) / n
    ratio = variance_ratio(counts)
    share = y + power(counts) * (counts.student / counts.documents - f)
    return wilson(min(max(share, 0.0), 1.0), _effective(n, counts.documents, ratio))


def power(counts: Counts) -> float:
    """Lambda of PPI++, within 0 and 1; 0 where the student's label says nothing."""
    n = counts.audited
    y, f = (counts.both + counts.llm_only) / n, (counts.both + counts.student_only) / n
    spread = f * (1 - f)
    return min(max((counts.both / n - y * f) / spread, 0.0), 1.0) if spread else 0.0


def variance_ratio(counts: Counts) -> float:
    """Variance of y - lambda * f over that of y: 1 - rho^2 at the best lambda. 1 where it is not known.

    Two degrees of freedom are lost, since lambda is estimated, too.
    """
    n = counts.audited
    y, f = (counts.both + counts.llm_only) / n, (counts.both + counts.student_only) / n
    spread = y * (1 - y)
    if n < 3 or not spread:
        return 1.0
    lam = power(counts)
    rest = spread - 2 * lam * (counts.both / n - y * f) + lam**2 * f * (1 - f)
    # Half a disagreement more than was seen: a sample with few of them, or none, does not prove that there are as few.
    rest += 0.5 / n
    return min(rest / spread * (n - 1) / (n - 2), 1.0)


def calls_for(width: float, counts: Counts) -> int:
    """Audit documents for an interval of at most this width, as far as the audit so far tells. No fewer than were audited prove
    anything better than one disagreement among them, so the plan allows for one."""
    n = counts.audited
    share = prediction_powered(counts).share
    y = (counts.both + counts.llm_only) / n
    ratio, spread = variance_ratio(counts), y * (1 - y)
    few, many = 1, counts.documents
    while few < many:
        middle = (few + many) // 2
        least = 1 / (middle * spread) if spread else 1.0
        if wilson(share, _effective(middle, counts.documents, min(max(ratio, least), 1.0))).width <= width:
            many = middle
        else:
            few = middle + 1
    return few


def calls_for_llm_only(width: float, counts: Counts) -> int:
    """The same for the LLM's labels alone."""
    share = llm_only(counts).share
    few, many = 1, counts.documents
    while few < many:
        middle = (few + many) // 2
        if wilson(share, _effective(middle, counts.documents, 1.0)).width <= width:
            many = middle
        else:
            few = middle + 1
    return few


def wilson(share: float, n: float) -> Share:
    """Wilson's interval of a share of `n` (effective) documents: honest for rare labels, where the normal interval is empty."""
    if math.isinf(n):
        return Share(share, share, share)
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Share(share, max(centre - half, 0.0), min(centre + half, 1.0))


def _effective(n: int, documents: int, ratio: float) -> float:
    """Documents of an infinite corpus, labelled by the LLM alone, that give the same variance."""
    left = 1 - n / documents
    return n / (left * ratio) if left * ratio > 0 else math.inf

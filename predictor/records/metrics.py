"""The known metrics: the values that can be scores, and the better direction.

Any other metric is stored under its own name, with a note: its range is not checked, and no decision is made by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tagcorpus.predictor.records.plain_values import LARGEST


@dataclass(frozen=True)
class Metric:
    """low, high: the least and the greatest possible value, both included.

    is_continuous  also tells small models apart whose accuracy is that of guessing
    """

    low: float = 0.0
    high: float = 1.0
    is_lower_better: bool = False
    is_continuous: bool = False


_SHARE = Metric()
_PROBABILITY = Metric(is_continuous=True)
_LOG_PROBABILITY = Metric(-math.inf, 0.0, is_continuous=True)
_MARGIN = Metric(-1.0, 1.0, is_continuous=True)
_POSITIVE = Metric(0.0, math.inf)
_COST = Metric(0.0, math.inf, is_lower_better=True, is_continuous=True)
METRICS: dict[str, Metric] = {
    **dict.fromkeys(("accuracy", "acc_norm", "mc1", "mc2"), _SHARE),
    # Some tasks give these in percent.
    **dict.fromkeys(("em", "f1"), _POSITIVE),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"), _COST),
    "brier_score": Metric(0.0, 2.0, is_lower_better=True, is_continuous=True),
    # OLMES and DataDecide: raw, or with log probabilities divided by length, or by those without the question.
    **dict.fromkeys(("primary_score", "acc_raw", "acc_per_token", "acc_per_char", "acc_per_byte", "acc_uncond"), _SHARE),
    **{f"{name}{by}": _PROBABILITY for name in ("correct_prob", "norm_correct_prob") for by in ("", "_per_token", "_per_char")},
    **{f"margin{by}": _MARGIN for by in ("", "_per_token", "_per_char")},
    **{f"logits_per_{unit}_corr": _LOG_PROBABILITY for unit in ("token", "char", "byte")},
    "sum_logits_corr": _LOG_PROBABILITY,
    # Open LLM Leaderboard.
    **{f"{level}_level_{kind}_acc": _SHARE for level in ("prompt", "inst") for kind in ("strict", "loose")},
}  # fmt: skip
SHARES = tuple(name for name, metric in METRICS.items() if metric == _SHARE)
# The metric of a task that is generated and not judged; its value is always 999.
UNJUDGED = "bypass"


def no_score(metric: str, value: float) -> str:
    """The reason why the value cannot be a score of the metric (the store's name); empty where it can. NaN can be one."""
    if metric.partition(",")[0] == UNJUDGED:
        return f"the metric {UNJUDGED!r} judges nothing"
    known = METRICS.get(metric)
    if known is None or math.isnan(value) or known.low <= value <= known.high:
        return ""
    if known == _SHARE:
        return f"{value:g} is below 0" if value < 0 else f"{value:g} is not a share from 0 to 1"
    return (
        f"{value:g} is {'below' if value < known.low else 'above'} {known.low if value < known.low else known.high:g}"
    )


def no_standard_error(metric: str, value: float) -> str:
    """The reason why the value cannot be the standard error of a mean of the metric; empty where it can. NaN can be one.

    The error of a mean of two or more values is at most half of the range of the values.
    """
    known = METRICS.get(metric, Metric(high=math.inf))
    most = (known.high - known.low) / 2
    return f"{value:g} is not from 0 to {most:g}" if value < 0 or value > most * (1 + 1e-9) else ""


def standard_error(metric: str, given: Any) -> tuple[float | None, str]:
    """The standard error of a score as the store has it, None without one; and the reason why a given one is left out."""
    if given is None or given == "N/A" or (isinstance(given, str) and not given.strip()):
        return None, ""
    if isinstance(given, bool) or not isinstance(given, int | float) or abs(given) > LARGEST:
        return None, f"the standard error {str(given)[:40]!r} is not a number"
    if math.isnan(given):  # of one sample
        return None, ""
    why = no_standard_error(metric, given)
    return (None, f"the standard error {why}") if why else (float(given), "")

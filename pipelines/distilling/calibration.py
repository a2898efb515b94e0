"""Calibration: one temperature, and how often a student of some probability is right (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.counting.intervals import wilson

F64 = npt.NDArray[np.float64]
BINS = 10
RANGE = (0.05, 20.0)
STEPS = 40


def softmax(scores: F64) -> F64:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def temperature_of(scores: F64, places: npt.NDArray[np.int64]) -> float:
    """The temperature whose softmax(scores / temperature) gives the labels the highest likelihood. places: the label of each row."""

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        peak = scaled.max(axis=1, keepdims=True)
        totals = np.log(np.exp(scaled - peak).sum(axis=1)) + peak[:, 0]
        return float(np.mean(totals - scaled[np.arange(len(places)), places]))

    # The loss has one minimum: it is convex in 1 / temperature.
    low, high = np.log(RANGE)
    for _ in range(STEPS):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if loss(first) <= loss(second) else (first, high)
    return float(np.exp((low + high) / 2))


def reliability(probabilities: F64, is_right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The bins of the probability of the given label, and the expected calibration error: the mean distance between probability
    and share right, over documents."""
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    bins = []
    error = 0.0
    for i in range(BINS):
        chosen = places == i
        n = int(chosen.sum())
        if not n:
            continue
        right, mean = int(is_right[chosen].sum()), float(probabilities[chosen].mean())
        low, high = (None if bound is None else bound / 100 for bound in wilson(right, n))
        bins.append({"from": i / BINS, "to": (i + 1) / BINS, "n": n, "probability": mean, "right": right / n, "low": low, "high": high})  # fmt: skip
        error += n * abs(mean - right / n)
    return {"bins": bins, "expected_calibration_error": error / len(probabilities)}


def picture(table: dict[str, Any]) -> bytes | None:
    """The reliability diagram as PNG; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:  # without the extra [report]
        return None
    figure = Figure((4.6, 4.2), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    bins = table["bins"]
    at = [b["probability"] for b in bins]
    right = [b["right"] for b in bins]
    ends = [[b["right"] - b["low"] for b in bins], [b["high"] - b["right"] for b in bins]]
    axes.errorbar(at, right, yerr=np.maximum(ends, 0), fmt="o", color="#1f5fa8", capsize=3, markersize=5)
    for one in bins:
        axes.annotate(
            f"{one['n']:,}", (one["probability"], one["right"]), (5, -11), textcoords="offset points", fontsize=7
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the label", ylabel="share that agrees with the LLM")
    axes.set_title("Held-out documents; numbers are documents", fontsize=9)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150, metadata={"Software": None})
    return data.getvalue()

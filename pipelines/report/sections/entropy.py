"""The report's section on corpus entropy: for each n the figures, two distributions, and the contexts at both ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.folder import Output
from tagcorpus.pipelines.report.sections.html import Cell, Section, chart, figures, number, percent, table, text

LISTED = 10
_OF_MODEL, _OF_COLUMN = ".entropy.json", ".entropies.json"
_ESTIMATES = (
    ("plug_in", "plug-in (as counted)"),
    ("miller_madow", "Miller-Madow"),
    ("chao_shen", "Chao-Shen"),
    ("chao_wang_jost", "Chao-Wang-Jost"),
)


def entropy_section(contents: Contents) -> Section | None:
    output = contents.output
    summaries = [(n, s) for n, s in sorted(output.summaries.items()) if "mean_corpus_entropy" in s]
    by_model = _by_model(output)
    if not summaries and not by_model:
        return None
    data = [_histogram(s) for _, s in summaries]
    bodies = [_body(name, s, i) for i, (name, s) in enumerate(summaries)]
    return Section("entropy", "Entropy", "".join(bodies) + by_model, data)


def visible(context: str) -> str:
    """A context with visible white space: spaces as open boxes, line breaks and control characters as escapes."""
    escaped = context.replace("\\", "\\\\")
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)
    return printable.replace(" ", "\u2423")


def _by_model(output: Output) -> str:
    """The figures that `run features` measured, for every row of its table."""
    rows = []
    for model, s in _entropies(output):
        if "mean_corpus_entropy" not in s:
            continue
        estimates, budget = s.get("estimates", {}), s.get("token_budget", {})
        means = (_bits(s["mean_corpus_entropy"]), _bits(s["weighted_mean_entropy"]), _bits(estimates.get("chao_shen")))
        rows.append(
            (model, number(s["num_tokens"]), *means, percent(estimates.get("coverage_entries")), _at_budget(budget))
        )
    if not rows:
        return ""
    header = ("Model", "Tokens", "Mean over contexts, bits", "Mean over positions, bits", "Chao-Shen, bits", "Sample coverage", "Mean over contexts at an equal token budget")  # fmt: skip
    return (
        "<h3>Bigram entropy by model</h3><p>The mean over contexts grows with the number of tokens: models with unequal "
        "amounts of text can be compared only at an equal budget.</p>"
        + table("Bigram entropy by model", header, rows, range(1, 7))
    )


def _entropies(output: Output) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entropies of models (a file for each), and of the groups of a column (one file)."""
    for name in output.folder.files("summary/features"):
        value = json_object(output.folder, name)
        if name.endswith(_OF_MODEL):
            yield unquote(name.removeprefix("summary/features/").removesuffix(_OF_MODEL)), value
        elif name.endswith(_OF_COLUMN):
            yield from value.get("groups", {}).items()


def _at_budget(budget: dict[str, Any]) -> str:
    values = [
        one["mean_corpus_entropy"] for one in budget.get("samples", []) if one.get("mean_corpus_entropy") is not None
    ]
    return f"{sum(values) / len(values):.3f} ({budget['tokens']:,} tokens)" if values else "–"


def _histogram(summary: dict[str, Any]) -> dict[str, Any]:
    return {k: summary.get("histogram", {}).get(k, []) for k in ("edges", "contexts", "positions")}


def _body(name: str, s: dict[str, Any], i: int) -> str:
    estimates, title = s.get("estimates", {}), str(s.get("what", name))
    large = figures(
        [
            (
                _bits(s["mean_corpus_entropy"]) + " bits",
                "mean over contexts",
                f"{s['num_unique_contexts']:,} distinct contexts",
            ),
            (_bits(s["weighted_mean_entropy"]) + " bits", "mean over positions", f"{s['total_contexts']:,} positions"),
            (
                _bits(s["median_corpus_entropy"]) + " bits",
                "median over contexts",
                f"{s['num_zero_entropy_contexts']:,} have only one next token",
            ),
            (percent(estimates.get("coverage_entries")), "sample coverage", "share of next tokens already seen"),
        ]
    )
    rows = [(words, _bits(estimates.get(key))) for key, words in _ESTIMATES]
    if upper := s.get("bracket"):
        error = upper.get("standard_error")
        words = "Kneser-Ney on held-out documents (an upper bound" + (
            f", standard error {error:.3f})" if error else ")"
        )
        rows.append((words, _bits(upper.get("cross_entropy"))))
    label = "Share of contexts and of positions by entropy, bits"
    histogram = _histogram(s)
    bins = list(
        zip(histogram["edges"], histogram["edges"][1:], histogram["contexts"], histogram["positions"], strict=False)
    )
    by_bin = [(f"{a:g} to {b:g}", number(c), number(p)) for a, b, c, p in bins if c or p]
    return (
        f"<h3>{text(title[:1].upper() + title[1:])}</h3>"
        f"<p>{s.get('num_tokens', 0):,} tokens ({text(s.get('tokenizer', '?'))}) of {s.get('num_documents', 0):,} documents. "
        "The mean over contexts grows with the corpus: compare corpora of unequal size at an equal token budget.</p>"
        + large
        + chart(f"entropy-{i}", label, table(label, ("Bits", "Contexts", "Positions"), by_bin, (1, 2)))
        + "<details><summary>Estimates corrected for the sample's size</summary>"
        + table("Conditional entropy by estimator", ("Estimator", "Bits"), rows, (1,))
        + "</details><details><summary>Contexts with the highest and the lowest entropy</summary>"
        + _contexts("Highest entropy", s.get("top_contexts", []))
        + _contexts("Lowest entropy, the commonest first", s.get("bottom_contexts", []))
        + "</details>"
    )


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _contexts(caption: str, contexts: list[dict[str, Any]]) -> str:
    rows = [
        (
            Cell(f"<code><bdi>{text(visible(str(c['text'])))}</bdi></code>"),
            number(c["count"]),
            number(c["distinct_next"]),
            _bits(c["entropy_bits"]),
        )
        for c in contexts[:LISTED]
    ]
    return table(caption, ("Context", "Count", "Different next tokens", "Bits"), rows, (1, 2, 3), is_shown=True)

"""How the entropy of a corpus grows with its size: plug-in and corrected, by random samples of whole documents.

    python benchmarks/entropy_growth.py --corpus DIR --work DIR [--ngram 1 2]

Runs `tagcorpus run entropy --token-budget T` for each T over the JSONL shards of benchmarks/corpus.py (five samples each, seed
0), keeps what each said in --work, prints the table of docs/entropy.md and writes its picture to --work.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import tagcorpus

BUDGETS = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
FIGURES = {
    "mean_corpus_entropy": "mean over contexts",
    "plug_in": "mean over positions, plug-in",
    "miller_madow": "Miller-Madow",
    "chao_shen": "Chao-Shen",
    "chao_wang_jost": "Chao-Wang-Jost",
}


def measured(corpus: Path, work: Path, n: int, tokens: int) -> dict[str, Any]:
    told = work / f"budget-{n}-{tokens}.json"
    if not told.exists():
        result = tagcorpus.run(
            "entropy", input=str(corpus / "jsonl"), output=str(work / "out"), ngram=n, token_budget=tokens
        )
        told.write_text(json.dumps({"summary": result.summary}))
    found: dict[str, Any] = json.loads(told.read_text())["summary"]
    return found


def row(name: str, found: dict[str, Any]) -> str:
    def cell(key: str) -> str:
        one = found[key]
        if not isinstance(one, dict):
            return f"{one:.3f}"
        return f"{one['mean']:.3f} ±{(one['high'] - one['low']) / 2:.3f}"

    return f"| {name} | {' | '.join(cell(k) for k in FIGURES)} | {cell('coverage_entries')} |"


def draw(by_n: dict[int, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(by_n), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (n, found) in zip(figure.subplots(1, len(by_n), squeeze=False)[0], by_n.items(), strict=True):
        for key, name in FIGURES.items():
            values = [f["token_budget"][key] for f in found]
            low, high = ([abs(v["mean"] - v[k]) for v in values] for k in ("low", "high"))
            axes.errorbar(BUDGETS, [v["mean"] for v in values], yerr=[low, high], label=name, marker="o", markersize=3)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens of the sample")
        axes.set_ylabel("bits")
        axes.set_title(f"n = {n}: next token given {n} token{'s' * (n > 1)}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, frameon=False, loc="outside lower center", ncols=len(FIGURES))
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--ngram", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    by_n = {n: [measured(given.corpus, given.work, n, t) for t in BUDGETS] for n in given.ngram}
    for n, found in by_n.items():
        print(
            f"\nn = {n}\n\n| tokens | {' | '.join(FIGURES.values())} | coverage |\n|---|{'---|' * (len(FIGURES) + 1)}"
        )
        for tokens, one in zip(BUDGETS, found, strict=True):
            print(row(f"{tokens // 10**6} M", one["token_budget"]))
        whole = found[0]
        everything = {"mean_corpus_entropy": whole["mean_corpus_entropy"], **whole["estimates"]}
        print(row(f"all {whole['num_tokens'] / 1e6:.0f} M", everything))
    draw(by_n, given.work / "entropy-growth.png")


if __name__ == "__main__":
    main()

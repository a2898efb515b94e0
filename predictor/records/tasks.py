"""Tasks that a predictor can predict: the benchmarks behind each, the number of shots and the metric.

They are the thirteen of *Not-Just-Scaling Laws* (arXiv 2503.03862), `arithmetic`, and any benchmark of a store by its own
name and shots. scores.py reads the scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.predictor.records.metrics import METRICS

# Errors: the larger, the worse the model. Everything else counts as a share of right answers.
LOWER_IS_BETTER = frozenset(name for name, metric in METRICS.items() if metric.is_lower_better)
_OF_ANY_STORE = re.compile(r"(?P<benchmark>[^:]+):(?P<shots>\d+)")


@dataclass(frozen=True)
class Task:
    """One score a model: the plain mean of its sub-scores that are there.

    benchmarks  normalised names (see `normalised`); one that ends in `*` means every name with that beginning
    shots       examples in the prompt
    metric      as the store spells it
    """

    name: str
    benchmarks: tuple[str, ...]
    shots: int
    metric: str = "accuracy"

    @property
    def is_lower_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def has(self, benchmark: str) -> bool:
        """benchmark: normalised."""
        return any(benchmark.startswith(b[:-1]) if b.endswith("*") else benchmark == b for b in self.benchmarks)


_BRIER = "brier_score"
PUBLISHED: dict[str, Task] = {
    task.name: task
    for task in (
        Task("arc_challenge", ("arc_challenge",), 25),
        Task("hellaswag", ("hellaswag",), 10),
        Task("mmlu_0-shot", ("mmlu_*",), 0),
        Task("mmlu_5-shot", ("mmlu_*",), 5),
        Task("truthfulqa", ("truthfulqa_mc1", "truthfulqa_mc2"), 0),
        Task("winogrande", ("winogrande",), 5),
        Task("lambada", ("lambada_standard", "lambada_openai"), 0),
        Task("gsm8k", ("gsm8k", "gsm8k_cot"), 5),
        Task("humaneval", ("humaneval",), 0),
        Task("mathqa", ("mathqa",), 0, _BRIER),
        Task("xnli", ("xnli_*",), 0, _BRIER),
        Task("anli", ("anli_*",), 0, _BRIER),
        Task("logiqa2", ("logiqa2",), 0, _BRIER),
    )
}
ARITHMETIC = Task("arithmetic", ("arithmetic_*",), 5)


def normalised(benchmark: str) -> str:
    """One name for the two that some benchmarks have in result files: `hendrycksTest-X` is `mmlu_X`, `arc:challenge`
    is `arc_challenge`."""
    if benchmark.startswith("hendrycksTest-"):
        return "mmlu_" + benchmark.removeprefix("hendrycksTest-")
    return "arc_challenge" if benchmark == "arc:challenge" else benchmark


def shots_of(setting: str) -> int | None:
    """Examples in the prompt, `5-shot` -> 5; None where the setting does not begin with a number."""
    match = re.match(r"\d+", setting)
    return int(match[0]) if match else None


def task(name: str) -> Task:
    """A task by its name, or `benchmark:shots` of any store. Raises ConfigError for a name that is neither."""
    known = {**PUBLISHED, ARITHMETIC.name: ARITHMETIC}
    if name in known:
        return known[name]
    if match := _OF_ANY_STORE.fullmatch(name):
        benchmark, shots = normalised(match["benchmark"]), int(match["shots"])
        same = next((t for t in known.values() if benchmark in (t.name, *t.benchmarks) and t.shots == shots), None)
        return same or Task(name, (benchmark,), shots)
    message = unknown_name("task", name, known, "--task")
    raise ConfigError(f"{message}; or BENCHMARK:SHOTS for any other of the store, as in drop:3")


def tasks(names: Sequence[str], metric: str | None = None, with_arithmetic: bool = False) -> list[Task]:
    """The tasks of these names, in their order; without names all published ones that are scored by `metric` (None: all).

    `mmlu` means both of its numbers of shots. With names and a metric the tasks are scored by that metric. Raises
    ConfigError for an unknown name.
    """
    if names:
        each = [name for n in names for name in ([f"mmlu_{k}-shot" for k in (0, 5)] if n == "mmlu" else [n])]
        chosen = [task(n) for n in dict.fromkeys(each)]
        return [replace(t, metric=metric) for t in chosen] if metric else chosen
    chosen = [t for t in PUBLISHED.values() if metric in (None, t.metric)]
    if with_arithmetic and metric in (None, ARITHMETIC.metric):
        chosen.append(ARITHMETIC)
    if not chosen:
        metrics = sorted({t.metric for t in PUBLISHED.values()})
        message = unknown_name("metric", metric or "", metrics, "--metric")
        raise ConfigError(f"{message}; with --task any metric of the store can be taken")
    return chosen

"""Every Eval Ever: one JSON object is one model's scores from any harness or leaderboard (schema versions 0.2 and 0.3).

    model      model_info.id
    benchmark  evaluation_name; with lm-evaluation-harness, the text after the last `/` is the filter
    metric     metric_config.metric_id, metric_name, or the first word of evaluation_description
    shots      num_fewshot or n_shot in generation_config.additional_details
    unit       metric_config.metric_unit, else max_score 100 for a share: percent is divided by 100
Levels are not numbers, and -1 is unknown where metric_config.has_unknown_level says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.records.harness_results import section, stored_metric
from tagcorpus.predictor.records.metrics import METRICS, SHARES

_PERCENT = ("percent", "percentage", "%")
_HARNESS = ("lm_eval", "lm-eval", "lm_evaluation_harness", "lm-evaluation-harness")


def is_one(document: Any) -> bool:
    return (
        isinstance(document, dict) and isinstance(document.get("evaluation_results"), list) and "model_info" in document
    )


def collect(into: Collected, document: Mapping[str, Any], model_id: str | None) -> None:
    model = model_id or str(section(document, "model_info").get("id") or "")
    library = str(section(document, "eval_library").get("name") or "").lower()
    if model.count("/") > 1:
        into.note("ids are not organisation/name", model)
    for at, result in enumerate(document["evaluation_results"]):
        where = f"evaluation_results[{at}]"
        if not isinstance(result, dict) or not isinstance(result.get("evaluation_name"), str):
            into.problems.append(f"{where}: must be an object with evaluation_name")
            continue
        config = section(result, "metric_config")
        details = section(result, "score_details")
        value = details.get("score")
        benchmark, kept = result["evaluation_name"], "none"
        if library in _HARNESS and "/" in benchmark:
            benchmark, _, kept = benchmark.rpartition("/")
        metric = stored_metric(_metric(config), kept)
        where = f"{model}, {result['evaluation_name']}, {metric}"
        if config.get("score_type") == "levels":
            into.note("left out: levels are not numbers", where)
            continue
        if value == -1 and config.get("has_unknown_level"):
            into.note("left out: -1 is unknown", where)
            continue
        stderr = section(section(details, "uncertainty"), "standard_error").get("value")
        if _is_percent(config, metric) and isinstance(value, int | float) and not isinstance(value, bool):
            into.note("given in percent, stored as a share", where)
            value = value / 100
            stderr = stderr / 100 if isinstance(stderr, int | float) else None
        lower = config.get("lower_is_better")
        if metric in METRICS and isinstance(lower, bool) and lower != METRICS[metric].is_lower_better:
            into.problems.append(f"{where}: lower_is_better is {lower}, which {metric!r} is not: is it another metric?")
            continue
        into.score(model, benchmark, _shots(result), metric, value, stderr, where)


def _metric(config: Mapping[str, Any]) -> str:
    for key in ("metric_id", "metric_name"):
        if isinstance(config.get(key), str) and config[key].strip():
            return re.sub(r"\s+", "_", config[key].strip().lower())
    words = str(config.get("evaluation_description") or "").lower().split()
    return words[0] if words and (words[0] in METRICS or words[0] in ("acc", "exact_match")) else "score"


def _is_percent(config: Mapping[str, Any], metric: str) -> bool:
    unit = str(config.get("metric_unit") or "").lower()
    return metric in SHARES and (unit in _PERCENT or (not unit and config.get("max_score") == 100))


def _shots(result: Mapping[str, Any]) -> int | None:
    details = section(section(result, "generation_config"), "additional_details")
    for key in ("num_fewshot", "n_shot", "num_shots", "fewshot"):
        if re.fullmatch(r"[0-9]+", str(details.get(key, ""))):
            return int(details[key])
    return None

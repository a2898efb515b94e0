"""Write examples/database: a small store of invented models, with a table of features of their generations.

    python examples/make_database.py [DIR]

No model, organisation or score in it is real. Scores follow a scaling law in parameters and tokens, with what one would
look for in real ones: the share of code in pretraining helps tasks on code and sums throughout, and tasks in prose up
to a fifth only; rotary positions help a little; and a quality of the data that no annotation tells shows in what the
models generate. Then noise. The same command gives the same bytes.
"""

from __future__ import annotations

import csv
import math
import random
import sys
from pathlib import Path
from typing import Any

from tagcorpus.pipelines.feature_table.columns import DOMAINS, columns, numeric_columns

SEED = 2025
GENERATIONS = 500  # of each model
HERE = Path(__file__).parent
# name: parameters (billions), tokens (billions; below 0: that many for each parameter), percent of web, code, books,
# reference, academic; percent English; positions, attention, biases, norm, block, activation; quality of the data.
ORGANISATIONS: dict[str, tuple[Any, ...]] = {
    "alder": ((0.07, 0.16, 0.41, 1.0, 2.8, 6.9, 12.0), 300, (40, 8, 14, 11, 27), 98, "rope full some parametric parallel gelu", 0.0),
    "birch": ((0.35, 1.3, 6.1, 15.5), 350, (12, 76, 2, 4, 6), 55, "learned full some parametric parallel gelu_new", -0.1),
    "cedar": ((0.12, 0.35, 1.3, 2.7, 6.7, 13.0, 30.0), 180, (72, 3, 17, 5, 3), 97, "learned full some parametric sequential relu", -0.3),
    "dogwood": ((0.11, 0.26, 0.59, 1.3, 2.7, 6.7, 13.0), -20, (45, 9, 13, 9, 24), 98, "learned full some parametric sequential gelu", -0.05),
    "elm": ((0.5, 1.8, 4.0, 7.0, 14.0, 32.0), 2400, (63, 18, 5, 6, 8), 62, "rope gqa attn_only rmsnorm sequential swiglu", 0.35),
    "fir": ((1.0, 3.0, 7.0, 13.0), 1000, (80, 6, 5, 4, 5), 92, "rope full none rmsnorm sequential silu", 0.1),
    "ginkgo": ((1.1, 3.0, 7.0, 16.0), 3300, (28, 60, 2, 5, 5), 80, "rope gqa some parametric sequential gelu", 0.15),
    "hazel": ((0.56, 1.1, 1.7, 3.0, 7.1), 366, (58, 13, 6, 12, 11), 33, "alibi full some parametric sequential gelu", -0.2),
    "juniper": ((1.3, 2.7, 8.0), 1400, (35, 22, 12, 13, 18), 95, "rope mqa none non-parametric sequential swiglu", 0.5),
}  # fmt: skip
TUNED = ("elm-7b-chat", "fir-7b-chat")
# name, shots, metric, chance (Brier: the score of a guess), best, how steep, what code in the data does, at which loss
# it is half way
TASKS = (
    ("arc_challenge", 25, "accuracy", 0.22, 0.72, 3.2, "prose", 2.18),
    ("hellaswag", 10, "accuracy", 0.26, 0.68, 4.0, "prose", 2.35),
    ("mmlu_abstract_algebra", 0, "accuracy", 0.23, 0.55, 4.5, "prose", 2.02),
    ("mmlu_anatomy", 0, "accuracy", 0.23, 0.75, 4.5, "prose", 2.06),
    ("mmlu_world_religions", 0, "accuracy", 0.22, 0.85, 4.5, "prose", 2.08),
    ("mmlu_abstract_algebra", 5, "accuracy", 0.24, 0.57, 4.5, "prose", 2.03),
    ("mmlu_anatomy", 5, "accuracy", 0.24, 0.77, 4.5, "prose", 2.07),
    ("mmlu_world_religions", 5, "accuracy", 0.23, 0.87, 4.5, "prose", 2.10),
    ("truthfulqa_mc1", 0, "accuracy", 0.21, 0.38, 1.5, "prose", 2.10),
    ("truthfulqa_mc2", 0, "accuracy", 0.36, 0.56, 1.5, "prose", 2.10),
    ("winogrande", 5, "accuracy", 0.50, 0.84, 3.5, "prose", 2.15),
    ("lambada_standard", 0, "accuracy", 0.05, 0.76, 3.6, "prose", 2.45),
    ("lambada_openai", 0, "accuracy", 0.08, 0.80, 3.6, "prose", 2.48),
    ("gsm8k", 5, "accuracy", 0.01, 0.85, 5.5, "code", 1.99),
    ("gsm8k_cot", 5, "accuracy", 0.02, 0.88, 5.5, "code", 2.00),
    ("humaneval", 0, "accuracy", 0.00, 0.62, 4.5, "code", 2.08),
    ("mathqa", 0, "brier_score", 0.97, 0.80, 3.0, "code", 2.10),
    ("xnli_de", 0, "brier_score", 1.05, 0.72, 2.0, "prose", 2.15),
    ("xnli_en", 0, "brier_score", 0.85, 0.62, 2.0, "prose", 2.15),
    ("xnli_sw", 0, "brier_score", 1.15, 0.80, 2.0, "prose", 2.15),
    ("anli_r1", 0, "brier_score", 0.82, 0.70, 2.0, "prose", 2.10),
    ("anli_r2", 0, "brier_score", 0.81, 0.71, 2.0, "prose", 2.10),
    ("anli_r3", 0, "brier_score", 0.80, 0.70, 2.0, "prose", 2.10),
    ("logiqa2", 0, "brier_score", 1.10, 0.86, 2.5, "code", 2.10),
)  # fmt: skip
ANNOTATIONS = [
    "id",
    "dimension",
    "num_heads",
    "mlp_ratio",
    "layer_norm_type",
    "positional_embeddings",
    "attention_variant",
    "biases",
    "block_type",
    "activation",
    "sequence_length",
    "batch_instances",
    "batch_tokens",
    "weight_tying",
    "is_instruction_tuned",
    "is_preference_tuned",
    "total_params",
]
SHARES = ("web", "code", "books", "reference", "academic")
DATASETS = [
    "id",
    "pretraining_summary_total_tokens_billions",
    *(f"pretraining_summary_percentage_{s}" for s in (*SHARES, "english")),
    "metadata",
]
SCORES = ["id", "benchmark", "setting", "metric", "metric_value", "metric_stderr"]


def models(draw: random.Random) -> list[dict[str, Any]]:
    """Every model with what is told of it, and with `quality`, which is not."""
    found = []
    for organisation, (sizes, tokens, shares, english, words, quality) in ORGANISATIONS.items():
        positions, attention, biases, norm, block, activation = words.split()
        for size in sizes:
            dimension = 128 * max(2, round((size * 1e9 / 160) ** (1 / 3) / 1.28 / 10))
            is_large = size >= 3
            name = f"{organisation}-{size:g}b" if size >= 1 else f"{organisation}-{size * 1000:.0f}m"
            total = size * -tokens if tokens < 0 else tokens * (1 if is_large or draw.random() < 0.7 else 0.6)
            mixed = [max(0.0, s + draw.gauss(0, 0.08 * s + 0.4)) for s in shares]
            mixed = [round(100 * s / sum(mixed), 2) for s in mixed]
            found.append(
                {
                    "id": f"{organisation}-lab/{name}",
                    "dimension": dimension,
                    "num_heads": max(2, dimension // (128 if is_large else 64)),
                    "mlp_ratio": 2.7 if activation in ("silu", "swiglu") else 4.0,
                    "layer_norm_type": norm,
                    "positional_embeddings": positions,
                    "attention_variant": attention,
                    "biases": biases,
                    "block_type": block,
                    "activation": activation,
                    "sequence_length": 4096 if tokens >= 1000 else 2048,
                    "batch_instances": 1024 if is_large else 512,
                    "weight_tying": "true" if size < 1 else "false",
                    "is_instruction_tuned": "false",
                    "is_preference_tuned": "false",
                    "total_params": round(size * 1e9 * draw.uniform(0.97, 1.06) / 1e4) * 10_000,
                    "tokens": round(float(total), 1),
                    "shares": mixed,
                    "english": min(100.0, round(english + draw.gauss(0, 0.6), 2)),
                    "quality": quality + draw.gauss(0, 0.25),
                }
            )
            if f"{name}-chat" in TUNED:
                tuned = {**found[-1], "id": f"{organisation}-lab/{name}-chat", "is_instruction_tuned": "true"}
                found.append(tuned)
    # As in real tables, not everything is told of every model.
    for model in found:
        for field in ("batch_instances", "layer_norm_type", "biases", "block_type"):
            if draw.random() < 0.15:
                model[field] = ""
    return found


def score(model: dict[str, Any], task: tuple[Any, ...], draw: random.Random) -> float:
    """Between chance and best by a logistic curve of a scaling law's loss (Hoffmann et al. 2022, their constants)."""
    _, _, _, chance, best, steep, kind, half = task
    loss = 1.69 + 406.4 / model["total_params"] ** 0.34 + 410.7 / (model["tokens"] * 1e9) ** 0.28
    code = model["shares"][1]
    gain = 0.9 * math.sqrt(code / 100) - 0.35 if kind == "code" else -(((code - 20) / 45) ** 2) * 0.7
    rotary = 0.12 if model["positional_embeddings"] == "rope" else 0.0
    tuned = 0.3 if model["is_instruction_tuned"] == "true" else 0.0
    x = steep * (half - loss) * 2 + gain + rotary + tuned + 0.7 * model["quality"] + draw.gauss(0, 0.12)
    return float(chance + (best - chance) / (1 + math.exp(-x)))


def features(model: dict[str, Any], draw: random.Random) -> dict[str, float]:
    """What generations of the model would look like: the published columns, made up."""
    size, quality = math.log10(model["total_params"] / 1e9), model["quality"]
    web, code, books, reference, academic = model["shares"]
    raw = dict(zip(DOMAINS, (academic, books, code, reference, 1.5, web), strict=True))
    raw = {d: max(0.0, s * draw.uniform(0.75, 1.25) + draw.uniform(0, 2)) for d, s in raw.items()}
    labels = {d: round(GENERATIONS * s / sum(raw.values())) for d, s in raw.items()}
    labels["web"] += GENERATIONS - sum(labels.values())
    out = {f"domain_{d}_pct_mean": 100 * n / GENERATIONS for d, n in labels.items()}
    sentence = 26 + 4 * draw.gauss(0, 1) + 0.1 * out["domain_code_pct_mean"]
    words = 150 + 12 * size + draw.gauss(0, 14)
    tokens = words * (1.35 + 0.004 * out["domain_code_pct_mean"])
    depth = 9.5 + 0.8 * quality + draw.gauss(0, 0.35)
    head = 2.0 + draw.uniform(0, 0.4)
    distance = 13 + 0.25 * (sentence - 26) + draw.gauss(0, 0.6)
    out |= {
        "char_len_mean": words * 4.3 * draw.uniform(0.97, 1.03),
        "const_parse_const_tree_depth_max_mean": depth * 1.35,
        "const_parse_const_tree_depth_mean_mean": depth,
        "const_parse_const_word_depth_mean_mean": depth * 0.61,
        "const_parse_const_word_depth_std_mean": depth * 0.28,
        "const_parse_num_sentences_mean": words / (sentence * 0.8),
        "const_parse_num_words_mean": words,
        "const_parse_words_per_sent_mean_mean": sentence * 1.4,
        "const_parse_words_per_sent_std_mean": sentence * 0.5,
        "content_function_ratio_mean": 0.42 + 0.012 * quality + draw.gauss(0, 0.01),
        "dep_parse_dep_head_dist_90p_mean": head * 4.1,
        "dep_parse_dep_head_dist_max_mean": head * 4.1 + sentence,
        "dep_parse_dep_head_dist_median_mean": head,
        "dep_parse_dep_root_dist_max_mean": distance * 2.9,
        "dep_parse_dep_root_dist_mean_mean": distance,
        "dep_parse_dep_root_dist_median_mean": distance * 0.83,
        "edu_classifier_mean": 1.1 + 0.5 * quality + 0.006 * (academic + reference) + draw.gauss(0, 0.05),
        "entropy_mean": 1.75 + 0.1 * size + 0.15 * quality + draw.gauss(0, 0.04),
        "num_tokens_mean": tokens,
        "pct_english_mean": min(100.0, max(0.0, model["english"] * draw.uniform(0.95, 1.02))),
        "ttr_mean": 0.5 + 0.02 * quality - 0.0008 * out["domain_code_pct_mean"] + draw.gauss(0, 0.012),
    }
    out["unique_tokens_mean"] = tokens * out["ttr_mean"]
    # More questions where there is web text, as was found in real generations.
    out |= {
        "question_words_ratio": 90 + 1.2 * out["domain_web_pct_mean"] + draw.gauss(0, 8),
        "imperative_verbs_ratio": 100 + 0.5 * out["domain_code_pct_mean"] + draw.gauss(0, 8),
        "conjunctions_ratio": 380 + 35 * quality + draw.gauss(0, 15),
        "instructions_words_ratio": 6 + draw.uniform(0, 3),
        "numbers_ratio": 420 + 4 * out["domain_code_pct_mean"] + draw.gauss(0, 30),
    }
    for column in numeric_columns().values():
        if column.statistic == "std" and not column.is_always_empty:
            mean = out[f"{column.stem}_mean"]
            out[column.name] = abs(mean) * draw.uniform(0.22, 0.38 if column.high < 1 else 0.55)
    return out


def write(folder: Path) -> None:
    """All files, in place of those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(SEED)
    found = sorted(models(draw), key=lambda m: m["id"].encode())
    scores, data = [], []
    for model in found:
        shares = dict(zip(SHARES, model["shares"], strict=True)) | {"english": model["english"]}
        told = {f"pretraining_summary_percentage_{s}": v for s, v in shares.items()}
        data.append({"id": model["id"], "pretraining_summary_total_tokens_billions": model["tokens"], **told})
        for task in TASKS:
            value = score(model, task, draw)
            row = {
                "benchmark": task[0],
                "setting": f"{task[1]}-shot",
                "metric": task[2],
                "metric_value": round(value, 4),
            }
            n = 164 if task[0] == "humaneval" else 1200
            error = round(math.sqrt(max(value * (1 - value), 0) / n), 4) if task[2] == "accuracy" else ""
            scores.append({"id": model["id"], **row, "metric_stderr": error})
    _csv(folder / "model_annotations.csv", ANNOTATIONS, found)
    _csv(folder / "dataset_info.csv", DATASETS, data)
    _csv(folder / "evaluation_results.csv", SCORES, scores)
    generated = [m for m in found if m["is_instruction_tuned"] == "false"]
    rows = [{"id": m["id"], **{n: f"{v:.6g}" for n, v in features(m, draw).items()}} for m in generated]
    _csv(folder / "features.csv", columns(), rows)
    (folder / "schema.sql").write_bytes((HERE.parent / "predictor" / "store" / "store.sql").read_bytes())
    load = [
        f"COPY {table} FROM '{table}.csv' (FORMAT 'csv', force_not_null 'id', quote '\"', delimiter ',', header 1);\n"
        for table in ("dataset_info", "evaluation_results", "model_annotations")
    ]
    (folder / "load.sql").write_text("".join(load), encoding="utf-8")


def _csv(path: Path, header: list[str], rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, header, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "database")

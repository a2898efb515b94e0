"""The record: digests of one small output of every pipeline, held against tests/record/digests.json.

    python tests/record.py                compare, and print a line for each file that differs
    python tests/record.py tag filter     only these outputs
    python tests/record.py --write [...]  renew the list, wholly or for these outputs; `git diff` shows what changed

Renew an entry in the commit that changes its values on purpose, and name the change in the message. digests.py says what of a
file counts; small_inputs.py writes the inputs. tests/test_record.py compares in the default tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import small_inputs
from digests import Entry, differences, entries_of
from old_outputs import BASE_URL, TAGGERS, language_model

import tagcorpus

LIST = Path(__file__).parent / "record/digests.json"
# Made once by fasttext_models.train(dim=4, bucket=50): training gives other bytes on other machines.
FASTTEXT = {"model": str(LIST.parent / "tiny.bin"), "k": 2}
FILTER = {"filter": "long_enough:LongEnough"}
OPENAI = {"backend": "openai", "base_url": BASE_URL, "llm_cache": "llm.sqlite", "concurrency": 1}
MODELS = {"domain": {"backend": "fasttext"}, "tokens": {"tokenizer": "p50k_base"}, "replicates": 2}
SOME = ["length", "language"]

Step = tuple[str, dict[str, Any]]
OUTPUTS: dict[str, list[Step]] = {
    "tag": [
        (
            "tag",
            {
                "taggers": [*TAGGERS, "fasttext", "datatrove_filter"],
                "syntax": {"backend": "parsed", "lists": True},
                "fasttext": FASTTEXT,
                "datatrove_filter": FILTER,
                "output": "tags.csv",
                "work": "out",
            },
        )
    ],
    "tag_generations": [("tag", {"input": ["models"], "taggers": SOME, "output": "tags.parquet", "work": "out"})],
    "tag_sample": [("tag", {"taggers": SOME, "sample": 0.5, "seed": 3, "output": "tags.json", "work": "out"})],
    "tag_limit": [("tag", {"taggers": SOME, "limit": 30})],
    "filter": [("filter", {})],
    "where": [
        ("tag", {"taggers": SOME}),
        ("filter", {"where": "length.char_len > 40 and language.language = 'en'"}),
    ],
    "domain": [("domain", {"with_text": True})],
    "domain_openai": [("domain", {"input": ["corpus/a.jsonl"], "domain": OPENAI, "output": "domains.csv", "work": "out"})],
    "entropy": [
        ("entropy", {"contexts": True, "token_budget": 500, "replicates": 2}),
        ("entropy", {"ngram": 2, "output": "entropies.csv", "work": "out"}),
    ],
    "features": [("features", {"input": ["models"], **MODELS, "extended": True, "output": "table.csv", "work": "out"})],
    "features_by_column": [
        ("features", {"input": ["corpus/a.jsonl"], **MODELS, "group_by": "source", "extended": True}),
    ],
}  # fmt: skip


def make(name: str, place: Path) -> dict[str, Entry]:
    """Make an output in the folder `place`, and digest it."""
    small_inputs.write_corpus(place / "corpus")
    small_inputs.write_generations(place / "models")
    with contextlib.chdir(place), language_model(name == "domain_openai"):
        for pipeline, options in OUTPUTS[name]:
            given = {"input": ["corpus"], "output": "out", "workers": 1, "chunk_bytes": 4096, **options}
            result = tagcorpus.run(pipeline, **given)
            assert result.exit_code == 0, result.messages
    return {n: e for n, e in entries_of(place, place).items() if not n.startswith(("corpus/", "models/"))}


def listed() -> dict[str, dict[str, Entry]]:
    """The committed list: output -> file -> entry."""
    value: dict[str, dict[str, Entry]] = json.loads(LIST.read_text())
    return value


def write(entries: Mapping[str, Mapping[str, Entry]]) -> None:
    """Put these outputs into the list, one file a line; the others stay."""
    before = listed() if LIST.exists() else {}
    every = {n: entries.get(n, before.get(n, {})) for n in OUTPUTS}
    outputs = (
        f"{json.dumps(n)}: {{\n"
        + ",\n".join(f" {json.dumps(f)}: {json.dumps(e)}" for f, e in sorted(files.items()))
        + "}"
        for n, files in every.items()
    )
    LIST.write_text("{\n" + ",\n".join(outputs) + "\n}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where anything differs from the list and is not to be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", nargs="*", choices=[*OUTPUTS, []], metavar="OUTPUT", help=", ".join(OUTPUTS))
    parser.add_argument("--write", action="store_true", help="renew the list")
    chosen = parser.parse_args(arguments)
    made: dict[str, dict[str, Entry]] = {}
    before = listed() if LIST.exists() else {}
    n_different = 0
    for name in chosen.outputs or OUTPUTS:
        with tempfile.TemporaryDirectory() as place:
            made[name] = make(name, Path(os.path.realpath(place)))
        lines = differences(before.get(name, {}), made[name])
        n_different += len(lines)
        print(f"{name}: {len(made[name])} files, {len(lines)} differ from the list")
        for line in lines:
            print(f"  {line}")
    if chosen.write:
        write(made)
        return 0
    return int(n_different > 0)


if __name__ == "__main__":
    sys.exit(main())

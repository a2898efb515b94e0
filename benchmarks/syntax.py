"""The syntax tagger against its bare parser: the same documents, models and batches, in turn, CPU seconds.

    python benchmarks/syntax.py [--documents 200] [--pairs 5] [--spacy MODEL] [--stanza FOLDER] [--parsed] [--json FILE]

"bare" is what a script does that only parses: `list(nlp.pipe(texts))`, `nlp.bulk_process(documents)`, keeping nothing; "grouped", for
spaCy, the same over groups of documents as small as the tagger's, which is faster. "tagger" is the tagger on a ready batch:
language, parse, distances, depths, statistics, Arrow columns. spaCy's bare parser leaves out the
components that the tagger does (named entities, lemmas). Documents are long docstrings of Python sources. torch has one
thread in both. Without --stanza a toy model is trained, whose parser is so small that what surrounds it weighs more than
it ever does with a real one: an upper bound. --parsed times the reading of CoNLL-U and trees alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keywords import documents

from tagcorpus.taggers import DocumentBatch, load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import stanza_models


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def spacy_works(model: str, texts: list[str]) -> dict[str, Callable[[], Any]]:
    import spacy

    from tagcorpus.taggers._syntax.models import parse_groups
    from tagcorpus.taggers._syntax.spacy_parser import _EXCLUDED, GROUP_CHARACTERS, _folder
    from tagcorpus.taggers._syntax.statistics import Parse

    tagger = load("syntax", {"backend": "spacy", "models": model})
    bare = spacy.load(_folder(model), exclude=list(_EXCLUDED))
    return {
        "bare": lambda: list(bare.pipe(texts)),
        "grouped": lambda: parse_groups(texts, lambda group: [Parse() for _ in bare.pipe(group)], GROUP_CHARACTERS),
        "tagger": lambda: tagger.tag(DocumentBatch.from_texts(texts)),
    }


def stanza_works(folder: str, texts: list[str]) -> dict[str, Callable[[], Any]]:
    import stanza
    import torch

    torch.set_num_threads(1)
    tagger: Any = load("syntax", {"models": folder})
    code, packages = tagger._models.languages["en"]
    bare = stanza.Pipeline(
        code, dir=folder, package=None, processors=packages, download_method=None, logging_level="ERROR"
    )
    return {
        "bare": lambda: bare.bulk_process([stanza.Document([], text=t) for t in texts]),
        "tagger": lambda: tagger.tag(DocumentBatch.from_texts(texts)),
    }


def parsed_works(texts: list[str]) -> dict[str, Callable[[], Any]]:
    """The same words everywhere, of which only the form matters here."""
    line = "{0}\tword\tword\tNOUN\tNN\t_\t{1}\tdep\t_\t_\n"
    conllu = "\n".join("".join(line.format(i, i - 1) for i in range(1, 21)) for _ in range(10))
    trees = "\n".join(["(ROOT (S (NP (DT a) (NN word)) (VP (VBZ is) (NP (DT a) (NN word))) (. .)))"] * 30)
    tagger = load("syntax", {"backend": "parsed"})
    columns = {"conllu": [conllu] * len(texts), "constituency": [trees] * len(texts)}
    return {"tagger": lambda: tagger.tag(DocumentBatch.from_texts(texts, columns=columns))}


def main() -> None:
    parser = argparse.ArgumentParser(description="Syntax tagger against its bare parser")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--spacy", help="name or folder of a spaCy model")
    parser.add_argument("--stanza", nargs="?", const="", help="folder of Stanza models; without one, a toy is trained")
    parser.add_argument("--parsed", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    home = Path(sysconfig.get_paths()["stdlib"])
    found = [t for t in documents([home], 5_000_000) if len(t) < 5_000]
    texts = found[:: max(1, len(found) // options.documents)][: options.documents]
    works: dict[str, dict[str, Callable[[], Any]]] = {}
    if options.spacy:
        works["spacy"] = spacy_works(options.spacy, texts)
    if options.stanza is not None:
        folder = options.stanza or str(stanza_models.train(Path(tempfile.mkdtemp())))
        works["stanza"] = stanza_works(folder, texts)
    if options.parsed:
        works["parsed"] = parsed_works(texts)
    figures: dict[str, Any] = {"documents": len(texts), "characters": sum(map(len, texts)), "pairs": options.pairs}
    print(f"{len(texts)} documents, {figures['characters']:,} characters; CPU seconds, median of {options.pairs} pairs")
    for name, programs in works.items():
        for work in programs.values():
            work()
        runs = [{k: cpu(work) for k, work in programs.items()} for _ in range(options.pairs)]
        figures[name] = {k: statistics.median(r[k] for r in runs) for k in programs}
        told = ", ".join(f"{k} {v:.2f}" for k, v in figures[name].items())
        for other in programs:
            if other != "tagger":
                ratios = sorted(r["tagger"] / r[other] for r in runs)
                figures[name][f"ratios_{other}"] = ratios
                told += f", tagger / {other} {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{name}: {told}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

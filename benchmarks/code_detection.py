"""Accuracy of the code tagger's language detection on real files, whose extension says the language.

    python benchmarks/code_detection.py FOLDER... [--files 150] [--seed 0]

Headers (.h) are left out, as C and C++ share them. Prints accuracy and mistakes per language, and characters per second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from pathlib import Path

from tagcorpus.taggers._code_detect import CHARACTERS, detect
from tagcorpus.taggers._code_languages import known_language


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--files", type=int, default=150, help="a language at most")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    files: dict[str, list[Path]] = {}
    for folder in told.folders:
        for root, _, leaves in sorted(os.walk(folder)):
            for leaf in sorted(leaves):
                suffix = os.path.splitext(leaf)[1]
                language = known_language(suffix) if suffix and suffix != ".h" else None
                if language and (path := Path(root, leaf)).is_file() and path.stat().st_size > 400:
                    files.setdefault(language, []).append(path)
    chance = random.Random(told.seed)
    right = total = characters = 0
    seconds = 0.0
    shares = {}
    for language, paths in sorted(files.items()):
        found: Counter[str] = Counter()
        for path in chance.sample(paths, min(told.files, len(paths))):
            text = path.read_text(errors="replace")
            started = time.process_time()
            found[detect(text)] += 1
            seconds += time.process_time() - started
            characters += min(len(text), CHARACTERS)
        n = found.total()
        right, total = right + found[language], total + n
        shares[language] = found[language] / n
        wrong = ", ".join(f"{k} {v}" for k, v in found.most_common() if k != language)
        print(f"{language:<12} {found[language]:>4} of {n:>4} ({100 * shares[language]:5.1f} %)  {wrong}")
    result = {
        "files": total,
        "accuracy": right / total,
        "mean_over_languages": sum(shares.values()) / len(shares),
        "mean_ms_a_document": 1000 * seconds / total,
        "characters_per_cpu_second": characters / seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

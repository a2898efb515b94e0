"""Accuracy of the code tagger's language detection on real files, whose extension says what they are.

    python benchmarks/code_detection.py FOLDER... [--files 150] [--per-folder 4] [--seed 0]

Prints, for every programming language, how many of its files are taken for it, and for what else; for texts that are in none of
the languages (prose, data, markup, scripts, other languages, by OTHERS), how many are taken for one; and milliseconds per
document. Headers (.h) are left out, as C and C++ share them. Few files of one folder: neighbours are alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from pathlib import Path

from tagcorpus.taggers._code.detect import detect
from tagcorpus.taggers._code.languages import UNKNOWN, known_language

OTHERS = frozenset(
    {"awk", "bat", "clj", "cmake", "csv", "css", "diff", "el", "f", "f90", "gradle", "groovy", "hs", "html", "ini", "json", "log", "lua", "m", "m4", "md", "ml", "patch", "pas", "pl", "pm", "po", "pod", "proto", "ps1", "r", "rst", "s", "scm", "scss", "sh", "sql", "svg", "swift", "tcl", "tex", "toml", "txt", "vim", "xml", "yaml", "yml"}
)  # fmt: skip
READ_BYTES = 200_000


def kind_of(leaf: str) -> str | None:
    """A language, `.md` and the like for other texts, None for what is not to be judged."""
    suffix = os.path.splitext(leaf)[1].lower()
    if not suffix or suffix == ".h":
        return None
    return known_language(suffix) or (suffix if suffix[1:] in OTHERS else None)


def chosen(folders: list[str], n: int, per_folder: int, seed: int) -> dict[str, list[Path]]:
    """Up to n files a kind, at most per_folder of them from one folder, the same ones every time."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for root, _, leaves in sorted(os.walk(folder)):
            for leaf in sorted(leaves):
                if (kind := kind_of(leaf)) and (path := Path(root, leaf)).is_file() and path.stat().st_size > 400:
                    found.setdefault(kind, []).append(path)
    chance = random.Random(seed)
    for paths in found.values():
        chance.shuffle(paths)
        taken: Counter[Path] = Counter()
        kept = []
        for path in paths:
            taken[path.parent] += 1
            if taken[path.parent] <= per_folder:
                kept.append(path)
        paths[:] = kept[:n]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--files", type=int, default=150, help="of a kind at most")
    parser.add_argument("--per-folder", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    files = chosen(told.folders, told.files, told.per_folder, told.seed)
    detect("int main(void) { return 0; }\n")
    right: Counter[str] = Counter()
    n: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    shares = []
    for kind, paths in sorted(files.items(), key=lambda item: (item[0][0] == ".", item[0])):
        found: Counter[str] = Counter()
        group, wanted = ("others", UNKNOWN) if kind[0] == "." else ("code", kind)
        for path in paths:
            text = path.read_bytes()[:READ_BYTES].decode(errors="replace")
            started = time.process_time()
            found[detect(text)] += 1
            seconds[group] += time.process_time() - started
        right[group] += found[wanted]
        n[group] += found.total()
        if group == "code":
            shares.append(found[wanted] / found.total())
        wrong = ", ".join(f"{k} {v}" for k, v in found.most_common() if k != wanted)
        print(f"{kind:<12} {found[wanted]:>4} of {found.total():>4}  {wrong}")
    result = {
        **{f"{group}_files": n[group] for group in n},
        **{f"{group}_right": right[group] / n[group] for group in n},
        "mean_over_languages": sum(shares) / max(len(shares), 1),
        **{f"{group}_ms_a_document": 1000 * seconds[group] / n[group] for group in n},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""The code tagger's walk against the straightforward way: recursion over children, and one query per variable name.

Both start from the same parsed trees and give the same depths and distances, which is checked. Files are taken from the
folders named, by extension; pairs are run in turn.

    python benchmarks/code_walk.py FOLDER... [--files 60] [--max-bytes 60000] [--pairs 5] [--with-parse]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tagcorpus.taggers._code.languages import LANGUAGES, grammar, known_language
from tagcorpus.taggers._code.walk import Measures, measure_tree, parse

STEPS = 1_000_000


@functools.cache
def is_possible(name: str, pattern: str) -> bool:
    """Whether a grammar has such nodes inside one another: a query is refused otherwise."""
    import tree_sitter

    try:
        tree_sitter.Query(grammar(name).language, pattern)
    except tree_sitter.QueryError:
        return False
    return True


def plain(tree: Any, source: bytes, name: str) -> tuple[list[int], list[int]]:
    """Depths of all named nodes and resolved distances, as one would write it first with py-tree-sitter."""
    import tree_sitter

    nodes, language = LANGUAGES[name], grammar(name).language
    depths: list[int] = []

    def visit(node: Any, depth: int) -> None:
        depths.append(depth)
        for child in node.named_children:
            visit(child, depth + 1)

    visit(tree.root_node, 0)

    def captured(pattern: str) -> list[Any]:
        found = tree_sitter.QueryCursor(tree_sitter.Query(language, pattern)).captures(tree.root_node)
        return sorted(found.get("name", []), key=lambda n: n.start_byte)

    def inside(outer: tuple[str, ...], inner: tuple[str, ...]) -> list[Any]:
        return captured("\n".join(p for o in outer for i in inner if is_possible(name, p := f"({o} ({i}) @name)")))

    def by_text(found: list[Any]) -> dict[bytes, list[int]]:
        ends: dict[bytes, list[int]] = {}
        for node in found:
            ends.setdefault(source[node.start_byte : node.end_byte], []).append(node.end_byte)
        return ends

    functions, calls = inside(nodes.function, nodes.name), inside(nodes.call, nodes.name)
    variables = inside(nodes.variable, nodes.variable_name)
    taken = {n.id for n in (*functions, *variables, *calls)}

    def distance(node: Any, ends: list[int]) -> tuple[int, int]:
        start = node.start_byte
        return start, start - ends[max(bisect_right(ends, start) - 1, 0)]

    function_ends = by_text(functions)
    texts = [source[n.start_byte : n.end_byte] for n in calls]
    resolved = [distance(n, function_ends[t]) for n, t in zip(calls, texts, strict=True) if t in function_ends]
    for text, ends in by_text(variables).items():
        quoted = text.decode().replace("\\", "\\\\").replace('"', '\\"')
        pattern = "\n".join(f'(({i}) @name (#eq? @name "{quoted}"))' for i in nodes.variable_name)
        resolved += [distance(node, ends) for node in captured(pattern) if node.id not in taken]
    return depths, [distance for _, distance in sorted(resolved)]


def ours(tree: Any, source: bytes, name: str) -> Measures:
    return measure_tree(tree, source, grammar(name))


def chosen(folders: list[str], n: int, max_bytes: int) -> list[tuple[str, bytes]]:
    """Up to n files a language, by extension, the same ones every time."""
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for root, _, leaves in sorted(os.walk(folder)):
            for leaf in sorted(leaves):
                language = known_language(os.path.splitext(leaf)[1])
                if language and (path := Path(root, leaf)).is_file() and 400 < path.stat().st_size <= max_bytes:
                    files.setdefault(language, []).append(path)
    chance = random.Random(0)
    return [
        (language, path.read_bytes())
        for language, paths in sorted(files.items())
        for path in chance.sample(paths, min(n, len(paths)))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--files", type=int, default=60, help="a language")
    parser.add_argument("--max-bytes", type=int, default=60_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--with-parse", action="store_true", help="parse anew in both, as a tagger must")
    told = parser.parse_args()
    sys.setrecursionlimit(20_000)
    files = chosen(told.folders, told.files, told.max_bytes)
    trees = [(parse(source, grammar(name), STEPS), source, name) for name, source in files]
    n_nodes = 0
    for tree, source, name in trees:
        found, (depths, distances) = measure_tree(tree, source, grammar(name)), plain(tree, source, name)
        assert (found.n_nodes, found.sum_depth, found.use_distances) == (len(depths), sum(depths), distances)
        n_nodes += found.n_nodes

    def seconds(walk: Callable[[Any, bytes, str], object]) -> float:
        started = time.process_time()
        for tree, source, name in trees:
            walk(parse(source, grammar(name), STEPS) if told.with_parse else tree, source, name)
        return time.process_time() - started

    pairs = [(seconds(plain), seconds(ours)) for _ in range(told.pairs)]
    ratios = [a / b for a, b in pairs]
    result = {
        "files": len(trees),
        "bytes": sum(len(s) for _, s, _ in trees),
        "named_nodes": n_nodes,
        "plain_cpu_seconds": statistics.median(a for a, _ in pairs),
        "ours_cpu_seconds": statistics.median(b for _, b in pairs),
        "ratio_median": statistics.median(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
    }
    for key, value in result.items():
        print(f"{key:<20} {value:,.4g}" if isinstance(value, float) else f"{key:<20} {value:,}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

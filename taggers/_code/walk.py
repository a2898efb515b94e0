"""Parse one source text and measure its syntax tree in a single walk.

Only named nodes count, in pre-order. A tree may be as deep as the text is long, so no function here recurses. The walk collects
definitions and resolves uses afterwards, because a use may come before its definition.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.taggers._code.languages import Grammar, grammar
from tagcorpus.taggers._interface.memory import resident_bytes

# Bytes that tree-sitter reads at once.
CHUNK_BYTES = 1 << 16
# Steps between two looks at the memory: a look takes half as long as a step.
STEPS_A_LOOK = 64


class ParseTimeout(Exception):
    """The parser took more steps than allowed."""


class ParseTooLarge(Exception):
    """The parser took more memory than allowed."""


@dataclass
class Measures:
    """The results of a walk. `depths`, `types` and `distances` have one entry a named node, and only with `lists`.

    max_depth, sum_depth   depths in edges from the root
    use_distances          bytes from a definition's end to the use's start, one a resolved use, in text order
    n_errors               named nodes that the grammar marks as errors or as missing
    n_missing_tokens       other tokens that the grammar marks as missing: a semicolon, a bracket
    """

    n_nodes: int = 0
    max_depth: int = 0
    sum_depth: int = 0
    n_definitions: int = 0
    n_calls: int = 0
    n_errors: int = 0
    n_missing_tokens: int = 0
    use_distances: list[int] = field(default_factory=list)
    depths: array[int] = field(default_factory=lambda: array("i"))
    types: list[str] = field(default_factory=list)
    distances: list[int | None] = field(default_factory=list)


def parse(source: bytes, language: Grammar, max_steps: int, max_memory: int = 0) -> Any:
    """The syntax tree. A step is a hundred operations of the parser, so a limit of steps is the same on every machine.

    max_memory  bytes by which the process may grow meanwhile; 0 = any, and any where the system does not tell. Code takes
                some hundred bytes per byte of text; text that confuses a grammar may take the square of its length, in few steps
    Raises ParseTimeout after `max_steps`, ParseTooLarge beyond `max_memory`.
    """
    import tree_sitter

    steps = 0
    is_too_large = False
    before = resident_bytes() if max_memory else None

    def is_too_much(_offset: int, _has_error: bool) -> bool:
        nonlocal steps, is_too_large
        steps += 1
        if before is not None and steps % STEPS_A_LOOK == 0:
            is_too_large = (resident_bytes() or 0) - before > max_memory
        return is_too_large or steps > max_steps

    def chunk(offset: int, _point: object) -> bytes:
        return source[offset : offset + CHUNK_BYTES]

    parser = tree_sitter.Parser(language.language)
    try:
        return parser.parse(chunk, progress_callback=is_too_much)
    except ValueError as error:  # tree-sitter raises it for a parse that was stopped
        if is_too_large:
            raise ParseTooLarge(f"parsing takes more than {max_memory:,} bytes (max_parse_memory)") from error
        if steps <= max_steps:
            raise
        raise ParseTimeout(f"not parsed within {max_steps:,} steps (max_parse_steps)") from error


def measure(source: bytes, name: str, max_steps: int, lists: bool = False, max_memory: int = 0) -> Measures:
    """Parse a text in the language `name` and walk its tree. Raises ParseTimeout and ParseTooLarge, as `parse` does."""
    language = grammar(name)
    return measure_tree(parse(source, language, max_steps, max_memory), source, language, lists)


def measure_tree(tree: Any, source: bytes, language: Grammar, lists: bool = False) -> Measures:
    """Walk a tree once, and resolve the uses of what it defines."""
    measures = Measures()
    functions: dict[bytes, list[int]] = {}
    variables: dict[bytes, list[int]] = {}
    # Start, text and node of every name that may turn out to be a use.
    calls: list[tuple[int, bytes, int]] = []
    uses: list[tuple[int, bytes, int]] = []
    _walk(tree, source, language, measures, functions, variables, calls, uses, lists)
    if lists:
        measures.distances = [None] * measures.n_nodes
    resolved: list[tuple[int, int]] = []
    for occurrences, definitions in ((calls, functions), (uses, variables)):
        for start, text, node in occurrences:
            if ends := definitions.get(text):
                resolved.append((node, start - ends[max(bisect_right(ends, start) - 1, 0)]))
    resolved.sort()
    measures.use_distances = [distance for _, distance in resolved]
    if lists:
        for node, distance in resolved:
            measures.distances[node] = distance
    return measures


def _walk(
    tree: Any,
    source: bytes,
    language: Grammar,
    measures: Measures,
    functions: dict[bytes, list[int]],
    variables: dict[bytes, list[int]],
    calls: list[tuple[int, bytes, int]],
    uses: list[tuple[int, bytes, int]],
    lists: bool,
) -> None:
    """Fill `measures`, and the ends of definitions and the occurrences of uses by their text. The loop is the tagger's time:
    it holds its names in local variables and asks a node for no more than it must."""
    is_function, is_call, is_variable = language.functions, language.calls, language.variables
    is_use = language.uses
    names = {own for pairs in (is_function, is_call, is_variable) for _, own in pairs} | is_use
    has_errors = tree.root_node.has_error
    cursor = tree.walk()
    goto_child: Callable[[], bool] = cursor.goto_first_child
    goto_sibling: Callable[[], bool] = cursor.goto_next_sibling
    goto_parent: Callable[[], bool] = cursor.goto_parent
    n_nodes = max_depth = sum_depth = depth = n_errors = n_missing = n_definitions = 0
    parents = [-1]
    while True:
        node = cursor.node
        if node.is_named:
            kind = node.kind_id
            sum_depth += depth
            if depth > max_depth:  # noqa: PLR1730 - calling max() takes ten times as long
                max_depth = depth
            if lists:
                measures.depths.append(depth)
                measures.types.append(node.type)
            if kind in names:
                pair = (parents[-1], kind)
                start, end = node.start_byte, node.end_byte
                text = source[start:end]
                is_defined = pair in is_function
                if is_defined:
                    functions.setdefault(text, []).append(end)
                if pair in is_variable:
                    variables.setdefault(text, []).append(end)
                    is_defined = True
                n_definitions += is_defined
                if pair in is_call:
                    calls.append((start, text, n_nodes))
                elif not is_defined and kind in is_use:
                    uses.append((start, text, n_nodes))
            if has_errors and (node.is_error or node.is_missing):
                n_errors += 1
            n_nodes += 1
            if goto_child():
                parents.append(kind)
                depth += 1
                continue
        elif has_errors and node.is_missing:
            n_missing += 1
        while not goto_sibling():
            if not goto_parent():
                measures.n_nodes, measures.max_depth, measures.sum_depth = n_nodes, max_depth, sum_depth
                measures.n_calls, measures.n_definitions, measures.n_errors = len(calls), n_definitions, n_errors
                measures.n_missing_tokens = n_missing
                return
            parents.pop()
            depth -= 1

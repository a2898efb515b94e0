"""The house: floors of the rooms, no circle of imports of any kind, no state that another module assigns."""

from __future__ import annotations

import ast
import graphlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOP = ("kernels", "taggers", "pipelines", "predictor", "configs")
# The rooms of pipelines, from the ground up. What a module imports lies below it, or beside it in its room.
FLOORS = (
    "storage", "options", "progress", "inputs", "formats", "readers", "generation_files", "attributes", "distributions", "token_ids",
    "filtering", "exporting", "runs", "feature_table", "execution", "batching", "labelling", "dispatch", "counting", "group_statistics",
    "group_entropy", "labels", "distilling", "token_files", "mixes", "training", "mix_models", "predicting", "doctor", "audit", "comparing",
    "report", "tag", "filter", "domain", "annotate", "entropy", "features", "tokenize", "predict", "store", "in_memory", "in_datatrove", "slurm",
    "run", "terminal", "join",
)  # fmt: skip
# Who may import whom: a room sees itself and what stands to its right.
MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {"pipelines", "predictor", "taggers", "errors", "processes"},
    "pipelines": {"pipelines", "predictor", "taggers", "kernels", "configs", "errors", "processes", "requirements"},
    "predictor": {"predictor", "errors", "processes", "requirements"},
    "taggers": {"taggers", "kernels", "configs", "errors", "requirements"},
    "kernels": {"kernels"},
    "configs": set(),
    "errors": set(),
    "requirements": set(),
    "processes": set(),
    "testing": {"taggers", "errors"},
}
MODULES_PER_ROOM = 12
# What these names stand for is changed by its own methods only.
STATEFUL = {
    "run",
    "engine",
    "inputs",
    "ledger",
    "display",
    "heartbeat",
    "options",
    "plan",
    "pool",
    "cluster",
    "tagger",
    "watch",
}


@cache
def modules() -> dict[str, Path]:
    paths = [*ROOT.glob("*.py"), *(p for top in TOP for p in (ROOT / top).rglob("*.py"))]
    named = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(["tagcorpus", *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return named


class Facts(NamedTuple):
    """Of one module: the own modules that it imports anywhere (at its top, in functions, and for type checkers only), its assignments
    to the state of others, and its functions with an argument `job`."""

    imports: set[str]
    assigned: list[str]
    with_job: list[str]


@cache
def facts() -> dict[str, Facts]:
    """By module. Each source is parsed once, and its tree let go: to keep all trees costs more than to make them anew."""
    return {name: _facts_of(name, path) for name, path in modules().items()}


def _facts_of(name: str, path: Path) -> Facts:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = set(_imports_of(name, nodes)) - {name, "tagcorpus"}
    return Facts(imported, list(assigned_from_outside(nodes)), list(_with_job(nodes)))


def imports() -> dict[str, set[str]]:
    return {name: own.imports for name, own in facts().items()}


def _imports_of(name: str, nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in modules() or node.module in modules():
                    yield whole if whole in modules() else str(node.module)


def room_of(name: str) -> str:
    """The package of a module; a package's own code is a room by itself."""
    return name if modules()[name].name == "__init__.py" else name.rpartition(".")[0]


def test_imports_point_one_way() -> None:
    for name, imported in imports().items():
        own = name.split(".")[1] if "." in name else ""
        for other in imported if own else ():
            assert other.split(".")[1] in MAY_IMPORT[own], f"{name} imports {other}"


def test_no_circle_of_modules() -> None:
    graphlib.TopologicalSorter(imports()).prepare()  # raises CycleError, which names the circle


def test_no_circle_of_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for name, imported in imports().items():
        own = room_of(name)
        # The modules beside a package's rooms are its upper floor: each is a room of its own.
        own = name if own in ("tagcorpus", "tagcorpus.pipelines") else own
        for other in imported:
            there = room_of(other)
            there = other if there in ("tagcorpus", "tagcorpus.pipelines") else there
            if there != own:
                rooms.setdefault(own, set()).add(there)
    graphlib.TopologicalSorter(rooms).prepare()


def test_every_room_of_pipelines_has_its_floor() -> None:
    rooms = {p.stem for p in (ROOT / "pipelines").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(FLOORS)


def test_imports_of_pipelines_point_down() -> None:
    floor = {f"tagcorpus.pipelines.{room}": i for i, room in enumerate(FLOORS)}
    for name, imported in imports().items():
        own = ".".join(name.split(".")[:3])
        for other in imported:
            there = ".".join(other.split(".")[:3])
            if own in floor and there in floor:
                assert floor[there] <= floor[own], f"{name} imports {other}"


def test_no_room_is_crowded() -> None:
    sizes = Counter(room_of(name) for name, path in modules().items() if path.name != "__init__.py")
    # In taggers/ each module is one tagger; beside the rooms of pipelines/, and among the options, each is one command.
    one_each = ("tagcorpus", "tagcorpus.taggers", "tagcorpus.pipelines", "tagcorpus.pipelines.options.commands")
    crowded = {room: n for room, n in sizes.items() if n > MODULES_PER_ROOM and room not in one_each}
    assert not crowded


def assigned_from_outside(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Assignments to attributes of what stands for a run, its inputs, its engine and their parts."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if base.lstrip("_") in STATEFUL:
                yield f"{ast.unparse(node)} (line {node.lineno})"


def _with_job(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if "job" in {a.arg for a in arguments}:
                yield node.name


def test_nobody_assigns_the_state_of_a_run() -> None:
    """Only the class itself may, in its methods, by `self`."""
    assert not {name: own.assigned for name, own in facts().items() if own.assigned}


def test_no_signature_has_a_job() -> None:
    assert not {name: own.with_job for name, own in facts().items() if own.with_job}

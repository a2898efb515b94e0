"""The file of a stage tree, read and checked: ConfigError names the YAML path of what is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._asking.file_checks import (
    Wrong,
    header_variables,
    known_name,
    mapping_of,
    number_of,
    request_fields,
    text_of,
)
from tagcorpus.taggers._interface.unique_keys import UniqueKeyLoader
from tagcorpus.taggers._llm.request import ROLES
from tagcorpus.taggers._stage_tree.choices import normalise
from tagcorpus.taggers._stage_tree.tree import Stage, StageTree

TEXT, CHOICES = "{text}", "{choices}"
DOCUMENT_FIRST = "document_first"
LAYOUTS = ("instructions_first", DOCUMENT_FIRST)


@lru_cache(maxsize=1)
def packaged_tree() -> StageTree:
    """The tree that ships with the package."""
    return parse_tree(
        resources.files("tagcorpus.configs").joinpath("domain_tree.yaml").read_text("utf-8"), "domain_tree.yaml"
    )


def read_tree(path: str) -> str:
    """The text of a user's tree; ConfigError when the file cannot be read."""
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the stage tree {path!r} (--tree) cannot be read: {error}") from None


def parse_tree(text: str, source: str) -> StageTree:
    """A checked tree from YAML text. ConfigError names `source` and the YAML path of what is wrong."""
    try:
        data = yaml.load(text, Loader=UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return _build(data)
    except Wrong as error:
        raise ConfigError(f"{source}: {error}") from None


_KEYS = {
    "": (
        "model",
        "temperature",
        "max_answer_tokens",
        "max_text_chars",
        "roles",
        "layout",
        "request",
        "headers",
        "short_document",
        "folds",
        "prompt",
        "stages",
    ),
    "short_document": ("min_chars", "label"),
    "stage": ("name", "instructions", "choices", "off_menu"),
    "choice": ("label", "next"),
}


def _build(data: Any) -> StageTree:
    top = mapping_of(data, "(top level)", _KEYS[""])
    prompt = text_of(top, "prompt", "")
    for mark, times in ((TEXT, "exactly once"), (CHOICES, "at most once")):
        n = prompt.count(mark)
        if n > 1 or (n == 0 and mark == TEXT):
            raise Wrong("prompt", f"must hold {mark} {times}, it stands there {n} times")
    given = top.get("stages")
    if not isinstance(given, list) or not given:
        raise Wrong("stages", f"must be a list of at least one stage, got {given!r}")
    layout = known_name(_name(top.get("layout", LAYOUTS[0]), "layout"), LAYOUTS, "layout", "layout")
    if layout == DOCUMENT_FIRST and CHOICES in prompt.partition(TEXT)[0]:
        raise Wrong(
            "prompt",
            f"must have {CHOICES} behind {TEXT} with the layout {DOCUMENT_FIRST}: no stage would share a prefix",
        )
    stages = tuple(_stage(item, f"stages[{i}]", prompt, layout == DOCUMENT_FIRST) for i, item in enumerate(given))
    _check_graph(stages)
    labels = {label for stage in stages for label, _ in stage.choices.values() if label}
    short = mapping_of(top.get("short_document", {}), "short_document", _KEYS["short_document"])
    folds = _folds(top.get("folds", {}), stages)
    return StageTree(
        model=text_of(top, "model", ""),
        temperature=number_of(top, "temperature", "", 0, float),
        max_answer_tokens=int(number_of(top, "max_answer_tokens", "", 1, int)),
        max_text_chars=int(number_of(top, "max_text_chars", "", 2, int)),
        min_chars=int(number_of(short, "min_chars", "short_document.", 0, int)),
        short_label=known_name(
            _name(short.get("label"), "short_document.label"), labels, "short_document.label", "label"
        ),
        folds=folds,
        stages=stages,
        roles=known_name(_name(top.get("roles", ROLES[0]), "roles"), ROLES, "roles", "roles"),
        request=request_fields(top.get("request", {})),
        headers=header_variables(top.get("headers", {})),
        digest=hashlib.sha256(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:32],
    )


def _stage(item: Any, path: str, prompt: str, is_document_first: bool = False) -> Stage:
    stage = mapping_of(item, path, _KEYS["stage"])
    name = _name(stage.get("name"), f"{path}.name")
    given = stage.get("choices")
    if not isinstance(given, dict) or not given:
        raise Wrong(f"{path}.choices", f"must map at least one answer to a label or a next stage, got {given!r}")
    choices: dict[str, tuple[str | None, str | None]] = {}
    for answer, end in given.items():
        where = f"{path}.choices.{answer}"
        _name(answer, where)
        target = mapping_of(end, where, _KEYS["choice"])
        if len(target) != 1:
            raise Wrong(where, f"must have either label or next, got {end!r}")
        ((key, value),) = target.items()
        _name(value, f"{where}.{key}")
        choices[answer] = (value, None) if key == "label" else (None, value)
    if "off_menu" not in stage:
        raise Wrong(
            f"{path}.off_menu",
            f"is missing: name the choice that an answer outside the menu counts as ({', '.join(choices)})",
        )
    off_menu = known_name(_name(stage["off_menu"], f"{path}.off_menu"), choices, f"{path}.off_menu", "choice")
    before, after = prompt.replace(CHOICES, ", ".join(choices)).split(TEXT)
    instructions = text_of(stage, "instructions", f"{path}.")
    if is_document_first:
        end_of_document, _, rest = after.partition("\n\n")
        after = "\n\n".join(part for part in (end_of_document, instructions.strip(), rest) if part)
    return Stage(name, instructions, before, after, choices, off_menu, is_document_first)


def _check_graph(stages: tuple[Stage, ...]) -> None:
    names: dict[str, int] = {}
    for i, stage in enumerate(stages):
        if stage.name in names:
            raise Wrong(f"stages[{i}].name", f"{stage.name!r} is already the name of stages[{names[stage.name]}]")
        names[stage.name] = i
    following: dict[str, list[str]] = {stage.name: [] for stage in stages}
    for i, stage in enumerate(stages):
        for answer, (_, target) in stage.choices.items():
            if target is not None:
                following[stage.name].append(known_name(target, names, f"stages[{i}].choices.{answer}.next", "stage"))
    reached: set[str] = set()
    _visit(stages[0].name, following, (), reached, names)
    for i, stage in enumerate(stages):
        if stage.name not in reached:
            raise Wrong(
                f"stages[{i}]",
                f"no answer leads from {stages[0].name!r} to {stage.name!r}: name it in a next, or remove it",
            )


def _visit(
    name: str, following: Mapping[str, list[str]], above: tuple[str, ...], reached: set[str], at: Mapping[str, int]
) -> None:
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise Wrong(f"stages[{at[above[-1]]}].choices", f"a document would go round in circles: {circle}")
    if name in reached:
        return
    for target in following[name]:
        _visit(target, following, (*above, name), reached, at)
    reached.add(name)


def _folds(given: Any, stages: tuple[Stage, ...]) -> dict[str, str]:
    if not isinstance(given, dict):
        raise Wrong("folds", f"must map an answer to a choice, got {given!r}")
    choices = {answer for stage in stages for answer in stage.choices}
    for answer, target in given.items():
        _name(answer, f"folds.{answer}")
        if answer in choices:
            raise Wrong(f"folds.{answer}", "is a choice of a stage already and would never be folded")
        known_name(_name(target, f"folds.{answer}"), choices, f"folds.{answer}", "choice")
    return given


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Wrong(
            path,
            f"must be a name, got {value!r} (YAML reads bare yes, no, on, off and numbers as other types: quote it)",
        )
    if not value or normalise(value) != value:
        raise Wrong(
            path,
            f"must be lower case without spaces, hyphens or punctuation at its ends, got {value!r}; try {normalise(value)!r}",
        )
    return value

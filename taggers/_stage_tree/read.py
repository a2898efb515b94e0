"""The file of a stage tree, read and checked: ConfigError names the YAML path of what is wrong."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.unique_keys import UniqueKeyLoader
from tagcorpus.taggers._llm.request import RESERVED, ROLES
from tagcorpus.taggers._stage_tree.choices import normalise
from tagcorpus.taggers._stage_tree.tree import Stage, StageTree

TEXT, CHOICES = "{text}", "{choices}"
DOCUMENT_FIRST = "document_first"
LAYOUTS = ("instructions_first", DOCUMENT_FIRST)
OWN_HEADERS = (
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "accept-encoding",
)


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
    except _Wrong as error:
        raise ConfigError(f"{source}: {error}") from None


class _Wrong(Exception):
    """Something in the tree: YAML path and what must hold."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


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
    top = _mapping(data, "(top level)", _KEYS[""])
    prompt = _text(top, "prompt", "")
    for mark, times in ((TEXT, "exactly once"), (CHOICES, "at most once")):
        n = prompt.count(mark)
        if n > 1 or (n == 0 and mark == TEXT):
            raise _Wrong("prompt", f"must hold {mark} {times}, it stands there {n} times")
    given = top.get("stages")
    if not isinstance(given, list) or not given:
        raise _Wrong("stages", f"must be a list of at least one stage, got {given!r}")
    layout = _known(_name(top.get("layout", LAYOUTS[0]), "layout"), LAYOUTS, "layout", "layout")
    if layout == DOCUMENT_FIRST and CHOICES in prompt.partition(TEXT)[0]:
        raise _Wrong(
            "prompt",
            f"must have {CHOICES} behind {TEXT} with the layout {DOCUMENT_FIRST}: no stage would share a prefix",
        )
    stages = tuple(_stage(item, f"stages[{i}]", prompt, layout == DOCUMENT_FIRST) for i, item in enumerate(given))
    _check_graph(stages)
    labels = {label for stage in stages for label, _ in stage.choices.values() if label}
    short = _mapping(top.get("short_document", {}), "short_document", _KEYS["short_document"])
    folds = _folds(top.get("folds", {}), stages)
    return StageTree(
        model=_text(top, "model", ""),
        temperature=_number(top, "temperature", "", 0, float),
        max_answer_tokens=int(_number(top, "max_answer_tokens", "", 1, int)),
        max_text_chars=int(_number(top, "max_text_chars", "", 2, int)),
        min_chars=int(_number(short, "min_chars", "short_document.", 0, int)),
        short_label=_known(_name(short.get("label"), "short_document.label"), labels, "short_document.label", "label"),
        folds=folds,
        stages=stages,
        roles=_known(_name(top.get("roles", ROLES[0]), "roles"), ROLES, "roles", "roles"),
        request=_request(top.get("request", {})),
        headers=_headers(top.get("headers", {})),
        digest=hashlib.sha256(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:32],
    )


def _request(given: Any) -> tuple[tuple[str, str], ...]:
    """Fields of the request, each with its value as JSON."""
    if not isinstance(given, dict):
        raise _Wrong("request", f"must map fields of the request to values (null leaves a field out), got {given!r}")
    for name, value in given.items():
        if not isinstance(name, str) or not name:
            raise _Wrong("request", f"must have names of fields as keys, got {name!r}")
        if name in RESERVED:
            raise _Wrong(f"request.{name}", "cannot be set: it decides what is asked, or what a reply looks like")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise _Wrong(f"request.{name}", f"must be a value that JSON has, got {value!r}") from None
    return tuple((name, json.dumps(value)) for name, value in given.items())


def _headers(given: Any) -> tuple[tuple[str, str], ...]:
    """By a header's name, the environment variable with its value."""
    if not isinstance(given, dict):
        raise _Wrong("headers", f"must map names of headers to names of environment variables, got {given!r}")
    for name, variable in given.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise _Wrong("headers", f"must have names of HTTP headers as keys, got {name!r}")
        if name.lower() in OWN_HEADERS:
            raise _Wrong(f"headers.{name}", "cannot be set: the client decides it")
        if not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            shown = (
                "something else (which is not shown: it may be a secret)"
                if isinstance(variable, str)
                else repr(variable)
            )
            raise _Wrong(
                f"headers.{name}", f"must be the name of an environment variable that has the value, got {shown}"
            )
    if len({name.lower() for name in given}) < len(given):
        raise _Wrong("headers", "must name each header once, whatever the case")
    return tuple(given.items())


def _stage(item: Any, path: str, prompt: str, is_document_first: bool = False) -> Stage:
    stage = _mapping(item, path, _KEYS["stage"])
    name = _name(stage.get("name"), f"{path}.name")
    given = stage.get("choices")
    if not isinstance(given, dict) or not given:
        raise _Wrong(f"{path}.choices", f"must map at least one answer to a label or a next stage, got {given!r}")
    choices: dict[str, tuple[str | None, str | None]] = {}
    for answer, end in given.items():
        where = f"{path}.choices.{answer}"
        _name(answer, where)
        target = _mapping(end, where, _KEYS["choice"])
        if len(target) != 1:
            raise _Wrong(where, f"must have either label or next, got {end!r}")
        ((key, value),) = target.items()
        _name(value, f"{where}.{key}")
        choices[answer] = (value, None) if key == "label" else (None, value)
    if "off_menu" not in stage:
        raise _Wrong(
            f"{path}.off_menu",
            f"is missing: name the choice that an answer outside the menu counts as ({', '.join(choices)})",
        )
    off_menu = _known(_name(stage["off_menu"], f"{path}.off_menu"), choices, f"{path}.off_menu", "choice")
    before, after = prompt.replace(CHOICES, ", ".join(choices)).split(TEXT)
    instructions = _text(stage, "instructions", f"{path}.")
    if is_document_first:
        end_of_document, _, rest = after.partition("\n\n")
        after = "\n\n".join(part for part in (end_of_document, instructions.strip(), rest) if part)
    return Stage(name, instructions, before, after, choices, off_menu, is_document_first)


def _check_graph(stages: tuple[Stage, ...]) -> None:
    names: dict[str, int] = {}
    for i, stage in enumerate(stages):
        if stage.name in names:
            raise _Wrong(f"stages[{i}].name", f"{stage.name!r} is already the name of stages[{names[stage.name]}]")
        names[stage.name] = i
    following: dict[str, list[str]] = {stage.name: [] for stage in stages}
    for i, stage in enumerate(stages):
        for answer, (_, target) in stage.choices.items():
            if target is not None:
                following[stage.name].append(_known(target, names, f"stages[{i}].choices.{answer}.next", "stage"))
    reached: set[str] = set()
    _visit(stages[0].name, following, (), reached, names)
    for i, stage in enumerate(stages):
        if stage.name not in reached:
            raise _Wrong(
                f"stages[{i}]",
                f"no answer leads from {stages[0].name!r} to {stage.name!r}: name it in a next, or remove it",
            )


def _visit(
    name: str, following: Mapping[str, list[str]], above: tuple[str, ...], reached: set[str], at: Mapping[str, int]
) -> None:
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise _Wrong(f"stages[{at[above[-1]]}].choices", f"a document would go round in circles: {circle}")
    if name in reached:
        return
    for target in following[name]:
        _visit(target, following, (*above, name), reached, at)
    reached.add(name)


def _folds(given: Any, stages: tuple[Stage, ...]) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _Wrong("folds", f"must map an answer to a choice, got {given!r}")
    choices = {answer for stage in stages for answer in stage.choices}
    for answer, target in given.items():
        _name(answer, f"folds.{answer}")
        if answer in choices:
            raise _Wrong(f"folds.{answer}", "is a choice of a stage already and would never be folded")
        _known(_name(target, f"folds.{answer}"), choices, f"folds.{answer}", "choice")
    return given


def _mapping(value: Any, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(path, f"must be a mapping with the keys {', '.join(keys)}, got {value!r}")
    for key in value:
        if key not in keys:
            raise _Wrong(path, f"unknown key {key!r}{_near(str(key), keys)} (known: {', '.join(keys)})")
    return value


def _text(mapping: Mapping[str, Any], key: str, path: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"{path}{key}", f"must be text, got {value!r}")
    return value


def _number(mapping: Mapping[str, Any], key: str, path: str, least: int, kind: type[int] | type[float]) -> float:
    value = mapping.get(key)
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not value >= least:
        noun = "a whole number" if kind is int else "a number"
        raise _Wrong(f"{path}{key}", f"must be {noun} of at least {least}, got {value!r}")
    return value


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(
            path,
            f"must be a name, got {value!r} (YAML reads bare yes, no, on, off and numbers as other types: quote it)",
        )
    if not value or normalise(value) != value:
        raise _Wrong(
            path,
            f"must be lower case without spaces, hyphens or punctuation at its ends, got {value!r}; try {normalise(value)!r}",
        )
    return value


def _known(value: str, known: Any, path: str, kind: str) -> str:
    if value not in known:
        raise _Wrong(path, f"no {kind} named {value!r}{_near(value, known)} (known: {', '.join(sorted(known))})")
    return value


def _near(value: str, known: Any) -> str:
    near = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""

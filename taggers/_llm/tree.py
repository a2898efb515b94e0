"""The stage tree of the domain classifier: loaded, checked, and interpreted as a small state machine.

A tree asks a model one question (stage) after another about a document; each answer either ends with a label or leads to
another stage. Nothing here calls anybody: `Walk` says what to ask next and takes the answer. The stages of the packaged
tree are those of the "domain" classifier of arXiv 2503.03862; the wording is ours.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._llm.reply import spoken
from tagcorpus.taggers._llm.request import LIMITS, RESERVED, ROLES
from tagcorpus.taggers._tokenizers.interface import Tokenizer

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
CUT_MARK = "\n[...]\n"
"""Stands between head and tail of a document that was cut to the budget."""

TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
"""Of OpenAI's chat format: role and marks of a message, and the beginning of the answer."""
TEMPLATE_TOKENS = 128
"""Of one request: role names, marks between messages, and a system text of the template's own (gpt-oss has the longest, about 70
tokens)."""
HARMLESS = (
    "The town library opens at nine in the morning and closes at six in the evening. On Saturdays children listen to stories "
    "in the reading room, and on Sundays the doors stay shut."
)
"""The document of a question that no filter, guard or limit could mind: it shows whether an endpoint answers at all."""
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_FENCE = re.compile(r"^```\w*\s*|```\s*$")
_DENIES = re.compile(
    r"\b(?:not|no|nor|neither|never|none|cannot|hardly|barely|without|rather|instead|unlikely|whether|if|maybe|perhaps|unsure|or|"
    r"either|except|but)\b|n['\u2019]t\b|\?",
    re.IGNORECASE,
)
"""Words that take back, or leave open, what a sentence names."""
_INNER = re.compile(r"[\s\-_]+")


def normalise(answer: str) -> str:
    """A model's answer as a choice name: no surrounding space, quotes, markdown emphasis or punctuation; lower case;
    inner white space and hyphens as one underscore. Example: ' **"Specific datasets."** ' -> specific_datasets."""
    return _INNER.sub("_", _EDGES.sub("", answer)).lower()


def named_choice(said: str, choices: Collection[str]) -> str:
    """The choice that an answer names, or the normalised answer where it does not name exactly one.

    Understood are the bare choice, JSON, code fences, and sentences that begin or end with the choice, name no other, and deny
    and doubt nothing.

    Example  '{"label": "books"}' -> books; 'The answer is: books.' -> books; 'I do not think it is books' -> off the menu
    """
    whole = normalise(said)
    if whole in choices:
        return whole
    fenced = _FENCE.sub("", said).strip()
    if fenced[:1] in "{[" and fenced:
        values = {normalise(value) for value in _strings(fenced)} & set(choices)
        return values.pop() if len(values) == 1 else whole
    names = sorted(choices, key=len, reverse=True)
    pattern = "|".join(r"[\s_-]+".join(re.escape(word) for word in name.split("_")) for name in names)
    mentions = list(re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", fenced, re.IGNORECASE))
    named = {normalise(mention[0]) for mention in mentions}
    if len(named) != 1:
        return whole
    around = re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", " ", fenced, flags=re.IGNORECASE)
    before, after = fenced[: mentions[0].start()], fenced[mentions[-1].end() :]
    is_last = re.fullmatch(r"[\s\"'`*_.!)\]]*", after) is not None
    is_first = re.fullmatch(r"[\s\"'`*_(\[]*", before) is not None and re.match(
        r"[\"'`*_)\]]*\s*(?:[.,:;!(\n\u2013\u2014-]|because\b|since\b|as\b)", fenced[mentions[0].end() :]
    )
    return named.pop() if (is_last or is_first) and not _DENIES.search(around) else whole


def _strings(text: str) -> list[str]:
    """Every string that is a value in a JSON text; none where it is not JSON."""
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return []
    strings = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return strings


@dataclass(frozen=True)
class Stage:
    """One question. Each choice maps to (label, None) or (None, name of the next stage)."""

    name: str
    instructions: str
    before: str
    after: str
    choices: Mapping[str, tuple[str | None, str | None]]
    off_menu: str
    is_document_first: bool = False
    """The instructions are part of `after`, so that the stages of one document share what is before them."""

    def messages(self, text: str) -> list[dict[str, str]]:
        """The chat messages that ask this about `text`, which is pasted and never formatted."""
        question = {"role": "user", "content": self.before + text + self.after}
        return [question] if self.is_document_first else [{"role": "system", "content": self.instructions}, question]


@dataclass(frozen=True)
class StageTree:
    """A checked tree. The first stage is the entry; `digest` covers the content, not comments. `roles`, `request` (each value as JSON)
    and `headers` (by name, the environment variable with the value) say how the endpoint is asked."""

    model: str
    temperature: float
    max_answer_tokens: int
    max_text_chars: int
    min_chars: int
    short_label: str
    folds: Mapping[str, str]
    stages: tuple[Stage, ...]
    digest: str
    roles: str = "system"
    request: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def labels(self) -> frozenset[str]:
        """Every label this tree can give."""
        ends = {label for stage in self.stages for label, _ in stage.choices.values() if label is not None}
        return frozenset({*ends, self.short_label})

    @cached_property
    def worst_case_calls(self) -> int:
        """Calls on the longest path."""
        return self.calls_from(self.stages[0].name)

    def calls_from(self, stage: str) -> int:
        """Calls on the longest path that begins with this stage."""
        return _longest({s.name: [n for _, n in s.choices.values() if n] for s in self.stages}, stage)

    def most_tokens(self, text: str, n_calls: int, tokenizer: Tokenizer | None = None) -> int:
        """Tokens that so many calls about a text have at most, prompts and answers, counted with the model's tokenizer at OpenAI, or
        else whatever the tokenizer.

        A token of a byte-level BPE has at least one byte of UTF-8, as one of SentencePiece with byte fallback has, which may put
        a space before the text. The chat template of the server adds `TEMPLATE_TOKENS` at most.
        """
        if not n_calls:
            return 0
        if tokenizer is not None and not self.request and self.roles == "system":
            return self._counted_tokens(text, n_calls, tokenizer)
        frames = [sum(len(message["content"].encode()) for message in s.messages("")) for s in self.stages]
        kept, _ = self.cut(text)
        added = sum(len(value.encode()) for _, value in self.request)
        each = len(kept.encode("utf-8", "surrogatepass")) + added + TEMPLATE_TOKENS + (self.answer_limit or 0)
        return n_calls * each + sum(sorted(frames)[-n_calls:])

    def _counted_tokens(self, text: str, n_calls: int, tokenizer: Tokenizer) -> int:
        kept, _ = self.cut(text)
        questions = [stage.messages(kept) for stage in self.stages]
        ids = tokenizer.encode_batch([message["content"] for messages in questions for message in messages])
        sizes: Iterator[int] = iter(np.diff(ids.offsets).tolist())
        prompts = [
            sum(next(sizes) + TOKENS_PER_MESSAGE for _ in messages) + TOKENS_PER_REQUEST for messages in questions
        ]
        return sum(sorted(prompts)[-n_calls:]) + n_calls * self.max_answer_tokens

    @cached_property
    def answer_limit(self) -> int | None:
        """Tokens that an answer has at most; None where `request` takes the limit away."""
        limits: dict[str, Any] = {"max_tokens": self.max_answer_tokens}
        limits |= {name: json.loads(value) for name, value in self.request if name in LIMITS}
        return max((limit for limit in limits.values() if isinstance(limit, int)), default=None)

    def is_short(self, text: object) -> bool:
        """True for what is labelled without a call: fewer than `min_chars` characters, or not a string."""
        return not isinstance(text, str) or len(text) < self.min_chars

    def cut(self, text: str) -> tuple[str, bool]:
        """(text within `max_text_chars`, whether it was cut). Head and tail stay, with a mark between."""
        if len(text) <= self.max_text_chars:
            return text, False
        tail = self.max_text_chars // 2
        return text[: self.max_text_chars - tail] + CUT_MARK + text[len(text) - tail :], True

    def start(self, text: str) -> Walk:
        """A walk at the first stage. `text` is cut to the budget."""
        kept, is_truncated = self.cut(text)
        return Walk(self, kept, is_truncated, self.stages[0].name)


@dataclass(frozen=True)
class Walk:
    """One document on its way through a tree. Immutable: `answered` and `failed` return the next state.

    `stage` is the stage being asked, or the one that decided once `label` or `error` is set. `path` holds what
    happened: (stage, raw answer) of every answered call.
    """

    tree: StageTree
    text: str
    is_truncated: bool
    stage: str
    path: tuple[tuple[str, str], ...] = ()
    is_off_menu: bool = False
    label: str | None = None
    error: str | None = None
    answered_by: str = ""
    """The models that answered, as the endpoint names them, with ", " between several."""

    def messages(self) -> list[dict[str, str]] | None:
        """What to ask next, or None at the end."""
        if self.label is not None or self.error is not None:
            return None
        return self.tree.by_name[self.stage].messages(self.text)

    def harmless(self) -> list[dict[str, str]]:
        """The question of the stage being asked, about a document that nobody could refuse."""
        return self.tree.by_name[self.stage].messages(HARMLESS)

    def accepts(self, raw: str) -> bool:
        """Whether this is nothing but a choice of the stage being asked."""
        return self._folded(normalise(spoken(raw))) in self.tree.by_name[self.stage].choices

    def names_choice(self, raw: str) -> bool:
        """Whether exactly one choice of the stage being asked is named."""
        return self._choice(raw) in self.tree.by_name[self.stage].choices

    def answered(self, raw: str, model: str = "") -> Walk:
        """The state after the model's raw answer to `messages()`."""
        models = self.answered_by.split(", ") if self.answered_by else []
        stage = self.tree.by_name[self.stage]
        answer = self._choice(raw)
        is_off_menu = answer not in stage.choices
        label, following = stage.choices[stage.off_menu if is_off_menu else answer]
        return replace(
            self,
            stage=following or self.stage,
            path=(*self.path, (self.stage, raw)),
            is_off_menu=self.is_off_menu or is_off_menu,
            label=label,
            answered_by=", ".join(models if model in ("", *models) else [*models, model]),
        )

    def failed(self, reason: str) -> Walk:
        """The end of a document that the model will never answer for."""
        return replace(self, error=reason)

    def _choice(self, raw: str) -> str:
        """The choice that an answer names, or the answer as it would be named."""
        choices = self.tree.by_name[self.stage].choices
        known = {*choices, *(answer for answer, target in self.tree.folds.items() if target in choices)}
        return self._folded(named_choice(spoken(raw), known))

    def _folded(self, answer: str) -> str:
        return answer if answer in self.tree.by_name[self.stage].choices else self.tree.folds.get(answer, answer)

    @property
    def n_calls(self) -> int:
        """Stages asked, the failed one included."""
        return len(self.path) + (self.error is not None)


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


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; here they are an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands here twice", key.start_mark)
            seen.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


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


def _longest(following: Mapping[str, list[str]], name: str) -> int:
    return 1 + max((_longest(following, target) for target in following[name]), default=0)


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

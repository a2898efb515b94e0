"""The stage tree of the domain classifier, interpreted as a small state machine.

A tree asks a model one question (stage) after another about a document. Each answer either ends with a label or leads to
another stage. `Walk` gives the next question and takes the answer; it calls no endpoint. The stages of the packaged
tree are those of the "domain" classifier of arXiv 2503.03862; the wording is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tagcorpus.taggers._llm.reply import spoken
from tagcorpus.taggers._llm.request import LIMITS
from tagcorpus.taggers._llm.tokens import TEMPLATE_TOKENS
from tagcorpus.taggers._stage_tree.choices import bare_choice, named_choice
from tagcorpus.taggers._tokenizers.interface import Tokenizer

CUT_MARK = "\n[...]\n"
"""The text between head and tail of a document that was cut to the budget."""

TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
"""Tokens of OpenAI's chat format: role and marks of a message, and the beginning of the answer."""
HARMLESS = (
    "The town library opens at nine in the morning and closes at six in the evening. On Saturdays children listen to stories "
    "in the reading room, and on Sundays the doors stay shut."
)
"""The document of a harmless question, which no filter, guard or limit refuses. It shows whether an endpoint answers at all."""


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
    """The instructions are part of `after`, so that the stages of one document share a prefix."""

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
        """An upper bound of the tokens of so many calls about a text, prompts and answers. The bound holds for every tokenizer where
        none is given.

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
        """True for a text that is labelled without a call: fewer than `min_chars` characters, or not a string."""
        return not isinstance(text, str) or len(text) < self.min_chars

    def shown(self, text: str) -> tuple[str, ...]:
        """The text as it is sent."""
        return (self.cut(text)[0],)

    def cut(self, text: str) -> tuple[str, bool]:
        """(text within `max_text_chars`, whether it was cut). Head and tail stay, with a mark between."""
        if len(text) <= self.max_text_chars:
            return text, False
        tail = self.max_text_chars // 2
        return text[: self.max_text_chars - tail] + CUT_MARK + text[len(text) - tail :], True

    def at(self, stage: str) -> Walk:
        """A walk without a document that asks this stage next."""
        return Walk(self, "", False, stage if stage in self.by_name else self.stages[0].name)

    def start(self, text: str) -> Walk:
        """A walk at the first stage. `text` is cut to the budget."""
        kept, is_truncated = self.cut(text)
        return Walk(self, kept, is_truncated, self.stages[0].name)


@dataclass(frozen=True)
class Walk:
    """One document on its way through a tree. Immutable: `answered` and `failed` return the next state.

    `stage` is the stage being asked, or the one that decided once `label` or `error` is set. `path` has
    (stage, raw answer) of every answered call.
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
        """The messages of the next question, or None at the end."""
        if self.label is not None or self.error is not None:
            return None
        return self.tree.by_name[self.stage].messages(self.text)

    def harmless(self) -> list[dict[str, str]]:
        """The current stage's question about a harmless document."""
        return self.tree.by_name[self.stage].messages(HARMLESS)

    def accepts(self, raw: str) -> bool:
        """Whether this is nothing but a choice of the stage being asked."""
        return self._folded(bare_choice(spoken(raw))) in self.tree.by_name[self.stage].choices

    def names_choice(self, raw: str) -> bool:
        """Whether exactly one choice of the stage being asked is named."""
        return self._choice(raw) in self.tree.by_name[self.stage].choices

    def flaw(self, raw: str) -> str:  # noqa: ARG002
        """Nothing: an answer off the menu counts as a choice."""
        return ""

    @property
    def calls_left(self) -> int:
        """The most questions that are still to ask."""
        return 0 if self.messages() is None else self.tree.calls_from(self.stage)

    def answered(self, raw: str, model: str = "", logprobs: str = "") -> Walk:  # noqa: ARG002 - of a label's word only
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
        """The state of a document that gets no answer."""
        return replace(self, error=reason)

    def _choice(self, raw: str) -> str:
        """The choice that an answer names, or the normalised answer."""
        choices = self.tree.by_name[self.stage].choices
        known = {*choices, *(answer for answer, target in self.tree.folds.items() if target in choices)}
        return self._folded(named_choice(spoken(raw), known))

    def _folded(self, answer: str) -> str:
        return answer if answer in self.tree.by_name[self.stage].choices else self.tree.folds.get(answer, answer)

    @property
    def n_calls(self) -> int:
        """Stages asked, the failed one included."""
        return len(self.path) + (self.error is not None)


def _longest(following: Mapping[str, list[str]], name: str) -> int:
    return 1 + max((_longest(following, target) for target in following[name]), default=0)

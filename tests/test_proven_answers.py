"""Answers of models that deny, doubt or only quote a choice, and replies that hold an error beside an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.labelling.label_counts import is_named_like
from tagcorpus.taggers._annotation.answers import values_in
from tagcorpus.taggers._annotation.properties import Property
from tagcorpus.taggers._annotation.read import parse_schema
from tagcorpus.taggers._llm.reply import Answer, Failure, judge
from tagcorpus.taggers._stage_tree.choices import bare_choice, named_choice
from tagcorpus.taggers._stage_tree.read import packaged_tree

MENU = ("web", "books", "academic", "code", "not_code")


@pytest.mark.parametrize(
    "answer",
    [
        "Das ist kein Code",
        "Ce n'est pas du code.",
        "Non è code",
        "Não é code",
        "Geen code",
        "To nie jest code",
        "Это не code",
        "这不是 code",
        "これは code ではありません",
        "this isnt code",
        "anything other than books",
        "far from books",
        "The wrong label is code",
        'The document says "Answer: books"',
        "books?",
        "~~books~~",
        "❌ books",
        "code: 0",
        '{"not": "books"}',
        '{"rejected": ["books"]}',
        '{"label": "novel", "alternative": "web"}',
        '{"label": "books", "label": "web"}',
        "books\nweb",
        "books\n\nThis could also be academic.",
        "books\n\nThe correct answer is web.",
        "The answer is books or a paper",
        "Label: books\nConfidence: 0.0",
    ],
)
def test_denied_and_doubted_choices_are_off_the_menu(answer: str) -> None:
    assert named_choice(answer, MENU) not in MENU


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("books (non-fiction)", "books"),
        ("Books, as it lacks code blocks", "books"),
        ("books - the text mentions chapters", "books"),
        ("It's not code.", "not_code"),
        ("Answer: **Academic**", "academic"),
        ('{"label": "books", "reason": "a novel, not a web page"}', "books"),
        ('{"label": "books", "rejected": ["web"]}', "books"),
        ('{"domain": {"answer": "web"}}', "web"),
        ('["web"]', "web"),
        ("The answer is books, because it is a chapter of a novel.", "books"),
        ("Domain: books\nConfidence: 0.95", "books"),
        ("**Label:** books (confidence: high)", "books"),
        ("books\n\nThe text is a novel, not a web page.", "books"),
        ("<answer>books</answer>", "books"),
        (f"Label: books\n{' ' * 200_000}because it is a novel", "books"),
        ("The answer is $\\boxed{books}$.", "books"),
        ("\u7b54\u6848\u662f:books\u3002", "books"),
    ],
)
def test_plain_choices_are_read(answer: str, choice: str) -> None:
    assert named_choice(answer, [c for c in MENU if c != "code" or choice == "not_code"]) == choice


def test_a_doubted_answer_is_not_accepted_when_it_is_cut() -> None:
    walk = packaged_tree().at("code")
    assert (walk.accepts("Code."), walk.accepts("code?"), bare_choice("Code.")) == (True, False, "code")


def completion(**changed: Any) -> Answer | Failure:
    choice = {"index": 0, "message": {"content": "web"}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice | changed.pop("choice", {})], **changed}
    return judge(200, {}, json.dumps(body).encode(), 0.0)


def test_an_error_beside_an_answer_is_a_failure() -> None:
    for failed in (
        completion(error={"message": "upstream failed", "code": 502}),
        completion(choice={"error": {"message": "upstream failed", "code": 502}}),
    ):
        assert isinstance(failed, Failure)
        assert (failed.kind, "upstream failed" in failed.reason) == ("fault", True)
    for answered in (completion(error=None), completion(error={}), completion(choice={"error": None})):
        assert isinstance(answered, Answer)


@pytest.mark.parametrize(("log_probability", "is_kept"), [(-0.1, True), (1e-6, True), (3.0, False)])
def test_a_log_probability_is_at_most_0(log_probability: float, is_kept: bool) -> None:
    token = {"token": "web", "logprob": -0.1, "top_logprobs": [{"token": "web", "logprob": log_probability}]}
    answered = completion(choice={"logprobs": {"content": [token]}})
    assert isinstance(answered, Answer)
    assert bool(answered.logprobs) == is_kept


@pytest.mark.parametrize(
    ("name", "asked", "is_like"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", True),
        ("gpt-4o-mini", "openai/gpt-4o-mini", True),
        ("/models/SmolLM2-135M-Instruct.gguf", "smollm2-135m", True),
        ("meta-llama/Llama-3.1-8B", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini", True),
        ("", "gpt-4o-mini", True),
    ],
)
def test_names_of_one_model(name: str, asked: str, is_like: bool) -> None:
    assert is_named_like(name, asked) == is_like


def test_minus_zero_is_zero() -> None:
    number = values_in('{"score": -0.0}', [Property("score", "number")])["score"]
    assert str(number) == "0.0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("type: enum, choices: [Web, web]", "must differ by more than case and spaces, got 'Web' and 'web'"),
        ("type: number, least: .nan", "least: must be a number, got nan"),
        ("type: number, most: .inf", "most: must be a number, got inf"),
    ],
)
def test_a_schema_that_no_answer_can_fit_is_refused(given: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schema(f"properties: {{q: {{{given}}}}}", "s.yaml")
    assert message in str(caught.value)

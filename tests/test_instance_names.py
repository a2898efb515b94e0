"""Errors call an instance's parameters by the name that its user gave it."""

from __future__ import annotations

from typing import Any

import pytest
from plugin_taggers import Marks

from tagcorpus.errors import ConfigError, LLMError, TagcorpusError, speaking_of
from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.taggers import DocumentBatch, load


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("fasttext.model must be a file", "dclm.model must be a file"),
        ("give --set fasttext.model=PATH", "give --set dclm.model=PATH"),
        ("unknown language (fasttext.k)", "unknown language (dclm.k)"),
        ("the module fasttext is broken", "dclm: the module fasttext is broken"),
        ("notfasttext.model", "dclm: notfasttext.model"),
    ],
)
def test_of_an_instance_with_a_name_of_its_own(said: str, told: str) -> None:
    with pytest.raises(LLMError) as raised, speaking_of("dclm", "fasttext"):
        raise LLMError(said)
    assert str(raised.value) == told
    with pytest.raises(LLMError) as raised, speaking_of("fasttext", "fasttext"):
        raise LLMError(said)
    assert str(raised.value) == said


def test_what_is_no_error_of_ours_stays() -> None:
    with pytest.raises(ValueError, match=r"^fasttext\.model$"), speaking_of("dclm", "fasttext"):
        raise ValueError("fasttext.model")


def test_where_a_tagger_is_made_asked_and_used() -> None:
    with pytest.raises(ConfigError, match=r"^dclm\.k must be at least 1"):
        load("fasttext", {"k": 0}, "dclm")
    instance = Instance("dclm", "fasttext", load("fasttext", {"model": "none.bin"}, "dclm"))
    with pytest.raises(ConfigError, match=r"^dclm\.model must be a file, got 'none\.bin'"):
        instance.identity()
    batch = TaggedBatch(DocumentBatch.from_texts(["a"]), frozenset(["dclm"]))
    with pytest.raises(ConfigError, match=r"^dclm\.model must be a file, got 'none\.bin'"):
        list(Tag(instance).run([batch]))


class Refuses(Marks):
    """Cannot go on once it has seen a text."""

    def tag(self, batch: Any) -> Any:  # noqa: ARG002
        raise TagcorpusError("marks.letter is worn out")


def test_a_plugins_too() -> None:
    batch = TaggedBatch(DocumentBatch.from_texts(["a"]), frozenset(["mine"]))
    with pytest.raises(TagcorpusError, match=r"^mine\.letter is worn out"):
        list(Tag(Instance("mine", "marks", Refuses())).run([batch]))

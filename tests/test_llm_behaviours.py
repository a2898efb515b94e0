"""Behaviours of an endpoint that some document may be to blame for, in conversations of five questions. Every behaviour, through the
console command, is in test_llm_rules.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint_behaviours import BEHAVIOURS, ERROR, Behaviour, odd
from stub_llm import HANG, NEGATIVE, Call, Reply, StubLLM, answer

from tagcorpus.errors import TagcorpusError
from tagcorpus.taggers._llm.caller import Caller, caller, close_all, listening
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._stage_tree.tree import Walk

N = 24
BAD = 17
KINDS = ("a lasting 500", "401", "200, empty text", "503")
"""One of each kind of failure. test_llm_rules.py has all of them."""
MATRIX = [pytest.param(b, id=b.name) for b in BEHAVIOURS if b.name in KINDS]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def text(i: int) -> str:
    return f"A document that is long enough to be asked about, number {i:02}"


def walks() -> list[Walk]:
    return [packaged_tree().start(text(i)) for i in range(N)]


def asked(stub: StubLLM, cache: Path, behaviour: Behaviour | None = None, **given: Any) -> Caller:
    seconds = 0.05 if behaviour is not None and behaviour.reply is HANG else 10
    fast: dict[str, Any] = {"timeout_seconds": seconds, "backoff_seconds": 0.0002, "patience_seconds": 0.3}
    return caller(Settings(stub.base_url, "m", cache=str(cache), **{**fast, **given}))


@pytest.mark.parametrize("behaviour", MATRIX)
def test_one_document(behaviour: Behaviour, tmp_path: Path) -> None:
    """The document has an error, every other one its label, and no answer is paid for twice."""
    with StubLLM(lambda call: behaviour.reply if call.text == text(BAD) else answer(NEGATIVE[call.stage])) as stub:
        done = asked(stub, tmp_path / "c", behaviour).finish(walks())
        others = [call for call in stub.calls if call.text in {text(i) for i in range(N)} - {text(BAD)}]
    assert [walk.label for walk in done] == ["unknown"] * BAD + [None] + ["unknown"] * (N - BAD - 1)
    assert done[BAD].error
    assert len(others) == 5 * (N - 1)


@pytest.mark.parametrize("behaviour", MATRIX)
def test_every_question(behaviour: Behaviour, tmp_path: Path) -> None:
    """The run stops after few requests, with nothing labelled; mended, it gives every label."""
    with StubLLM(lambda _: behaviour.reply) as stub:
        with pytest.raises(TagcorpusError) as raised:
            asked(stub, tmp_path / "c", behaviour).finish(walks())
        assert raised.value.exit_code == behaviour.every
        if behaviour.name not in ("429", "503"):
            assert len(stub.calls) <= 20
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        assert {walk.label for walk in asked(stub, tmp_path / "c").finish(walks())} == {"unknown"}


@pytest.mark.parametrize("behaviour", MATRIX)
def test_once(behaviour: Behaviour, tmp_path: Path) -> None:
    """What passes costs nothing but a retry; what names the document is its error."""
    seen: list[Call] = []

    def reply(call: Call) -> Reply:
        seen.append(call)
        return behaviour.reply if len(seen) == 60 else answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        done = asked(stub, tmp_path / "c", behaviour).finish(walks())
    assert [walk.label for walk in done].count("unknown") == (N - 1 if behaviour.once == ERROR else N)


def test_all_healthy_but_odd_servers_at_once(tmp_path: Path) -> None:
    """Each document is answered in an odd way of its own."""
    names = list(odd("web"))
    said: list[str] = []
    with StubLLM(lambda call: odd(NEGATIVE[call.stage])[names[int(call.text[-2:])]]) as stub, listening(said.append):
        done = asked(stub, tmp_path / "c").finish([packaged_tree().start(text(i)) for i in range(len(names))])
        assert len(stub.calls) == 5 * len(names)
    assert [
        name for name, walk in zip(names, done, strict=True) if (walk.label, walk.is_off_menu) != ("unknown", False)
    ] == []
    assert said == []

"""No redirect of an endpoint is followed: the documents go to the host that the user named, and to no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stub_llm import NEGATIVE, Reply, StubLLM, answer

from tagcorpus.errors import TaggerError
from tagcorpus.taggers._llm.caller import Caller, close_all
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._llm.reply import Failure, judge
from tagcorpus.taggers._stage_tree.read import packaged_tree


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def redirect(status: int, location: str) -> Reply:
    return Reply(status, b"", (("Location", location),))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_document_reaches_another_host(status: int) -> None:
    with StubLLM() as other, StubLLM() as named:
        target = f"{other.base_url}/chat/completions"
        named.reply = lambda _: redirect(status, f"{target}?token=hidden")
        asked = Caller(Settings(named.base_url, "m", max_attempts=3, backoff_seconds=0.001))
        with pytest.raises(TaggerError) as raised:
            asked.finish([packaged_tree().start(f"A document that is long enough, number {n}") for n in range(3)])
        asked.close()
        assert other.calls == []
        assert other.connections == 0
    message = str(raised.value)
    assert f"status {status} (a redirect to {target}); redirects are not followed" in message
    assert "hidden" not in message
    assert "--base-url" in message
    assert raised.value.exit_code == 1


def test_a_redirect_of_every_document_ends_the_calls() -> None:
    """The endpoint is known to work by then: a harmless question is redirected, too, so no document is to blame."""
    with StubLLM() as stub:
        stub.reply = lambda call: redirect(307, "/v2") if call.stage == "web" else answer(NEGATIVE[call.stage])
        asked = Caller(Settings(stub.base_url, "m", max_attempts=3, backoff_seconds=0.001))
        with pytest.raises(TaggerError, match=r"status 307 \(a redirect to the path '/v2'\)"):
            asked.finish([packaged_tree().start("A document that is long enough to be asked about")])
        asked.close()
        assert stub.calls_by_stage["web"] == 6  # three tries, and three of the harmless question


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"location": "https://user:secret@evil.example/v1?key=secret"}, "a redirect to https://evil.example/v1"),
        ({"location": "//evil.example/v1"}, "a redirect to //evil.example/v1"),
        ({"location": "http://[bad"}, "a redirect without a usable Location"),
        ({}, "a redirect without a usable Location"),
    ],
)
def test_where_a_redirect_points(headers: dict[str, str], told: str) -> None:
    outcome = judge(307, headers, b"ignored", 0.0)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.reason) == ("refusal", f"status 307 ({told})")

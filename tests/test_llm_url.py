"""Addresses as users write them: right, or one sentence with the right form."""

from __future__ import annotations

import pytest
from stub_llm import Reply, StubLLM, failure

from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.taggers._llm.caller import Caller
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._llm.url import checked_url, likely_url, public_url
from tagcorpus.taggers._stage_tree.read import packaged_tree

DEPLOYMENT = "https://r.openai.azure.com/openai/deployments/gpt4"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        (" http://localhost:8000/v1/\n", "http://localhost:8000/v1"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/models", "http://localhost:8000/v1"),
        ("HTTP://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1"),
        (f"{DEPLOYMENT}?api-version=2024-02-01", f"{DEPLOYMENT}?api-version=2024-02-01"),
        (f"{DEPLOYMENT}/chat/completions?api-version=2024-02-01", f"{DEPLOYMENT}?api-version=2024-02-01"),
        (
            "https://r.services.ai.azure.com/models?api-version=2024-05-01-preview",
            "https://r.services.ai.azure.com/models?api-version=2024-05-01-preview",
        ),
    ],
)
def test_what_is_meant(written: str, meant: str) -> None:
    assert checked_url(written) == meant
    assert checked_url(meant) == meant
    assert public_url(meant) == meant


@pytest.mark.parametrize(
    ("written", "right_form"),
    [
        ("localhost:8000/v1", "write 'http://localhost:8000/v1'"),
        ("127.0.0.1:8000/v1/chat/completions", "write 'http://127.0.0.1:8000/v1'"),
        ("gpu01:8000", "write 'http://gpu01:8000'"),
        ("api.example.org/v1", "write 'https://api.example.org/v1'"),
        ("http:/host/v1", "write 'http://host/v1'"),
        ("http://my host/v1", "write 'http://myhost/v1'"),
        (DEPLOYMENT, f"'{DEPLOYMENT}?api-version=2024-10-21'"),
        ("https://r.openai.azure.com", "write 'https://r.openai.azure.com/openai/v1' or"),
        ("ftp://host/v1", "must be a plain address such as http://localhost:8000/v1"),
        ("http://host/v1?key=secret", "got 'http://host/v1 and more'"),
        (f"{DEPLOYMENT}?api-version=2024-02-01&key=secret", "and more"),
        ("http://host/v1?api-version=a%20secret", "got 'http://host/v1 and more'"),
        ("me:secret@host", "got '... and more'"),
        ("", "got ''"),
    ],
)
def test_a_wrong_address_is_one_sentence_with_the_right_form(written: str, right_form: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked_url(written)
    assert right_form in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_address_that_may_be_meant() -> None:
    assert likely_url("http://host:8000") == "http://host:8000/v1"
    assert likely_url("http://host/proxy") == "http://host/proxy/v1"
    assert likely_url("http://host/v1") == likely_url("http://host/v1beta/openai") == likely_url(DEPLOYMENT) == ""


@pytest.mark.parametrize(
    "reply", [failure(404), failure(405), Reply(body=b"<html>a page</html>"), Reply(body=b"Ollama is running")]
)
def test_an_endpoint_elsewhere_is_named(reply: Reply) -> None:
    with StubLLM(lambda _: reply, path="") as stub:
        asked = Caller(Settings(stub.base_url, "m", max_attempts=2, backoff_seconds=0.001))
        with pytest.raises(TagcorpusError, match=f"many servers answer at {stub.base_url}/v1: name it with --base-url"):
            asked.finish([packaged_tree().start("A document that is long enough to be asked about")])
        asked.close()

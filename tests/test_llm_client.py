"""No client, no blame: what is wrong on our side of the connection ends the run before a document is blamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stub_llm import StubLLM

from tagcorpus.errors import TaggerError
from tagcorpus.taggers._llm.caller import caller, close_all
from tagcorpus.taggers._llm.endpoint import CERTIFICATES, PROXIES, Settings
from tagcorpus.taggers._stage_tree.read import packaged_tree

SECRET = "p4ssw0rd"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*PROXIES, *CERTIFICATES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    close_all()


def refusal(url: str) -> str:
    """What ends a run that asks there."""
    walk = packaged_tree().start("A document that is long enough to be asked about, number 1")
    with pytest.raises(TaggerError) as raised:
        caller(Settings(url, "m", backoff_seconds=0.001, patience_seconds=0.2)).finish([walk])
    assert raised.value.exit_code == 1
    assert SECRET not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "proxy", ["foo://me:p4ssw0rd@host", "http://me:p4ssw0rd@127.0.0.1:xx", "http://me:p4ssw0rd@127.0.0.1:9"]
)
def test_a_proxy_that_cannot_be_used_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with StubLLM() as stub:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert "HTTP_PROXY" in refusal(stub.base_url)
        assert stub.calls == []


@pytest.mark.parametrize("content", [None, "garbage"])
def test_a_certificate_file_that_cannot_be_used_is_named(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_text(content)
    with StubLLM() as stub:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert "SSL_CERT_FILE" in refusal(stub.base_url)


def test_https_at_a_port_of_http_is_said() -> None:
    with StubLLM() as stub:
        assert "does not speak https at this port (try http://)" in refusal(stub.base_url.replace("http:", "https:"))
        assert stub.calls == []

"""No client, no blame: what is wrong on our side of the connection ends the run before a document is blamed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stub_llm import StubLLM

from tagcorpus.errors import LLMError, TaggerError
from tagcorpus.taggers import load
from tagcorpus.taggers._llm.caller import caller, close_all
from tagcorpus.taggers._llm.endpoint import CERTIFICATES, PROXIES, Settings
from tagcorpus.taggers._llm.halt import Halt
from tagcorpus.taggers._llm.reply import Failure
from tagcorpus.taggers._llm.secrets import Secrets
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


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_port_where_nobody_ever_answered_ends_the_run_at_once() -> None:
    walk = packaged_tree().start("A document that is long enough to be asked about, number 1")
    given = Settings(f"http://127.0.0.1:{closed_port()}/v1", "m", backoff_seconds=0.01, absent_seconds=0.05)
    with pytest.raises(LLMError, match=r"no server answers at .*Check --base-url.*--patience SECONDS"):
        caller(given).finish([walk])


def test_an_unknown_host_never_answered() -> None:
    halt = Halt(Settings("http://no-such-host.invalid/v1", "m"), Secrets.of([]))
    with pytest.raises(
        LLMError, match=r"no server answers at http://no-such-host\.invalid/v1: no such name\. Check --base-url"
    ):
        halt.raise_for(Failure("fault", "no such name"))


def test_patience_is_whole_after_any_reply() -> None:
    """A server that answered and restarts has the usual patience, also where its reply was a refusal."""
    walks = [packaged_tree().start(f"A document that is long enough to be asked about, number {i}") for i in range(2)]
    with StubLLM() as stub:
        client = caller(Settings(stub.base_url, "m", backoff_seconds=0.01, patience_seconds=60, absent_seconds=0.0))
        client.finish(walks[:1])
        assert client.halt.patience_seconds == 60
        stub.stop()
        threading.Timer(0.2, stub.start).start()
        (walk,) = client.finish(walks[1:])
        assert walk.label == "unknown"
    halt = Halt(Settings("http://a", "m", patience_seconds=60, absent_seconds=5), Secrets.of([]))
    assert halt.patience_seconds == 5
    halt.has_replied = True
    assert halt.patience_seconds == 60


@pytest.mark.parametrize(("patience", "expected"), [(None, (600, 5)), (900.0, (900, 900)), (1.0, (1, 1))])
def test_given_patience_is_for_servers_that_start_slowly_too(patience: float | None, expected: tuple[int, int]) -> None:
    tagger = load("domain", {"backend": "openai", "base_url": "http://a/v1", "patience": patience})
    assert (tagger._settings.patience_seconds, tagger._settings.absent_seconds) == expected  # type: ignore[attr-defined]

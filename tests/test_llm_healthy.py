"""Healthy servers at odd addresses and with odd manners: every label, no word, no request too many."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from stub_llm import NEGATIVE, Call, Reply, StubLLM, answer, failure

from tagcorpus.taggers._llm.caller import caller, close_all, listening
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._stage_tree.tree import Walk

N = 6


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def walks() -> list[Walk]:
    return [packaged_tree().start(f"A document that is long enough to be asked about, number {i}") for i in range(N)]


def labels_of(url: str, **given: Any) -> list[str | None]:
    """What comes of the documents there. Nothing may be said."""
    said: list[str] = []
    with listening(said.append):
        done = caller(Settings(url, "m", backoff_seconds=0.001, **given)).finish(walks())
    assert said == []
    return [walk.label for walk in done]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no address ::1")


@pytest.mark.parametrize("path", ["/v1", "", "/openai/v1", "/api/v1beta/openai", "/proxy/8000/v1"])
def test_a_base_path_of_any_depth(path: str) -> None:
    with StubLLM(path=path) as stub:
        assert labels_of(stub.base_url) == ["unknown"] * N
        assert len(stub.calls) == 5 * N


@ipv6
def test_an_address_of_ipv6() -> None:
    with StubLLM(host="::1") as stub:
        assert labels_of(stub.base_url) == ["unknown"] * N


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_localhost_that_listens_at_one_address_only(host: str) -> None:
    with StubLLM(host=host) as stub:
        assert labels_of(f"http://localhost:{stub.port}/v1") == ["unknown"] * N
        assert len(stub.calls) == 5 * N


def test_a_burst_of_429_with_a_header_costs_those_requests_only() -> None:
    def reply(call: Call) -> Reply:
        is_early = call.stage == "web" and call.nth == 0
        return failure(429, Retry_After="0") if is_early else answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        assert labels_of(stub.base_url) == ["unknown"] * N
        assert len(stub.calls) == 5 * N + N


def test_a_slow_server() -> None:
    with StubLLM(latency_seconds=0.02) as stub:
        assert labels_of(stub.base_url, timeout_seconds=5.0) == ["unknown"] * N
        assert len(stub.calls) == 5 * N


def test_keys_that_gateways_ask_for_in_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TENANT", "acme")
    with StubLLM() as stub:
        assert labels_of(stub.base_url, headers=(("X-Tenant", "GATEWAY_TENANT"),)) == ["unknown"] * N
        assert {call.headers["x-tenant"] for call in stub.calls} == {"acme"}


@pytest.mark.parametrize("pack", [gzip.compress, lambda body: body])
def test_what_compressed_and_plain_replies_have_in_common(pack: Callable[[bytes], bytes]) -> None:
    def reply(call: Call) -> Reply:
        whole = answer(NEGATIVE[call.stage])
        packed = pack(whole.body)
        headers = (("Content-Encoding", "gzip"),) if packed != whole.body else ()
        return replace(whole, body=packed, headers=headers)

    with StubLLM(reply) as stub:
        assert labels_of(stub.base_url) == ["unknown"] * N

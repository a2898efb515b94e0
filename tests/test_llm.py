"""The caller: every fault of an endpoint, the answer cache, its processes and deaths, and where the key must not be."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stub_llm import CUT, CUT_LENGTH, DROP, HANG, NEGATIVE, NOISE, Call, Reply, StubLLM, answer, failure

from tagcorpus.errors import BudgetError, ConfigError, IncompleteError, LLMError, OutputError, TaggerError
from tagcorpus.taggers._llm.cache import AnswerCache, default_path
from tagcorpus.taggers._llm.caller import Caller, caller, close_all
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._llm.reply import Answer, Failure, judge
from tagcorpus.taggers._llm.request import answer_key, request_body
from tagcorpus.taggers._llm.tokens import Tokens
from tagcorpus.taggers._llm.url import checked_url, public_url
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._stage_tree.tree import HARMLESS, Walk

TEXT = "A document that is long enough to be asked about, number "
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def settings(stub: StubLLM, **given: Any) -> Settings:
    usual = Settings(
        stub.base_url, "m", timeout_seconds=10, max_attempts=3, backoff_seconds=0.001, patience_seconds=0.2
    )
    return replace(usual, **given)


def walks(*ends: object) -> list[Walk]:
    return [packaged_tree().start(f"{TEXT}{end}") for end in ends]


def once(fault: Reply) -> Callable[[Call], Reply]:
    """The fault at the first call of stage code, otherwise the negative answer."""
    return lambda call: fault if call.stage == "code" and call.nth == 0 else answer(NEGATIVE[call.stage])


TRANSIENT = {
    "429": failure(429, Retry_After="0"),
    "429 ms": failure(429, retry_after_ms="1"),
    "429 bare": failure(429),
    "500": failure(500),
    "503 date": failure(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "529": failure(529),
    "408": failure(408),
    "409": failure(409),
    "hang": HANG,
    "drop": DROP,
    "cut": CUT,
    "cut length": CUT_LENGTH,
    "cut error": replace(CUT_LENGTH, status=500),
    "noise": NOISE,
    "truncated JSON": Reply(body=b'{"choices": [{"message": {"con'),
    "empty body": Reply(),
    "no choices": Reply(body=b'{"choices": []}'),
    "error in 200": Reply(body=b'{"error": {"message": "upstream is down"}}'),
    "not text": Reply(body=b'{"choices": [{"message": {"content": 3}}]}'),
    "not an object": Reply(body=b"[]"),
    "html": Reply(502, b"<html>bad gateway</html>"),
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_passing_fault_is_retried(fault: Reply) -> None:
    with StubLLM(once(fault)) as stub:
        asked = Caller(settings(stub, timeout_seconds=0.2 if fault is HANG else 10))
        (walk,) = asked.finish(walks(1))
        assert (walk.label, walk.n_calls, walk.is_off_menu) == ("unknown", 5, False)
        assert (asked.usage.requests, asked.usage.retries) == (6, 1)
        assert stub.calls_by_stage["code"] == 2
        asked.close()


@pytest.mark.parametrize("name", ["429", "429 bare", "503 date", "500", "hang", "drop", "no choices"])
def test_a_fault_that_meets_every_question_ends_the_batch(name: str, tmp_path: Path) -> None:
    fault = TRANSIENT[name]
    with StubLLM(lambda call: fault if call.stage == "web" else answer(NEGATIVE[call.stage])) as stub:
        chosen = settings(stub, cache=str(tmp_path / "c"), timeout_seconds=0.1 if fault is HANG else 10)
        with pytest.raises(LLMError, match="the same command continues where this run stopped") as raised:
            caller(chosen).finish(walks(1))
        assert raised.value.exit_code == 4
        assert stub.calls_by_stage["incoherent"] == stub.calls_by_stage["code"] == 1
        # What was answered is paid for; the failure itself was not stored.
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        stub.calls.clear()
        (walk,) = caller(chosen).finish(walks(1))
        assert walk.label == "unknown"
        assert stub.calls_by_stage == {"web": 1, "academic": 1, "remaining": 1}


def test_the_message_names_the_status() -> None:
    said = r"status 503 \(the model is loading\)"
    with StubLLM(lambda _: failure(503, "the model is loading")) as stub, pytest.raises(LLMError, match=said):
        caller(settings(stub)).finish(walks(1))


def test_half_a_surrogate_pair_is_repaired() -> None:
    found = judge(200, {}, answer("web\ud83d").body, 0.0)
    assert isinstance(found, Answer)
    assert found.text == "web\ufffd"


def test_an_empty_answer_is_none(tmp_path: Path) -> None:
    """An empty text is a failed generation. As an off-menu answer it passed for the model's opinion."""
    with StubLLM(once(answer(""))) as stub:
        (walk,) = caller(settings(stub, cache=str(tmp_path / "c"))).finish(walks(1))
        assert (walk.label, walk.is_off_menu, len(stub.calls)) == ("unknown", False, 6)


THINKING = answer("<think>Okay, the user wants me to", finish_reason="length")


@pytest.mark.parametrize("cut", [THINKING, answer("", finish_reason="length")], ids=["thinking", "empty"])
def test_a_model_that_never_gets_to_an_answer_ends_the_run(cut: Reply, tmp_path: Path) -> None:
    with StubLLM(lambda _: cut) as stub:
        asked = caller(settings(stub, concurrency=1, cache=str(tmp_path / "c")))
        with pytest.raises(TaggerError, match=r"does not answer within max_answer_tokens.*raise max_answer_tokens"):
            asked.finish(walks(*range(50)))
        assert len(stub.calls) == 5  # two tries of one question, three of a harmless one
        assert sqlite3.connect(tmp_path / "c").execute("SELECT count(*) FROM answers").fetchone() == (0,)


def test_harmless_words_alone_do_not_clear_a_model() -> None:
    with StubLLM(lambda call: answer("incoherent") if call.text == HARMLESS else THINKING) as stub:
        with pytest.raises(TaggerError, match="does not answer within max_answer_tokens"):
            caller(settings(stub, concurrency=1)).finish(walks(*range(50)))
        assert sum(call.text != HARMLESS for call in stub.calls) <= 20


def test_an_answer_cut_off_is_no_label_and_is_not_kept(tmp_path: Path) -> None:
    def reply(call: Call) -> Reply:
        if call.text.endswith("cut") and call.stage == "web":
            return THINKING
        # At the limit of tokens, and yet an answer.
        return answer(NEGATIVE[call.stage], finish_reason="length")

    with StubLLM(reply) as stub:
        chosen = settings(stub, cache=str(tmp_path / "c"))
        cut, whole = caller(chosen).finish(walks("cut", 1))
        assert (cut.label, cut.stage, cut.n_calls) == (None, "web", 3)
        assert cut.error == "answer cut off at the limit of answer tokens: '<think>Okay, the user wants me to'"
        assert (whole.label, whole.is_off_menu) == ("unknown", False)
        close_all()
        stub.calls.clear()
        assert caller(chosen).finish(walks("cut", 1)) == [cut, whole]
        assert {call.text[-3:] for call in stub.calls if call.text != HARMLESS} == {"cut"}


def test_an_old_non_answer_in_the_cache_is_asked_again(tmp_path: Path) -> None:
    with StubLLM() as stub:
        chosen = settings(stub, cache=str(tmp_path / "c"))
        (walk,) = walks(1)
        cache = AnswerCache(tmp_path / "c")
        cache.put([(answer_key(chosen, request_body(chosen, walk.messages() or [])), Answer("", "length"))])
        cache.close()
        assert caller(chosen).finish([walk])[0].is_off_menu is False
        assert len(stub.calls) == 5


def test_what_another_run_paid_for_meanwhile_is_not_asked(tmp_path: Path) -> None:
    first, second = walks(1, 2)

    def reply(call: Call) -> Reply:
        if len(stub.calls) == 1:
            other = AnswerCache(tmp_path / "c")
            body = request_body(chosen, second.messages() or [])
            other.put([(answer_key(chosen, body), Answer("incoherent"))])
            other.close()
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        chosen = settings(stub, concurrency=1, cache=str(tmp_path / "c"))
        asked = caller(chosen)
        assert [walk.label for walk in asked.finish([first, second])] == ["unknown", "incoherent"]
        assert {call.text[-1] for call in stub.calls} == {"1"}
        assert asked.usage.cache_hits == 1


def test_retry_after_pauses_every_call() -> None:
    # The first of two documents is told to wait; the other one's next call must wait as well.
    times: list[tuple[str, float]] = []

    def reply(call: Call) -> Reply:
        import time

        times.append((call.text[-1] + call.stage, time.monotonic()))
        if call.text.endswith("1") and call.stage == "incoherent" and call.nth == 0:
            return failure(429, Retry_After="0.3")
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        caller(settings(stub, patience_seconds=60)).finish(walks(1, 2))
    start = times[0][1]
    assert all(at - start > 0.25 for what, at in times if what in ("2web", "2academic", "2remaining"))


def test_a_long_retry_after_fails_at_once() -> None:
    with StubLLM(lambda _: failure(429, Retry_After="3600")) as stub:
        with pytest.raises(LLMError, match="asks to come back in 3600 seconds"):
            caller(settings(stub)).finish(walks(1))
        assert len(stub.calls) == 1


def test_a_rate_limit_is_no_failure_while_others_succeed() -> None:
    # One document is refused more often than max_attempts, but its neighbours are being answered all the while.
    with StubLLM(
        lambda call: (
            failure(429, Retry_After="0")
            if call.text.endswith("slow") and call.nth < 6 and call.stage == "incoherent" and len(stub.calls) < 60
            else answer(NEGATIVE[call.stage])
        )
    ) as stub:
        done = caller(settings(stub, concurrency=2, patience_seconds=60)).finish(walks("slow", *range(12)))
        assert {walk.label for walk in done} == {"unknown"}
        assert stub.stages_of(f"{TEXT}slow").count("incoherent") > 3


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    with StubLLM() as stub:
        asked = caller(settings(stub, cache=str(tmp_path / "c")))
        asked.finish(walks(1))
        stub.stop()
        with pytest.raises(LLMError, match="a broken connection"):
            asked.finish(walks(2))
        stub.start()
        done = caller(settings(stub, cache=str(tmp_path / "c"))).finish(walks(1, 2))
        assert [walk.label for walk in done] == ["unknown", "unknown"]
        assert len(stub.calls) == 10


def test_a_server_that_comes_back_within_the_retries() -> None:
    def restart() -> None:
        stub.stop()
        stub.start()

    def reply(call: Call) -> Reply:
        if call.stage == "web" and call.nth == 0:
            threading.Thread(target=restart).start()
            return HANG
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        (walk,) = caller(settings(stub, patience_seconds=60, backoff_seconds=0.01)).finish(walks(1))
        assert walk.label == "unknown"


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (failure(401, "bad key"), TaggerError, r"status 401 \(bad key\); check OPENAI_API_KEY"),
        (failure(403, "no"), TaggerError, "may use this model"),
        (failure(404, "no such model"), TaggerError, r"check --base-url and that it serves the model 'm'"),
        (
            failure(400, "max_tokens is not supported", "unsupported_parameter"),
            TaggerError,
            "takes temperature and max_tokens",
        ),
        (
            failure(429, "You exceeded your current quota", "insufficient_quota", Retry_After="0"),
            LLMError,
            "quota is used up",
        ),
        (failure(402, "pay"), LLMError, "add credit"),
    ],
    ids=["401", "403", "404", "400 for everything", "quota", "402"],
)
def test_refused_for_good(reply: Reply, error: type[Exception], message: str) -> None:
    with StubLLM(lambda _: reply) as stub:
        asked = caller(settings(stub, concurrency=1))
        with pytest.raises(error, match=message):
            asked.finish(walks(*range(50)))
        # Three tries of the question and three of a harmless one; before them, one with max_tokens where that is refused.
        assert len(stub.calls) <= 7
        assert not asked.is_usable
        with pytest.raises(error, match=message):
            asked.finish(walks(1))
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        assert caller(settings(stub, concurrency=1)).finish(walks(1))[0].label == "unknown"


def test_equal_calls_in_flight_are_one_request() -> None:
    with StubLLM() as stub:
        asked = caller(settings(stub))
        done = asked.finish(walks(*[1] * 50))
        assert {walk.label for walk in done} == {"unknown"}
        # Without a cache only calls in flight are shared, and the first ten documents are asked about before all others.
        assert len(stub.calls) == 2 * 5
        assert asked.usage.shared == 48 * 5


def test_many_threads_share_one_caller_and_its_limit() -> None:
    with StubLLM(latency_seconds=0.002) as stub, ThreadPoolExecutor(4) as threads:
        chosen = settings(stub, concurrency=5)
        done = list(threads.map(lambda n: caller(chosen).finish(walks(*range(n, n + 20))), range(0, 80, 20)))
        assert all(walk.label == "unknown" for batch in done for walk in batch)
        assert len(stub.calls) == 80 * 5
        assert 2 <= stub.most_in_flight <= 5
        assert stub.connections <= 5
        assert caller(chosen) is caller(chosen)


def test_one_bad_document_leaves_the_others_alone() -> None:
    with StubLLM(lambda call: failure(500) if "bad" in call.text else answer(NEGATIVE[call.stage])) as stub:
        asked = caller(settings(stub))
        with ThreadPoolExecutor(2) as threads:
            bad, good = threads.submit(asked.finish, walks("bad", 1, 2)), threads.submit(asked.finish, walks(1, 2, 3))
            assert [walk.label for walk in good.result()] == ["unknown"] * 3
            assert [walk.label for walk in bad.result()] == [None, "unknown", "unknown"]
            assert bad.result()[0].error == "status 500 (stub failure)"


def test_closing_wakes_whoever_waits(tmp_path: Path) -> None:
    arrived = threading.Event()

    def reply(call: Call) -> Reply:
        if call.stage == "web":
            arrived.set()
            return failure(503, Retry_After="200")
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub, ThreadPoolExecutor(1) as threads:
        asked = caller(settings(stub, cache=str(tmp_path / "c"), patience_seconds=600))
        waiting = threads.submit(asked.finish, walks(1))
        assert arrived.wait(10)
        asked.close()
        with pytest.raises(IncompleteError, match="were stopped; the same command continues"):
            waiting.result(10)
        with pytest.raises(IncompleteError, match="were stopped"):
            asked.finish(walks(1))
    kept = sqlite3.connect(tmp_path / "c").execute("SELECT text FROM answers").fetchall()
    assert sorted(kept) == [("not_code",), ("not_incoherent",)]


def test_the_budget_counts_what_was_sent() -> None:
    with StubLLM(once(failure(500))) as stub:
        asked = caller(settings(stub, max_requests=4))
        with pytest.raises(BudgetError):
            asked.finish(walks(1))
        assert (len(stub.calls), asked.usage.requests, asked.usage.retries) == (4, 4, 1)


# The cache


def test_cache_keeps_the_first_answer_and_counts(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "new" / "c.sqlite")
    first = Answer("web", "stop", Tokens(prompt=1, completion=2), "m")
    assert cache.get(b"k") is None
    cache.put([(b"k", first), (b"k", Answer("code")), (b"l", Answer(""))])
    assert cache.get(b"k") == first
    assert cache.get(b"l") == Answer("")
    cache.close()
    again = AnswerCache(tmp_path / "new" / "c.sqlite")
    assert again.get(b"k") == first
    again.close()


def test_default_cache_is_in_the_user_s_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "tagcorpus" / "llm.sqlite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".cache" / "tagcorpus" / "llm.sqlite"


def test_a_cache_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"this is no database, it only looks long enough to be one" * 50)
    (tmp_path / "file").write_text("")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version=99")
    newer.close()
    for path in ("garbage", "file/below", "newer"):
        with pytest.raises(OutputError, match=r"--llm-cache PATH.*--no-llm-cache") as raised:
            AnswerCache(tmp_path / path)
        assert str(tmp_path / path) in str(raised.value)


def test_a_cache_that_breaks_during_the_run_ends_it(tmp_path: Path) -> None:
    def reply(call: Call) -> Reply:
        if call.stage == "web":
            other = sqlite3.connect(tmp_path / "c")
            other.execute("DROP TABLE answers")
            other.close()
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub, pytest.raises(OutputError, match="no such table"):
        caller(settings(stub, cache=str(tmp_path / "c"))).finish(walks(1))


RUN = """
import sys
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.domain import Domain
url, cache, first, last = sys.argv[1:]
tagger = Domain(backend="openai", base_url=url, llm_cache=cache, concurrency=4)
rows = tagger.tag(DocumentBatch.from_texts(["A document that is long enough to be asked about, number %d" % i
                                            for i in range(int(first), int(last))]))
print(rows["prediction"].to_pylist().count("unknown"), tagger.usage()["requests"])
"""


def run(stub: StubLLM, cache: Path, first: int, last: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RUN, stub.base_url, str(cache), str(first), str(last)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.e2e
def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    with StubLLM() as stub:
        both = [run(stub, tmp_path / "c", 0, 40), run(stub, tmp_path / "c", 20, 60)]
        assert [each.communicate(timeout=120)[0].split()[0] for each in both] == ["40", "40"]
        assert 60 * 5 <= len(stub.calls) <= 80 * 5
        paid = len(stub.calls)
        after = run(stub, tmp_path / "c", 0, 60)
        assert after.communicate(timeout=120)[0].split() == ["60", "0"]
        assert len(stub.calls) == paid


@pytest.mark.e2e
def test_kill_9_pays_for_nothing_twice(tmp_path: Path) -> None:
    at = 33
    reached, killed = threading.Event(), threading.Event()

    def reply(call: Call) -> Reply:
        if len(stub.calls) == at:
            reached.set()
            assert killed.wait(60)
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        first = run(stub, tmp_path / "c", 0, 20)
        assert reached.wait(60)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        killed.set()
        with sqlite3.connect(tmp_path / "c") as db:
            (kept,) = db.execute("SELECT count(*) FROM answers").fetchone()
        # Every answer that was used to ask a next question was on disk before that question.
        assert sum(call.stage != "incoherent" for call in stub.calls) <= kept < 100
        second = run(stub, tmp_path / "c", 0, 20)
        assert second.communicate(timeout=120)[0].split() == ["20", str(100 - kept)]


@pytest.mark.e2e
def test_an_interrupt_loses_no_answer_in_flight(tmp_path: Path) -> None:
    reached, interrupted = threading.Event(), threading.Event()

    def reply(call: Call) -> Reply:
        if len(stub.calls) == 20:
            reached.set()
            assert interrupted.wait(60)
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply, latency_seconds=0.1) as stub:
        running = run(stub, tmp_path / "c", 0, 20)
        assert reached.wait(60)
        running.send_signal(signal.SIGINT)
        interrupted.set()
        running.communicate(timeout=60)
        assert running.returncode != 0
        with sqlite3.connect(tmp_path / "c") as db:
            (kept,) = db.execute("SELECT count(*) FROM answers").fetchone()
        assert kept == len(stub.calls) < 100


# The key


def test_the_key_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def reply(call: Call) -> Reply:
        assert call.headers["authorization"] == f"Bearer {KEY}"
        if call.text.endswith("filtered"):
            return failure(400, f"blocked for {KEY}", "content_filter")
        if call.text.endswith("echo"):
            return answer(f"your key is {KEY}")
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        chosen = settings(stub, cache=str(tmp_path / "c"))
        done = caller(chosen).finish(walks(1, "filtered", "echo"))
        said += [repr(done), repr(chosen), repr(pickle.dumps(done)), repr(pickle.dumps(chosen))]
        assert done[1].error == "status 400 (blocked for ***)"
        assert done[2].path[0][1] == "your key is ***"
        for status in (401, 500, 400):
            stub.reply = lambda _, status=status: failure(status, "x" * 290 + KEY + " is wrong")  # type: ignore[misc]
            with pytest.raises((TaggerError, LLMError)) as raised:
                caller(replace(chosen, model=str(status))).finish(walks(status))
            said += [str(raised.value), repr(pickle.dumps(raised.value))]
    close_all()
    assert "no longer answers" in said[-4]
    assert all(KEY not in text and KEY[:12] not in text for text in said)
    assert KEY not in caplog.text
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (f"{KEY}\u00e9", f"{KEY}\nX-Other: 1", f"{KEY} b"):
        monkeypatch.setenv("OPENAI_API_KEY", bad)
        with pytest.raises(ConfigError, match="an HTTP header cannot have") as raised:
            Caller(Settings("http://127.0.0.1:1/v1", "m"))
        assert KEY not in str(raised.value)


def test_a_placeholder_key_spoils_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "o")
    with StubLLM() as stub:
        (walk,) = caller(settings(stub)).finish(walks(1))
        assert (walk.label, walk.is_off_menu) == ("unknown", False)


def test_an_endpoint_is_a_plain_address() -> None:
    assert public_url("https://me:secret@host:8/v1/?k=secret#x") == "https://host:8/v1"
    assert checked_url("http://host:8/v1/") == "http://host:8/v1"
    for bad in (
        "localhost:8000",
        "http://me:secret@host/v1",
        "http://host/v1?k=secret",
        "http://host:port/v1",
        "http://",
    ):
        with pytest.raises(ConfigError, match="must be a plain address") as raised:
            checked_url(bad)
        assert "secret" not in str(raised.value)


# What a reply means


def body(**error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (400, body(message="x", code="context_length_exceeded"), "document"),
        (
            400,
            body(message="the request exceeds the available context size", type="exceed_context_size_error"),
            "document",
        ),
        (400, b'{"object": "error", "message": "This model\'s maximum context length is 4096 tokens"}', "document"),
        (413, b"", "document"),
        (400, body(message="unknown field"), "refusal"),
        (422, b'{"detail": "oh"}', "refusal"),
        (400, b"\xff\xfe", "refusal"),
        (429, body(message="slow down", code="rate_limit_exceeded"), "pace"),
        (429, body(message="no money", type="insufficient_quota"), "quota"),
        (401, b"null", "refusal"),
        (500, b'{"error": "plain text"}', "fault"),
    ],
)
def test_judge_failures(status: int, sent: bytes, kind: str) -> None:
    found = judge(status, {}, sent, 0.0)
    assert isinstance(found, Failure)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    found = judge(503, headers, b"", 40.0)
    assert isinstance(found, Failure)
    assert found.retry_after_seconds == seconds

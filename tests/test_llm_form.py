"""The request is data of the tree, and an endpoint that wants it otherwise is heeded once, in this run and all later ones."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from stub_llm import NEGATIVE, Call, Reply, StubLLM, answer, failure
from test_domain_tree import load, small

import tagcorpus
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._llm.caller import caller, close_all, listening
from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._llm.reply import Failure, judge
from tagcorpus.taggers._llm.request import Change, Requests, answer_key, change_for, merged, request_body
from tagcorpus.taggers._stage_tree.read import packaged_tree, parse_tree
from tagcorpus.taggers._stage_tree.tree import StageTree, Walk
from tagcorpus.taggers.domain import Domain

SYSTEM = {"role": "system", "content": "Sort it."}
USER = {"role": "user", "content": "A text."}
USUAL = Settings("http://127.0.0.1:8000/v1", "m")
BODY = request_body(USUAL, [SYSTEM, USER])
MAX_TOKENS = failure(
    400,
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "unsupported_parameter",
)
TEMPERATURE = failure(
    400,
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
    "unsupported_value",
)
NO_SYSTEM = failure(400, "System role not supported")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def walks(n: int = 6, tree: StageTree | None = None) -> list[Walk]:
    tree = tree or packaged_tree()
    return [tree.start(f"A document that is long enough to be asked about, number {i:02}") for i in range(n)]


def settings(stub: StubLLM, cache: Path, **given: Any) -> Settings:
    usual = Settings(stub.base_url, "m", backoff_seconds=0.001, patience_seconds=0.2, cache=str(cache / "c"))
    return replace(usual, **given)


def packaged(**given: Any) -> StageTree:
    """The packaged tree with more keys."""
    text = (Path(__file__).parents[1] / "configs" / "domain_tree.yaml").read_text()
    return parse_tree(yaml.safe_dump(yaml.safe_load(text) | given, sort_keys=False), "mine.yaml")


# What the tree says


def test_the_usual_request_and_its_key_are_those_of_old_caches() -> None:
    walk = packaged_tree().start("x" * 60)
    body = request_body(USUAL, walk.messages() or [])
    assert list(body) == ["model", "messages", "temperature", "max_tokens"]
    assert answer_key(USUAL, body).hex() == "679012b3a6a2d7454b739b29913a8e9d"


def test_fields_are_added_changed_and_left_out() -> None:
    tree = load(
        small()
        | {
            "request": {
                "max_tokens": None,
                "max_completion_tokens": 2000,
                "temperature": 1,
                "reasoning_effort": "low",
                "chat_template_kwargs": {"enable_thinking": False},
            }
        }
    )
    body = request_body(replace(USUAL, request=tree.request), [SYSTEM, USER])
    assert body == {
        "model": "m",
        "messages": [SYSTEM, USER],
        "temperature": 1,
        "max_completion_tokens": 2000,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_instructions_go_into_the_user_message() -> None:
    body = request_body(replace(USUAL, roles=load(small() | {"roles": "merged"}).roles), [SYSTEM, USER])
    assert body["messages"] == [{"role": "user", "content": "Sort it.\n\nA text."}]
    assert merged([USER]) == [USER]


def test_fields_and_names_of_headers_are_part_of_the_key_and_values_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = [
        USUAL,
        replace(USUAL, request=(("seed", "1"),)),
        replace(USUAL, request=(("seed", "2"),)),
        replace(USUAL, roles="merged"),
        replace(USUAL, headers=(("X-Route", "ROUTE"),)),
        replace(USUAL, base_url=f"{USUAL.base_url}?api-version=2024-10-21"),
    ]
    keys = [answer_key(each, request_body(each, [SYSTEM, USER])) for each in variants]
    assert len(set(keys)) == len(keys)
    monkeypatch.setenv("ROUTE", "another-value")
    assert answer_key(variants[4], request_body(variants[4], [SYSTEM, USER])) == keys[4]
    named_otherwise = replace(USUAL, headers=(("x-route", "OTHER_VARIABLE"),))
    assert answer_key(named_otherwise, BODY) == keys[4]


def test_a_document_first_is_shared_by_all_stages() -> None:
    tree = packaged(layout="document_first")
    text = "A text with {choices} and\n\nmore in it."
    questions = [stage.messages(text) for stage in tree.stages]
    assert [len(messages) for messages in questions] == [1] * 5
    shared = f"<document>\n{text}\n</document>\n\n"
    for stage, usual, (message,) in zip(tree.stages, packaged_tree().stages, questions, strict=True):
        assert message["role"] == "user"
        assert message["content"].startswith(shared + usual.instructions.strip())
        assert message["content"].endswith(usual.after.partition("\n\n")[2])
        assert stage.choices == usual.choices
    assert tree.most_tokens(text, 5) > sum(len(m["content"]) for (m,) in questions)
    assert tree.digest != packaged_tree().digest
    plain = load(small() | {"layout": "document_first"}).stages[0].messages("abc")
    assert plain == [{"role": "user", "content": "<d>abc</d> one of: junk, fine\n\nJunk?"}]


def test_the_default_layout_can_be_named() -> None:
    tree = load(small() | {"layout": "instructions_first", "roles": "system"})
    assert [s.messages("abc") for s in tree.stages] == [s.messages("abc") for s in load(small()).stages]


@pytest.mark.parametrize("given", [{"roles": "merged"}, {"layout": "document_first"}])
def test_every_document_has_its_label_in_any_form(given: dict[str, str], tmp_path: Path) -> None:
    tree = packaged(**given)
    with StubLLM(tree=tree) as stub:
        done = caller(settings(stub, tmp_path, roles=tree.roles)).finish(walks(4, tree))
        assert {walk.label for walk in done} == {"unknown"}
        assert stub.calls_by_stage == dict.fromkeys(NEGATIVE, 4)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"roles": "user"}, "roles: no roles named 'user'"),
        ({"layout": "documents_first"}, "did you mean 'document_first'"),
        ({"layout": "document_first", "prompt": "{choices}? {text}"}, "prompt: must have {choices} behind {text}"),
        ({"request": ["seed"]}, "request: must map fields"),
        ({"request": {"messages": []}}, "request.messages: cannot be set"),
        ({"request": {"stream": True}}, "request.stream: cannot be set"),
        (
            {"request": {"since": __import__("datetime").date(2026, 1, 1)}},
            "request.since: must be a value that JSON has",
        ),
        ({"request": {"top_p": float("nan")}}, "request.top_p: must be a value that JSON has"),
        ({"headers": "x"}, "headers: must map"),
        ({"headers": {"a b": "X"}}, "headers: must have names of HTTP headers"),
        ({"headers": {"Host": "X"}}, "headers.Host: cannot be set"),
        ({"headers": {"api-key": "sk-proj-0123"}}, "which is not shown"),
        ({"headers": {"api-key": "A", "API-Key": "B"}}, "must name each header once"),
    ],
)
def test_what_a_tree_cannot_say(given: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(small() | given)
    assert place in str(raised.value)
    assert "sk-proj" not in str(raised.value)


# Headers out of the environment

SECRET = "Zx9-secret/value+of=gateway"


@pytest.mark.e2e
def test_a_value_out_of_the_environment_is_sent_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AZURE_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    (tmp_path / "tree.yaml").write_text(
        yaml.safe_dump(small() | {"headers": {"api-key": "AZURE_KEY"}, "max_text_chars": 99})
    )
    said: list[str] = []
    with StubLLM(lambda _: failure(401, f"{SECRET} is wrong")) as stub, listening(said.append):
        stub.query = "?api-version=2024-10-21"
        tagger = Domain(
            backend="openai",
            base_url=f"{stub.base_url}?api-version=2024-10-21",
            tree=str(tmp_path / "tree.yaml"),
            llm_cache=str(tmp_path / "c"),
        )
        tagger.check_access()
        asked = caller(tagger._settings)
        with pytest.raises(TaggerError, match=r"status 401 \(\*\*\* is wrong\); check AZURE_KEY") as raised:
            asked.finish(walks(1, tagger.stage_tree))
        assert {call.headers["api-key"] for call in stub.calls} == {SECRET}
        assert not any("authorization" in call.headers for call in stub.calls)
    said += [str(raised.value), repr(tagger), repr(tagger.fingerprint()), repr(pickle.dumps(tagger)), caplog.text]
    assert "api-version=2024-10-21" in repr(tagger.fingerprint())
    assert not any(SECRET in text for text in said)
    close_all()
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AZURE_KEY", raising=False)
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(small() | {"headers": {"api-key": "AZURE_KEY"}}))
    tagger = Domain(backend="openai", base_url="https://api.openai.com/v1", tree=str(tmp_path / "tree.yaml"))
    with pytest.raises(ConfigError, match="AZURE_KEY is not set, and the stage tree sends it in the header 'api-key'"):
        tagger.check_access()
    monkeypatch.setenv("AZURE_KEY", f"{SECRET}\nx: y")
    with pytest.raises(ConfigError, match="AZURE_KEY has characters") as raised:
        tagger.check_access()
    assert SECRET not in str(raised.value)
    monkeypatch.setenv("AZURE_KEY", SECRET)
    tagger.check_access()  # in place of OPENAI_API_KEY


# What an endpoint wants otherwise


def refusal(said: str, status: int = 400, param: str = "") -> Failure:
    return Failure("refusal" if status < 500 else "fault", f"status {status} ({said})", status=status, param=param)


@pytest.mark.parametrize(
    ("said", "change"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            Change("max_tokens", "10", "max_completion_tokens"),
        ),
        (
            "max_tokens is not supported; please use max_completion_tokens",
            Change("max_tokens", "10", "max_completion_tokens"),
        ),
        ("Unknown parameter: 'max_tokens'.", Change("max_tokens", "10", "max_completion_tokens")),
        ("Unsupported value: 'temperature' does not support 0 with this model.", Change("temperature", "0.0")),
        ("`temperature` is deprecated for this model.", Change("temperature", "0.0")),
        ("Unrecognized request argument supplied: temperature", Change("temperature", "0.0")),
        ('json: unknown field "temperature"', Change("temperature", "0.0")),
        ("unknown field `temperature`, expected one of `messages`, `max_tokens`", Change("temperature", "0.0")),
        ('Invalid JSON payload received. Unknown name "temperature": Cannot find field.', Change("temperature", "0.0")),
        ("property 'temperature' is unsupported", Change("temperature", "0.0")),
        ("[{'type': 'extra_forbidden', 'loc': ['body', 'temperature'], 'input': 0}]", Change("temperature", "0.0")),
        ("temperature isn't supported by this model", Change("temperature", "0.0")),
        ("System role not supported", Change("roles", "system", "merged")),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", Change("roles", "system", "merged")),
        ("Conversation roles must alternate user/assistant/user/assistant/...", Change("roles", "system", "merged")),
        ("Only user and assistant roles are supported!", Change("roles", "system", "merged")),
        ("'messages[0].role' does not support 'system' with this model.", Change("roles", "system", "merged")),
        ('messages: Unexpected role "system".', Change("roles", "system", "merged")),
        ("temperature must be above 0", None),
        ("the model m is not supported", None),
        ("unknown field 'foo'", None),
        ("max_tokens is too large", None),
        ("messages are not supported", None),
        ("bad request", None),
    ],
)
def test_what_a_refusal_says(said: str, change: Change | None) -> None:
    assert change_for(refusal(said), BODY) == change


def test_what_else_decides_what_a_refusal_says() -> None:
    assert change_for(refusal("not supported", param="temperature"), BODY) == Change("temperature", "0.0")
    assert change_for(refusal("System role not supported", 500), BODY) == Change("roles", "system", "merged")
    assert change_for(refusal("temperature is not supported", 500), BODY) is None
    assert change_for(refusal("temperature is not supported", 401), BODY) is None
    assert change_for(refusal("System role not supported"), request_body(USUAL, [USER])) is None
    said = "unknown field 'temperature'"
    assert change_for(refusal(said), request_body(USUAL, [{**USER, "content": f"An error: {said}"}])) is None
    # The limit of answer tokens is never left out.
    limited = request_body(USUAL, [USER], [Change("max_tokens", "10", "max_completion_tokens")])
    assert change_for(refusal("unknown field 'max_completion_tokens'"), limited) is None
    back = change_for(refusal("max_completion_tokens is not supported, use max_tokens instead"), limited)
    assert back == Change("max_completion_tokens", "10", "max_tokens")


def test_the_field_that_an_error_names() -> None:
    sent = {"error": {"message": "No.", "param": "temperature", "code": "unsupported_value"}}
    outcome = judge(400, {}, json.dumps(sent).encode(), 0.0)
    assert isinstance(outcome, Failure)
    assert outcome.param == "temperature"


def strict(call: Call) -> Reply:
    """As a reasoning model of OpenAI behind a template without a system role."""
    if any(message["role"] == "system" for message in call.body["messages"]):
        return NO_SYSTEM
    if "max_tokens" in call.body:
        return MAX_TOKENS
    return TEMPERATURE if "temperature" in call.body else answer(NEGATIVE[call.stage])


LENIENT: Callable[[Call], Reply] = lambda call: answer(NEGATIVE[call.stage])  # noqa: E731


def test_three_wishes_are_heeded_once_told_once_and_remembered(tmp_path: Path) -> None:
    said: list[str] = []
    with StubLLM(strict) as stub, listening(said.append):
        chosen = settings(stub, tmp_path)
        assert {walk.label for walk in caller(chosen).finish(walks(12))} == {"unknown"}
        assert 5 * 12 + 3 <= len(stub.calls) <= 5 * 12 + 3 * 4  # four are in flight before the first answer
        assert {tuple(sorted(call.body)) for call in stub.calls[-5:]} == {
            ("max_completion_tokens", "messages", "model")
        }
        assert [text.partition("from here on ")[2].partition(",")[0] for text in said] == [
            "the instructions are sent in the user message (roles: merged)",
            "'max_completion_tokens' is sent in place of 'max_tokens'",
            "'temperature' is left out",
        ]
        stub.calls.clear()
        close_all()
        assert {walk.label for walk in caller(chosen).finish(walks(12))} == {"unknown"}
        assert stub.calls == []
        close_all()
        new = [packaged_tree().start("Another document that is long enough to be asked about")]
        assert [walk.label for walk in caller(chosen).finish(new)] == ["unknown"]
        assert len(stub.calls) == 5
        assert len(said) == 3
        # Another model of the same endpoint is asked as usual.
        stub.reply, stub.calls = LENIENT, []
        caller(replace(chosen, model="other")).finish(new)
        assert {tuple(sorted(call.body)) for call in stub.calls} == {("max_tokens", "messages", "model", "temperature")}
    remembered = tmp_path / "c.requests.json"
    assert stat.S_IMODE(remembered.stat().st_mode) == 0o600
    assert list(json.loads(remembered.read_text())) == [f"{chosen.base_url} m"]


def test_what_is_remembered_counts_for_what_is_asked_ahead(tmp_path: Path) -> None:
    with StubLLM(strict) as stub:
        tagger = Domain(backend="openai", base_url=stub.base_url, model="m", llm_cache=str(tmp_path / "c"))
        texts = [walk.text for walk in walks(3)]
        assert tagger.calls_ahead(texts) == [5, 5, 5]
        caller(tagger._settings).finish(walks(3))
        assert tagger.calls_ahead(texts) == [0, 0, 0]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"x": 3}', b"\xff", b'{"http://127.0.0.1:8000/v1 m": [["a"]]}']
)
def test_a_damaged_memory_costs_a_refusal_and_nothing_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.requests.json").write_bytes(content)
    chosen = replace(USUAL, cache=str(tmp_path / "c"))
    requests = Requests(chosen)
    assert requests.changes == []
    change = requests.heed(refusal("unknown field 'temperature'"), BODY)
    assert change == Change("temperature", "0.0")
    assert requests.heed(refusal("unknown field 'temperature'"), BODY) is None
    assert Requests(chosen).changes == [change]
    assert Requests(replace(chosen, model="n")).changes == []


def test_a_value_of_the_user_is_tried_though_another_was_refused(tmp_path: Path) -> None:
    chosen = replace(USUAL, cache=str(tmp_path / "c"))
    Requests(chosen).heed(refusal("'temperature' does not support 0"), BODY)
    assert "temperature" not in Requests(chosen).body([USER])
    assert Requests(replace(chosen, request=(("temperature", "1"),))).body([USER])["temperature"] == 1


def test_without_a_cache_a_caller_remembers_alone() -> None:
    with StubLLM(strict) as stub:
        chosen = Settings(stub.base_url, "m", backoff_seconds=0.001)
        assert {walk.label for walk in caller(chosen).finish(walks(3))} == {"unknown"}


def test_a_refusal_of_one_document_changes_nothing(tmp_path: Path) -> None:
    """Once documents are answered, one that is refused with such words does not change the request of all others."""

    def reply(call: Call) -> Reply:
        return failure(400, "unknown field 'temperature'") if call.text.endswith("05") else answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        asked = caller(settings(stub, tmp_path, concurrency=1))
        done = asked.finish(walks(5)) + asked.finish(walks(6)[5:])
        assert [walk.label for walk in done] == ["unknown"] * 5 + [None]
        assert all("temperature" in call.body for call in stub.calls)


def test_an_endpoint_that_changes_its_mind_is_heeded(tmp_path: Path) -> None:
    """In mid-run every document is refused, and so is a harmless question."""
    with StubLLM(LENIENT) as stub:
        asked = caller(settings(stub, tmp_path, concurrency=2))
        asked.finish(walks(2))
        stub.reply = strict
        assert {walk.label for walk in asked.finish(walks(8))} == {"unknown"}


def test_a_wish_that_is_no_help_ends_as_a_refusal(tmp_path: Path) -> None:
    with StubLLM(lambda _: failure(400, "temperature is not supported")) as stub:
        with pytest.raises(TaggerError, match="temperature is not supported"):
            caller(settings(stub, tmp_path)).finish(walks(12))
        assert len(stub.calls) <= 20


def test_no_file_of_a_run_has_a_value_out_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", SECRET)
    encoded = base64.b64encode(SECRET.encode()).decode()

    def reply(call: Call) -> Reply:
        if call.text.endswith("1"):
            return failure(400, f"{SECRET} {encoded} {SECRET[:10]} {quote(SECRET, safe='')}", "content_filter")
        said = answer(NEGATIVE[call.stage]).body.replace(b"stub-1", SECRET.encode())
        return Reply(body=said)

    tree = yaml.safe_load((Path(__file__).parents[1] / "configs" / "domain_tree.yaml").read_text())
    (tmp_path / "tree.yaml").write_text(
        yaml.safe_dump(tree | {"headers": {"x-api-key": "GATEWAY_KEY"}}, sort_keys=False)
    )
    texts = [f"A document that is long enough to be asked about, number {i}" for i in range(3)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with StubLLM(reply) as stub:
        domain: dict[str, Any] = {"backend": "openai", "base_url": stub.base_url, "tree": str(tmp_path / "tree.yaml")}
        domain |= {"llm_cache": str(tmp_path / "c"), "backoff_seconds": 0.001}
        output = str(tmp_path / "out")
        result = tagcorpus.run("domain", input=[str(tmp_path / "corpus.jsonl")], output=output, domain=domain)
        assert {call.headers["x-api-key"] for call in stub.calls} == {SECRET}
    close_all()
    table = tagcorpus.read(output).to_table()
    assert table["prediction"].to_pylist() == ["unknown", None, "unknown"]
    assert table["error"][1].as_py() == "status 400 (*** *** *** ***)"
    assert set(table["answered_by"].to_pylist()) == {"***", None}
    forms = [SECRET, SECRET[:10], encoded[:16], quote(SECRET, safe="")[:12]]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    for text in (*result.messages, *(path.read_bytes().decode("latin-1") for path in files)):
        assert not any(form in text for form in forms)

"""The rules of docs/domain.md, behaviour by behaviour, through the console command: labels lost 0, wrong labels 0, paid twice 0.

Forty documents, of which each has a label of its own kind, meet an endpoint that misbehaves to one of them, to some, to every
question, once, or from the middle of the run until it is mended.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from endpoint_behaviours import BEHAVIOURS, ERROR, RULES, Behaviour, odd, table
from stub_llm import HANG, Call, Reply, StubLLM, answer

from tagcorpus.cli import main
from tagcorpus.taggers._llm.caller import close_all
from tagcorpus.taggers._stage_tree.read import parse_tree

N = 40
ONE, SOME = {17}, {2, 3, 11, 17, 18, 25, 33, 39}
QUICK = ("a lasting 500", "401")
"""The others are end-to-end tests."""
MATRIX = [pytest.param(b, id=b.name, marks=() if b.name in QUICK else pytest.mark.e2e) for b in BEHAVIOURS]
PASSING = ("429", "503", "a refused connection")
"""Time is counted for these, not attempts."""
TREE = """
model: m
temperature: 0
max_answer_tokens: 10
max_text_chars: 60000
short_document: {min_chars: 50, label: odd}
prompt: "{text}\\n{choices}"
stages:
  - name: parity
    instructions: Is the number even?
    choices: {even: {label: even}, odd: {label: odd}}
    off_menu: odd
"""


def text(i: int) -> str:
    return f"A document that is long enough to be asked about, with number {i:02}"


def label(i: int) -> str:
    return "odd" if i % 2 else "even"


RIGHT = {text(i): label(i) for i in range(N)}


def right(call: Call) -> Reply:
    return answer(RIGHT.get(call.text, "odd"))


class Endpoint:
    """A stub, and an output of 40 documents that `run` labels there."""

    def __init__(self, folder: Path, stub: StubLLM, behaviour: Behaviour | None = None) -> None:
        self.stub, self.folder, self.output = stub, folder, folder / "out"
        self.seconds = 0.3 if behaviour is not None and behaviour.reply is HANG else 10
        (folder / "tree.yaml").write_text(TREE)
        lines = (json.dumps({"id": str(i), "text": text(i)}) + "\n" for i in range(N))
        (folder / "a.jsonl").write_text("".join(lines))

    def run(self, *more: str) -> Result:
        """The command; `calls` are those of this run only."""
        self.stub.calls.clear()
        fixed = {"timeout_seconds": self.seconds, "backoff_seconds": 0.0002, "patience": 0.3}
        sets = [part for name, value in fixed.items() for part in ("--set", f"domain.{name}={value}")]
        paths = ["-i", self.folder / "a.jsonl", "-o", self.output, "--llm-cache", self.folder / "cache"]
        endpoint = ["--base-url", self.stub.base_url, "--tree", self.folder / "tree.yaml"]
        command = ["run", "domain", *paths, *endpoint, *sets, *more]
        done = CliRunner().invoke(main, [str(part) for part in command])
        close_all()
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    @property
    def requests(self) -> Counter[str]:
        """Requests of the last run, by document; harmless questions have none of these texts."""
        return Counter(call.text for call in self.stub.calls if call.text in RIGHT)

    @property
    def labels(self) -> list[str | None]:
        paths = sorted(self.output.rglob("attributes/domain/**/*.parquet"))
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        assert all((row["error"] is None) != (row["prediction"] is None) for row in rows)
        return [row["prediction"] for row in rows]

    def is_silent_next_time(self) -> bool:
        before = self.labels
        self.run()
        return not self.stub.calls and self.labels == before


def expected(without: set[int]) -> list[str | None]:
    return [None if i in without else label(i) for i in range(N)]


def met_by(bad: set[int], behaviour: Behaviour) -> Callable[[Call], Reply]:
    texts = {text(i) for i in bad}
    return lambda call: behaviour.reply if call.text in texts else right(call)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def stub(reply: Callable[[Call], Reply]) -> StubLLM:
    return StubLLM(reply, parse_tree(TREE, "tree"))


@pytest.mark.parametrize("bad", [ONE, SOME], ids=["one", "some"])
@pytest.mark.parametrize("behaviour", MATRIX)
def test_one_and_some(behaviour: Behaviour, bad: set[int], folder: Path) -> None:
    with stub(met_by(bad, behaviour)) as server:
        endpoint = Endpoint(folder, server, behaviour)
        done = endpoint.run()
        if behaviour.one != ERROR:  # the quota: whoever meets it, nobody is answered any more
            assert done.exit_code == behaviour.every
            assert endpoint.labels == []
            server.reply = right
            assert endpoint.run().exit_code == 0
            assert endpoint.labels == expected(set())
            return
        assert done.exit_code == 0, done.stderr
        assert endpoint.labels == expected(bad)
        assert all(endpoint.requests[text(i)] == 1 for i in range(N) if i not in bad)
        assert endpoint.is_silent_next_time()
        server.reply = right
        assert endpoint.run("--retry-errors").exit_code == 0
        assert endpoint.requests == Counter(text(i) for i in bad)
        assert endpoint.labels == expected(set())


@pytest.mark.parametrize("behaviour", MATRIX)
def test_all(behaviour: Behaviour, folder: Path) -> None:
    with stub(lambda _: behaviour.reply) as server:
        endpoint = Endpoint(folder, server, behaviour)
        for _ in range(2):
            done = endpoint.run()
            assert done.exit_code == behaviour.every, done.stderr
            assert endpoint.labels == []
            assert len(server.calls) <= 20 or behaviour.name in PASSING
        server.reply = right
        assert endpoint.run().exit_code == 0
        assert endpoint.labels == expected(set())
        assert endpoint.requests == Counter(list(RIGHT))
        assert endpoint.is_silent_next_time()


@pytest.mark.parametrize("behaviour", MATRIX)
def test_once(behaviour: Behaviour, folder: Path) -> None:
    with stub(right) as server:
        once = [behaviour.reply]
        server.reply = lambda call: once.pop() if len(server.calls) == 20 and once else right(call)
        endpoint = Endpoint(folder, server, behaviour)
        done = endpoint.run()
        if behaviour.one != ERROR:
            assert done.exit_code == behaviour.every
            assert endpoint.run().exit_code == 0
        else:
            assert done.exit_code == 0, done.stderr
        n_wrong = sum(a != b for a, b in zip(endpoint.labels, expected(set()), strict=True))
        assert n_wrong == endpoint.labels.count(None) == (1 if behaviour.once == ERROR else 0)
        assert all(n == 1 for n in (endpoint.requests - Counter(list(RIGHT))).values())
        assert endpoint.is_silent_next_time()


@pytest.mark.parametrize("behaviour", MATRIX)
def test_until_mended(behaviour: Behaviour, folder: Path) -> None:
    """The endpoint fails from its 21st reply on. What it answered before is paid for once."""
    with stub(right) as server:
        endpoint = Endpoint(folder, server, behaviour)
        server.reply = lambda call: behaviour.reply if len(server.calls) > 20 else right(call)
        done = endpoint.run()
        assert done.exit_code == behaviour.until, done.stderr
        answered = {call.text for call in server.calls[:20]}
        if behaviour.until == 3:  # each refusal names its document: all of them are to blame
            assert endpoint.labels.count(None) == 20
            assert endpoint.is_silent_next_time()
        server.reply = right
        again = endpoint.run(*(["--retry-errors"] if behaviour.until == 3 else []))
        assert again.exit_code == 0, again.stderr
        assert endpoint.labels == expected(set())
        assert endpoint.requests == Counter(set(RIGHT) - answered)
        assert endpoint.is_silent_next_time()


ODD = [pytest.param(n, marks=() if n in ("JSON", "no usage") else pytest.mark.e2e) for n in odd("even")]


@pytest.mark.parametrize("name", ODD)
def test_a_healthy_but_odd_endpoint(name: str, folder: Path) -> None:
    with stub(lambda call: odd(RIGHT[call.text])[name]) as server:
        endpoint = Endpoint(folder, server)
        done = endpoint.run()
        assert done.exit_code == 0
        assert endpoint.labels == expected(set())
        assert endpoint.requests == Counter(list(RIGHT))
        said = [
            line for line in done.stderr.splitlines() if "finish_reason" in line or "menu" in line or "waiting" in line
        ]
        assert said == []
        assert endpoint.is_silent_next_time()


def test_there_are_sixty_behaviours_and_each_has_a_rule() -> None:
    assert len(BEHAVIOURS) + len(odd("even")) >= 60
    assert {b.rule for b in BEHAVIOURS} == set(RULES)
    for behaviour in BEHAVIOURS:
        rule = RULES[behaviour.rule]
        assert f"exit {behaviour.every}" in rule.every
        assert ("`error`" in rule.one) == (behaviour.one == ERROR)
        assert ("`error`" in rule.once) == (behaviour.once == ERROR)


def test_the_docs_have_the_table_of_the_tests() -> None:
    page = (Path(__file__).parents[1] / "docs" / "domain.md").read_text()
    assert table() in page

"""--pilot, --budget-usd and --price: the forecast of a bill, and a run that money stops, against a server that counts its own way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from stub_llm import NEGATIVE, Call, Reply, StubLLM

from tagcorpus.cli import main
from tagcorpus.pipelines.attributes.bill import dollars
from tagcorpus.pipelines.labelling.forecast import forecasts, moments_of, t_quantile
from tagcorpus.pipelines.labelling.pilot import hash_of, sizes_of
from tagcorpus.pipelines.labelling.prices import parsed
from tagcorpus.pipelines.progress.heartbeat import process
from tagcorpus.taggers._llm.tokens import TEMPLATE_TOKENS, Tokens
from tagcorpus.taggers._llm.usage import Purse, Usage

PRICE = "1,4,0.5"
IN, OUT, CACHED = 1e-6, 4e-6, 0.5e-6
SCHEMA = "name: one\nmax_answer_tokens: 20\nproperties: {kind: {type: enum, choices: [news, code]}}\n"


def invoke(*arguments: object, environment: dict[str, str] | None = None) -> Any:
    done = CliRunner(env={"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, **(environment or {})}).invoke(
        main, [str(argument) for argument in arguments]
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def counted(body: dict[str, Any]) -> int:
    """Tokens by a tokenizer of the server's own: pieces of words, and marks."""
    return sum(len(re.findall(r"\w{1,4}|[^\w\s]", m["content"])) for m in body["messages"])


def reply_with(content: str, prompt: int, completion: int = 3, cached: int = 0) -> Reply:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return Reply(body=json.dumps({"model": "stub-1", "choices": [choice], "usage": usage}).encode())


def labels(call: Call) -> Reply:
    return reply_with('{"kind": "news"}', counted(call.body), 6, cached=10)


def walks(call: Call) -> Reply:
    """Documents with an even length leave the tree at the third stage."""
    answer = "web" if call.stage == "web" and len(call.text) % 2 == 0 else NEGATIVE[call.stage]
    return reply_with(answer, counted(call.body), 2)


def texts(n: int, seed: int = 0) -> list[str]:
    """Documents of skewed lengths, with some digits and marks."""
    generator = np.random.default_rng(seed)
    words = np.array(["corpus", "of", "documents", "a", "12,345", "(see", "below)", "naturally", "is"])
    return [f"No. {i}: " + " ".join(generator.choice(words, int(generator.lognormal(3, 1)) + 12)) for i in range(n)]


def write(path: Path, documents: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in documents))
    return path


@pytest.fixture
def annotate(tmp_path: Path) -> Callable[..., Any]:
    schema = tmp_path / "one.yaml"
    schema.write_text(SCHEMA)

    def run(stub: StubLLM, path: Path, *arguments: object, output: str = "out") -> Any:
        command = [
            "run",
            "annotate",
            "--schema",
            schema,
            "-i",
            path,
            "-o",
            tmp_path / output,
            "--base-url",
            stub.base_url,
        ]
        fast = [
            "--llm-cache",
            tmp_path / "cache.sqlite",
            "--set",
            "annotate.backoff_seconds=0.001",
            "--patience",
            "0.3",
        ]
        return invoke(*command, *fast, *arguments)

    return run


def bills(output: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(output.glob("runs/*/bill.json"))]


# The pilot


@pytest.mark.parametrize("chunk_bytes", [1 << 20, pytest.param(4096, marks=pytest.mark.e2e)])
def test_the_pilot_holds_the_bill_and_its_labels_are_reused(
    chunk_bytes: int, annotate: Callable[..., Any], tmp_path: Path
) -> None:
    documents = texts(200)
    path = write(tmp_path / "a.jsonl", [*documents, documents[0], "   "])
    with StubLLM(labels) as stub:
        done = annotate(stub, path, "--pilot", 60, "--price", PRICE, "--json", "--set", f"chunk_bytes={chunk_bytes}")
        assert done.exit_code == 0, done.stderr
        value = json.loads(done.stdout)["summary"]["pilot"]
        assert len(stub.calls) == value["labelled"] == 60
        assert (
            value["documents"] == value["calls"]["total"] == 200
        )  # a repeated text is paid for once, a blank one never
        annotate(stub, path, "--price", PRICE, "--set", f"chunk_bytes={chunk_bytes}")
        assert len(stub.calls) == 200
    whole = sum(counted(call.body) for call in stub.calls)
    truth = (whole - 200 * 10) * IN + 200 * 10 * CACHED + 200 * 6 * OUT
    assert sum(bill["usd"] for bill in bills(tmp_path / "out")) == pytest.approx(truth)
    assert value["prompt_tokens"]["low"] <= whole <= value["prompt_tokens"]["high"]
    assert value["cached_tokens"]["total"] == 2000
    assert value["completion_tokens"]["total"] == 1200
    assert value["usd"]["low"] <= truth <= value["usd"]["high"]
    assert value["usd"]["half_width_share"] < 0.02
    assert value["usd"]["total"] == pytest.approx(truth, rel=0.02)


@pytest.mark.e2e
def test_the_pilot_tells_stages_and_asks_for_an_unknown_price(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(90))
    command = ["run", "domain", "-i", path, "-o", tmp_path / "out", "--llm-cache", tmp_path / "c.sqlite"]
    with StubLLM(walks) as stub:
        done = invoke(*command, "--base-url", stub.base_url, "--pilot", 40)
    assert done.exit_code == 0, done.stderr
    sent = {call.text for call in stub.calls}
    assert len(sent) == 40
    share = sum(len(text) % 2 for text in sent) / 40
    stage = re.search(r"academic: (\d+) calls", done.stdout)
    assert stage is not None
    assert int(stage[1]) == pytest.approx(90 * share, abs=12)
    assert "incoherent: 90 calls" in done.stdout
    assert "the price is unknown: say --price IN,OUT" in done.stdout
    (ledger,) = (tmp_path / "out").glob("runs/*/ledger.json")
    assert json.loads(ledger.read_text())["pilot"]["usd"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pilot", "5"], "a pilot needs 30 documents at least"),
        (["--pilot", "40", "--no-llm-cache"], "leave out --no-llm-cache"),
        (["--price", "cheap"], "is not a price"),
        (["--budget-usd", "1"], "--budget-usd needs a price, and none is known"),
        (["--pilot", "40", "--max-requests", "10"], "take a smaller --pilot"),
    ],
)
@pytest.mark.e2e
def test_what_cannot_be_forecast_sends_nothing(
    arguments: list[str], words: str, annotate: Callable[..., Any], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", texts(50))
    with StubLLM(labels) as stub:
        done = annotate(stub, path, *arguments)
        assert (done.exit_code, stub.calls) == (5 if "smaller" in words else 2, [])
    assert words in done.stderr


@pytest.mark.e2e
def test_a_pilot_of_everything_is_exact(annotate: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(31))
    with StubLLM(labels) as stub:
        done = annotate(stub, path, "--pilot", 1000, "--price", PRICE, "--json")
    money = json.loads(done.stdout)["summary"]["pilot"]["usd"]
    truth = sum((counted(c.body) - 10) * IN + 10 * CACHED + 6 * OUT for c in stub.calls)
    assert (money["low"], money["high"]) == (pytest.approx(truth), pytest.approx(truth))


@pytest.mark.e2e
def test_failed_replies_that_are_paid_are_part_of_the_forecast(annotate: Callable[..., Any], tmp_path: Path) -> None:
    """Each question is answered at the second attempt, and both are paid."""
    path = write(tmp_path / "a.jsonl", texts(60))
    with StubLLM(lambda c: labels(c) if c.nth else reply_with("", counted(c.body), 6, 10)) as stub:
        done = annotate(stub, path, "--pilot", 1000, "--price", PRICE, "--json")
    assert done.exit_code == 0, done.stderr
    money = json.loads(done.stdout)["summary"]["pilot"]["usd"]
    assert money["total"] == pytest.approx(sum((counted(c.body) - 10) * IN + 10 * CACHED + 6 * OUT for c in stub.calls))


# The estimator


def test_the_interval_covers_and_a_size_that_explains_all_gives_no_width() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.lognormal(6, 1, (20_000, 1))
    cost = 50 + 2 * sizes[:, 0] + 0.3 * sizes[:, 0] * generator.standard_normal(20_000)
    moments = moments_of(sizes)
    covered, shares = 0, []
    for _ in range(250):
        drawn = generator.choice(20_000, 200, replace=False)
        (of,) = forecasts(cost[drawn, None], sizes[drawn], moments)
        covered += of.low <= cost.sum() <= of.high
        shares.append(of.share)
    assert 0.92 <= covered / 250 <= 0.98
    assert np.median(shares) == pytest.approx(1.96 * 0.15 * 1.3 / 200**0.5, rel=0.4)
    (exact,) = forecasts(3 + 2 * sizes[:50], sizes[:50], moments)
    assert exact.total == pytest.approx(60_000 + 2 * sizes.sum())
    assert exact.share < 1e-9


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042), (1000, 1.962)])
def test_quantiles_of_t(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=0.002)


def test_sizes_are_bytes_of_three_kinds() -> None:
    assert sizes_of(("ab 1", "\u00e9!")) == [2, 3, 2]  # two bytes of an e with an accent
    assert sizes_of(()) == [0, 0, 0]
    assert len({hash_of(("a", "b"), 0), hash_of(("ab",), 0), hash_of(("ab",), 1)}) == 3


# Money that stops a run


def test_the_budget_is_kept_over_restarts_and_raising_it_goes_on(annotate: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(80))
    with StubLLM(labels) as stub:
        first = annotate(stub, path, "--price", PRICE, "--budget-usd", 0.008, "--max-requests", 10_000)
        assert first.exit_code == 5
        assert "(--budget-usd) are spent" in first.stderr
        spent = sum((counted(c.body) - 10) * IN + 10 * CACHED + 6 * OUT for c in stub.calls)
        assert 0.004 < spent <= 0.008
        n = len(stub.calls)
        assert annotate(stub, path, "--price", PRICE, "--budget-usd", 0.008).exit_code == 5
        assert sum((counted(c.body) - 10) * IN + 10 * CACHED + 6 * OUT for c in stub.calls) <= 0.008
        assert len(stub.calls) - n <= 2
        last = annotate(stub, path, "--price", PRICE, "--budget-usd", 1)
        assert last.exit_code == 0, last.stderr
        assert len(stub.calls) == 80
    assert "USD (1 in, 4 out, cached 0.5 USD per million tokens: --price)" in last.stderr
    total = sum((counted(c.body) - 10) * IN + 10 * CACHED + 6 * OUT for c in stub.calls)
    assert sum(bill["usd"] for bill in bills(tmp_path / "out")) == pytest.approx(total)
    assert dollars(total) in invoke("status", tmp_path / "out").stdout


def test_two_runs_at_once_do_not_share_a_budget(annotate: Callable[..., Any], tmp_path: Path) -> None:
    """Each of them would see only what was spent before it began."""
    path = write(tmp_path / "a.jsonl", texts(3))
    other = tmp_path / "out" / "runs" / "20260101T000000-annotate-abcdef"
    other.mkdir(parents=True)
    command = {"pipeline": "annotate", "time": time.time(), **process()}
    (other / "command.json").write_text(json.dumps(command))
    with StubLLM(labels) as stub:
        refused = annotate(stub, path, "--price", PRICE, "--budget-usd", 1)
        assert (refused.exit_code, stub.calls) == (4, [])
        assert f"run {other.name} is at work" in refused.stderr
        (other / "command.json").write_text(json.dumps({**command, "pipeline": "tag"}))
        assert annotate(stub, path, "--price", PRICE, "--budget-usd", 1).exit_code == 0
        (other / "command.json").write_text(json.dumps(command))
        (other / "ledger.json").write_text("{}")
        assert annotate(stub, path, "--price", PRICE, "--budget-usd", 1).exit_code == 0


@pytest.mark.e2e
def test_money_replaces_the_number_of_requests(annotate: Callable[..., Any], tmp_path: Path) -> None:
    """More calls than --max-requests allows by default are no error; a number that the user gives stays a limit."""
    path = write(tmp_path / "a.jsonl", texts(40))
    with StubLLM(labels) as stub:
        refused = annotate(stub, path, "--price", PRICE, "--budget-usd", 1, "--max-requests", 39)
        assert (refused.exit_code, stub.calls) == (5, [])
        assert annotate(stub, path, "--price", PRICE, "--budget-usd", 1).exit_code == 0


@pytest.mark.e2e
def test_a_reply_without_counts_costs_what_it_could(annotate: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(40))
    with StubLLM(lambda _: reply_with('{"kind": "code"}', 0, 0)) as stub:
        done = annotate(stub, path, "--price", PRICE, "--budget-usd", 0.01)
    assert done.exit_code == 5
    assert 0 < len(stub.calls) < 40
    assert sum(bill["usd"] for bill in bills(tmp_path / "out")) <= 0.01


def test_a_killed_run_has_the_requests_in_flight_at_their_most() -> None:
    usage = Usage()
    purse = Purse(parsed(PRICE), 0.001, usage)
    body = {"messages": [{"role": "user", "content": "x" * 100}], "max_tokens": 10}
    most = purse.most(body, ("max_tokens",))
    assert most >= (100 + TEMPLATE_TOKENS) * IN + 10 * OUT
    purse.set_aside(most)
    assert usage.as_json()["usd"] == most
    assert purse.affords(0.001 - most)
    assert not purse.affords(0.001 - most + 1e-9)
    purse.settle(most, purse.price.usd(Tokens(prompt=30, completion=1)))
    assert usage.as_json()["usd"] == pytest.approx(30 * IN + OUT)


# Without any call


@pytest.mark.e2e
def test_a_dry_run_prints_money_at_most(annotate: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(20))
    with StubLLM(labels) as stub:
        priced = json.loads(annotate(stub, path, "--dry-run", "--price", PRICE, "--json").stdout)["summary"]["dry_run"]
        unknown = annotate(stub, path, "--dry-run")
        annotate(stub, path, "--price", PRICE)
    assert priced["answer_tokens"] == 20 * 20
    assert priced["usd_at_most"] == pytest.approx(priced["prompt_tokens"] * IN + 400 * OUT, abs=1e-6)
    assert priced["prompt_tokens"] >= sum(counted(c.body) for c in stub.calls)
    assert "unknown: say --price IN,OUT" in unknown.stdout
    assert "usd_at_most        not known" in unknown.stdout


@pytest.mark.e2e
def test_more_than_a_thousand_calls_need_a_named_endpoint(tmp_path: Path) -> None:
    """As in run domain: a variable of the environment is no consent."""
    schema = tmp_path / "one.yaml"
    schema.write_text(SCHEMA)
    path = write(tmp_path / "a.jsonl", [f"document {i}" for i in range(1001)])
    with StubLLM(labels) as stub:
        environment = {"OPENAI_BASE_URL": stub.base_url}
        done = invoke(
            "run",
            "annotate",
            "--schema",
            schema,
            "-i",
            path,
            "-o",
            tmp_path / "o",
            "--no-llm-cache",
            environment=environment,
        )
        assert (done.exit_code, stub.calls) == (2, [])
        assert "more than 1,000 calls" in done.stderr
        assert "name it with --base-url" in done.stderr


@pytest.mark.parametrize(
    ("usd", "words"), [(0, "0.00 USD"), (0.001234, "0.00123 USD"), (0.5, "0.500 USD"), (0.01, "0.0100 USD"), (1234.5, "1,234.50 USD")]
)  # fmt: skip
def test_amounts_of_money(usd: float, words: str) -> None:
    assert dollars(usd) == words

"""Money: what a run at an endpoint may cost and has cost, whatever its end; and documents without a label, asked about again."""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from stub_llm import NEGATIVE, Call, Reply, StubLLM, answer, failure

from tagcorpus.cli import main
from tagcorpus.pipelines.attributes.bill import FILE, Bill, spent
from tagcorpus.pipelines.doctor.status import status
from tagcorpus.pipelines.progress.heartbeat import Heartbeat
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._llm.tokens import TEMPLATE_TOKENS
from tagcorpus.taggers._llm.usage import fewest_tokens
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._tokenizers import loading

COMMAND = Path(sysconfig.get_path("scripts")) / "tagcorpus"
STAGES = 5
FAST = [
    "--set", "domain.backoff_seconds=0.001", "--set", "domain.max_attempts=2", "--patience", "0.3",
]  # fmt: skip


def text(i: int) -> str:
    return f"Document number {i} is long enough to be asked about by every stage of the tree."


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def negative(call: Call) -> Reply:
    return answer(NEGATIVE[call.stage])


def run(path: Path, output: Path, *arguments: object, environment: dict[str, str] | None = None) -> Result:
    """`run domain` through the command line in this process, without a cache unless one is named."""
    cache = [] if "--llm-cache" in arguments else ["--no-llm-cache"]
    command = ["run", "domain", "-i", path, "-o", output, *FAST, *cache, *arguments]
    done = CliRunner(env={"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, **(environment or {})}).invoke(
        main, [str(part) for part in command]
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def ledgers(output: Path) -> list[dict[str, Any]]:
    """The oldest first."""
    paths = sorted(output.glob("runs/*/ledger.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


def shown(output: Path) -> str:
    return CliRunner().invoke(main, ["status", str(output)]).stdout


# The bill


def refused_after(n: int, reply: Reply) -> Callable[[Call], Reply]:
    """Answers for `n` requests, and this reply ever after."""
    seen: list[Call] = []

    def given_reply(call: Call) -> Reply:
        seen.append(call)
        return negative(call) if len(seen) <= n else reply

    return given_reply


ENDS = {
    0: (negative, []),
    1: (refused_after(12, failure(401, "key withdrawn")), []),
    3: (lambda call: failure(400, "no") if call.text == text(1) else negative(call), ["--max-quarantined", "0"]),
    4: (refused_after(12, failure(503)), []),
    5: (lambda call: failure(500) if call.nth == 0 else negative(call), ["--max-requests", "20"]),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_bill_is_told_whatever_the_end(end: int, tmp_path: Path) -> None:
    reply, arguments = ENDS[end]
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(4)]), tmp_path / "out"
    with StubLLM(reply) as stub:
        done = run(path, output, "--base-url", stub.base_url, "--concurrency", 4, *arguments)
        assert done.exit_code == end, done.stderr
        n = len(stub.calls)
    assert f"{n} request{'s' * (n != 1)} sent" in done.stderr
    (ledger,) = ledgers(output)
    assert ledger["exit_code"] == end
    assert (ledger["llm"]["requests"], ledger["llm_of_output"]["requests"], ledger["llm_of_output"]["runs"]) == (
        n,
        n,
        1,
    )
    assert ledger["llm"]["prompt_tokens"] == 100 * sum(ledger["llm"]["models"].values())
    assert f"LLM requests of 1 run: {n} request{'s' * (n != 1)} sent" in shown(output)


def test_the_bill_has_every_kind_of_token_and_paid_replies_that_were_no_answer(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 70,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }

    def reply(call: Call) -> Reply:
        content = "" if call.nth == 0 and call.stage == "code" else NEGATIVE[call.stage]
        choice = {"message": {"content": content}, "finish_reason": "stop"}
        return Reply(body=json.dumps({"model": "m-1", "choices": [choice], "usage": usage}).encode())

    path, output = write(tmp_path / "a.jsonl", [text(0)]), tmp_path / "out"
    with StubLLM(reply) as stub:
        done = run(path, output, "--base-url", stub.base_url)
    sentence = (
        "6 requests sent (1 retried): 420 prompt tokens (384 cached), 54 answer tokens (48 of reasoning); "
        "1 paid without an answer"
    )
    assert sentence in done.stderr
    assert sentence in shown(output)


def test_the_bill_is_summed_over_runs_and_begins_anew_with_overwrite(tmp_path: Path) -> None:
    path, output, cache = write(tmp_path / "a.jsonl", [text(0), text(1)]), tmp_path / "out", tmp_path / "cache"
    with StubLLM(negative) as stub:
        arguments = ["--base-url", stub.base_url, "--llm-cache", cache]
        run(path, output, *arguments)
        write(path, [text(0), text(1), text(2)])
        again = run(path, output, *arguments)
        assert "5 requests sent" in again.stderr
        assert "all runs on this output: 15 requests sent" in again.stderr
        nothing = run(path, output, *arguments)
        assert "all runs on this output: 15 requests sent" in nothing.stderr
        assert ("llm" in ledgers(output)[-1], ledgers(output)[-1]["llm_of_output"]["runs"]) == (False, 2)
        assert status(str(output))["llm"]["requests"] == len(stub.calls) == 15
        assert "of 2 runs: 15 requests sent" in shown(output)
        anew = run(path, output, *arguments, "--overwrite")
        assert "0 requests sent" in anew.stderr
        assert "all runs" not in anew.stderr
        assert len(stub.calls) == 15


def test_a_bill_on_disk_is_right_between_two_writes(tmp_path: Path) -> None:
    """As after a kill -9: there is no ledger."""
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / "runs/a/command.json").write_text("{}")
    bill = Bill(Folder(str(tmp_path)), "a", 300)
    for n in (7, 123456, 8):
        bill.enter({"requests": n, "models": {"m": n, "other": 1}})
        total = spent(Folder(str(tmp_path)))
        assert (total["requests"], total["models"], total["allowed_calls"], total["runs"]) == (
            n, {"m": n, "other": 1}, 300, 1,
        )  # fmt: skip
    bill.enter({"requests": 9, "models": {f"model-{i}": 1 for i in range(1000)}})
    assert spent(Folder(str(tmp_path)))["requests"] == 9
    bill.close()
    assert (tmp_path / "runs/a" / FILE).stat().st_size == 4096


def test_ledgers_of_earlier_versions_count(tmp_path: Path) -> None:
    for run_name, options in (("1", {}), ("2", {"overwrite": True}), ("3", {})):
        folder = tmp_path / "runs" / run_name
        folder.mkdir(parents=True)
        (folder / "command.json").write_text(json.dumps({"options": options}))
        (folder / "ledger.json").write_text(json.dumps({"llm": {"requests": 10, "retries": 1, "prompt_tokens": 5}}))
    total = spent(Folder(str(tmp_path)))
    assert (total["requests"], total["retries"], total["reasoning_tokens"], total["runs"]) == (20, 2, 0, 2)


@pytest.mark.e2e
@pytest.mark.parametrize("n", range(1, STAGES + 1))
def test_kill_9_at_every_step_of_a_conversation(n: int, tmp_path: Path) -> None:
    """The n-th request never gets its answer. The bill has all that the server saw, and the cache all that it answered."""
    path, output, cache = write(tmp_path / "a.jsonl", [text(0)]), tmp_path / "out", tmp_path / "cache"
    with StubLLM() as stub:
        command = [
            COMMAND,
            "run",
            "domain",
            "-i",
            path,
            "-o",
            output,
            "--base-url",
            stub.base_url,
            "--llm-cache",
            cache,
        ]
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def reply(call: Call) -> Reply:
            if len(stub.calls) == n:
                process.kill()
                process.wait()
            return negative(call)

        stub.reply = reply
        assert process.wait() == -signal.SIGKILL
        assert not list(output.glob("runs/*/ledger.json"))
        total = status(str(output))["llm"]
        assert (total["requests"], total["prompt_tokens"]) == (n, 100 * (n - 1)) == (len(stub.calls), 100 * (n - 1))
        assert f"of 1 run: {n} request{'s' * (n != 1)} sent" in shown(output)
        stub.reply = negative
        few = run(path, output, "--base-url", stub.base_url, "--llm-cache", cache, "--max-requests", STAGES)
        assert few.exit_code == 5  # the killed run's requests count
        assert len(stub.calls) == n
        done = run(path, output, "--base-url", stub.base_url, "--llm-cache", cache)
        assert done.exit_code == 0
        assert len(stub.calls) == STAGES + 1  # lost is only the one in flight
        assert status(str(output))["llm"]["requests"] == STAGES + 1
        assert status(str(output))["llm"]["prompt_tokens"] == 100 * STAGES


@pytest.mark.e2e
def test_ctrl_c_tells_the_bill(tmp_path: Path) -> None:
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(200)]), tmp_path / "out"
    with StubLLM(latency_seconds=0.01) as stub:
        command = [COMMAND, "run", "domain", "-i", path, "-o", output, "--base-url", stub.base_url, "--no-llm-cache"]
        process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)

        def reply(call: Call) -> Reply:
            if len(stub.calls) == 50:
                process.send_signal(signal.SIGINT)
            return negative(call)

        stub.reply = reply
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        n = len(stub.calls)
    assert f"{n} request{'s' * (n != 1)} sent" in stderr
    assert ledgers(output)[0]["llm"]["requests"] == status(str(output))["llm"]["requests"] == n
    assert ledgers(output)[0]["llm"]["prompt_tokens"] == 100 * n  # calls in flight may land


def test_the_heartbeat_carries_the_bill_where_the_output_is_in_a_store(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    output.publish("runs/a/command.json", b"{}")
    heartbeat = Heartbeat(output, "a")
    heartbeat.carry(lambda: {"llm": {"requests": 7, "prompt_tokens": 70}})
    heartbeat.beat()
    assert (spent(output)["requests"], spent(output)["prompt_tokens"]) == (7, 70)


# Limits


def test_the_limit_message_says_how_to_go_on(tmp_path: Path) -> None:
    path, output, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(4)]), tmp_path / "out", tmp_path / "cache"
    with StubLLM(lambda call: failure(500) if call.nth == 0 else negative(call)) as stub:
        arguments = ["--base-url", stub.base_url, "--llm-cache", cache, "--concurrency", 1]
        first = run(path, output, *arguments, "--max-requests", 20)
        assert first.exit_code == 5
        answers = ledgers(output)[0]["llm"]["models"]["gpt-4o-mini"]
        assert (
            f"the limit of 20 requests (--max-requests) is reached; retries count. To go on, run the same command with \
--max-requests {40 - answers}"
            in first.stderr
        )
        assert run(path, output, *arguments, "--max-requests", 20).exit_code == 5
        assert len(stub.calls) == 20
        second = run(path, output, *arguments, "--max-requests", 40 - answers)
        assert second.exit_code == 5
        assert ", 20 of them by earlier runs on this output; retries count" in second.stderr
        assert len(stub.calls) == 40 - answers
        assert run(path, output, *arguments, "--max-requests", 100).exit_code == 0


def test_a_key_in_the_environment_alone_does_not_spend_much(tmp_path: Path) -> None:
    path, output, cache = tmp_path / "a.jsonl", tmp_path / "out", tmp_path / "cache"
    with StubLLM(lambda _: answer("incoherent")) as stub:
        by_key = {"environment": {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": stub.base_url}}
        arguments = ["--llm-cache", cache]
        write(path, [text(i) for i in range(201)])
        stopped = run(path, output, *arguments, **by_key)
        assert stopped.exit_code == 2
        assert "201 documents to label, at most 1,005 calls, not counting retries, and at most " in stopped.stderr
        assert "only the environment names this endpoint" in stopped.stderr
        assert "say --backend openai; to use no endpoint, --backend fasttext" in stopped.stderr
        assert stub.connections == 0
        assert not (output / "attributes/domain/a.jsonl").exists()
        write(path, [text(i) for i in range(200)])
        assert run(path, output, *arguments, **by_key).exit_code == 0
        assert len(stub.calls) == 200
        write(path, [text(i) for i in range(201)])
        assert run(path, output, *arguments, **by_key).exit_code == 0, "cached answers do not count"
        assert len(stub.calls) == 201


def test_naming_the_endpoint_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(201)])
    with StubLLM(lambda _: answer("incoherent")) as stub:
        for i, arguments in enumerate((["--base-url", stub.base_url], ["--backend", "openai"])):
            environment = {"OPENAI_BASE_URL": stub.base_url}
            assert run(path, tmp_path / f"out{i}", *arguments, environment=environment).exit_code == 0
        assert len(stub.calls) == 402


def test_a_run_that_was_allowed_may_be_resumed(tmp_path: Path) -> None:
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(300)]), tmp_path / "out"
    with StubLLM(refused_after(30, failure(503))) as stub:
        environment = {"OPENAI_BASE_URL": stub.base_url}
        assert run(path, output, "--backend", "openai", environment=environment).exit_code == 4
        stub.reply = lambda _: answer("incoherent")
        assert run(path, output, environment=environment).exit_code == 0
        write(path, [text(i) for i in range(1000, 1301)])
        grown = run(path, output, environment=environment)
        assert grown.exit_code == 2
        assert "that is more than 1,500 calls" in grown.stderr


# Tokens


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.integers(1, STAGES))
def test_tokens_at_most_is_at_most(document: str, n_calls: int) -> None:
    """Of a tokenizer that is made for English, and so gives the most tokens for everything else."""
    tree, encode = packaged_tree(), loading.load("p50k_base", engine="tiktoken").encode_batch
    contents = [message["content"] for stage in tree.stages[:n_calls] for message in stage.messages(document)]
    n_tokens = len(encode(contents).ids)
    assert n_tokens <= tree.most_tokens(document, n_calls) - n_calls * (TEMPLATE_TOKENS + tree.max_answer_tokens)
    for content in contents:
        assert fewest_tokens([{"content": content}]) <= len(encode([content]).ids)


def test_the_bound_holds_for_japanese_and_long_documents() -> None:
    tree = packaged_tree()
    japanese = "\u540d\u8a5e\u306f\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u4f7f\u308f\u308c\u308b" * 5000
    kept, is_cut = tree.cut(japanese)
    assert is_cut
    assert tree.most_tokens(japanese, 1) >= len(kept.encode()) > 3 * tree.max_text_chars - 10
    assert tree.most_tokens(japanese, 0) == 0


# Endpoints that shorten prompts


def counting(context: int, count: Callable[[int], int] = lambda n: n) -> Callable[[Call], Reply]:
    """Negative answers from a model that sees no more than so many words, and says how many it saw."""

    def reply(call: Call) -> Reply:
        n = sum(len(m["content"].split()) for m in call.body["messages"])
        choice = {"message": {"content": NEGATIVE[call.stage]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": count(min(n, context)), "completion_tokens": 2}
        return Reply(body=json.dumps({"choices": [choice], "usage": usage}).encode())

    return reply


def test_a_server_that_drops_the_front_of_prompts_is_noticed(tmp_path: Path) -> None:
    texts = [f"{i} " + "word " * (3000 if i % 4 == 0 else 30) for i in range(12)]
    path, output = write(tmp_path / "a.jsonl", texts), tmp_path / "out"
    with StubLLM(counting(2048)) as stub:
        done = run(path, output, "--base-url", stub.base_url)
        assert done.exit_code == 0
        assert "counts 2,048 tokens in a prompt that has at least 2," in done.stderr
        assert "OLLAMA_CONTEXT_LENGTH" in done.stderr
        assert "fewer prompt tokens than 3 of 12 documents have at least" in done.stderr
        assert ledgers(output)[0]["llm"]["cut_prompts"] == 3
        write(path, [f"{i} " + "word " * 3000 for i in range(12)])
        assert run(path, output, "--base-url", stub.base_url).exit_code == 3


PREFIX_WORDS = len(packaged_tree().stages[0].instructions.split()) + 1
ODD_COUNTS: dict[str, Callable[[int], int]] = {
    "right": lambda n: n,
    "none": lambda _: 0,
    "a constant": lambda _: 100,
    "the rest of a block": lambda n: n % 16,
    "without the cached instructions": lambda n: n - PREFIX_WORDS,
    "tokens of Japanese": lambda n: 3 * n,
}


@pytest.mark.parametrize("count", ODD_COUNTS.values(), ids=ODD_COUNTS)
def test_healthy_servers_with_odd_counts_raise_no_alarm(count: Callable[[int], int], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [f"{i} " + "word " * (30 + 250 * i) for i in range(12)])
    with StubLLM(counting(10**9, count)) as stub:
        done = run(path, tmp_path / "out", "--base-url", stub.base_url)
    assert done.exit_code == 0
    assert "drops a part" not in done.stderr


# Documents without a label


def parts(output: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(output.rglob("attributes/domain/**/*.parquet"))}


@pytest.mark.e2e
def test_retry_errors_asks_about_documents_without_a_label_only(tmp_path: Path) -> None:
    """Without a cache: the other rows come from the part, not from the endpoint."""
    n, bad = 60, {3, 17, 18}
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(n)]), tmp_path / "out"

    def reply(call: Call) -> Reply:
        return failure(400, "blocked") if call.text in {text(i) for i in bad} else negative(call)

    with StubLLM(reply) as stub:
        arguments = ["--base-url", stub.base_url, "--set", "chunk_bytes=1024"]
        first = run(path, output, *arguments)
        assert first.exit_code == 0
        assert "with --retry-errors it does" in first.stderr
        before = parts(output)
        stub.calls.clear()
        assert run(path, output, *arguments).exit_code == 0
        assert stub.calls == []
        stub.reply = lambda _: answer("code")  # were others asked, their labels would change
        bad.clear()
        done = run(path, output, *arguments, "--retry-errors", "--max-requests", n * STAGES + 100)
        assert done.exit_code == 0
        assert "3 documents without a label to be asked about again" in done.stderr
        assert "3 documents to label, at most 15 calls" in done.stderr
        assert {call.text for call in stub.calls} == {text(3), text(17), text(18)}
        after = parts(output)
        assert 1 <= sum(before[name] != after[name] for name in before) <= 2 < len(before)
        rows = [r for p in sorted(output.rglob("domain/a.jsonl/*.parquet")) for r in pq.read_table(p).to_pylist()]
        assert [r["row"] for r in rows if r["prediction"] == "code"] == [3, 17, 18]
        assert all(r["prediction"] == "unknown" and r["n_calls"] == 5 for r in rows if r["prediction"] != "code")
        stub.calls.clear()
        again = run(path, output, *arguments, "--retry-errors")
        assert "0 documents without a label" in again.stderr
        assert stub.calls == []
        assert parts(output) == after


def test_retry_errors_of_a_sample_and_of_a_dead_endpoint(tmp_path: Path) -> None:
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(30)]), tmp_path / "out"
    with StubLLM(lambda call: failure(400, "no") if call.nth % 2 == 0 and "9" in call.text else negative(call)) as stub:
        arguments = ["--base-url", stub.base_url, "--sample", "0.8", "--max-quarantined", "20"]
        stub.reply = lambda call: failure(400, "no") if "9 " in call.text else negative(call)
        assert run(path, output, *arguments).exit_code == 0
        before = parts(output)
        stub.reply = lambda _: failure(503)
        assert run(path, output, *arguments, "--retry-errors").exit_code == 4
        assert parts(output) == before
        stub.reply = negative
        assert run(path, output, *arguments, "--retry-errors").exit_code == 0
    (part,) = output.rglob("domain/a.jsonl/*.parquet")
    table = pq.read_table(part)
    assert set(table["prediction"].to_pylist()) == {"unknown"}
    assert 20 < len(table) < 30


# Documents to blame from the start


def test_documents_that_are_refused_at_the_start_do_not_end_the_run(tmp_path: Path) -> None:
    """The first 30 documents are refused by a firewall; a harmless question is answered, so the rest is asked about."""
    path, output = write(tmp_path / "a.jsonl", [text(i) for i in range(60)]), tmp_path / "out"
    refused = {text(i) for i in range(30)}
    with StubLLM(lambda call: failure(403, "blocked") if call.text in refused else negative(call)) as stub:
        done = run(path, output, "--base-url", stub.base_url, "--set", "domain.max_attempts=6")
    assert done.exit_code == 3, done.stderr
    assert "(--max-quarantined)" in done.stderr
    (part,) = output.rglob("domain/a.jsonl/*.parquet")
    assert pq.read_table(part)["prediction"].to_pylist() == [None] * 30 + ["unknown"] * 30


def test_more_than_half_off_the_menu_is_exit_3_unless_it_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(12)])
    odd = {text(i) for i in range(5, 12)}
    with StubLLM(lambda call: answer("I cannot say") if call.text in odd else negative(call)) as stub:
        arguments = ["--base-url", stub.base_url, "--concurrency", 1]
        done = run(path, tmp_path / "out", *arguments)
        assert done.exit_code == 3
        assert "More than half are off the menu: exit 3, unless --max-quarantined allows that many" in done.stderr
        assert run(path, tmp_path / "out", *arguments, "--max-quarantined", "0.9").exit_code == 0
        assert run(path, tmp_path / "out", *arguments, "--max-quarantined", "2").exit_code == 3


def test_tokens_are_counted_where_the_tokenizer_is_known(tmp_path: Path) -> None:
    """text-davinci-003 has the encoding whose ranks ship; nobody is asked in a dry run."""
    path = write(tmp_path / "a.jsonl", [text(0), "\u540d\u8a5e\u306f" * 40])
    tokens = []
    for i, url in enumerate(("https://api.openai.com/v1", "http://127.0.0.1:1/v1")):
        endpoint = ["--base-url", url, "--model", "text-davinci-003"]
        done = run(path, tmp_path / str(i), *endpoint, "--dry-run", "--json")
        tokens.append(json.loads(done.stdout)["summary"]["dry_run"]["tokens_at_most"])
    encode = loading.load("p50k_base", engine="tiktoken").encode_batch
    tree, exact = packaged_tree(), 0
    for document in (text(0), "\u540d\u8a5e\u306f" * 40):
        for stage in tree.stages:
            contents = [message["content"] for message in stage.messages(document)]
            exact += len(encode(contents).ids) + 2 * 4 + 3 + tree.max_answer_tokens
    assert tokens[0] == exact < tokens[1]


def test_no_ranks_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert loading.of_model("gpt-4o-mini") is None
    assert loading.of_model("a model of ones own") is None
    for name in ("o200k_base.tiktoken", "fb374d419588a4632f3f557e76b4b70aebbca790"):
        (tmp_path / name).write_bytes(b"half of a download")
    assert loading.of_model("gpt-4o-mini") is None

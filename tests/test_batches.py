"""--batch: questions in files, against a server of OpenAI's Batch API, and as files alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from stub_batches import Body, StubBatch, StubBatches, completion
from stub_llm import NEGATIVE

from tagcorpus.cli import main
from tagcorpus.pipelines.batching import request_files, rounds
from tagcorpus.pipelines.batching.batch_api import BatchApi
from tagcorpus.pipelines.batching.result_lines import results_of
from tagcorpus.taggers._annotation.read import parse_schema
from tagcorpus.taggers._llm.caller import Caller
from tagcorpus.taggers._stage_tree.read import packaged_tree

SCHEMA = "name: one\nmax_answer_tokens: 20\nproperties: {kind: {type: enum, choices: [news, code]}}\n"
NEWS = '{"kind": "news"}'
N = 12


def text(i: int) -> str:
    return f"Document number {i} is long enough to be asked about by every stage of the tree."


def news(_: Body) -> tuple[int, Body]:
    return completion(NEWS)


def blocked(*numbers: int) -> Callable[[Body], tuple[int, Body]]:
    """Refuses these documents, and says news about the others."""

    def answer(body: Body) -> tuple[int, Body]:
        if any(text(i) in body["messages"][-1]["content"] for i in numbers):
            return 400, {"error": {"message": "blocked by a filter", "code": "content_filter"}}
        return news(body)

    return answer


class Folder:
    """A folder with documents and a schema, and the command that asks about them."""

    def __init__(self, path: Path, n: int = N) -> None:
        self.path, self.output = path, path / "out"
        (path / "one.yaml").write_text(SCHEMA)
        self.input = path / "a.jsonl"
        self.input.write_text("".join(json.dumps({"text": text(i)}) + "\n" for i in range(n)))

    def run(self, url: str, *arguments: object, pipeline: str = "annotate", mode: str = "send") -> Any:
        schema = ["--schema", self.path / "one.yaml"] if pipeline == "annotate" else []
        fast = [f"--set={pipeline}.backoff_seconds=0.001", f"--set={pipeline}.max_attempts=2", "--patience", "0.3"]
        command = ["run", pipeline, *schema, "-i", self.input, "-o", self.output, "--base-url", url, "--batch", mode]
        cache = ["--llm-cache", self.path / "c.sqlite"]
        return CliRunner(env={"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}).invoke(
            main, [str(a) for a in [*command, *fast, *cache, *arguments]]
        )

    def rows(self, name: str = "one") -> list[dict[str, Any]]:
        parts = sorted((self.output / "attributes" / name).rglob("*.parquet"))
        return [row for part in parts for row in pq.read_table(part).to_pylist()]

    def bills(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.output.glob("runs/*/bill.json"))]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_batch_labels_everything_and_a_synchronous_run_asks_nothing(folder: Folder) -> None:
    with StubBatches(news) as stub:
        done = folder.run(stub.base_url, "--price", "1,2")
        assert done.exit_code == 0, done.output
        assert len(stub.batches) == 1
        assert len({q["custom_id"] for q in stub.questions}) == N
        assert len(stub.single) == 1  # the question that shows that the request is in order
        body = stub.questions[0]["body"]
        assert (body["max_tokens"], body["response_format"]["type"]) == (20, "json_schema")
        folder.run(stub.base_url, "--overwrite")
        assert (len(stub.batches), len(stub.single)) == (1, 1)
    assert [row["kind"] for row in folder.rows()] == ["news"] * N
    bill = max(folder.bills(), key=lambda each: int(each["requests"]))
    assert (bill["requests"], bill["prompt_tokens"], bill["completion_tokens"]) == (N + 1, 20 * (N + 1), 3 * (N + 1))
    assert bill["usd"] == pytest.approx((N + 1) * (20 * 1e-6 + 3 * 2e-6))


@pytest.mark.e2e
def test_a_tree_takes_a_round_for_each_stage(folder: Folder) -> None:
    stages = {stage.instructions: stage.name for stage in packaged_tree().stages}

    def answer(body: Body) -> tuple[int, Body]:
        stage = stages[body["messages"][0]["content"]]
        return completion("web" if stage == "web" and "number 1" in body["messages"][1]["content"] else NEGATIVE[stage])

    with StubBatches(answer) as stub:
        done = folder.run(stub.base_url, pipeline="domain")
        assert done.exit_code == 0, done.output
        assert [len(batch.questions) for batch in stub.batches] == [N, N, N, N - 3, N - 3]
        assert "up to 5 rounds" in done.stderr
    labels = [row["prediction"] for row in folder.rows("domain")]
    assert [i for i, label in enumerate(labels) if label == "web"] == [1, 10, 11]


@pytest.mark.e2e
def test_failures_are_blamed_on_documents_after_two_files(folder: Folder) -> None:
    with StubBatches(blocked(3, 7)) as stub:
        done = folder.run(stub.base_url)
        assert done.exit_code == 0, done.output
        assert [len(batch.questions) for batch in stub.batches] == [N, 2]
        assert len(stub.single) == 1
        errors = [i for i, row in enumerate(folder.rows()) if row["error"]]
        assert errors == [3, 7]
        assert "blocked by a filter" in folder.rows()[3]["error"]
        stub.answer = news
        again = folder.run(stub.base_url, "--retry-errors")
        assert again.exit_code == 0, again.output
        assert [len(batch.questions) for batch in stub.batches] == [N, 2, 2]
    assert [row["kind"] for row in folder.rows()] == ["news"] * N


@pytest.mark.e2e
def test_what_expired_is_sent_again_and_is_no_failure(folder: Folder) -> None:
    def expire(batch: StubBatch, n: int) -> None:
        batch.status = "expired" if n < 2 else "completed"

    with StubBatches(news) as stub:
        stub.change = expire
        done = folder.run(stub.base_url)
        assert done.exit_code == 0, done.output
        assert [len(batch.questions) for batch in stub.batches] == [12, 6, 3]
        assert "6 answers, 0 failures, 6 without a reply" in done.stderr
    assert [row["kind"] for row in folder.rows()] == ["news"] * N


@pytest.mark.e2e
def test_a_round_that_brings_nothing_ends_the_run_and_the_next_run_goes_on(folder: Folder) -> None:
    with StubBatches(news) as stub:
        stub.edit = lambda _lines, _n: ["{}"]
        done = folder.run(stub.base_url)
        assert done.exit_code == 4
        assert "got no reply" in done.stderr
        assert folder.rows() == []
        stub.edit = lambda lines, _n: lines
        assert folder.run(stub.base_url).exit_code == 0
    assert len(folder.rows()) == N


@pytest.mark.e2e
def test_nonsense_repeated_and_missing_lines_lose_nothing(folder: Folder) -> None:
    def edit(lines: list[str], n: int) -> list[str]:
        if n:
            return lines
        stranger = json.dumps({**json.loads(lines[0]), "custom_id": "not mine"})
        code = lines[1].replace("news", "code")
        return [lines[0], "", "not json", "[1]", '{"custom_id": 5}', stranger, lines[1], code, *lines[3:]]

    with StubBatches(news) as stub:
        stub.edit = edit
        done = folder.run(stub.base_url)
        assert done.exit_code == 0, done.output
        assert [len(batch.questions) for batch in stub.batches] == [N, 1]
        assert (
            "3 lines that are not results left out; 1 repeated results left out; 1 results of other questions"
            in done.stderr
        )
    assert [row["kind"] for row in folder.rows()] == ["news"] * N


@pytest.mark.e2e
def test_questions_are_split_by_lines_bytes_and_tokens(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0

    def note(batch: StubBatch, _n: int) -> None:
        nonlocal most
        batch.polls = 3
        most = max(most, sum(b.polls > 0 for b in stub.batches))

    monkeypatch.setattr(request_files, "MOST_LINES", 5)
    with StubBatches(news) as stub:
        stub.change = note
        assert folder.run(stub.base_url).exit_code == 0
        assert [len(batch.questions) for batch in stub.batches] == [5, 5, 2]
        assert most == 3
    monkeypatch.setattr(request_files, "MOST_LINES", 50_000)
    (folder.path / "c.sqlite").unlink()
    most = 0
    with StubBatches(news) as stub:
        stub.change = note
        assert folder.run(stub.base_url, "--batch-tokens", 500, "--overwrite").exit_code == 0
        assert len(stub.batches) == 3
        assert most == 1  # one after the other: the queue holds no two of them
    monkeypatch.setattr(request_files, "MOST_BYTES", 3_000)
    (folder.path / "c.sqlite").unlink()
    with StubBatches(news) as stub:
        assert folder.run(stub.base_url, "--overwrite").exit_code == 0
        assert len(stub.batches) > 3
        assert all(len(data.encode()) <= 3_000 for name, data in stub.files.items() if '"method"' in data)


@pytest.mark.e2e
def test_a_full_queue_is_waited_for_and_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(batch: StubBatch, n: int) -> None:
        batch.polls = 4 if n == 0 else 1
        if n == 1:
            batch.status, batch.code = "failed", "token_limit_exceeded"

    monkeypatch.setattr(request_files, "MOST_LINES", 6)
    with StubBatches(news) as stub:
        stub.change = refuse
        done = folder.run(stub.base_url)
        assert done.exit_code == 0, done.output
        assert [len(batch.questions) for batch in stub.batches] == [6, 6, 6]
    assert folder.bills()[0]["requests"] == N + 1
    (folder.path / "c.sqlite").unlink()
    with StubBatches(news) as stub:
        stub.change = lambda batch, _n: refuse(batch, 1)
        done = folder.run(stub.base_url, "--overwrite")
        assert done.exit_code == 4
        assert "--batch-tokens" in done.stderr


class Killed(BaseException):
    """The process ends here."""


STEPS = ("upload", "create", "save", "look_up", "download", "keep", "publish")


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.e2e
def test_a_run_that_is_killed_at_any_step_sends_nothing_twice(
    step: str, is_after: bool, nth: int, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(step, is_after, nth, folder, monkeypatch)


@pytest.mark.e2e
def test_a_run_that_is_killed_after_a_batch_was_made_finds_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_at("create", True, 1, folder, monkeypatch)


def killed_at(step: str, is_after: bool, nth: int, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: dict[str, Any] = {"save": request_files.BatchFile, "keep": Caller, "publish": rounds}
    owner = owners.get(step, BatchApi)
    usual, n = getattr(owner, step), 0

    def act(*arguments: Any, **more: Any) -> Any:
        nonlocal n
        n += 1
        if n == nth and not is_after:
            raise Killed
        value = usual(*arguments, **more)
        if n == nth:
            raise Killed
        return value

    monkeypatch.setattr(request_files, "MOST_LINES", 5)
    with StubBatches(news) as stub:
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, act)
            with contextlib.suppress(Killed):
                folder.run(stub.base_url, "--price", "1,2")
        done = folder.run(stub.base_url, "--price", "1,2")
        assert done.exit_code == 0, done.output
        assert len(stub.questions) == len({q["custom_id"] for q in stub.questions}) == N
        assert len(stub.single) == 1
    assert [row["kind"] for row in folder.rows()] == ["news"] * N
    if step != "publish":  # killed between the bill and the request, which the bill then has at its most
        assert sum(bill["usd"] for bill in folder.bills()) == pytest.approx((N + 1) * (20 * 1e-6 + 3 * 2e-6), abs=1e-9)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/batch-0"),
        ("GET", "/v1/files/file-1/content"),
    ],
)
@pytest.mark.parametrize("status", [500, 599], ids=["error", "lost reply"])
@pytest.mark.e2e
def test_a_fault_of_the_server_is_repeated_and_creates_no_second_batch(
    method: str, path: str, status: int, folder: Folder
) -> None:
    left = 1

    def fault(given_method: str, given_path: str) -> int:
        nonlocal left
        if (given_method, given_path) == (method, path) and left:
            left -= 1
            return status
        return 0

    with StubBatches(news) as stub:
        stub.fault = fault
        done = folder.run(stub.base_url)
        assert done.exit_code == 0, done.output
        assert len(stub.batches) == 1
        assert left == 0


@pytest.mark.e2e
def test_a_server_without_batches_is_named(folder: Folder) -> None:
    with StubBatches(news) as stub:
        stub.fault = lambda _method, path: 404 if "chat" not in path else 0
        done = folder.run(stub.base_url)
    assert done.exit_code == 1
    assert "refused a call of the Batch API" in done.stderr
    assert "--batch files" in done.stderr


@pytest.mark.e2e
def test_money_ends_batches_as_it_ends_calls(folder: Folder) -> None:
    """Files are no larger than the money that is left allows at their most; what is cheaper makes room for the next."""
    with StubBatches(lambda _: completion(NEWS, 300)) as stub:
        done = folder.run(stub.base_url, "--price", "1,2", "--budget-usd", 0.003)
        assert done.exit_code == 5, done.output
        spent = folder.bills()[0]["usd"]
        assert 0 < spent <= 0.003
        assert 0 < len(stub.questions) < N
        done = folder.run(stub.base_url, "--price", "1,2", "--budget-usd", 1)
        assert done.exit_code == 0, done.output
        assert len(stub.questions) == N
    assert [row["kind"] for row in folder.rows()] == ["news"] * N


def test_files_alone_are_written_and_their_results_read(folder: Folder) -> None:
    """As `vllm run-batch` writes them. Nobody is asked."""
    url = "http://127.0.0.1:1/v1"
    done = folder.run(url, mode="files")
    assert done.exit_code == 4
    assert "vllm run-batch -i " in done.stderr
    (path,) = (folder.output / "batches").glob("*.requests.jsonl")
    assert folder.run(url, mode="files").exit_code == 4
    assert len(list((folder.output / "batches").glob("*.requests.jsonl"))) == 1
    lines = []
    for line in path.read_text().splitlines():
        question = json.loads(line)
        assert (question["method"], question["url"]) == ("POST", "/v1/chat/completions")
        status, body = blocked(5)(question["body"])
        lines.append(
            json.dumps({"custom_id": question["custom_id"], "response": {"status_code": status, "body": body}})
        )
    path.with_name("0001.results.jsonl").write_text("\n".join(lines))
    second = folder.run(url, mode="files")
    assert second.exit_code == 4
    (line,) = path.with_name("0002.requests.jsonl").read_text().splitlines()
    failed = {
        "custom_id": json.loads(line)["custom_id"],
        "response": {"status_code": 400, "body": {"error": {"message": "no"}}},
    }
    path.with_name("0002.results.jsonl").write_text(json.dumps(failed))
    assert folder.run(url, mode="files").exit_code == 0
    assert [row["kind"] for row in folder.rows()] == ["news"] * 5 + [None] + ["news"] * (N - 6)


@pytest.mark.e2e
def test_requests_that_were_changed_are_refused(folder: Folder) -> None:
    url = "http://127.0.0.1:1/v1"
    folder.run(url, mode="files")
    path = folder.output / "batches" / "0001.requests.jsonl"
    path.write_text(path.read_text().replace("number 3", "number 4"))
    path.with_name("0001.results.jsonl").write_text("{}")
    done = folder.run(url, mode="files")
    assert done.exit_code == 4
    assert "is not as it was written" in done.stderr


def test_lines_are_judged_as_replies_are() -> None:
    schema = parse_schema(SCHEMA, "one")
    status, body = completion("not an object")
    lines = [
        {"custom_id": "a.begin", "response": {"status_code": status, "body": completion(NEWS)[1]}},
        {"custom_id": "b.begin", "response": {"status_code": status, "body": body}},
        {"custom_id": "c.begin", "response": {"status_code": 500, "body": None}},
        {"custom_id": "d.begin", "response": None, "error": {"code": "batch_expired", "message": "late"}},
        {"custom_id": "e.begin", "error": "broken"},
        {"custom_id": "b.begin", "response": {"status_code": status, "body": completion(NEWS)[1]}},
    ]
    results = results_of([json.dumps(line).encode() for line in lines], {f"{c}.begin" for c in "abcde"}, schema)
    assert set(results.answers) == {"a.begin", "b.begin"}
    assert {name: failure.kind for name, failure in results.failures.items()} == {
        "c.begin": "fault",
        "e.begin": "fault",
    }

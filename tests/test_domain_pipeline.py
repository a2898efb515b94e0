"""`run domain` end to end against a stub server over real HTTP: labels, files, costs, faults, interrupts, secrets."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from stub_llm import HANG, NEGATIVE, Call, Reply, StubLLM, answer, failure, rules

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import BudgetError, ConfigError, TaggerError
from tagcorpus.pipelines import TagDocuments
from tagcorpus.pipelines.labelling.label_counts import percentages
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.taggers._stage_tree.read import parse_tree

COMMAND = Path(sysconfig.get_path("scripts")) / "tagcorpus"
KEY = "sk-secret-0123456789abcdef"
SUPERSEDED = {"ps002"}  # a null answer, which counted as off the menu: it is no answer, and the document has an error
STAGES = 5
FAST = {"backoff_seconds": 0.001, "max_attempts": 2, "patience": 0.3}


def text(i: int) -> str:
    return f"Document number {i} is long enough to be asked about by every stage of the tree."


def write(path: Path, texts: Sequence[str], first: int = 0) -> Path:
    path.write_text("".join(json.dumps({"id": f"d{first + i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def domain(stub: StubLLM, path: Path, output: Path, cache: Path | str = "none", **options: Any) -> Result:
    parameters = {"base_url": stub.base_url, "llm_cache": str(cache), **FAST, **options.pop("domain", {})}
    result: Result = tagcorpus.run("domain", input=path, output=output, domain=parameters, **options)
    return result


def shell(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in this process, with an empty standard input."""
    fast = ["--set", "domain.backoff_seconds=0.001"] if "--base-url" in arguments else []
    command = ["run", "domain", *map(str, arguments), *fast]
    done = CliRunner(env=environment).invoke(main, command)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


def predicted(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def parts(output: Path) -> dict[str, bytes]:
    return {str(p.relative_to(output)): p.read_bytes() for p in sorted((output / "attributes").rglob("*.parquet"))}


def published(output: Path) -> dict[str, bytes]:
    return {**parts(output), "csv": (output / "predicted_domains.csv").read_bytes()}


def on_call(n: int, act: Callable[[], None]) -> Callable[[Call], Reply]:
    """Negative answers; `act` when the n-th call arrives."""
    seen = 0

    def reply(call: Call) -> Reply:
        nonlocal seen
        seen += 1
        if seen == n:
            act()
        return answer(NEGATIVE[call.stage])

    return reply


def alive(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        state, _, its_group = rest.split()[:3]
        if int(its_group) == group and state != "Z":
            found.append(name)
    return found


# Labels


def test_reference_answer_scenarios(golden: Path, tmp_path: Path) -> None:
    lines = (golden / "domain" / "scenarios.jsonl").read_text().splitlines()
    given = {s["text"]: s for s in map(json.loads, lines) if s["kind"] == "answers"}
    assert len(given) == 16
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": s["id"], "text": t}) + "\n" for t, s in given.items()))

    def reply(call: Call) -> Reply:
        said = given[call.text]["answers"][call.stage]
        return failure(400, "blocked", "content_filter") if said == "__RAISE__" else answer(said)

    with StubLLM(reply) as stub:
        done = shell("-i", path, "-o", tmp_path / "out", "--base-url", stub.base_url, "--llm-cache", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    rows = {r["id"]: r for r in predicted(tmp_path / "out/predicted_domains.csv")}
    sidecar = pq.read_table(tmp_path / "out/attributes/domain/a.jsonl/part-00000.parquet").to_pylist()
    for row, (document, scenario) in zip(sidecar, given.items(), strict=True):
        wanted = scenario["recommended"]
        if scenario["id"] in SUPERSEDED:
            assert stub.stages_of(document) == ["incoherent"] * 3
            assert (row["prediction"], row["error"]) == (None, "an empty answer")
            continue
        assert stub.stages_of(document) == (scenario if wanted is None else wanted)["calls"]
        assert rows[scenario["id"]]["prediction"] == ("" if wanted is None else wanted["prediction"])
        assert (row["error"] is None) == (wanted is not None)
        assert row["is_off_menu"] == bool(wanted and wanted["had_invalid_answer"])
    whole = [s for s in given.values() if s["id"] not in SUPERSEDED]
    assert len(stub.calls) == sum((s["recommended"] or s)["n_calls"] for s in whole) + 3 * len(SUPERSEDED)


@pytest.mark.parametrize("name", ["text", "resps", "csv", "limit10"])
def test_reference_files(golden: Path, tmp_path: Path, name: str) -> None:
    folder = golden / "domain" / "process_file"
    spec = json.loads((golden / "domain" / "stub_rules.json").read_text())
    wanted = json.loads((folder / "expected_summary.json").read_text())[name]
    source = {"csv": "input.csv", "resps": "input_resps.jsonl"}.get(name, "input_text.jsonl")
    with StubLLM(rules(spec)) as stub:
        result = domain(stub, folder / source, tmp_path / "out", limit=10 if name == "limit10" else None)
    rows = predicted(tmp_path / "out/predicted_domains.csv")
    expected = predicted(folder / f"expected_{name}.csv")
    assert [r["prediction"] for r in rows] == [e["prediction"].replace("media", "reference") for e in expected]
    assert [r["language"] for r in rows] == [e["language"] for e in expected]
    assert dict(stub.calls_by_stage) == wanted["calls_by_stage"]
    folded: Counter[str] = Counter()
    for label, n in wanted["prediction_counts"].items():
        folded[label.replace("media", "reference")] += n
    told = result.summary["domain"]
    assert told["labels"] == folded
    assert result.exit_code == 0
    ledger = json.loads(Path(result.ledger).read_text())
    assert ledger["llm"]["requests"] + ledger["llm"]["shared"] >= wanted["n_calls"]


def test_percentages_of_real_labels(golden: Path) -> None:
    for found in json.loads((golden / "domain" / "real_csv_domain_stats.json").read_text()).values():
        labels = Counter(found["raw_counts"])
        labels["reference"] += labels.pop("media")
        wanted = found["compute_domain_stats"]
        remaining = found["n_after_exclusion"]
        assert percentages(labels, round(wanted["pct_english"] * remaining / 100)) == pytest.approx(wanted)


def test_percentages_of_c4(labelled: Path) -> None:
    rows = predicted(labelled / "allenai_c4_sample_predicted_domains.csv")
    labels = Counter({"media": "reference"}.get(r["prediction"], r["prediction"]) for r in rows)
    english = sum(r["language"] == "en" and r["prediction"] not in ("unknown", "incoherent") for r in rows)
    found = {k: round(v or 0, 4) for k, v in percentages(labels, english).items()}
    assert found == {
        "domain_academic_pct": 4.9887,
        "domain_books_pct": 8.6168,
        "domain_code_pct": 0.7937,
        "domain_reference_pct": 24.7166,
        "domain_specific_datasets_pct": 0.4535,
        "domain_web_pct": 60.4308,
        "pct_english": 99.7732,
    }


def test_percentages_of_synthetic_labels(golden: Path) -> None:
    lines = (golden / "domain" / "synthetic_domain_stats.jsonl").read_text().splitlines()
    for case in map(json.loads, lines):
        labels = ["reference" if p == "media" else p for p in case["prediction"]]
        english = sum(
            language == "en" and label not in ("unknown", "incoherent")
            for language, label in zip(case["language"], labels, strict=True)
        )
        assert percentages(Counter(labels), english) == pytest.approx(case["expected"], nan_ok=True)


def test_percentages_leave_out_what_has_no_domain() -> None:
    found = percentages({"web": 1, "law": 3, "error": 9, "unknown": 9, "incoherent": 9}, 1)
    assert found == {
        **{f"domain_{d}_pct": 0.0 for d in ("academic", "books", "code", "reference", "specific_datasets")},
        "domain_web_pct": 25.0,
        "domain_law_pct": 75.0,
        "pct_english": 25.0,
    }
    assert percentages({"error": 2, "unknown": 1}, 0)["pct_english"] is None


# Files


def test_files_and_table(tmp_path: Path) -> None:
    nasty = f'{text(0)}\r"quoted", and\r\nmore \ud800'
    path = write(tmp_path / "a.jsonl", [nasty, "short", text(1), text(2)])

    def reply(call: Call) -> Reply:
        if call.text == text(2):
            return failure(400, "blocked", "content_filter")
        return answer("code" if call.stage == "code" else NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        arguments = ["-i", path, "--base-url", stub.base_url, "--llm-cache", tmp_path / "cache", "--model", "m-1"]
        done = shell(*arguments, "-o", tmp_path / "out", "--with-text")
        assert done.returncode == 0, done.stderr
        asked = len(stub.calls)
        again = shell(*arguments, "-o", tmp_path / "main.csv", "--work", tmp_path / "work", "--json")
        summary_file = shell(*arguments, "-o", tmp_path / "main.json", "--work", tmp_path / "work")
        assert len(stub.calls) == asked + 1  # a failure is never cached
    raw = (tmp_path / "out/predicted_domains.csv").read_bytes().decode()
    rows = list(csv.reader(io.StringIO(raw, newline="")))
    backend = "openai:m-1"
    assert rows == [
        ["id", "language", "prediction", "backend", "text"],
        ["d0", "en", "code", backend, nasty.replace("\ud800", "\ufffd")],
        ["d1", "unknown", "incoherent", backend, "short"],
        ["d2", "en", "code", backend, text(1)],
        ["d3", "en", "", backend, text(2)],
    ]
    table = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "labelled by openai:m-1" in table
    assert f"code 2 50.0 % 100.0 % {32 * chr(9608)}" in table
    assert f"error 1 25.0 % {16 * chr(9608)}" in table
    assert "English 100.0 %" in table
    value = json.loads(again.stdout)
    assert value["summary"]["domain"]["labels"] == {"code": 2, "error": 1, "incoherent": 1}
    assert value["summary"]["domain"]["backend"] == backend
    assert list(csv.reader(io.StringIO((tmp_path / "main.csv").read_bytes().decode(), newline=""))) == [
        row[:4] for row in rows
    ]
    assert (tmp_path / "main.csv").read_bytes() == (tmp_path / "work/predicted_domains.csv").read_bytes()
    assert summary_file.returncode == 0
    told = json.loads((tmp_path / "main.json").read_text())
    published = json.loads((tmp_path / "work/summary/domain.json").read_text())
    assert published.pop("checksum")
    assert told == published
    assert told["domain"]["percentages"]["domain_code_pct"] == 100.0


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(0), "short", text(1)])
    with StubLLM() as stub:
        arguments = ["-i", path, "-o", tmp_path / "out", "--base-url", stub.base_url, "--dry-run", "--json"]
        done = shell(*arguments, "--llm-cache", tmp_path / "cache")
        assert stub.connections == 0
    told = json.loads(done.stdout)["summary"]["dry_run"]
    assert (told["backend"], told["documents_to_ask"], told["calls_at_most"]) == ("openai:gpt-4o-mini", 2, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl"]


@pytest.mark.e2e
def test_concurrency_and_workers_make_no_difference(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(60)])

    def reply(call: Call) -> Reply:
        return answer("web" if call.stage == "web" and "3" in call.text else NEGATIVE[call.stage])

    with StubLLM(reply, latency_seconds=0.001) as stub:
        domain(stub, path, tmp_path / "one", chunk_bytes=1024, workers=1, domain={"concurrency": 1})
        assert stub.most_in_flight == 1
        domain(stub, path, tmp_path / "many", chunk_bytes=1024, workers=3, domain={"concurrency": 16})
        assert stub.most_in_flight > 3
    assert len(parts(tmp_path / "one")) > 4
    assert published(tmp_path / "one") == published(tmp_path / "many")


def test_the_text_of_a_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(60)])
    with StubLLM() as stub:
        domain(stub, path, tmp_path / "out", sample=0.3, seed=1, with_text=True, chunk_bytes=1024, workers=1)
        asked = {c.text for c in stub.calls}
    rows = predicted(tmp_path / "out/predicted_domains.csv")
    assert 5 < len(rows) < 40
    assert all(r["text"] == text(int(r["id"][1:])) for r in rows)
    assert {r["text"] for r in rows} == asked


# What is paid for


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(4)]), tmp_path / "cache"
    with StubLLM() as stub:
        domain(stub, path, tmp_path / "out", cache)
        assert len(stub.calls) == 4 * STAGES
        before = published(tmp_path / "out")
        domain(stub, path, tmp_path / "out", cache)
        domain(stub, path, tmp_path / "other", cache)
        domain(stub, path, tmp_path / "out", cache, overwrite=True)
        assert len(stub.calls) == 4 * STAGES
        assert published(tmp_path / "out") == published(tmp_path / "other") == before
        write(path, [text(i) for i in range(6)])
        domain(stub, path, tmp_path / "out", cache)
        assert len(stub.calls) == 6 * STAGES
        domain(stub, path, tmp_path / "out", overwrite=True)
        assert len(stub.calls) == 12 * STAGES


@pytest.mark.e2e
def test_kill_9_pays_for_nothing_twice(tmp_path: Path) -> None:
    n, concurrency = 40, 8
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(n)]), tmp_path / "cache"
    arguments = ["-i", path, "-o", tmp_path / "out", "--llm-cache", cache, "--concurrency", concurrency]
    arguments += ["--set", "chunk_bytes=1024"]
    with StubLLM(latency_seconds=0.02) as stub:
        command = [str(a) for a in [COMMAND, "run", "domain", *arguments, "--base-url", stub.base_url]]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stub.reply = on_call(100, process.kill)
        assert process.wait() == -signal.SIGKILL
        assert len(stub.calls) < n * STAGES
        assert len(parts(tmp_path / "out")) < 4
        result = domain(stub, path, tmp_path / "out", cache, chunk_bytes=1024)
        assert result.exit_code == 0
        # Lost are the calls in flight, and answers that waited for their common transaction.
        assert n * STAGES <= len(stub.calls) <= n * STAGES + 2 * concurrency
        asked = len(stub.calls)
        domain(stub, path, tmp_path / "undisturbed", cache, chunk_bytes=1024)
        assert len(stub.calls) == asked
    assert published(tmp_path / "out") == published(tmp_path / "undisturbed")


def test_the_limit_is_checked_before_the_first_call(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(5)])
    with StubLLM() as stub:
        url = ["--base-url", stub.base_url, "--llm-cache", "none"]
        done = shell("-i", path, "-o", tmp_path / "out", *url, "--max-requests", 24)
        assert done.returncode == 5
        assert "5 documents to label, at most 25 calls, not counting retries, and at most " in done.stderr
        assert "more calls than --max-requests 24; no request was sent" in done.stderr
        assert "--max-requests 25" in done.stderr
        assert stub.connections == 0
        assert not parts(tmp_path / "out")
        assert domain(stub, path, tmp_path / "out", domain={"max_requests": 25}).exit_code == 0
        before = published(tmp_path / "out")
        with pytest.raises(BudgetError):
            domain(stub, path, tmp_path / "out", domain={"max_requests": 24}, overwrite=True)
        assert len(stub.calls) == 25
        assert published(tmp_path / "out") == before


def test_cost_is_told_before_the_first_call(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(0), "short", text(1)])
    stderr = io.StringIO()
    told: list[str] = []

    def reply(call: Call) -> Reply:
        told.append(stderr.getvalue())
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        domain(stub, path, tmp_path / "out", display=Display(stderr), domain={"model": "m-1"})
    assert (
        f"m-1 at {stub.base_url}: 2 documents to label, at most 10 calls, not counting retries, and at most " in told[0]
    )


def test_cost_is_told_in_python_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", [text(0)])
    told: list[str] = []

    def reply(call: Call) -> Reply:
        told.append(capsys.readouterr().err)
        return answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        result = domain(stub, path, tmp_path / "out")
        assert f"gpt-4o-mini at {stub.base_url}: 1 document to label, at most 5 calls" in told[0]
        assert told[0].strip().partition(" ")[2] in result.messages  # behind the time
        assert domain(stub, path, tmp_path / "out").messages == []  # nothing left to ask
    assert capsys.readouterr().err == ""


def test_the_limit_does_not_count_what_is_cached(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(6)]), tmp_path / "cache"

    def reply(call: Call) -> Reply:
        is_refused = call.text == text(5) and call.stage == "academic"
        return failure(400, "blocked", "content_filter") if is_refused else answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        domain(stub, path, tmp_path / "first", cache)
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        stub.calls.clear()
        with pytest.raises(BudgetError, match=r"1 document to label, at most 2 calls.*\{'max_requests': 2\},"):
            domain(stub, path, tmp_path / "out", cache, domain={"max_requests": 1})
        assert stub.calls == []
        domain(stub, path, tmp_path / "out", cache, domain={"max_requests": 2})
        assert [call.stage for call in stub.calls] == ["academic", "remaining"]
        domain(stub, path, tmp_path / "other", cache, domain={"max_requests": 0})
        assert len(stub.calls) == 2


def test_the_limit_holds_against_retries(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(5)])
    with StubLLM(lambda call: failure(500) if call.nth == 0 else answer(NEGATIVE[call.stage])) as stub:
        with pytest.raises(BudgetError, match="the limit of 25 requests"):
            domain(stub, path, tmp_path / "out", domain={"max_requests": 25, "max_attempts": 9})
        assert len(stub.calls) == 25


def test_an_llm_is_asked_by_run_domain_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(0)])
    told = "topic asks an LLM endpoint, .* use `tagcorpus run domain`"
    with StubLLM() as stub:
        paid = {"topic": {"backend": "openai", "base_url": stub.base_url, "llm_cache": "none"}}
        with pytest.raises(ConfigError, match=told):
            tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers=["topic=domain"], **paid)  # type: ignore[call-overload]
        with pytest.raises(ConfigError, match=told):
            tagcorpus.tag([text(0)], ["topic=domain"], paid)
        with pytest.raises(ConfigError, match=told):
            TagDocuments(["topic=domain"], paid)
        assert stub.connections == 0
    assert not (tmp_path / "out").exists()
    assert tagcorpus.tag([text(0)], ["domain"])["domain.backend"][0].as_py().startswith("fasttext:")


# Faults


def test_a_lasting_failure_costs_one_document(tmp_path: Path) -> None:
    texts = [text(i) for i in range(60)]
    path, cache = write(tmp_path / "a.jsonl", texts), tmp_path / "cache"
    poison = texts[17]

    def reply(call: Call) -> Reply:
        return failure(500) if call.text == poison else answer(NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        result = domain(stub, path, tmp_path / "out", cache, chunk_bytes=1024, workers=1)
        assert result.exit_code == 0
        ledger = json.loads(Path(result.ledger).read_text())
        assert ledger["ranges_done"] == ledger["ranges_planned"] == len(parts(tmp_path / "out")) > 4
        assert ledger["unlabelled"] == 1
        asked = len(stub.calls)
        assert domain(stub, path, tmp_path / "out", cache, chunk_bytes=1024, workers=1).exit_code == 0
        assert len(stub.calls) == asked  # an error is a result: only --overwrite asks again
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        domain(stub, path, tmp_path / "out", cache, chunk_bytes=1024, workers=1, overwrite=True)
        assert [c.text for c in stub.calls[asked:]] == [poison] * STAGES
    assert [r["prediction"] for r in predicted(tmp_path / "out/predicted_domains.csv")] == ["unknown"] * 60


def test_a_permanent_failure_is_an_error_of_its_row(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(3)]), tmp_path / "cache"
    refused = {
        text(0): failure(400, "too much", "context_length_exceeded"),
        text(1): answer(None, refusal="I would rather not"),
    }
    with StubLLM(lambda call: refused.get(call.text, answer("code"))) as stub:
        result = domain(stub, path, tmp_path / "out", cache)
        assert result.exit_code == 0
        assert result.counts.quarantined_rows == 0
        rows = pq.read_table(tmp_path / "out/attributes/domain/a.jsonl/part-00000.parquet").to_pylist()
        assert [r["prediction"] for r in rows] == [None, None, "code"]
        assert [r["error"] for r in rows] == [
            "status 400 (too much)",
            "the model refused: I would rather not",
            None,
        ]
        assert result.summary["domain"]["labels"] == {"error": 2, "code": 1}
        stub.reply = lambda call: answer("code")  # noqa: ARG005
        stub.calls.clear()
        domain(stub, path, tmp_path / "out", cache, overwrite=True)
        assert {c.text for c in stub.calls} == set(refused)
    assert [r["prediction"] for r in predicted(tmp_path / "out/predicted_domains.csv")] == ["code"] * 3


@pytest.mark.e2e
def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    n, concurrency = 30, 4
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(n)]), tmp_path / "cache"
    enough = threading.Event()
    with StubLLM(on_call(50, enough.set), latency_seconds=0.005) as stub:
        process = subprocess.Popen(
            [
                *(str(a) for a in [COMMAND, "run", "domain", "-i", path, "-o", tmp_path / "out"]),
                *("--base-url", stub.base_url, "--llm-cache", str(cache), "--concurrency", str(concurrency)),
                *("--set", "domain.patience=0.5", "--set", "domain.backoff_seconds=0.001"),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert enough.wait(120)
        stub.stop()
        _, stderr = process.communicate()
        assert process.returncode == 4, stderr
        assert "broken connection" in stderr
        assert "Traceback" not in stderr
        stub.start()
        assert domain(stub, path, tmp_path / "out", cache).exit_code == 0
        assert n * STAGES <= len(stub.calls) <= n * STAGES + concurrency
    assert len(predicted(tmp_path / "out/predicted_domains.csv")) == n


@pytest.mark.e2e
def test_ctrl_c_during_hanging_calls(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(20)])
    arrived = threading.Event()

    def reply(_: Call) -> Reply:
        arrived.set()
        return HANG

    with StubLLM(reply) as stub:
        process = subprocess.Popen(
            [
                *(str(a) for a in [COMMAND, "run", "domain", "-i", path, "-o", tmp_path / "out"]),
                *("--base-url", stub.base_url, "--llm-cache", "none", "--workers", "2"),
                *("--set", "chunk_bytes=1024"),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert arrived.wait(120)
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 60
        _, stderr = process.communicate(timeout=45)
        assert process.returncode == 130, stderr
        assert "interrupted" in stderr
        assert "Traceback" not in stderr
        while alive(process.pid):  # the fork server ends when its launcher has
            assert time.monotonic() < deadline
        assert not parts(tmp_path / "out")
        stub.reply = lambda call: answer(NEGATIVE[call.stage])
        assert domain(stub, path, tmp_path / "out", chunk_bytes=1024).exit_code == 0


def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """Not even when the server sends it back in answers and errors."""
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(6)])

    def reply(call: Call) -> Reply:
        said = call.headers["authorization"]
        assert said == f"Bearer {KEY}"
        if call.text == text(0):
            return failure(400, f"blocked, you sent {said}", "content_filter")
        if call.text == text(1) and call.nth == 0:
            return failure(500, said)
        return answer(f"{said} is my answer" if call.text == text(2) else NEGATIVE[call.stage])

    environment = {"OPENAI_API_KEY": KEY}
    said = []
    with StubLLM(reply) as stub:
        environment["OPENAI_BASE_URL"] = stub.base_url
        cache = ["--llm-cache", tmp_path / "cache.sqlite", "--set", "domain.backoff_seconds=0.001"]
        done = shell("-i", path, "-o", tmp_path / "out", *cache, environment=environment)
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
        stub.reply = lambda call: failure(401, f"wrong key {call.headers['authorization']}")
        for arguments in (["--model", "other"], ["--model", "third", "--json"]):
            refused = shell("-i", path, "-o", tmp_path / "refused", *cache, *arguments, environment=environment)
            assert refused.returncode in (1, 2)
            said += [refused.stdout, refused.stderr]
    assert "blocked, you sent Bearer ***" in (
        pq.read_table(tmp_path / "out/attributes/domain/a.jsonl/part-00000.parquet")["error"][0].as_py()
    )
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 10
    assert [p for p in files if KEY.encode() in p.read_bytes()] == []
    assert not any(KEY in s for s in said)


def test_a_refused_key_ends_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(3)])
    with StubLLM(lambda call: failure(401, "no such key")) as stub, pytest.raises(TaggerError, match="no such key"):  # noqa: ARG005
        domain(stub, path, tmp_path / "out")


def test_many_odd_answers_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*(text(i) for i in range(10)), "short"])
    odd = [text(0), text(1)]

    def reply(call: Call) -> Reply:
        if call.text == text(9):
            return answer("web, or is", finish_reason="length")
        return answer("I cannot say" if call.text in odd else "code" if call.stage == "code" else NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        result = domain(stub, path, tmp_path / "two")
        assert (result.summary["domain"]["asked"], result.summary["domain"]["off_menu"]) == (10, 2)
        assert result.summary["domain"]["labels"]["error"] == 1
        assert any(
            "2 of 10 documents asked about got an answer that is none of the choices" in m for m in result.messages
        )
        assert result.exit_code == 0
        bill = json.loads(Path(result.ledger).read_text())["llm"]
        assert (bill["requests"], bill["prompt_tokens"]) == (len(stub.calls), 100 * len(stub.calls))
        odd += [text(i) for i in range(2, 7)]
        done = shell("-i", path, "-o", tmp_path / "three", "--base-url", stub.base_url, "--llm-cache", "none")
    assert "7 of 10 documents asked about got an answer that is none of the choices" in done.stderr
    assert done.returncode == 3
    assert "requests sent" in done.stderr


def test_the_first_documents_decide_whether_a_model_is_worth_its_money(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(60)])
    with StubLLM(lambda _: answer("I cannot say")) as stub:
        with pytest.raises(TaggerError, match="the first 10 documents got no answer from the menu"):
            domain(stub, path, tmp_path / "out", domain={"concurrency": 4})
        assert len(stub.calls) <= 20 * STAGES
    assert not parts(tmp_path / "out")


def test_the_limit_holds_over_all_runs_on_an_output(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(i) for i in range(4)])
    with StubLLM() as stub:
        assert domain(stub, path, tmp_path / "out", domain={"max_requests": 25}).exit_code == 0
        write(path, [text(i) for i in range(6)])
        told = r"\(20 requests of earlier runs on this output count\); no request was sent.*'max_requests': 50\}"
        with pytest.raises(BudgetError, match=told):
            domain(stub, path, tmp_path / "out", domain={"max_requests": 25})
        assert len(stub.calls) == 20
        assert domain(stub, path, tmp_path / "out", domain={"max_requests": 50}).exit_code == 0


def test_documents_without_a_label_are_told_and_count(tmp_path: Path) -> None:
    texts = [text(i) for i in range(30)]
    path, cache, refused = write(tmp_path / "a.jsonl", texts), tmp_path / "cache", set(texts[:10])

    def reply(call: Call) -> Reply:
        if call.text in refused:
            return failure(400, "blocked", "content_filter")
        return answer("code" if call.stage == "code" else NEGATIVE[call.stage])

    with StubLLM(reply) as stub:
        ten = domain(stub, path, tmp_path / "ten", cache)
        assert ten.exit_code == 0
        told = (
            "10 of 30 documents asked about got no label (column error says why; most often: status 400 (blocked)). The same "
            "command does not ask about them again; with --retry-errors it does"
        )
        assert told in ten.messages
        refused.add(texts[10])
        paid = domain(stub, path, tmp_path / "eleven")
        assert paid.exit_code == 3
        assert any("11 of 30 documents asked about got no label" in m for m in paid.messages)
        assert "quarantined rows and documents without a label are more than the 10 rows allowed" in paid.messages[-1]
        ledger = json.loads(Path(paid.ledger).read_text())
        assert (ledger["unlabelled"], ledger["exit_code"]) == (11, 3)
        stub.calls.clear()
        assert domain(stub, path, tmp_path / "eleven").exit_code == 3  # and again, for nothing is asked
        assert domain(stub, path, tmp_path / "eleven", max_quarantined=0.5).exit_code == 0
        assert stub.calls == []
        refused.clear()
        assert domain(stub, path, tmp_path / "ten", cache, overwrite=True).messages[1:] == []
        assert {c.text for c in stub.calls} == set(texts[:10])


def test_a_model_that_is_cut_off_gives_no_labels(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.jsonl", [text(i) for i in range(60)]), tmp_path / "cache"
    with StubLLM(lambda _: answer("<think> Let me see", finish_reason="length")) as stub:
        done = shell("-i", path, "-o", tmp_path / "out", "--base-url", stub.base_url, "--llm-cache", cache)
        assert done.returncode == 1
        assert "does not answer within max_answer_tokens" in done.stderr
        assert not parts(tmp_path / "out")
        stub.reply = lambda call: answer("code" if call.stage == "code" else NEGATIVE[call.stage])
        domain(stub, path, tmp_path / "out", cache)
    assert {r["prediction"] for r in predicted(tmp_path / "out/predicted_domains.csv")} == {"code"}


# Choices


@pytest.mark.parametrize("backend", [{}, {"backend": "fasttext"}], ids=["auto", "fasttext"])
@pytest.mark.parametrize(
    "given", [{"model": "m"}, {"tree": "t.yaml"}, {"max_requests": 5}, {"concurrency": 2}, {"llm_cache": "c"}]
)
def test_the_embedded_model_takes_no_options_of_an_llm(
    tmp_path: Path, backend: dict[str, str], given: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.jsonl", [text(0)])
    (name,) = given
    with pytest.raises(
        ConfigError,
        match=rf"domain=\{{'{name}': \.\.\.\}} \(domain.{name}\).*domain=\{{'backend': 'openai'\}}.*OPENAI_BASE_URL",
    ):
        tagcorpus.run("domain", input=path, output=tmp_path / "out", domain={**backend, **given})
    assert not (tmp_path / "out").exists()


def test_the_embedded_model_takes_the_printed_configuration(tmp_path: Path) -> None:
    path, config = write(tmp_path / "a.jsonl", [text(0)]), tmp_path / "config.yaml"
    config.write_bytes(CliRunner().invoke(main, ["config", "domain"]).stdout_bytes)
    assert shell("-i", path, "-o", tmp_path / "out", "--config", config).returncode == 0


def test_a_missing_key_is_noticed_before_anything_is_read(tmp_path: Path) -> None:
    done = shell("-i", "-", "-o", tmp_path / "out", "--backend", "openai")
    assert done.returncode == 2
    assert "OPENAI_API_KEY is not set" in done.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        tagcorpus.run("domain", input=tmp_path / "none.jsonl", domain={"backend": "openai"})


def own_tree() -> dict[str, Any]:
    stage = {
        "name": "law",
        "instructions": "Is it about law?",
        "choices": {"law": {"label": "law"}, "other": {"label": "unknown"}},
        "off_menu": "other",
    }
    return {
        "model": "own-model",
        "temperature": 0,
        "max_answer_tokens": 5,
        "max_text_chars": 1000,
        "short_document": {"min_chars": 16, "label": "unknown"},
        "folds": {},
        "prompt": "{text}\nOne of: {choices}",
        "stages": [stage],
    }


def test_a_tree_of_ones_own(tmp_path: Path) -> None:
    tree = tmp_path / "tree.yaml"
    tree.write_text(yaml.safe_dump(own_tree(), sort_keys=False))
    path = write(tmp_path / "a.jsonl", ["A judge sits in court.", "A dog sits there.", "short"])

    def reply(call: Call) -> Reply:
        return answer("Law." if "judge" in call.text else "other")

    with StubLLM(reply, parse_tree(tree.read_text(), str(tree))) as stub:
        arguments = ["-i", path, "-o", tmp_path / "out", "--base-url", stub.base_url, "--llm-cache", "none", "--json"]
        done = shell(*arguments, "--tree", tree)
        assert done.returncode == 0, done.stderr
        assert [c.stage for c in stub.calls] == ["law", "law"]
    told = json.loads(done.stdout)["summary"]["domain"]
    assert told["labels"] == {"unknown": 2, "law": 1}
    assert told["percentages"]["domain_law_pct"] == 100.0
    assert told["backend"] == "openai:own-model"
    assert "2 documents to label, at most 2 calls" in done.stderr


def test_a_bad_tree_is_named_by_its_place(tmp_path: Path) -> None:
    wrong = own_tree()
    wrong["stages"][0]["choices"]["other"] = {"next": "lwa"}
    tree = tmp_path / "tree.yaml"
    tree.write_text(yaml.safe_dump(wrong, sort_keys=False))
    path = write(tmp_path / "a.jsonl", [text(0)])
    for arguments in (["--tree", tree], ["--tree", tmp_path / "none.yaml"]):
        done = shell("-i", path, "-o", tmp_path / "out", "--base-url", "http://127.0.0.1:9/v1", *arguments)
        assert done.returncode == 2
        assert str(arguments[1]) in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
    done = shell("-i", path, "--base-url", "http://127.0.0.1:9/v1", "--tree", tree)
    assert "stages[0].choices.other.next: no stage named 'lwa'" in done.stderr


@pytest.mark.parametrize(
    ("given", "environment", "backend"),
    [
        ({}, {}, "fasttext"),
        ({}, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "openai"),
        ({}, {"OPENAI_API_KEY": "k"}, "openai"),
        ({"base_url": "http://127.0.0.1:9/v1"}, {}, "openai"),
        ({"backend": "fasttext"}, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "fasttext"),
        ({"backend": "openai"}, {}, "openai"),
    ],
)
def test_who_answers_is_decided_at_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    environment: dict[str, str],
    backend: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = write(tmp_path / "a.jsonl", [text(0)])
    result = tagcorpus.run("domain", input=path, output=tmp_path / "out", dry_run=True, domain=given)
    assert result.summary["dry_run"]["backend"].split(":")[0] == backend


def test_the_embedded_model_answers_without_an_endpoint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(0), "short", "import os\n\n\ndef main():\n    return os.getcwd()\n" * 9])
    done = shell("-i", path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = predicted(tmp_path / "out/predicted_domains.csv")
    assert [r["id"] for r in rows] == ["d0", "d1", "d2"]
    assert rows[1]["prediction"] == "incoherent"
    assert {r["backend"].split(":")[0] for r in rows} == {"fasttext"}
    summary = json.loads((tmp_path / "out/summary/domain.json").read_text())
    agreement = summary["domain"]["agreement_with_reference"]
    assert agreement["kappa_low"] > 0.3
    assert f"kappa {agreement['kappa']:.2f}" in done.stdout
    before = published(tmp_path / "out")
    assert shell("-i", path, "-o", tmp_path / "out", "--workers", 2, "--overwrite").returncode == 0
    assert published(tmp_path / "out") == before
    with StubLLM() as stub:
        arguments = ["-i", path, "-o", tmp_path / "out", "--base-url", stub.base_url, "--llm-cache", "none"]
        other = shell(*arguments)
        assert other.returncode == 2
        assert "backend='fasttext'" in other.stderr
        assert "backend='openai'" in other.stderr
        assert stub.connections == 0
        assert published(tmp_path / "out") == before
        assert shell(*arguments, "--overwrite").returncode == 0
    assert {r["backend"] for r in predicted(tmp_path / "out/predicted_domains.csv")} == {"openai:gpt-4o-mini"}


def test_another_model_on_the_same_output_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [text(0)])
    with StubLLM() as stub:
        domain(stub, path, tmp_path / "out")
        with pytest.raises(ConfigError, match=r"model='gpt-4o-mini'.*model='other'.*overwrite=True"):
            domain(stub, path, tmp_path / "out", domain={"model": "other"})

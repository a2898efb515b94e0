"""What a store can do to a run: answer late, wrongly, in part or not at all; and the run killed while it writes there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from profiles import one_by_default
from s3_faults import Answer, Fault, FaultyStore, broken, denied, serving, slow_down

from tagcorpus.errors import ConfigError, IncompleteError, InputError, OutputError, TagcorpusError
from tagcorpus.pipelines import terminal
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.run import run
from tagcorpus.pipelines.runs import result_text
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.storage import remote, storage_options

s3fs = pytest.importorskip("s3fs", reason="s3fs (extra [s3]) is not installed")
SHARD = 16_000
SECRET = "wJalrXUtnFEMI"
MANY = 10_000


@pytest.fixture(scope="module")
def store() -> Iterator[FaultyStore]:
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with serving(server.get_host_and_port()) as found:
        yield found
    server.stop()


@pytest.fixture(autouse=True)
def no_credentials(store: FaultyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Whatever reaches the store does so by storage options."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # As many tries, without seconds of pauses, of random lengths, between them.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01, raising=False)
    store.clear()
    yield
    remote.use({})
    s3fs.S3FileSystem.clear_instance_cache()


def options(store: FaultyStore, **config: Any) -> dict[str, Any]:
    return {
        "endpoint_url": store.url,
        "key": "AKIATEST",
        "secret": SECRET,
        "client_kwargs.region_name": "us-east-1",
        "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 3}, **config},
    }


def client(store: FaultyStore) -> Any:
    """Beside the run and its proxy, for what lies in the store."""
    return client_of(f"http://{store.upstream[0]}:{store.upstream[1]}")


@cache
def client_of(url: str) -> Any:
    found = s3fs.S3FileSystem(
        endpoint_url=url,
        key="x",
        secret="x",
        client_kwargs={"region_name": "us-east-1"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    if not found.exists("bucket"):
        found.call_s3("create_bucket", Bucket="bucket")
    return found


@pytest.fixture(scope="module")
def stored(store: FaultyStore) -> str:
    s3 = client(store)
    rows = [json.dumps({"id": f"{i:04d}", "text": f"document {i} {'é' * (i % 90)}"}) for i in range(150)]
    rows[7] = "not json"
    s3.pipe_file("bucket/in/a.jsonl", "\n".join(rows).encode())
    return "s3://bucket/in"


def tag(store: FaultyStore, source: str, output: str, **more: Any) -> Any:
    given = {"taggers": ["length"], "chunk_bytes": SHARD, "workers": 1, "storage_options": options(store), **more}
    return run("tag", input=source, output=output, **given)


def objects(store: FaultyStore, prefix: str) -> dict[str, bytes]:
    s3 = client(store)
    kept = (f for f in s3.find(prefix) if f.split("/")[2] in ("attributes", "quarantine", "summary"))
    return {f.partition("/")[2].partition("/")[2]: s3.cat_file(f) for f in kept}


@pytest.fixture(scope="module")
def whole(store: FaultyStore, stored: str) -> dict[str, bytes]:
    """What an undisturbed run makes."""
    assert tag(store, stored, "s3://bucket/whole").exit_code == 0
    found = objects(store, "bucket/whole")
    assert len([n for n in found if n.endswith(".parquet")]) > 2
    remote.use({})
    return found


FAULTS: dict[str, Callable[[Answer], None]] = {
    "slow_down": slow_down,
    "broken": broken,
    "cut": Answer.cut,
    "trickle": Answer.trickle,
    "stall": Answer.stall,
}


def soon(fault: str) -> dict[str, float]:
    """Patience where it has an end; a short one elsewhere would be a fault of its own on a busy machine."""
    return {"read_timeout": 0.3} if fault == "stall" else {}


@pytest.mark.parametrize("fault", one_by_default(*FAULTS))
def test_a_fault_that_passes_costs_nothing(
    store: FaultyStore, stored: str, whole: dict[str, bytes], fault: str
) -> None:
    store.faults += [
        Fault("GET", "/in/a.jsonl", FAULTS[fault], times=2),
        Fault("PUT", "part-00001", slow_down, times=2),
    ]
    given = options(store, **soon(fault))
    assert tag(store, stored, f"s3://bucket/passes-{fault}", storage_options=given).exit_code == 0
    assert all(f.times == 0 for f in store.faults)
    assert objects(store, f"bucket/passes-{fault}") == whole


@pytest.fixture(scope="module")
def table(store: FaultyStore) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [f"a text, number {i}" for i in range(1500)]}), sink, row_group_size=500)
    client(store).pipe_file("bucket/in-p/a.parquet", sink.getvalue().to_pybytes())
    return "s3://bucket/in-p/a.parquet"


@pytest.fixture(scope="module")
def whole_table(store: FaultyStore, table: str) -> dict[str, bytes]:
    """What an undisturbed run makes of it."""
    assert tag(store, table, "s3://bucket/whole-p").exit_code == 0
    found = objects(store, "bucket/whole-p")
    remote.use({})
    return found


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("kind", "fault", "is_late"),
    one_by_default(
        ("parquet", "cut", False), ("jsonl", "slow_down", False), ("jsonl", "cut", True), ("parquet", "stall", True)
    ),
)
def test_a_fault_that_stays_ends_with_what_to_do_and_is_no_damage(
    store: FaultyStore, request: pytest.FixtureRequest, kind: str, fault: str, is_late: bool
) -> None:
    expected: dict[str, bytes] = request.getfixturevalue("whole_table" if kind == "parquet" else "whole")
    source = "s3://bucket/" + ("in-p/a.parquet" if kind == "parquet" else "in/a.jsonl")
    output = f"bucket/stays-{fault}-{kind}-{is_late}"
    store.clear()
    staying = Fault("GET", source.removeprefix("s3:/"), FAULTS[fault], times=MANY)

    def planned(answer: Answer) -> None:
        answer.forward()
        store.faults.append(staying)

    # What is read until the plan is stored is read to plan, and what is read then is read to tag.
    store.faults.append(Fault("PUT", f"/{output}/plan/", planned) if is_late else staying)
    given = options(store, retries={"max_attempts": 0}, **soon(fault))
    with pytest.raises(IncompleteError, match=rf"{source} could not be read: .*the same command continues") as caught:
        tag(store, source, f"s3://{output}", storage_options=given)
    assert caught.value.exit_code == 4
    store.clear()
    assert tag(store, source, f"s3://{output}").exit_code == 0
    assert objects(store, output) == expected


@pytest.mark.e2e
def test_a_put_that_always_fails_names_the_object(store: FaultyStore, stored: str) -> None:
    store.faults.append(Fault("PUT", "part-00001.parquet", broken, times=MANY))
    with pytest.raises(
        OutputError, match=r"s3://bucket/put/attributes/length/a.jsonl/part-00001.parquet.*HTTP 500"
    ) as e:
        tag(store, stored, "s3://bucket/put")
    assert e.value.exit_code == 1
    assert len(store.asked("PUT", "part-00001.parquet")) == 4
    assert not [n for n in objects(store, "bucket/put") if "part-00001.parquet" in n]


def test_refusals_name_the_url_and_the_way_out(store: FaultyStore, stored: str) -> None:
    with pytest.raises(OutputError, match=r"s3://absent/out.*no such bucket.*endpoint"):
        tag(store, stored, "s3://absent/out")
    with pytest.raises(InputError, match="no such file or folder: 's3://absent/in'"):
        tag(store, "s3://absent/in", "s3://bucket/x")
    store.faults.append(Fault("GET", "/in/a.jsonl", denied, times=MANY))
    with pytest.raises(InputError, match=r"s3://bucket/in/a.jsonl could not be read: access denied.*AWS_PROFILE"):
        tag(store, stored, "s3://bucket/x")
    store.faults[:] = [Fault("GET", "/bucket", denied, times=MANY), Fault("HEAD", "/bucket", denied, times=MANY)]
    with pytest.raises(InputError, match=r"s3://bucket/in.*access denied.*storage_options=\{'profile': NAME\}"):
        tag(store, stored, "s3://bucket/x")
    store.faults[:] = [Fault("PUT", "/bucket/denied/", denied, times=MANY)]
    with pytest.raises(OutputError, match=r"s3://bucket/denied/.* could not be written: access denied"):
        tag(store, stored, "s3://bucket/denied")


def test_an_endpoint_that_nobody_serves(store: FaultyStore) -> None:
    given = options(store, connect_timeout=0.3, retries={"max_attempts": 1}) | {"endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(IncompleteError, match=r"s3://bucket/in.*Could not connect.*127.0.0.1:9"):
        tag(store, "s3://bucket/in", "s3://bucket/x", storage_options=given)


KILL = """
import os, sys
from tagcorpus.cli import main
sys.argv = ["tagcorpus", *sys.argv[1:]]
main()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("when", ["between", "within"])
def test_killed_while_it_writes(store: FaultyStore, stored: str, whole: dict[str, bytes], when: str) -> None:
    output = f"s3://bucket/killed-{when}"
    pids: list[int] = []

    def kill(answer: Answer) -> None:
        if when == "between":
            answer.fetch()  # it is stored, but nobody hears of it
        else:
            answer.rfile.read(100)
        os.kill(pids[0], signal.SIGKILL)
        answer.close_connection = True

    store.faults.append(Fault("PUT", "part-00001.parquet", kill))
    given = [f"{k}={v}" for k, v in options(store).items() if not isinstance(v, dict)]
    arguments = ["--input", stored, "--output", output, "--taggers", "length", "--workers", "1"]
    arguments += [a for g in given for a in ("--storage-options", g)] + ["--set", f"chunk_bytes={SHARD}"]
    with subprocess.Popen(
        [sys.executable, "-c", KILL, "run", "tag", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        pids.append(process.pid)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    left = objects(store, output.removeprefix("s3://"))
    parts = {n for n in left if n.endswith(".parquet")}
    assert {n: left[n] == whole[n] for n in parts} == dict.fromkeys(parts, True)
    assert len(parts) == (2 if when == "between" else 1)
    again = tag(store, stored, output)
    assert again.exit_code == 0
    ledger = json.loads(client(store).cat_file(again.ledger))
    assert sum("is_resumed" in r for r in ledger["ranges"]) == len(parts)
    assert objects(store, output.removeprefix("s3://")) == whole
    assert not client(store).call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads")


@pytest.mark.e2e
def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(store: FaultyStore) -> None:
    rows = 1500
    table = pa.table(
        {"text": [f"a short text {i}" for i in range(rows)], "raw": [os.urandom(400) for _ in range(rows)]}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=300)
    client(store).pipe_file("bucket/dry/a.parquet", sink.getvalue().to_pybytes())
    given = {"chunk_bytes": 9_000, "taggers": ["length,keywords"]}
    told = tag(store, "s3://bucket/dry", "s3://bucket/dry-out", dry_run=True, **given).summary["dry_run"]
    assert not store.asked("PUT")
    assert not store.asked("POST")
    metadata = pq.read_metadata(pa.BufferReader(sink.getvalue()))
    text = sum(metadata.row_group(g).column(0).total_compressed_size for g in range(metadata.num_row_groups))
    assert told["input_bytes"] == len(sink.getvalue())
    assert told["bytes_to_read"] == 2 * text  # to plan and to tag
    assert told["probe"]["chunks"] == 3
    assert told["cpu_hours"] > 0
    assert "MB" in table_of(told) or "kB" in table_of(told)
    tag(store, "s3://bucket/dry", "s3://bucket/dry-out", **given)
    s3 = client(store)
    found = [f for f in s3.find("bucket/dry-out") if not f.endswith("progress.json")]
    assert told["objects_to_write"] == len(found)
    written = sum(s3.size(f) for f in found if f.endswith(".parquet"))
    assert 0.7 * written < told["bytes_to_write"] < 1.4 * written
    again = tag(store, "s3://bucket/dry", "s3://bucket/dry-out", dry_run=True, **given).summary["dry_run"]
    assert (again["bytes_to_read"], again["bytes_to_write"], again["cpu_hours"]) == (0, 0, 0)


def table_of(told: dict[str, Any]) -> str:
    return result_text.table(Result("tag", "", 0, Counts(), {"dry_run": told}, ""))


@pytest.mark.e2e
def test_only_the_needed_columns_are_read_and_a_part_is_one_put(store: FaultyStore) -> None:
    rows = 4000
    table = pa.table(
        {
            "before": [os.urandom(500) for _ in range(rows)],
            "text": [f"a short text {i}" for i in range(rows)],
            "after": [os.urandom(500) for _ in range(rows)],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=1000)
    size = len(sink.getvalue())
    client(store).pipe_file("bucket/wide/a.parquet", sink.getvalue().to_pybytes())
    tag(store, "s3://bucket/wide", "s3://bucket/wide-out", chunk_bytes=20_000)
    read = store.asked("GET", "/wide/a.parquet")
    # Once to plan and once to tag, and the footer of 64 KiB at every opening.
    assert sum(a.sent for a in read) < size / 4
    puts = store.asked("PUT", "/wide-out/attributes")
    parts = {a.path for a in puts if a.path.endswith(".parquet")}
    assert len(parts) > 1
    assert len(puts) == len(parts) + 1  # and tagger.json
    assert not [a for a in store.log if "uploads" in a.query]


@pytest.mark.e2e
def test_options_reach_workers_and_are_written_nowhere(
    store: FaultyStore, stored: str, whole: dict[str, bytes]
) -> None:
    given = [f"{k}={v}" for k, v in options(store).items() if not isinstance(v, dict)]
    arguments = [
        "run",
        "tag",
        "--input",
        stored,
        "--output",
        "s3://bucket/secret",
        "--taggers",
        "length",
        "--workers",
        "2",
    ]
    arguments += [a for g in given for a in ("--storage_options", g)] + ["--set", f"chunk_bytes={SHARD}"]
    done = subprocess.run([sys.executable, "-c", KILL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert objects(store, "bucket/secret") == whole
    s3 = client(store)
    written = {f: s3.cat_file(f) for f in s3.find("bucket/secret")}
    assert not [f for f, data in written.items() if SECRET.encode() in data or b"AKIATEST" in data]
    (command,) = (json.loads(d) for f, d in written.items() if f.endswith("command.json"))
    assert command["options"]["storage_options"] == ["endpoint_url", "key", "secret", "client_kwargs.region_name"]
    assert "--storage_options secret=..." in command["command"]
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.e2e
def test_a_profile(store: FaultyStore, stored: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"[profile lab]\nendpoint_url = {store.url}\nregion = us-east-1\n")
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert tag(store, stored, "s3://bucket/by-option", storage_options={"profile": "lab"}).exit_code == 0
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert tag(store, stored, "s3://bucket/by-environment", storage_options={}).exit_code == 0
    assert store.asked("PUT", "/by-option/attributes")
    assert store.asked("PUT", "/by-environment/attributes")
    with pytest.raises(ConfigError, match=r"no valid login.*nobody.*AWS_PROFILE"):
        tag(store, stored, "s3://bucket/x", storage_options={"profile": "nobody"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"endpoint": "http://x"}, "unknown storage option of s3 'endpoint'.*did you mean 'endpoint_url'"),
        ({"client_kwargs.region": "x"}, r"storage options \(client_kwargs.region\) do not fit.*'region'"),
        ({"config_kwargs.patience": 3}, r"storage options \(config_kwargs.patience\) do not fit.*'patience'"),
        ({"key": "a", "username": "b"}, "key or username, not both"),
        ({"endpoint_url": "nowhere"}, "Invalid endpoint: nowhere"),
    ],
)
def test_options_that_no_store_takes(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run("tag", input="s3://bucket/in", output="s3://bucket/x", taggers=["length"], storage_options=given)


def test_what_cannot_be_a_storage_option(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(ConfigError, match="neither input nor output is a URL"):
        run("tag", input=str(tmp_path), output=str(tmp_path / "out"), storage_options={"anon": True})
    with pytest.raises(ConfigError, match="takes K=V"):
        run("tag", input="s3://b/in", output=str(tmp_path / "out"), storage_options=["secret"])  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"secret with executor='slurm'.*AWS_PROFILE") as caught:
        run("tag", input="s3://b/in", output="/x", executor="slurm", dry_run=True, storage_options={"secret": SECRET})
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError, match=r"FSSPEC_S3_<OPTION>"):
        run("tag", input="s3://b/in", output="s3://b/x", executor="slurm", dry_run=True, storage_options={"anon": True})
    with pytest.raises(InputError, match="Protocol not known: nothing"):
        run("tag", input="nothing://b/in", output=str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("anon=true", {"anon": True}),
        ("max_concurrency=3", {"max_concurrency": 3}),
        ("client_kwargs.verify=false", {"client_kwargs": {"verify": False}}),
        ("config_kwargs.s3.addressing_style=path", {"config_kwargs": {"s3": {"addressing_style": "path"}}}),
        ("key=0123", {"key": "0123"}),
        ("secret=a=b:c", {"secret": "a=b:c"}),
        ("profile=1e3", {"profile": "1e3"}),
        ("default_location='3'", {"default_location": "3"}),
        ("token=", {"token": ""}),
    ],
)
def test_values(text: str, value: dict[str, Any]) -> None:
    assert storage_options.parsed([text]) == value


def test_command_lines_are_shown_without_values() -> None:
    given = ["run", "tag", "--storage-options", "key=a", "--storage_options=secret=b", "-i", "x=y"]
    given += ["--set", "storage_options.token=c", "--set=storage_options={password: d}", "--set", "seed=1"]
    shown = ["run", "tag", "--storage-options", "key=...", "--storage_options=secret=...", "-i", "x=y"]
    shown += ["--set", "storage_options.token=...", "--set=storage_options=...", "--set", "seed=1"]
    assert storage_options.command_shown(given) == shown


def test_the_effective_configuration_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        f"storage_options: {{secret: {SECRET}, endpoint_url: http://u:{SECRET}@h, client_kwargs.region_name: r}}\n"
    )
    told = terminal.config("tag", str(path), ["storage_options.anon=true"])
    assert SECRET not in told
    assert "region_name: r" in told
    assert "anon: true" in told


def test_errors_are_of_one_tree() -> None:
    found = remote.explain(OSError(5, "disk"), "s3://b/x", "read", InputError)
    assert isinstance(found, TagcorpusError)
    assert str(found) == "s3://b/x could not be read: disk"

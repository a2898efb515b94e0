"""Input from the Hugging Face Hub, against a small Hub on loopback: one commit for all reads, and every error in one sentence."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_server
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub

from tagcorpus.errors import ConfigError, IncompleteError, InputError
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.run import run
from tagcorpus.pipelines.storage import hub as addresses
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder

DATASET = "lab/corpus"
TOKEN = "hf_SECRETSECRET"
ROWS = 40
LONG = ", ".join(f"the square of {i} is {i * i}" for i in range(30))


def lines(word: str) -> bytes:
    return "".join(json.dumps({"id": str(i), "text": f"{word} {i}"}) + "\n" for i in range(ROWS)).encode()


def table(word: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"{word} {i}" for i in range(ROWS)]}), sink, row_group_size=15)
    return sink.getvalue()


def first_files() -> dict[str, bytes]:
    return {
        "README.md": b"# A corpus\n",
        "data/b.jsonl.gz": gzip.compress(lines("packed"), 1, mtime=0),
        "data/c.parquet": table("tabular"),
        "data/a.jsonl": lines("plain"),
        "other/d.jsonl": lines("other"),
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import HfFileSystem

    monkeypatch.delenv("HF_TOKEN", raising=False)
    # As many tries, without seconds of pauses between them.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with hub_server.serving() as server:
        server.commit(DATASET, first_files())
        yield server
    remote.use({})
    HfFileSystem.clear_instance_cache()


def tag(hub: Hub, source: str, output: Path, **options: Any) -> Any:
    return run(
        "tag",
        input=f"hf://datasets/{source}",
        output=str(output),
        taggers=["length"],
        workers=1,
        display=Display(),
        storage_options={"endpoint": hub.url, **options.pop("storage_options", {})},
        **options,
    )


def parts(output: Path) -> dict[str, bytes]:
    return {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("part-*.parquet")}


def computed(ledger: str) -> list[str]:
    """Inputs of the chunks that a run computed."""
    return [r["input"] for r in json.loads(Path(ledger).read_text())["ranges"] if not r.get("is_resumed")]


def plans(output: Path) -> dict[str, dict[str, Any]]:
    return {str(p.relative_to(output / "plan")): json.loads(p.read_text()) for p in (output / "plan").rglob("*.json")}


def test_a_dataset_gives_the_bytes_of_its_files_on_disk_and_the_plan_has_its_commit(hub: Hub, tmp_path: Path) -> None:
    commit = hub.branches[DATASET, "main"]
    assert tag(hub, DATASET, tmp_path / "out").exit_code == 0
    for name, data in first_files().items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    run("tag", input=str(tmp_path / "in"), output=str(tmp_path / "local"), taggers=["length"], workers=1)
    assert parts(tmp_path / "out") == parts(tmp_path / "local")
    assert len(parts(tmp_path / "out")) == 4
    assert {n: (p["path"], p["revision"]) for n, p in plans(tmp_path / "out").items()} == {
        f"{name}.json": (f"hf://datasets/{DATASET}@{commit}/{name}", "main")
        for name in ("data/a.jsonl", "data/b.jsonl.gz", "data/c.parquet", "other/d.jsonl")
    }


def test_a_branch_that_moves_does_not_move_a_run(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = hub.branches[DATASET, "main"]
    tag(hub, f"{DATASET}/data", tmp_path / "out")
    assert f"main is read at commit {first}" in capsys.readouterr().err
    before = parts(tmp_path / "out")
    second = hub.commit(DATASET, {**first_files(), "data/a.jsonl": lines("changed"), "data/new.jsonl": lines("new")})
    again = tag(hub, f"{DATASET}/data", tmp_path / "out")
    assert parts(tmp_path / "out") == before
    assert computed(again.ledger) == []
    assert (
        f"main has moved to commit {second}. This run continues with the planned commit {first}"
        in capsys.readouterr().err
    )
    # A part that is missing is made from the planned commit.
    for part in (tmp_path / "out" / "attributes").rglob("part-*"):
        part.unlink()
    tag(hub, f"{DATASET}/data", tmp_path / "out")
    assert parts(tmp_path / "out") == before


def test_overwrite_and_a_named_commit_read_the_new_one(hub: Hub, tmp_path: Path) -> None:
    tag(hub, f"{DATASET}/data", tmp_path / "out")
    changed = {**first_files(), "data/a.jsonl": lines("changed")}
    del changed["data/b.jsonl.gz"]
    second = hub.commit(DATASET, changed)
    tag(hub, f"{DATASET}/data", tmp_path / "out", overwrite=True)
    # The unchanged table is at the new commit as well, and the file that is gone there is out of the plan.
    assert {n: p["path"].partition("@")[2] for n, p in plans(tmp_path / "out").items()} == {
        "a.jsonl.json": f"{second}/data/a.jsonl",
        "c.parquet.json": f"{second}/data/c.parquet",
    }
    third = hub.commit(DATASET, first_files())
    again = tag(hub, f"{DATASET}@{third}/data/*.parquet", tmp_path / "out")
    assert plans(tmp_path / "out")["c.parquet.json"]["path"] == f"hf://datasets/{DATASET}@{third}/data/c.parquet"
    assert "revision" not in plans(tmp_path / "out")["c.parquet.json"]
    assert computed(again.ledger) == []


def test_folders_files_globs_labels_and_revisions(hub: Hub) -> None:
    remote.use({"endpoint": hub.url})
    commit = hub.commit(DATASET, {"data/x.jsonl": lines("x")}, branch="refs/convert/parquet")
    root = f"hf://datasets/{DATASET}@{hub.branches[DATASET, 'main']}"
    names = ["data/a.jsonl", "data/b.jsonl.gz", "data/c.parquet", "other/d.jsonl"]
    assert [f.name for f in discover.find([root])] == names
    assert [f.name for f in discover.find([f"{root}/data/*.jsonl*"])] == ["a.jsonl", "b.jsonl.gz"]
    assert [f.name for f in discover.find([f"{root}/**/*.jsonl"])] == ["data/a.jsonl", "other/d.jsonl"]
    assert [f.name for f in discover.find([f"x={root}/data/c.parquet"])] == ["x/c.parquet"]
    assert [f.path for f in discover.find([f"{root}/data/c.parquet"])] == [f"{root}/data/c.parquet"]
    address = addresses.address_of(f"hf://datasets/{DATASET}@refs/convert/parquet/data")
    assert (address.revision, address.path) == ("refs/convert/parquet", "/data")
    assert [f.name for f in discover.find([address.at(commit)])] == ["x.jsonl"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("lab/none", "there is no dataset 'lab/none'"),
        (f"{DATASET}@v9/data", "the dataset has no branch, tag or commit 'v9'"),
        (f"{DATASET}/data/none.jsonl", "there is no such file or folder in the dataset"),
        (f"{DATASET}/none", "there is no such file or folder in the dataset"),
        (f"{DATASET}/data/*.csv", "no file matches"),
        ("lab", "is not an address of a dataset. Write hf://datasets/ORG/NAME"),
    ],
)
def test_what_is_not_there(hub: Hub, tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tag(hub, source, tmp_path / "out")


def test_a_gated_dataset_needs_a_token_that_is_written_nowhere(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.gated, hub.token = {DATASET}, TOKEN
    with pytest.raises(InputError, match=r"the dataset is gated\. Accept its terms on its page, and set HF_TOKEN"):
        tag(hub, f"{DATASET}/data", tmp_path / "out")
    tag(hub, f"{DATASET}/data", tmp_path / "out", storage_options={"token": TOKEN})
    assert len(parts(tmp_path / "out")) == 3
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    said = capsys.readouterr()
    assert TOKEN.encode() not in written
    assert TOKEN not in said.out + said.err


@pytest.mark.parametrize(("status", "kind", "message"), [
    (401, InputError, "private or does not exist .HTTP 401.. Check its name, and set HF_TOKEN"),
    (403, InputError, "access denied .HTTP 403.*set HF_TOKEN"),
    (503, IncompleteError, "could not be read: .*the same command continues from there"),
])  # fmt: skip
def test_a_hub_that_refuses(hub: Hub, tmp_path: Path, status: int, kind: type[Exception], message: str) -> None:
    hub.refuses = status
    with pytest.raises(kind, match=message):
        tag(hub, DATASET, tmp_path / "out")


def test_an_answer_that_breaks_off_is_requested_again(hub: Hub, tmp_path: Path) -> None:
    tag(hub, f"{DATASET}/data/a.jsonl", tmp_path / "whole")
    hub.cuts = 2
    tag(hub, f"{DATASET}/data/a.jsonl", tmp_path / "out")
    assert hub.cuts == 0
    assert parts(tmp_path / "out") == parts(tmp_path / "whole")
    hub.cuts = 1000
    with pytest.raises(IncompleteError, match="the same command continues from there"):
        tag(hub, f"{DATASET}/data/a.jsonl", tmp_path / "never")


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", pytest.param("b.jsonl.gz", marks=pytest.mark.e2e), pytest.param("c.parquet", marks=pytest.mark.e2e)],
)
def test_an_answer_shorter_than_requested_is_never_taken_for_the_end(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.short = 1
    with pytest.raises(IncompleteError, match=r"the answer to a request for .* bytes has"):
        tag(hub, f"{DATASET}/data/{name}", tmp_path / "out")
    assert tag(hub, f"{DATASET}/data/{name}", tmp_path / "out").exit_code == 0


def test_a_hub_out_of_reach_and_offline_mode(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag(hub, f"{DATASET}/data", tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"HF_HUB_OFFLINE=1 forbids requests to the Hub\. Unset it"):
        tag(hub, f"{DATASET}/data", tmp_path / "new")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE=1 forbids"):
        tag(hub, f"{DATASET}/data", tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(IncompleteError, match="could not be read"):
        tag(hub, f"{DATASET}/data", tmp_path / "new", storage_options={"endpoint": "http://127.0.0.1:9"})


def test_every_request_has_a_time_limit(hub: Hub) -> None:
    from huggingface_hub import get_session

    remote.use({"endpoint": hub.url})
    for _ in range(2):
        remote.filesystem(f"hf://datasets/{DATASET}")
    limits = []
    for timeout in (None, 3):
        request = get_session().build_request("GET", hub.url, timeout=timeout)
        for hook in get_session().event_hooks["request"]:
            hook(request)
        limits.append(request.extensions["timeout"])
    assert limits[0] == {"connect": 10, "read": 20, "write": 20, "pool": 20}
    assert limits[1] == dict.fromkeys(limits[0], 3)
    assert len(get_session().event_hooks["request"]) == 2  # huggingface_hub's own, and the limit


def test_the_hub_is_no_place_for_output() -> None:
    with pytest.raises(ConfigError, match="only reads from the Hub"):
        Folder(f"hf://datasets/{DATASET}/tags")


@pytest.mark.e2e
def test_generations_of_a_dataset_make_a_feature_table(hub: Hub, tmp_path: Path) -> None:
    hub.commit("lab/gens", {f"org/m{i}/samples.jsonl": lines(f"{LONG} {i}") for i in range(2)})
    result = run(
        "features",
        input="hf://datasets/lab/gens",
        output=str(tmp_path / "out"),
        taggers=["length"],
        workers=1,
        storage_options={"endpoint": hub.url},
    )
    assert result.exit_code == 0
    assert sorted(plans(tmp_path / "out")) == ["org/m0/samples.jsonl.json", "org/m1/samples.jsonl.json"]


@pytest.mark.e2e
def test_the_console_script_with_hf_endpoint_and_two_workers(hub: Hub, tmp_path: Path) -> None:
    hub.gated, hub.token = {DATASET}, TOKEN
    command = [
        sys.executable,
        "-m",
        "tagcorpus",
        "run",
        "tag",
        "--input",
        f"hf://datasets/{DATASET}",
        "--output",
        "out",
    ]
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "--taggers", "length", "--workers", "2"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(parts(tmp_path / "out")) == 4
    again = subprocess.run(
        command, cwd=tmp_path, env={**environment, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "HF_HUB_OFFLINE=1 forbids requests" in again.stderr

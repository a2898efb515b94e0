"""Remote input and output for real: S3 and Google Cloud Storage on loopback, and a web server that knows ranges."""

from __future__ import annotations

import gzip
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gcs_server
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from profiles import one_by_default

from tagcorpus.errors import ConfigError, InputError, OutputError
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.run import run
from tagcorpus.pipelines.storage import remote

SHARD = 12_000
N = 250


def corpus(folder: Path) -> None:
    """One small file of every kind, with bad rows among them."""
    (folder / "sub").mkdir(parents=True)
    rows = [json.dumps({"id": f"{i:04d}", "text": f"document {i} {'é' * (i % 90)}"}).encode() for i in range(N)]
    rows[5], rows[6], rows[7] = b"not json", b'{"text": "\xff"}', b""
    data = b"\n".join(rows)
    (folder / "a.jsonl").write_bytes(data)
    (folder / "sub" / "b.jsonl.gz").write_bytes(gzip.compress(data, 1))
    (folder / "sub" / "c.jsonl.zst").write_bytes(zstandard.compress(data))
    table = pa.table({"text": [f"text {i}" for i in range(N)]})
    pq.write_table(table, folder / "d.parquet", row_group_size=90)
    with pa.ipc.new_file(folder / "e.arrow", table.schema) as writer:
        writer.write_table(table, 50)
    (folder / "f.csv").write_text("id,text\n" + "".join(f'{i},"line\n{i}"\n' for i in range(N)))


def tag(source: str, output: str, **options: Any) -> Any:
    return run(
        "tag", input=source, output=output, taggers=["length"], **{"chunk_bytes": SHARD, "workers": 1, **options}
    )


def parts(folder: Path) -> dict[str, bytes]:
    """Everything an output says about its input, by name; runs/ holds times, plan/ paths."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.relative_to(folder).parts[0] in ("attributes", "quarantine", "summary")
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The corpus on disk, and what a local run makes of it."""
    root = tmp_path_factory.mktemp("local")
    corpus(root / "in")
    assert tag(str(root / "in"), str(root / "out")).exit_code == 0
    return root / "in", root / "out"


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    s3fs = pytest.importorskip("s3fs", reason="s3fs (extra [s3]) is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        # What other tests of this process left there: moto's servers share their buckets.
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        yield store
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="module")
def stored(s3: Any, local: tuple[Path, Path]) -> str:
    s3.put(f"{local[0]}/", "bucket/in/", recursive=True)
    return "s3://bucket/in"


def fetched(s3: Any, path: str, to: Path) -> dict[str, bytes]:
    s3.invalidate_cache()
    s3.get(f"{path}/", f"{to}/", recursive=True)
    return parts(to)


@pytest.mark.e2e
@pytest.mark.parametrize("workers", one_by_default(1, 2))
def test_from_and_to_s3_gives_the_bytes_of_a_local_run(
    s3: Any, stored: str, local: tuple[Path, Path], tmp_path: Path, workers: int
) -> None:
    output = f"s3://bucket/out{workers}"
    result = tag(stored, output, workers=workers)
    assert result.exit_code == 0
    found = fetched(s3, f"bucket/out{workers}", tmp_path / "got")
    expected = parts(local[1])
    assert sorted(found) == sorted(expected)
    assert [n for n in expected if found[n] != expected[n] and not n.startswith("summary/")] == []
    # Nothing but whole objects under their own names.
    assert not [n for n in s3.find(f"bucket/out{workers}") if "/." in n or n.endswith(".tmp")]
    assert not s3.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads")
    for name, data in found.items():
        if name.endswith(".parquet"):
            assert pq.read_metadata(pa.BufferReader(data)).metadata[b"tagcorpus.key"]

    before = {n: s3.info(n)["LastModified"] for n in s3.find(f"bucket/out{workers}/attributes")}
    again = tag(stored, output, workers=workers)
    ledger = json.loads(s3.cat_file(again.ledger))
    assert ledger["ranges"]
    assert all(r["is_resumed"] for r in ledger["ranges"])
    s3.invalidate_cache()
    assert before == {n: s3.info(n)["LastModified"] for n in s3.find(f"bucket/out{workers}/attributes")}


@pytest.mark.e2e
def test_a_changed_object_redoes_its_changed_ranges(s3: Any) -> None:
    rows = [json.dumps({"text": f"row {i:05d}"}) for i in range(3000)]
    s3.pipe_file("bucket/changing/x.jsonl", "\n".join(rows).encode())
    tag("s3://bucket/changing", "s3://bucket/changed")
    rows[2000] = rows[2000].replace("row", "ROW")
    s3.pipe_file("bucket/changing/x.jsonl", "\n".join(rows).encode())
    again = tag("s3://bucket/changing", "s3://bucket/changed")
    ledger = json.loads(s3.cat_file(again.ledger))
    assert len(ledger["ranges"]) > 2
    assert sum("is_resumed" not in r for r in ledger["ranges"]) == 1


def test_globs_labels_and_messages_on_s3(stored: str) -> None:
    found = discover.find([f"{stored}/*.jsonl", f"x={stored}/sub/*"])
    assert [f.name for f in found] == ["a.jsonl", "x/b.jsonl.gz", "x/c.jsonl.zst"]
    assert all(f.path.startswith("s3://bucket/in/") for f in found)
    with pytest.raises(InputError, match="no such file or folder"):
        discover.find(["s3://bucket/none.jsonl"])
    with pytest.raises(ConfigError, match="remote input needs output=FOLDER"):
        run("tag", input=stored)


def test_local_input_to_s3_and_s3_input_to_local(
    s3: Any, stored: str, local: tuple[Path, Path], tmp_path: Path
) -> None:
    tag(str(local[0] / "a.jsonl"), "s3://bucket/one")
    tag(f"{stored}/a.jsonl", str(tmp_path / "out"))
    one = fetched(s3, "bucket/one", tmp_path / "got")
    other = parts(tmp_path / "out")
    assert {n: d for n, d in one.items() if n.endswith(".parquet")} == {
        n: d for n, d in other.items() if n.endswith(".parquet")
    }
    assert len(other) > 3


# HTTP


@pytest.fixture
def web(local: tuple[Path, Path]) -> Iterator[str]:
    """Serves the corpus, with ranges as RFC 9110 has them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = local[0] / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            part = data
            if asked:
                start, end = int(asked[1]), int(asked[2] or len(data) - 1)
                part = data[start : end + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(part)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_input_over_http(web: str, local: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="fsspec's http filesystem needs aiohttp")
    sources = [f"{web}/{n}" for n in ("a.jsonl", "d.parquet", "f.csv")] + [f"sub={web}/sub/c.jsonl.zst"]
    assert (
        run("tag", input=sources, output=str(tmp_path), taggers=["length"], chunk_bytes=SHARD, workers=1).exit_code == 0
    )
    expected = parts(local[1])
    found = {n: d for n, d in parts(tmp_path).items() if n.endswith((".parquet", ".jsonl")) and "/" in n}
    assert len(found) > 8
    assert {n: d == expected[n] for n, d in found.items()} == dict.fromkeys(found, True)


# Google Cloud Storage


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[gcs_server.Buckets]:
    gcsfs = pytest.importorskip("gcsfs", reason="gcsfs (extra [gcs]) is not installed")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with gcs_server.serving() as found:
        yield found
        remote.use({})
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.mark.e2e
def test_from_and_to_gcs_gives_the_bytes_of_a_local_run(
    gcs: gcs_server.Buckets, local: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (p for p in local[0].rglob("*.*") if p.suffix in (".parquet", ".zst")):
        gcs.put("bucket", f"in/{path.relative_to(local[0])}", path.read_bytes())
    refused: list[str] = []

    def refuses(method: str, path: str) -> int:
        """One 503 to a read and one to an upload: both are asked again."""
        kind = f"{method} {path.split('/')[1]}"
        if kind in ("GET download", "POST upload") and kind not in refused:
            refused.append(kind)
            return 503
        return 0

    gcs.refuses = refuses
    options = {"endpoint_url": gcs.url, "token": "anon"}
    assert tag("gs://bucket/in", "gs://bucket/out", storage_options=options).exit_code == 0
    assert len(refused) == 2
    found = {n.removeprefix("out/"): d for (_, n), (d, _) in gcs.objects.items()}
    expected = parts(local[1])
    named = [n for n in expected if "/d.parquet/" in n or "/c.jsonl.zst/" in n]
    assert len(named) > 4
    assert [n for n in named if found.get(n) != expected[n]] == []
    # The same by the emulator's variable, and resumed.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    before = {n: g for (_, n), (_, g) in gcs.objects.items() if "/attributes/" in n}
    again = tag("gs://bucket/in", "gs://bucket/out", storage_options={"token": "anon"})
    assert again.exit_code == 0
    assert before == {n: g for (_, n), (_, g) in gcs.objects.items() if "/attributes/" in n}


def test_what_gcs_refuses(gcs: gcs_server.Buckets, local: tuple[Path, Path]) -> None:
    options = {"endpoint_url": gcs.url, "token": "anon"}
    gcs.put("bucket", "in/a.jsonl", (local[0] / "a.jsonl").read_bytes())
    with pytest.raises(OutputError, match=r"gs://absent/out/.*could not be written.*endpoint"):
        tag("gs://bucket/in", "gs://absent/out", storage_options=options)
    gcs.refuses = lambda _method, path: 403 if "download" in path and "/in/" in path else 0
    with pytest.raises(InputError, match=r"gs://bucket/in/a.jsonl could not be read: access denied.*gcloud"):
        tag("gs://bucket/in", "gs://bucket/denied", storage_options=options)
    with pytest.raises(ConfigError, match=r"unknown storage option of gs 'tokens'.*did you mean 'token'"):
        tag("gs://bucket/in", "gs://bucket/x", storage_options={"tokens": "anon"})

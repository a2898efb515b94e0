"""`tagcorpus doctor`: it names what is broken, with the way out, and runs whatever is broken."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from plugins import SCRIPT, Ended

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.doctor import reachable, selftests
from tagcorpus.pipelines.doctor.doctor import Subjects, checks, report
from tagcorpus.pipelines.doctor.installation import Finding, import_trial, pip

KEY = "sk-not-to-be-seen-1234"


def doctor(*arguments: str | Path, path: Path | None = None, **env: str) -> Ended:
    more = {"PYTHONPATH": str(path)} if path else {}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "NUMBA_CACHE"))}
    command = [SCRIPT, "doctor", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, **more, **env}, check=False, timeout=300
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def findings(result: Ended) -> dict[str, dict[str, str]]:
    return {f["name"]: f for f in result.json()["findings"]}


def distribution(folder: Path, name: str, version: str, *lines: str) -> Path:
    """A folder that, once on the path, holds the metadata of a distribution and nothing else."""
    metadata = folder / f"{name}-{version}.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""]))
    return folder


@pytest.mark.e2e
def test_sound_installation() -> None:
    result = doctor("--json")
    found = findings(result)
    assert result.code == 0, result.out
    assert {f["state"] for f in found.values()} <= {"ok", "warning"}
    from packaging.requirements import Requirement

    needed = [Requirement(r) for r in requires("tagcorpus") or []]
    assert {r.name for r in needed if r.marker is None} <= set(found)
    for name in ("fasttext self-test", "tokenizer ranks", "sentence splitter", "domain model", "LLM answer cache"):
        assert found[name]["state"] == "ok"
    assert "extra s3" in found
    assert not {"output", "LLM endpoint", "ray cluster"} & set(found)


@pytest.mark.e2e
def test_text_has_one_line_each_and_the_fix_below() -> None:
    text, code = report(Subjects(output="/dev/null"), as_json=False)
    lines = text.splitlines()
    assert code == 1
    (at,) = [i for i, line in enumerate(lines) if line.startswith("broken")]
    assert lines[at].split() == ["broken", "output", "/dev/null", "is", "not", "a", "folder"]
    assert lines[at + 1].strip() == "-> name another folder with --output"
    assert lines[-1].startswith("1 broken")


def test_nothing_heavy_is_imported_to_begin_with() -> None:
    code = "import sys, json, tagcorpus.pipelines.doctor.doctor; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert not set(json.loads(out)) & {"pyarrow", "numpy", "numba", "datatrove", "packaging", "openai", "click", "yaml"}


@pytest.mark.e2e
def test_package_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('broken on purpose')")
    result = doctor("--json", path=tmp_path)
    found = findings(result)
    assert result.code == 1
    assert found["pyarrow"]["state"] == "broken"
    assert found["pyarrow"]["found"] == "cannot be imported: ImportError: broken on purpose"
    assert "pip install --force-reinstall --no-deps" in found["pyarrow"]["fix"]
    assert "'pyarrow>=" in found["pyarrow"]["fix"]
    assert found["tokenizer ranks"]["state"] == "broken"
    assert found["numpy"]["state"] == found["LLM answer cache"]["state"] == "ok"


@pytest.mark.e2e
def test_package_that_ends_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    result = doctor("--json", path=tmp_path)
    found = findings(result)
    assert result.code == 1
    assert found["numba"]["found"] == "its import ends the interpreter (SIGSEGV)"
    assert "numba would end this process too" in found["self-tests"]["found"]
    assert found["zstandard"]["state"] == "ok"


def test_every_import_is_tried_whatever_the_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ends_it.py").write_text("import os; os._exit(3)")
    (tmp_path / "leaves.py").write_text("import sys; sys.exit()")
    (tmp_path / "shouts.py").write_text("print('>json\\nfailed json no'); raise ValueError('a\\nb')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_trial(["ends_it", "leaves", "json", "shouts", "ends_it"]) == {
        "ends_it": ("its import ends the interpreter (exit code 3)", True),
        "leaves": ("cannot be imported: SystemExit:", False),
        "shouts": ("cannot be imported: ValueError: a b", False),
    }


@pytest.mark.e2e
def test_versions_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "packaging.py").write_text("raise RuntimeError('gone')")
    result = doctor("--json", path=tmp_path)
    assert result.code == 1
    assert "no version is compared: RuntimeError: gone" in findings(result)["packaging"]["found"]
    assert findings(result)["tokenizer ranks"]["state"] == "ok"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> dict[str, dict[str, str]]:
    """What is found where several things are wrong at once."""
    folder = tmp_path_factory.mktemp("faults")
    distribution(folder, "orjson", "1.0")
    distribution(folder, "fasttext_wheel", "0.9.2")
    (folder / "fasttext_wheel-0.9.2.dist-info/top_level.txt").write_text("fasttext\n")
    distribution(folder, "tagcorpus", "9.9", "Requires-Python: >=99", "Requires-Dist: orjson>=3.10")
    damaged = folder / "damaged.sqlite"
    damaged.write_bytes(b"no database at all" * 100)
    given = {"NUMBA_CACHE_DIR": str(damaged / "x"), "XDG_CACHE_HOME": str(caches)}
    result = doctor("--json", "--llm-cache", damaged, path=folder, **given)
    assert result.code == 1
    return findings(result)


def test_package_that_is_too_old(faults: dict[str, dict[str, str]]) -> None:
    old = faults["orjson"]
    assert old["state"] == "broken"
    assert old["found"].startswith("1.0, but >=3")
    assert "-m pip install 'orjson>=" in old["fix"]


def test_rival_fasttext(faults: dict[str, dict[str, str]]) -> None:
    rival = faults["module fasttext"]
    assert rival["state"] == "warning"
    assert "fasttext_wheel" in rival["found"]
    assert "pip uninstall -y fasttext_wheel && " in rival["fix"]


@pytest.mark.e2e
def test_extras_come_from_the_metadata_and_matter_when_named(tmp_path: Path) -> None:
    lines = (
        "Requires-Python: >=3.11",
        "Requires-Dist: click>=8",
        "Provides-Extra: moon",
        'Requires-Dist: no-such-dist>=2; extra == "moon"',
        "Provides-Extra: here",
        'Requires-Dist: click>=8; extra == "here"',
        "Provides-Extra: kept",
    )
    path = distribution(tmp_path, "tagcorpus", "9.9", *lines)
    plain = doctor("--json", path=path)
    assert findings(plain)["extra kept"]["found"] == "comes with the base installation"
    assert plain.code == 0
    moon = findings(plain)["extra moon"]
    assert (moon["state"], moon["found"]) == ("ok", "optional, not installed: no-such-dist")
    assert moon["fix"].endswith("-m pip install 'no-such-dist>=2'")
    assert findings(plain)["extra here"]["found"].startswith("click 8")
    named = doctor("moon", "here", "--json", path=path)
    assert named.code == 1
    assert findings(named)["extra moon"]["state"] == "broken"
    assert findings(named)["extra here"]["state"] == "ok"
    unknown = doctor("mon", path=path)
    assert unknown.code == 2
    assert "did you mean 'moon'?" in unknown.err


def test_python_that_is_too_old(faults: dict[str, dict[str, str]]) -> None:
    assert faults["python"]["state"] == "broken"
    assert "virtual environment with Python >=99" in faults["python"]["fix"]


def test_pip_command_is_for_this_python() -> None:
    out = subprocess.run(f"{pip('--version')}", shell=True, capture_output=True, text=True, check=True).stdout
    assert sys.prefix in out


@pytest.mark.parametrize("where", ["", "new/folder"])
def test_output_that_can_be_written(tmp_path: Path, where: str) -> None:
    found = selftests.output(str(tmp_path / where))
    assert found.state in ("ok", "warning")
    assert "GB free" in found.message
    assert list(tmp_path.iterdir()) == []


def test_remote_output(tmp_path: Path) -> None:
    assert selftests.output(f"memory://{tmp_path.name}/x").state == "ok"
    unknown = selftests.output("nosuchstore://x/y")
    assert unknown.state == "broken"
    assert "nosuchstore" in unknown.message


def test_storage_options_are_used_on_the_output(tmp_path: Path) -> None:
    where = f"memory://{tmp_path.name}/x"

    def of_output(*storage_options: str) -> dict[str, Finding]:
        wanted = Subjects(output=where, storage_options=storage_options)
        return {name: check() for name, check in checks(wanted) if name == "output"}

    assert of_output("use_listings_cache=false")["output"].state == "ok"
    with pytest.raises(ConfigError, match="unknown storage option of memory 'endpoint_url'"):
        of_output("endpoint_url=http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="needs an --output that is a URL"):
        report(Subjects(output=str(tmp_path), storage_options=("anon=true",)), as_json=True)


def test_output_on_a_filesystem_that_cannot_be_written(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "none", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        found = selftests.output(str(tmp_path))
        cache = selftests.llm_cache(str(tmp_path / "x/llm.sqlite"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert found.state == cache.state == "broken"
    assert "Read-only file system" in found.message
    assert "--output" in found.fix
    assert "--llm-cache" in cache.fix


def test_llm_cache(tmp_path: Path) -> None:
    file = tmp_path / "sub/llm.sqlite"
    assert selftests.llm_cache(str(file)).state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_caches_that_cannot_be_used(faults: dict[str, dict[str, str]]) -> None:
    told = faults["LLM answer cache"]
    assert told["state"] == "broken"
    assert "cannot be used" in told["found"]
    assert "--no-llm-cache" in told["found"]
    kernels = faults["compiled kernels"]
    assert kernels["state"] == "broken"
    assert "NUMBA_CACHE_DIR" in kernels["fix"]


class Models(BaseHTTPRequestHandler):
    """Answers GET /v1/models; the key decides how. Repeats the key in whatever it says."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        code = {KEY: 200, "none-needed": 200}.get(key, 0) or int(key.rsplit("-", 1)[-1])
        body: dict[str, Any] = {"error": {"message": f"no {key}"}}
        if code == 200:
            body = {"object": "list", "data": [{"id": f"m{i}", "object": "model"} for i in range(5)]}
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    found.asked = []  # type: ignore[attr-defined]
    thread = Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


@pytest.mark.e2e
def test_endpoint_that_answers(server: ThreadingHTTPServer) -> None:
    result = doctor("--json", OPENAI_BASE_URL=url_of(server), OPENAI_API_KEY=KEY)
    assert result.code == 0
    assert findings(result)["LLM endpoint"]["found"] == f"{url_of(server)} answers; models: m0, m1, m2, m3, ..."
    assert server.asked == ["/v1/models"]  # type: ignore[attr-defined]
    assert KEY not in result.out + result.err


@pytest.mark.e2e
@pytest.mark.parametrize(("code", "state"), [(401, "broken"), (404, "warning"), (429, "broken"), (500, "broken")])
def test_endpoint_that_refuses(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, code: int, state: str
) -> None:
    key = f"sk-secret-{code}"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    found = reachable.endpoint(url_of(server))
    assert found.state == state
    assert f"HTTP {code}" in found.message
    assert found.fix
    assert key not in repr(found)


@pytest.mark.e2e
def test_endpoint_that_is_not_there(server: ThreadingHTTPServer) -> None:
    url = url_of(server)
    server.socket.close()
    found = reachable.endpoint(url)
    assert (found.state, found.message) == ("broken", f"{url} cannot be reached (ConnectionRefusedError)")


@pytest.mark.e2e
def test_offline_asks_nobody(server: ThreadingHTTPServer) -> None:
    asked = ("--offline", "--base-url", url_of(server), "--ray-address", "127.0.0.1:1", "--output", "s3://bucket/x")
    result = doctor("--json", *asked)
    assert result.code == 0
    for name in ("LLM endpoint", "ray cluster", "output"):
        assert findings(result)[name]["state"] == "warning"
    assert server.asked == []  # type: ignore[attr-defined]


def test_ray_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: nobody else can get the port, and it refuses
        _refused(f"127.0.0.1:{taken.getsockname()[1]}")
    assert reachable.ray_cluster("local").state == "warning"


def _refused(address: str) -> None:
    for given in (address, f"ray://{address}"):
        found = reachable.ray_cluster(given)
        assert found.state == "broken"
        assert "Connection refused" in found.message
        assert "ray start --head" in found.fix


def test_nodes_with_other_versions_are_named() -> None:
    own = {"python": "3.11.1", "ray": "2.1", "numpy": "2.0"}
    assert reachable.compared("auto", own, {"a": own, "b": own}).state == "ok"
    found = reachable.compared(
        "auto", own, {"a": own, "b": {**own, "ray": "2.2"}, "c": {"python": "3.11.1", "ray": "2.1"}}
    )
    assert found.state == "broken"
    assert found.message == "b has ray 2.2 (here 2.1); c has numpy missing (here 2.0)"


TWO_NODES = """
import json
from ray.cluster_utils import Cluster
from tagcorpus.pipelines.doctor import reachable
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
try:
    cluster.add_node(num_cpus=1)
    found = reachable.ray_cluster(cluster.address)
    print(json.dumps([cluster.address, found.state, found.message]))
finally:
    cluster.shutdown()
"""


@pytest.mark.e2e
def test_ray_cluster_of_two_nodes(tmp_path: Path) -> None:
    """In a process of its own: Ray keeps the environment of its first import, which other tests set for themselves."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", TWO_NODES],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "RAY_USAGE_STATS_ENABLED": "0"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    address, state, found = json.loads(done.stdout.splitlines()[-1])
    assert (state, found) == ("ok", f"{address}: 2 nodes, same versions on all")

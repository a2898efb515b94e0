"""The examples of configs/cluster: they parse, fit the schemas at hand, agree with each other and with docs/clusters.md.
Nothing is started. That hadolint finds nothing in the Dockerfile is checked by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.pipelines.options.load import load_options

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs/cluster"
PAGE = ROOT / "docs/clusters.md"
IMAGE = f"registry.example.com/tagcorpus:{tagcorpus.__version__}"


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: (instruction, arguments), continued lines joined, comments left out."""
    lines = [x for x in (FOLDER / "Dockerfile").read_text().splitlines() if not x.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, " ".join(rest.split())) for name, _, rest in (x.partition(" ") for x in joined.splitlines() if x)]


def arguments(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def test_all_examples_are_looked_at_here() -> None:
    found = {p.name for p in FOLDER.iterdir()}
    assert found == {"Dockerfile", "kuberay_rayjob.yaml", "ray_up.yaml", "slurm.yaml"}


AS_RAY_SEES_IT = """
import json, sys
import jsonschema
from ray.autoscaler._private.util import prepare_config, validate_config
found = prepare_config(json.load(sys.stdin))
validate_config(found)
try:
    validate_config({**found, "head_type": "head"})
except jsonschema.ValidationError:
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ray_up(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """With Ray's own defaults filled in, and past its schema, which refuses an unknown key. In a process of its own: Ray
    keeps the environment of its first import."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_RAY_SEES_IT],
        input=json.dumps(load("ray_up.yaml")),
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("ray_up"),
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ray_up_installs_nothing_and_starts_its_own_image(ray_up: dict[str, Any]) -> None:
    assert ray_up["docker"]["image"] == IMAGE
    assert '--entrypoint=""' in ray_up["docker"]["run_options"]  # docker run IMAGE bash
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert ray_up[key] == [], key
    assert ray_up["head_start_ray_commands"][-1].endswith("--autoscaling-config=~/ray_bootstrap_config.yaml")
    assert "--node-ip-address" not in str(ray_up)
    head, worker = (ray_up["available_node_types"][name] for name in ("head", "worker"))
    assert (head["resources"], head["max_workers"]) == ({"CPU": 0}, 0)
    assert worker["max_workers"] == ray_up["max_workers"]
    assert "IamInstanceProfile" in worker["node_config"]
    # The command on top asks for the workers that the nodes have at the beginning.
    text = (FOLDER / "ray_up.yaml").read_text()
    assert f"--workers {worker['min_workers'] * worker['resources']['CPU']} " in text.splitlines()[0]


def test_kuberay_rayjob() -> None:
    job = load("kuberay_rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job.keys() == {"apiVersion", "kind", "metadata", "spec"}
    spec = job["spec"]
    assert spec.keys() == {"entrypoint", "shutdownAfterJobFinishes", "backoffLimit", "rayClusterSpec"}
    cluster = spec["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert f"ray[default]=={cluster['rayVersion']}" in " ".join(arguments("RUN"))
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    cpus = {}
    for part in (cluster["headGroupSpec"], group):
        # All values are strings: they become options of `ray start`.
        assert all(isinstance(v, str) for v in part["rayStartParams"].values())
        (container,) = part["template"]["spec"]["containers"]
        assert container.keys() == {"name", "image", "resources", "envFrom"}
        assert container["image"] == IMAGE
        # Limits are what Ray takes the container's size from.
        assert container["resources"]["limits"] == container["resources"]["requests"]
        cpus[container["name"]] = int(container["resources"]["limits"]["cpu"])
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert f"--workers {cpus['ray-worker'] * group['replicas']} " in spec["entrypoint"]


@pytest.mark.parametrize(("codes", "tries"), [((0,), 1), ((2,), 1), ((4, 0), 2), ((4, 3), 2), ((4, 4, 4, 4), 4)])
def test_kuberay_repeats_exit_4_and_no_other(tmp_path: Path, codes: tuple[int, ...], tries: int) -> None:
    fake = tmp_path / "tagcorpus"
    fake.write_text(
        f"#!/bin/bash\necho x >> {tmp_path}/log\nn=$(wc -l < {tmp_path}/log)\ncodes=({' '.join(map(str, codes))})\n"
    )
    fake.write_text(fake.read_text() + "exit ${codes[$((n - 1))]}\n")
    (tmp_path / "sleep").write_text("#!/bin/bash\n")
    for program in (fake, tmp_path / "sleep"):
        program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(shlex.split(load("kuberay_rayjob.yaml")["spec"]["entrypoint"]), env=env, check=False)
    assert done.returncode == codes[-1]
    assert len((tmp_path / "log").read_text().splitlines()) == tries


def commands() -> list[str]:
    """Every `tagcorpus run` of the examples and the page."""
    found = re.findall(r"(tagcorpus run [^;]*)", load("kuberay_rayjob.yaml")["spec"]["entrypoint"])
    for path in (FOLDER / "ray_up.yaml", FOLDER / "slurm.yaml"):
        found += re.findall(r'(tagcorpus run [^"\n]*)', path.read_text())
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return found + re.findall(r"(tagcorpus run [^\"'\n#>&]*)", joined)


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the values of --set and --config; what is not there is the input."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("PATH", os.defpath)  # no Slurm
    filled = command.replace("s3://", "./no-such-folder/").replace("...", "x")
    result = CliRunner().invoke(main, [*shlex.split(filled)[1:], "--executor", "local"])
    assert result.exit_code == 2, result.output
    assert "no such file or folder" in result.stderr


def test_slurm_example_is_a_config_of_ours() -> None:
    options = load_options("tag", str(FOLDER / "slurm.yaml"))
    assert options.executor == "slurm"
    assert load("slurm.yaml")["slurm"].items() <= vars(options.slurm).items()


def test_dockerfile() -> None:
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM"
    assert set(names) <= {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "ENTRYPOINT", "CMD"}
    (base,) = arguments("FROM")
    tag = base.partition(":")[2]
    assert re.match(r"3\.1[1-9]-", tag)  # a Python that setup.cfg takes, and never `latest`
    (copied,) = arguments("COPY")
    assert copied == "tagcorpus-*.whl /tmp/"
    assert arguments("USER") == ["1000"]
    assert max(i for i, r in enumerate(instructions()) if "install" in r[1]) < names.index("USER")
    assert arguments("ENTRYPOINT") == ['["tagcorpus"]']
    assert arguments("CMD") == ['["--help"]']
    for run in arguments("RUN"):
        assert ("apt-get install" not in run) or ("rm -rf /var/lib/apt/lists/*" in run)
    # What the launchers need beside our own requirements.
    whole = " ".join(arguments("RUN"))
    assert all(word in whole for word in ("rsync", "wget", "boto3", "[s3"))
    assert IMAGE in (FOLDER / "Dockerfile").read_text()

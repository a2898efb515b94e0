"""The chain of docs/mixes.md, from text to scores: what its blocks without a test in test_docs.py do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from test_docs import DOCS, blocks


@pytest.mark.slow
def test_from_text_to_scores(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "accelerate", "lm_eval", "plotly"):
        pytest.importorskip(package)
    script = []
    for kind, code, comment in blocks(DOCS["mixes.md"]):
        if comment.startswith("file: "):
            (tmp_path / comment.removeprefix("file: ")).write_text(code)
        if kind == "sh" and "test_mixes_page.py" in comment:
            script.append(code)
    assert len(script) == 4
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(script)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    bits = {}
    for model in ("code", "prose"):
        rows = csv.DictReader((tmp_path / f"models/acme/more-{model}/losses.csv").read_text().splitlines())
        bits[model] = {r["group"]: float(r["held_out_bits_per_byte"]) for r in rows}
    assert bits["code"]["code"] < bits["prose"]["code"]
    assert bits["prose"]["prose"] < bits["code"]["prose"]
    assert "acme/more-code" in done.stdout
    for model, of_group in bits.items():  # as lm_eval computes them, document by document
        (path_of_results,) = (tmp_path / f"results/acme__more-{model}").glob("results_*.json")
        results = json.loads(path_of_results.read_text())["results"]
        own = {group: results[f"held_out_{group}"]["bits_per_byte,none"] for group in of_group}
        assert own == pytest.approx(of_group, rel=0.01)
    page = (tmp_path / "models/report.html").read_text()
    assert all(f'<th scope="row">acme/more-{model}</th>' in page for model in bits)
    features = list(csv.DictReader((tmp_path / "features.csv").read_text().splitlines()))
    assert sorted(r["id"] for r in features) == ["acme/more-code", "acme/more-prose"]

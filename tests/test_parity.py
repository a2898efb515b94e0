"""Wherever and with however many workers: the same bytes. Also where a run begun in one place is resumed in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plugins import jsonl
from ray_driver import Driver, driver
from slurm_commands import Slurm, everything, invoke, pretend

OPTIONS: dict[str, dict[str, Any]] = {
    "tag": {"taggers": ["length", "tokens", "keywords", "language", "repetition"]},
    "filter": {},
    "domain": {"domain": {"backend": "fasttext"}},
    "entropy": {"ngram": 2, "interval_entries": 500},
}
RANGES = 8


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Iterator[Driver]:
    with driver(tmp_path_factory.mktemp("ray"), {"XDG_CACHE_HOME": str(caches)}) as found:
        yield found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, several ranges: many kinds of text, lines without a text, one that is not UTF-8, blank ones."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sub").mkdir()
    kinds: list[Any] = [
        "The committee met on Tuesday. It discussed twelve proposals, and why should it not?",
        "def f(x):\n    return x + 1\n",
        "Der Ausschuss trat am Dienstag zusammen und besprach zwölf Vorschläge.",
        "same line\n" * 30,
        "",
        "日本語の文章です。これは短い例です。",
        b"\xff\xfe not UTF-8",
        {"id": "no text", "other": 1},
        b"   ",
        "Explain how the number 42 was chosen, step by step. " * 5,
    ]
    for n, name in enumerate(("a.jsonl", "sub/b.jsonl")):
        rows = [f"{n} {i} {k}" if isinstance(k, str) and k else k for i in range(12) for k in kinds]
        (folder / name).write_bytes(jsonl(rows))
    return folder


@dataclass
class Place:
    """One pipeline over the corpus, run in different places."""

    pipeline: str
    corpus: Path
    root: Path
    ray: Driver
    slurm: Slurm

    def options(self, output: str) -> dict[str, Any]:
        fixed = {"input": [str(self.corpus)], "output": str(self.root / output), "workers": 2}
        return {**fixed, "chunk_bytes": 3000, "max_quarantined": 1000, **OPTIONS[self.pipeline]}

    def local(self, output: str, workers: int, *more: str) -> None:
        given = {**self.options(output), "workers": workers}
        sets = [a for k, v in given.items() for a in ("--set", f"{k}={v}")]
        done = invoke("run", self.pipeline, *sets, *more)
        assert done.code == 0, done.err

    def on_ray(self, output: str, workers: int = 2) -> None:
        """Begun, not ended: see `ended_on_ray`."""
        self.ray.send(self.pipeline, **{**self.options(output), "workers": workers})

    def ended_on_ray(self) -> None:
        assert self.ray.answer() == 0

    def on_slurm(self, output: str, tasks: int) -> None:
        """Two tasks at a time in processes of their own; one task, and the finish job, in this process."""
        job = len(list(self.slurm.jobs.glob("*.script"))) + 1
        self.local(output, 1, "--executor", "slurm", "--set", f"slurm.max_array={tasks}")
        assert self.slurm.n_tasks(job) == tasks
        (self.slurm.all_tasks if tasks > 1 else self.slurm.call_tasks)(job)
        done = self.slurm.call(job + 1)
        assert done.code == 0, done.err

    def published(self, output: str) -> dict[str, bytes]:
        found = everything(self.root / output)
        assert sum(name.startswith("attributes") for name in found) >= RANGES
        return found

    def take_away(self, output: str, is_odd: bool = False) -> None:
        """Every second part, and what is made of all of them."""
        parts = sorted((self.root / output / "attributes").rglob("part-*.parquet"))
        room = self.root / output
        made = [f for f in [*room.glob("summary/*"), *room.glob("filtered/**/*"), *room.glob("*.csv")] if f.is_file()]
        for file in parts[is_odd::2] + made:
            file.unlink()


@pytest.mark.e2e
@pytest.mark.parametrize("pipeline", OPTIONS)
def test_same_bytes_everywhere(
    pipeline: str, corpus: Path, ray: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(pipeline, corpus, tmp_path, ray, pretend(tmp_path, monkeypatch))
    # Meanwhile, the others. The nodes have a cache of kernels of their own, and two workers would both compile all those
    # of entropy; what is resumed there below has two.
    place.on_ray("ray", workers=1 if pipeline == "entropy" else 2)
    place.local("one", 1)
    wanted = place.published("one")
    assert wanted.keys() >= {f"summary/{'entropy-2gram' if pipeline == 'entropy' else pipeline}.json"}
    assert any(name.startswith("quarantine") for name in wanted)
    assert any(name.startswith("filtered/") for name in wanted) == (pipeline == "filter")
    assert ("predicted_domains.csv" in wanted) == (pipeline == "domain")
    place.local("here", 3)
    assert place.published("here") == wanted
    place.on_slurm("slurm", tasks=2)
    assert place.published("slurm") == wanted
    place.ended_on_ray()
    assert place.published("ray") == wanted

    # Begun in one place, resumed in the next one.
    place.take_away("here")
    place.on_ray("here")
    place.take_away("ray", is_odd=True)
    place.on_slurm("ray", tasks=1)
    assert place.published("ray") == wanted
    place.take_away("slurm")
    place.local("slurm", 2)
    assert place.published("slurm") == wanted
    place.ended_on_ray()
    assert place.published("here") == wanted

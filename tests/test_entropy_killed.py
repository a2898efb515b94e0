"""run entropy under kill -9, of workers and of whole runs, in every pass: the same bytes in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from plugins import SCRIPT, Corpus, Ended, empty_corpus, ended, known_here, tree
from slurm_commands import invoke

__all__ = ["empty_corpus", "known_here"]  # fixtures

ROOMS = ("attributes", "quarantine", "summary", "plan")
WORDS = ["the", "committee", "met", "again", "on", "Tuesday", "and", "discussed", "what", "other", "proposals", "say"]
# Paths of the three passes' results, and how many events there are for sure on them (of two workers).
PASSES = {
    "count": ("/spill/entropy-2gram/", 12),
    "merge": ("/spill/entropy-2gram.merged/", 10),
    "score": ("/attributes/", 20),
}


@pytest.fixture(name="text")
def text_corpus(corpus: Corpus) -> Corpus:
    rng = random.Random(3)
    for name in ("a.jsonl", "b.jsonl"):
        corpus.write(
            name, [" ".join(rng.choices(WORDS, k=rng.randint(0, 40))) for _ in range(30)] + [b'{"text": "\xff"}']
        )
    # So that every process of a run, and not only one that loads a tagger, writes down its events.
    watch = "import os\nif 'PLUGIN_EVENTS' in os.environ:\n    import plugin_taggers\n"
    corpus.environment()
    (corpus.root / "plugins" / "sitecustomize.py").write_text(watch)
    return corpus


def arguments(corpus: Corpus, output: Path, workers: int = 2) -> list[str]:
    options = {"chunk_bytes": 1500, "interval_entries": 60, "max_quarantined": 100, "ngram": 2, "workers": workers}
    sets = [a for k, v in options.items() for a in ("--set", f"{k}={v}")]
    return ["run", "entropy", "-i", str(corpus.root / "data"), "-o", str(output), *sets]


def run(corpus: Corpus, output: Path, env: dict[str, str]) -> Ended:
    process = subprocess.Popen(
        [SCRIPT, *arguments(corpus, output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=corpus.root,
        env=corpus.environment(env),
        start_new_session=True,
    )
    return ended(process)


def killing(corpus: Corpus, which: str, only: str, at: int) -> dict[str, str]:
    return {
        "PLUGIN_ROOT": str(corpus.root),
        "PLUGIN_EVENTS": str(corpus.root / f"events-{which}-{at}-{only.replace('/', '_')}"),
        "PLUGIN_ONLY": only,
        "PLUGIN_KILL": which,
        "PLUGIN_KILL_AT": str(at),
    }


@pytest.mark.e2e
def test_killed_in_every_pass(text: Corpus) -> None:
    undisturbed = text.root / "undisturbed"
    assert invoke(*arguments(text, undisturbed, workers=1)).code == 0
    wanted = tree(undisturbed, *ROOMS)
    rng = random.Random(11)
    killed = text.root / "killed"
    for only, reach in PASSES.values():
        result = run(text, killed, killing(text, "group", only, rng.randint(2, reach)))
        assert result.code == -signal.SIGKILL, result.err
    for path in killed.rglob(".*.tmp"):
        os.utime(path, (path.stat().st_mtime - 90_000,) * 2)
    last = invoke(*arguments(text, killed))
    assert last.code == 0, last.err
    assert tree(killed, *ROOMS) == wanted
    assert not list(killed.rglob(".*.tmp"))

    # Whoever opens a temporary file there is a worker: it dies, and another does its chunk again.
    passes = (
        "/spill/entropy-2gram/a.jsonl/.",
        "/spill/entropy-2gram.merged/.",
        "/attributes/entropy-2gram/b.jsonl/.",
    )
    output = text.root / "worker"
    env = killing(text, "self", "|".join(passes), 2) | {"PLUGIN_EVENTS": str(text.root / "events-worker")}
    result = run(text, output, env)
    assert result.code == 0, result.err
    for file in ("events-worker", "events-worker-1", "events-worker-2"):
        assert (text.root / file).stat().st_size > 200  # it died at the second, and others came after it
    assert tree(output, *ROOMS) == wanted

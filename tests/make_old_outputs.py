"""Makes the archives in tests/outputs_a604fc3, with the code of the commit that they are named after:

    git archive --prefix=tagcorpus/ a604fc3 | tar -x -C /tmp/old
    PYTHONPATH=/tmp/old python tests/make_old_outputs.py [CASE ...]

Each case runs twice in processes of their own: to its end, and until a certain file is about to be published, where the process
ends as if it were killed. New cases are added to tests/old_outputs.py; archives that are there stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from old_outputs import CASES, HOME, STUB_PORT, Case, options_of, pack, replace_paths, reply
from stub_llm import Call, Reply, StubLLM

import tagcorpus
from tagcorpus.pipelines.storage.folder import Folder


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(case: Case, *, is_killed: bool) -> None:
    """All runs of a case in the current folder; with `is_killed`, to the point where the last one is killed."""
    n_calls = 0

    def answered(call: Call) -> Reply:
        nonlocal n_calls
        n_calls += 1
        if is_killed and n_calls == case.kill_at_answer:
            kill()
        return reply(call)

    with StubLLM(answered, port=STUB_PORT, model="stub-1") if case.is_asking else contextlib.nullcontext():
        for step in range(len(case.steps)):
            if is_killed and case.kill_at and step == len(case.steps) - 1:
                kill_at(case.kill_at)
            pipeline, options = options_of(case, step)
            result = tagcorpus.run(pipeline, **options)  # type: ignore[call-overload]
            assert result.exit_code == 0, result.messages


def kill_at(name: str) -> None:
    """From now on, whoever is about to publish this file is killed: nothing of it is there, and all before it is."""
    publishing = Folder.publishing

    @contextlib.contextmanager
    def killed_or_publishing(self: Folder, target: str) -> Iterator[BinaryIO]:
        with publishing(self, target) as sink:
            yield sink
            if target.endswith(name):
                kill()

    setattr(Folder, "publishing", killed_or_publishing)  # noqa: B010 - mypy takes no assignment to a method


def make(name: str) -> None:
    """Both states of a case, packed."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch).resolve()
        case.write_input(place / "work/input")
        for state in ("complete", "half"):
            # In one folder, so that both know the input by the same path.
            work = place / "work"
            ended = subprocess.run([sys.executable, __file__, "--run", state, name], cwd=work, check=False)
            assert ended.returncode == (0 if state == "complete" else -signal.SIGKILL), ended.returncode
            replace_paths(work / "out", str(work), HOME)
            # A process of this number may live where the output is resumed, but not on such a host.
            replace_paths(work / "out", f'"host": "{platform.node()}"', '"host": "where-it-was-made"')
            target = place / "packed" / state
            target.mkdir(parents=True)
            for path in sorted(work.iterdir()):
                if path.name != "input":
                    shutil.move(path, target / path.name)
            for path in [*target.rglob("*.png"), *target.rglob("*.svg"), *target.rglob("log.txt")]:
                path.unlink()
        shutil.copytree(place / "work/input", place / "packed/input")
        pack(place / "packed", name)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--run"]:
        run(CASES[arguments[2]], is_killed=arguments[1] == "half")
        return
    for name in arguments or CASES:
        make(name)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])

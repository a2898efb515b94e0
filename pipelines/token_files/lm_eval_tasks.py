"""`tagcorpus tasks`: the tasks for lm_eval (EleutherAI's evaluation harness) that come with the package, as files."""

from __future__ import annotations

import os
import re
from importlib import resources

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.runs.made_from import made_from
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.pipelines.token_files.manifest import read_manifest
from tagcorpus.pipelines.token_files.sides import HELD_OUT

FREE = ("generate_only.yaml", "free_text.py")


def write(folder: str, token_files: str | None = None) -> str:
    """Write generate_only, and for each group of token files with held-out texts, held_out_GROUP. The text to print."""
    files = {name: _shipped(name) for name in FREE}
    if token_files is not None:
        files |= _held_out(token_files)
    output = check_folder("tasks", folder, files, option="DIR")
    if token_files is not None:
        made_from(output, FREE[0], {"--token-files": [token_files]}, option="DIR").publish()
    for name, text in files.items():
        output.publish(name, text.encode())
    tasks = [name.removesuffix(".yaml") for name in files if name.endswith(".yaml")]
    return f"{', '.join(tasks)} -> {output}\n  lm_eval --include_path {output} --tasks {tasks[0]} ..."


def _held_out(token_files: str) -> dict[str, str]:
    source = Folder(token_files)
    manifest = read_manifest(source, token_files)
    if not source.is_local:
        raise ConfigError(f"--token-files {token_files}: lm_eval reads local files; copy the held-out texts first")
    texts = {
        g: sides[HELD_OUT]["texts"]["name"]
        for g, sides in manifest["groups"].items()
        if "texts" in sides.get(HELD_OUT, {})
    }
    if not texts:
        raise ConfigError(f"{source} has no held-out texts: run tokenize again with --held-out SHARE --held-out-texts")
    shipped, files = _shipped("held_out.yaml"), {}
    for group, name in texts.items():
        task = "held_out_" + re.sub(r"[^A-Za-z0-9_.-]", "-", group)
        if f"{task}.yaml" in files:
            raise ConfigError(f"two groups would have the task {task}: give the groups names of letters and digits")
        path = "'" + os.path.abspath(source.path(name)).replace("'", "''") + "'"
        body = "".join(line for line in shipped.splitlines(keepends=True) if not line.startswith("#"))
        files[f"{task}.yaml"] = body.replace("held_out_GROUP", task).replace("HELD_OUT_JSONL", path)
    return files


def _shipped(name: str) -> str:
    return (resources.files("tagcorpus.configs") / "lm_eval" / name).read_text(encoding="utf-8")

"""The file of `--models`: the paths of each model's generations."""

from __future__ import annotations

import os
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.predictor.records.harness_results import NO_ID, is_id

SAY_IT = "name the model with --input ORG/MODEL=PATH, or --models FILE"


def read_models(path: str) -> list[str]:
    """The arguments `ID=PATH` of a models file. Raises ConfigError.

    The file is YAML: id -> a path or several. A path is a file, a folder, a glob or a URL; relative paths start at the
    folder of the models file.
    """
    import yaml

    from tagcorpus.taggers._interface.unique_keys import UniqueKeyLoader

    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.load(file, UniqueKeyLoader)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"--models {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--models {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict) or not value:
        raise ConfigError(
            f"--models {path}: must be a mapping of ids to paths, `org/model: folder` a line, got {_kind(value)}"
        )
    arguments: list[str] = []
    for model, paths in value.items():
        listed = [paths] if isinstance(paths, str) else paths
        if not isinstance(model, str) or not isinstance(listed, list) or not all(isinstance(p, str) for p in listed):
            raise ConfigError(
                f"--models {path}: {model!r} must be text, with a path or a list of paths; an id like 01 needs quotes"
            )
        if not listed:
            raise ConfigError(f"--models {path}: {model} has no file; name one, or leave it out")
        try:
            check_id(model, f"--models {path}")
        except InputError as error:
            raise ConfigError(str(error)) from error
        arguments += [f"{model}={_beside(path, p)}" for p in listed]
    return arguments


def check_id(model: str, where: str) -> None:
    """Raise InputError for a name that cannot be a model's id in the table and in the names of files."""
    if not is_id(model):
        raise InputError(f"{where}: {model!r} cannot be a model's id: {NO_ID}; {SAY_IT}")


def _beside(file: str, path: str) -> str:
    is_absolute = "://" in path or os.path.isabs(path)
    return path if is_absolute else os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(file)), path))


def _kind(value: Any) -> str:
    return "nothing" if not value else type(value).__name__

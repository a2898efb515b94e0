"""The files that `tagcorpus predict` writes, and a message where they replace those of another prediction."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.commands.predict import PredictOptions
from tagcorpus.pipelines.options.declaring.declare import fields_of
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import MadeFrom, made_from
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import begins_with, check_file, check_folder, publish_file
from tagcorpus.predictor.explaining.reproduction import TITLE
from tagcorpus.predictor.protocols.tables import PREDICTION_COLUMNS

FILES = RESULT, TABLE, PAGE = tuple(
    f"prediction/{n}" for n in ("predict.json", "predictions.csv", "paper-reproduction.md")
)
FIGURES = "prediction/figures"
BEGINS = {".json": '{\n "protocol": ', ".csv": f"{','.join(PREDICTION_COLUMNS)}\n", ".md": f"{TITLE}\n"}
RESULT_SUFFIXES = tuple(BEGINS)


# `_say_replaced` names the other options: protocol and tasks.
NAMED = (
    "metric",
    "predictors",
    "select",
    "sel_features",
    "adds",
    "groups",
    "least_models",
    "seed",
    "seeds",
    "new_model",
    "target_size",
)


def check_target(request: PredictOptions, default: str, names: Sequence[str], begins: Mapping[str, str]) -> MadeFrom:
    """What the results are made from. Raises ConfigError where this command may not write: `names` in the folder (`default` without
    --output), or a file; and where a result of other inputs is there.

    names   the first is the main result
    begins  how files of this command begin, by their ending
    """
    target, inputs = request.output, (request.features, request.db, request.select, request.new_model)
    begin = begins.get(os.path.splitext(target or "")[1].lower())
    if target is None or begin is None:
        folder, name = check_folder("predict", target or default, names, inputs=inputs), next(iter(names), RESULT)
    else:
        folder, name = check_file(target, begins_with(begin.encode()), "is not a prediction", inputs=inputs)
    flags = {o.key: o.flags[0] for o in fields_of(PredictOptions)}
    options = {flags[key]: getattr(request, key) for key in NAMED}
    return made_from(folder, name, {"--db": [request.db], "--features": [request.features]}, options)


def default_folder(source: str) -> str:
    return f"{os.path.splitext(os.path.basename(source.rstrip('/')))[0]}.tagcorpus"


def publish(
    source: str,
    target: str | None,
    text: str,
    predictions: str,
    page: str | None,
    files: Mapping[str, bytes],
    display: Display,
) -> str:
    """Write the files into the folder `target` (None: a folder named after `source`). Where `target` is the name of a file,
    write only the main file of that kind.

    files: other contents by their path below the folder. Returns the path of the file or folder. Raises ConfigError where
    `target` is a page and there is none.
    """
    folder = default_folder(source)
    if target is not None:
        ending = os.path.splitext(target)[1].lower()
        if ending not in RESULT_SUFFIXES:
            folder = target
        else:
            main = {".json": text, ".csv": predictions, ".md": page}[ending]
            if main is None:
                raise ConfigError(f"--output {target}: a page is written with --reproduce only")
            if ending == ".json" and os.path.isfile(target):
                with open(target, "rb") as file:
                    _say_replaced(file.read(), text, target, display)
            publish_file(target, [main.encode() + b"\n" * (not main.endswith("\n"))])
            return target
    output = Folder(folder)
    if earlier := output.read(RESULT):
        _say_replaced(earlier, text, f"{output}/prediction", display)
    contents = {RESULT: text.encode() + b"\n", TABLE: predictions.encode(), **files}
    if page is not None:
        contents[PAGE] = page.encode()
    for path, content in contents.items():
        output.publish(path, content)
    for path in {*FILES, *output.files(FIGURES)} - contents.keys():  # of an earlier prediction
        output.remove(path)
    return f"{output}/prediction"


def _say_replaced(earlier: bytes, text: str, where: str, display: Display) -> None:
    """Say so where the earlier document is of another protocol or of other tasks."""
    was, now = _named(earlier), _named(text)
    if was is not None and was != now:
        display.say(f"replaced in {where}: an earlier prediction, {was}")


def _named(document: str | bytes) -> str | None:
    """Example  "paper protocol, tasks hellaswag, gsm8k"; None for any other document."""
    try:
        content: Mapping[str, Any] = json.loads(document)
        return f"{content['protocol']} protocol, tasks {', '.join(t['task'] for t in content['tasks'])}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

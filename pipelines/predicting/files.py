"""The files that `tagcorpus predict` writes, and a message where they replace those of another prediction."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.results import publish_file
from tagcorpus.pipelines.predicting.terminal import wrapped
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.predictor.explaining.reproduction import TITLE
from tagcorpus.predictor.protocols.tables import PREDICTION_COLUMNS

RESULT = "prediction/predict.json"
RESULT_SUFFIXES = (".json", ".csv", ".md")


def refuse_anothers(target: str | None) -> None:
    """Raise ConfigError where the file `target` exists and is not a result of this command."""
    ending = os.path.splitext(target or "")[1].lower()
    if target is None or ending not in RESULT_SUFFIXES or not os.path.isfile(target):
        return
    with open(target, "rb") as file:
        content = file.read()
    begins = {".csv": ",".join(PREDICTION_COLUMNS), ".md": TITLE}
    is_ours = _named(content) is not None if ending == ".json" else content.startswith(f"{begins[ending]}\n".encode())
    if not is_ours:
        raise ConfigError(f"--output {target} exists and is not a prediction: name another file, or move that one away")


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
    first = os.path.basename(source.rstrip("/"))
    folder, ending = f"{os.path.splitext(first)[0]}.tagcorpus", ""
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
    contents = {**files, RESULT: text.encode() + b"\n", "prediction/predictions.csv": predictions.encode()}
    if page is not None:
        contents["prediction/paper-reproduction.md"] = page.encode()
    for path, content in contents.items():
        output.publish(path, content)
    for path in output.files("prediction"):  # pictures of an earlier prediction
        if path not in contents:
            output.remove(path)
    return f"{output}/prediction"


def _say_replaced(earlier: bytes, text: str, where: str, display: Display) -> None:
    """Say so where the earlier document is of another protocol or of other tasks."""
    was, now = _named(earlier), _named(text)
    if was is not None and was != now:
        display.say(wrapped(f"replaced in {where}: an earlier prediction, {was}"))


def _named(document: str | bytes) -> str | None:
    """Example  "paper protocol, tasks hellaswag, gsm8k"; None for any other document."""
    try:
        content: Mapping[str, Any] = json.loads(document)
        return f"{content['protocol']} protocol, tasks {', '.join(t['task'] for t in content['tasks'])}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

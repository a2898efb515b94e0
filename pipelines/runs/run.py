"""One run of one pipeline as its output folder sees it: its name, ledger, log and progress record, and its Result."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tagcorpus.errors import valid_values
from tagcorpus.pipelines.attributes.ledger import Ledger
from tagcorpus.pipelines.attributes.parts import quarantine_name
from tagcorpus.pipelines.attributes.summary import without_values
from tagcorpus.pipelines.attributes.unread import hints
from tagcorpus.pipelines.inputs.quarantine import damage_in
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.progress.heartbeat import Heartbeat, process
from tagcorpus.pipelines.runs.place import Place
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.storage import storage_options


class Run:
    """Everything that a run writes about itself into its output folder.

    place         where the results go
    name          of a run that another process began; by default a new name from the time
    summary_name  file of the summary, without its suffix
    """

    def __init__(
        self,
        pipeline: str,
        options: Options,
        display: Display,
        place: Place,
        *,
        summary_name: str,
        name: str | None = None,
    ) -> None:
        self.pipeline, self.options, self.display = pipeline, options, display
        self.output, self.result_file = place.folder, place.result_file
        self._is_begun_here = name is None
        self._is_new_folder = self.output.is_local and not self.output.exists()
        self.name = name or f"{time.strftime('%Y%m%dT%H%M%S')}-{pipeline}-{secrets.token_hex(3)}"
        self.summary_name = summary_name
        self.heartbeat = Heartbeat(self.output, self.name)
        self.ledger = Ledger()
        self._messages: list[str] = []
        self._silent: set[str] = set()
        self._started = time.time()

    def repeat_at_the_end(self, messages: Iterable[str], *, silent: Iterable[str] = ()) -> None:
        """Keep messages that were said already, for the end of the run and its Result; `silent` ones for the Result only."""
        self._messages += [*silent, *messages]
        self._silent |= {*silent}

    def messages(self) -> list[str]:
        """Those messages, so far."""
        return list(self._messages)

    def finish(self, summary: dict[str, Any], **more: Any) -> Result:
        """Write the ledger, say the verdict, and return the Result that has both."""
        code, verdict = self.ledger.verdict(
            self.options.max_quarantined,
            self.output.path("quarantine"),
            may_be_empty=self.options.allow_empty,
            damage=lambda name, k: damage_in(self.output.read(quarantine_name(name, k))),
        )
        instances = summary.get("instances", {})
        if statuses := {name: own["statuses"] for name, own in instances.items() if "statuses" in own}:
            more["statuses"] = statuses
            verdict += without_values(instances)
        messages = [*self._messages, *hints(instances.items()), *verdict]
        for message in messages:
            if message not in self._silent:
                self.display.say(message)
        ledger = self.write_ledger(code, **more)
        totals, without = self.ledger.totals, self.ledger.without_documents
        return Result(self.pipeline, str(self.output), code, totals, summary, ledger, messages, without)

    def write_command(self, inputs: Sequence[str]) -> None:
        """command.json of the run folder: the options and the paths of the inputs. No environment variable is ever written,
        and of storage options only the names. The progress record begins here."""
        options = dataclasses.asdict(self.options) | {
            "storage_options": storage_options.names(self.options.storage_options)
        }
        value = {
            "command": shlex.join(["tagcorpus", *storage_options.command_shown(sys.argv[1:])])
            if "tagcorpus" in os.path.basename(sys.argv[0])
            else None,
            "pipeline": self.pipeline,
            "options": options,
            "inputs": list(inputs),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "time": time.time(),
            **process(),
        }
        self.output.publish(f"runs/{self.name}/command.json", json.dumps(valid_values(value), indent=1).encode())
        self.heartbeat.start()

    def withdraw(self) -> bool:
        """Remove the folder of a run that was refused before it computed anything or asked an endpoint, and the output folder if
        this run made it and nothing else is in it. Returns whether the run was withdrawn."""
        own = f"runs/{self.name}"
        if not self._is_begun_here or self.ledger.chunks:
            return False
        self.heartbeat.stop()
        if self.output.files(own) not in ([], [f"{own}/command.json"]):  # a bill, or scripts of jobs
            return False
        self.output.remove(own)
        self.output.remove_empty("runs")
        if self._is_new_folder:
            self.output.remove_empty()
        return True

    def write_ledger(self, exit_code: int, **more: Any) -> str:
        """ledger.json and log.txt of the run folder; returns the ledger's path."""
        value = {
            "pipeline": self.pipeline,
            "exit_code": exit_code,
            "seconds": round(time.time() - self._started, 3),
            "workers": self.ledger.workers,
            "executor": self.options.executor,
            "summary": f"summary/{self.summary_name}.json",
            **more,
            **self.ledger.to_json(),
        }
        name = f"runs/{self.name}/ledger.json"
        self.output.publish(name, json.dumps(valid_values(value), indent=1).encode())
        self.output.publish(f"runs/{self.name}/log.txt", ("\n".join(self.display.log) + "\n").encode())
        return self.output.path(name)

"""Inputs of a run: its files, the files set aside, and the reader options."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.generation_files import harness, models, tasks
from tagcorpus.pipelines.inputs import discover, standard_input
from tagcorpus.pipelines.inputs.commits import Commits, planned_commits
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.readers.plan import load_plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.runs.place import written_before
from tagcorpus.pipelines.storage import hub, remote
from tagcorpus.pipelines.storage.folder import Folder, temporary_folder
from tagcorpus.pipelines.storage.storage_options import refuse_on_slurm

SHOWN_FILES = 5


class Inputs:
    """The input files of a run and its reader options.

    columns  columns besides the text that taggers need
    display  names the files that are set aside
    stack    removes the copy of standard input
    files    files that another process discovered; None = discover them here
    Raises ConfigError for arguments that do not fit together, and InputError where no file is left.
    """

    def __init__(
        self,
        options: Options,
        columns: Sequence[str],
        display: Display,
        stack: contextlib.ExitStack,
        *,
        files: Sequence[InputFile] | None = None,
    ) -> None:
        if not options.input:
            raise ConfigError("no input: give --input PATH (a file, a folder, a glob, a URL, or - for standard input)")
        _use_storage_options(options)
        self.reader_options = ReaderOptions(
            DocumentFields(options.text_column, options.id_column, options.resps_format),
            options.max_line_bytes,
            1.0 if options.sample is None else options.sample,
            options.seed,
            columns=tuple(columns),
            csv=options.csv,
        )
        self.models: models.Models | None = None
        self.set_aside: dict[InputFile, str] = {}
        """Files that exist and do not count, with the reason."""
        self._by_choice: set[str] = set()
        """Reasons from an option of this run, which are not repeated at the end."""
        self.files = self._discover(options, display, stack) if files is None else list(files)

    def _discover(self, options: Options, display: Display, stack: contextlib.ExitStack) -> list[InputFile]:
        """The files that count."""
        skipped: Counter[str] = Counter()
        copy = _copy_of_standard_input(options, stack)
        outputs = [*(p for p in (options.output, options.work) if p), *written_before(options)]
        commits = Commits(_planned_commits(options))
        arguments = commits.pinned(options.input)
        more: dict[str, Any] = {"outputs": outputs, "skipped": skipped, "input_format": options.input_format}
        if isinstance(options, FeaturesOptions) and options.group_by is None:
            self.models = models.find(arguments, options.glob, options.exclude, copy, **more)
            files = self.models.all_files()
        else:
            files = discover.find(arguments, options.glob, options.exclude, copy, **more)
        files = commits.named(files)
        for note in commits.notes:
            display.say(note)
        if skipped:
            display.say(discover.skipped_line(skipped))
        files = self._without(files, harness.without_generations(files, self.reader_options))
        if files and isinstance(options, FeaturesOptions) and options.task:
            others = tasks.other_tasks(files, options.task, self.reader_options)
            files, self._by_choice = self._without(files, others), set(others.values())
        if not files:
            raise InputError(
                f"no generation in the input (--input): {'; '.join(self.set_aside_lines().values())}. A generation task logs texts "
                "in `resps`; `--text-column` names another column"
            )
        for line in self.set_aside_lines().values():
            display.say(line)
        if self.models is not None and isinstance(options, FeaturesOptions):
            self.models = self.models.without({file.path: reason for file, reason in self.set_aside.items()})
            notes = [] if options.task else tasks.one_task_each(self.models, self.reader_options)
            self.models = dataclasses.replace(self.models, notes=(*self.models.notes, *notes))
        return files

    def _without(self, files: Sequence[InputFile], reasons: Mapping[str, str]) -> list[InputFile]:
        """The files but for those that have a reason, by path, not to count."""
        self.set_aside |= {file: reasons[file.path] for file in files if file.path in reasons}
        return [file for file in files if file.path not in reasons]

    def unasked(self) -> list[str]:
        """Lines on files that are set aside without an option of this run."""
        return [line for reason, line in self.set_aside_lines().items() if reason not in self._by_choice]

    def set_aside_lines(self, shown: int | None = SHOWN_FILES) -> dict[str, str]:
        """A line for each reason with its files. shown: number of files named in a line; None = all."""
        by_reason: dict[str, list[str]] = {}
        for file, reason in self.set_aside.items():
            by_reason.setdefault(reason, []).append(file.name)
        lines = {}
        for reason, names in by_reason.items():
            n = len(names)
            more = f" and {n - shown:,} more" if shown is not None and n > shown else ""
            lines[reason] = f"{counted(n, 'file')} set aside ({reason}): {', '.join(names[:shown])}{more}"
        return lines


def _planned_commits(options: Options) -> dict[tuple[str, str], str]:
    """Commits of the plan that this run goes on with. --overwrite begins anew."""
    folder = options.work or options.output
    is_on_hub = any(hub.is_on_hub(discover.label_and_path(a)[1]) for a in options.input)
    if not is_on_hub or folder is None or options.overwrite:
        return {}
    return planned_commits(planned.file for planned in load_plan(Folder(folder), skip_damaged=True))


def _use_storage_options(options: Options) -> None:
    paths = [*(discover.label_and_path(a)[1] for a in options.input), options.output or "", options.work or ""]
    remote.check(options.storage_options, paths)
    if options.executor == "slurm":
        refuse_on_slurm(options.storage_options, options.work or options.output or "")
    remote.use(options.storage_options)


def _copy_of_standard_input(options: Options, stack: contextlib.ExitStack) -> str | None:
    """A file with the bytes of standard input; None where standard input is not an input."""
    if not any(discover.label_and_path(a)[1] == "-" for a in options.input):
        return None
    if options.output is None:
        raise ConfigError("--input - (standard input) needs --output FOLDER")
    folder = temporary_folder()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    copy = os.path.join(folder, "stdin")
    standard_input.spool(copy)
    return copy

"""Samples of several tasks of the LM evaluation harness: a row of the feature table is of one of them, unless more are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tagcorpus.errors import InputError, unknown_name
from tagcorpus.pipelines.generation_files.harness import is_of_samples
from tagcorpus.pipelines.generation_files.model_files import stem, task_of
from tagcorpus.pipelines.generation_files.models import Models
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.reader import ReaderOptions

# A time as people shorten it; that the file holds samples must then be seen.
_SHORT = re.compile(r"(?:filtered_)?samples_(?P<task>.+?)(?:_\d[\dT:.-]*)?")
SHOWN_MODELS = 3


def tasks_of(files: Iterable[InputFile], reader_options: ReaderOptions) -> dict[str, str]:
    """Path -> task, of the files that hold samples and say of which task."""
    return {file.path: task for file in files if (task := _task(file, reader_options))}


def other_tasks(files: Sequence[InputFile], names: Sequence[str], reader_options: ReaderOptions) -> dict[str, str]:
    """Path -> why, of the files that do not hold samples of these tasks. Raises InputError for a task that no file has."""
    task_by_path = tasks_of(files, reader_options)
    known = sorted(set(task_by_path.values()))
    for name in names:
        if name not in known:
            raise InputError(unknown_name("task", name, known, "--task"))
    return {
        file.path: f"not of --task {', '.join(names)}" for file in files if task_by_path.get(file.path) not in names
    }


def one_task_each(models: Models, reader_options: ReaderOptions) -> list[str]:
    """What to say where models have samples of different tasks. Raises InputError where one model has several: prompted
    answers and free generations would be pooled in its row."""
    task_by_path = tasks_of(models.all_files(), reader_options)
    by_model = {
        model: sorted({task_by_path[f.path] for f in files if f.path in task_by_path})
        for model, files in models.files.items()
    }
    several = [model for model, tasks in by_model.items() if len(tasks) > 1]
    if several:
        tasks = by_model[several[0]]
        n = len(several) - 1
        more = f" (and {counted(n, 'more model')})" if n else ""
        raise InputError(
            f"{several[0]}{more} has samples of {len(tasks)} tasks, {', '.join(tasks)}: a row of the table is of one task. Name "
            f"it with --task {tasks[0]} (repeat the option to pool tasks), or leave files out with --exclude"
        )
    first = {tasks[0]: model for model, tasks in reversed(by_model.items()) if tasks}
    if len(first) < 2:
        return []
    shown = ", ".join(f"{task} ({first[task]})" for task in sorted(first)[:SHOWN_MODELS])
    return [
        f"models have samples of different tasks, such as {shown}: are their rows comparable? --task NAME takes one"
    ]


def _task(file: InputFile, reader_options: ReaderOptions) -> str:
    if task := task_of(file.name):
        return task
    match = _SHORT.fullmatch(stem(file.name.rpartition("/")[2]))
    return match["task"] if match and is_of_samples(file, reader_options) else ""

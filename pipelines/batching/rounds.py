"""`--batch`: rounds of files of questions, until every question has an answer in the cache or a document to blame.

What a killed run left is finished first: its batches are looked up, by id or by the mark in their metadata. Then the next question about
each document goes into files, so a stage tree takes as many rounds as it has stages. A question that failed in two files while others
were answered has its document to blame. The pipeline's usual pass then makes the parts from the cache.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tagcorpus.errors import BudgetError, ConfigError, IncompleteError, LLMError
from tagcorpus.pipelines.batching.batch_api import WINDOW, Batch, BatchApi
from tagcorpus.pipelines.batching.request_files import (
    PLACE,
    BatchFile,
    RequestWriter,
    WriteQuestions,
    batch_files,
)
from tagcorpus.pipelines.batching.result_lines import Results, results_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.steps import Read
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.reply import Failure
from tagcorpus.taggers._llm.usage import publish
from tagcorpus.taggers._stage_tree.tree import HARMLESS

SEND, FILES = "send", "files"
TRIES = 2
"""Files in which a question may fail before its document is to blame."""
LONGEST_PAUSE_SECONDS = 60.0
QUEUE_IS_FULL = "token_limit_exceeded"
"""The error of a batch that failed since the organisation has too many tokens enqueued."""


class Rounds:
    """The batches of one run. `may_retry`: failures in files of earlier runs do not count."""

    def __init__(
        self, engine: Engine, tagger: EndpointTagger, mode: str, most_tokens: int, *, may_retry: bool = False
    ) -> None:
        if not tagger.has_cache:
            raise ConfigError("--batch keeps answers in the cache of answers: leave out --no-llm-cache")
        self._run, self._engine, self._tagger = engine.run, engine, tagger
        self._mode, self._most_tokens, self._may_retry = mode, most_tokens, may_retry
        self._caller = tagger.llm_caller
        self._api = BatchApi(self._caller)
        self._failures: dict[str, list[str]] = {}
        self._n_answers = 0

    def complete(self, plan: Plan, pending: Sequence[int], steps: Sequence[Step]) -> None:
        """Have every question about the documents of these chunks answered, or its document blamed.

        Raises IncompleteError where files wait for their results, LLMError where a round brings nothing, BudgetError where money
        or requests end.
        """
        if (n := self._tagger.worst_case_calls) > 1:
            self._run.display.announce(
                f"--batch: up to {n} rounds, one for each question about a document; each can take {WINDOW}"
            )
        files = [file for file in batch_files(self._run.output) if self._is_kept(file)]
        for file in files:
            if file.status == "done" and not self._may_retry:
                self._note_failures(file.failed)
        self._drive([file for file in files if file.status != "done"])
        if self._mode == SEND:
            # One question at once shows whether key, model and the request's form are right: the form is part of every line.
            self._caller.finish([self._tagger.questions.start(HARMLESS)])
        while True:
            questions = self._write(plan, pending, steps)
            if not questions:
                break
            n = sum(file.lines for file in questions)
            self._run.display.announce(
                f"{counted(n, 'question')} in {counted(len(questions), 'file')} of {self._run.output.path(PLACE)}"
            )
            before = self._progress()
            self._drive(questions)
            if self._progress() == before:
                raise LLMError(
                    f"{n:,} questions in batches got no reply (files {questions[0].name} to {questions[-1].name} of "
                    f"{self._run.output.path(PLACE)}); the same command sends them again"
                )
        self._caller.blame(
            {bytes.fromhex(key): Failure("document", reasons[-1]) for key, reasons in self._failures.items()}
        )

    def _progress(self) -> tuple[int, int]:
        return self._n_answers, sum(map(len, self._failures.values()))

    def _is_kept(self, file: BatchFile) -> bool:
        """Whether a file goes on. One that was never sent is written anew, with what is still to ask."""
        if file.status == "new" and self._mode == SEND:
            batch = self._api.search(file.mark)
            if batch is not None:
                file.batch_id, file.status = batch.id, "sent"
                file.save(self._run.output)
                return True
        has_results = self._run.output.exists(file.results)
        if file.status == "new" and not has_results and self._mode == SEND:
            if file.run:
                self._unbook(file)
            self._run.output.remove(file.requests)
            self._run.output.remove(f"{PLACE}/{file.name}.json")
            return False
        return True

    def _write(self, plan: Plan, pending: Sequence[int], steps: Sequence[Step]) -> list[BatchFile]:
        known = batch_files(self._run.output)
        first = max((int(file.name) for file in known), default=0) + 1
        purse = self._caller.purse if self._mode == SEND else None
        writer = RequestWriter(self._run.output, first, self._tagger.tokenizer, purse, self._most_tokens)
        settled = frozenset(key for key, reasons in self._failures.items() if len(reasons) >= TRIES)
        reading = [Read(plan, self._engine.reader_options), *steps]
        reading.append(WriteQuestions(self._tagger, writer, settled))
        try:
            self._engine.over_chunks(plan, pending, reading, "writing questions", threads=True, workers=1)
            writer.close()
        except BaseException:
            writer.discard()
            raise
        return writer.files

    def _drive(self, files: Sequence[BatchFile]) -> None:
        """Send the files as limits allow, and take their results as they come."""
        if self._mode == FILES:
            self._take_files(files)
            return
        waiting = [file for file in files if file.status == "new"]
        active = [file for file in files if file.status == "sent"]
        pause = self._caller.settings.backoff_seconds
        while waiting or active:
            while waiting and self._has_room(waiting[0], active):
                self._send(waiting[0])
                active.append(waiting.pop(0))
                pause = self._caller.settings.backoff_seconds
            for file in list(active):
                batch = self._api.look_up(file.batch_id)
                if not batch.is_over:
                    continue
                active.remove(file)
                if batch.code == QUEUE_IS_FULL:
                    self._requeue(file, batch, active, waiting)
                else:
                    self._take(file, batch)
                pause = self._caller.settings.backoff_seconds
            if active:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _has_room(self, file: BatchFile, active: Sequence[BatchFile]) -> bool:
        """Whether a file may be sent now. Raises BudgetError where it never may."""
        if active and sum(each.tokens for each in active) + file.tokens > self._most_tokens:
            return False
        usage, purse = self._caller.usage, self._caller.purse
        if usage.requests + file.lines > self._caller.settings.max_requests:
            raise BudgetError("the limit of requests (--max-requests) is reached")
        if purse is None or purse.affords(file.most_usd):
            return True
        if not active:
            raise BudgetError("the money (--budget-usd) does not suffice for the next batch")
        return False

    def _send(self, file: BatchFile) -> None:
        output = self._run.output
        if not file.file_id:
            file.file_id = self._api.upload(f"{file.name}.jsonl", output.read(file.requests) or b"")
            file.save(output)
        usage, purse = self._caller.usage, self._caller.purse
        file.run = self._run.name
        usage.requests += file.lines
        if purse is not None:
            purse.set_aside(file.most_usd)
        publish(usage)
        # Saved after the bill: a run that is killed between the two has too large a bill, and never too small a one.
        file.save(output)
        file.batch_id = self._api.create(file.file_id, file.mark).id
        file.status = "sent"
        file.save(output)
        self._run.display.say(f"batch {file.batch_id} has {file.lines:,} questions ({file.requests})")

    def _requeue(self, file: BatchFile, batch: Batch, active: Sequence[BatchFile], waiting: list[BatchFile]) -> None:
        """A batch that found the queue full: it was not begun, and waits for the others."""
        if not active:
            raise LLMError(
                f"{self._caller.halt.endpoint} has too many tokens enqueued for batch {file.batch_id} ({batch.reason}). Wait for other "
                "batches of your organisation, or give a lower --batch-tokens; the same command continues"
            )
        self._unbook(file)
        file.batch_id, file.status = "", "new"
        file.save(self._run.output)
        waiting.insert(0, file)

    def _unbook(self, file: BatchFile) -> None:
        """Take a batch that was not begun out of the bill."""
        if self._is_booked(file):
            self._caller.usage.requests -= file.lines
        self._settle(file, 0.0)
        file.run = ""

    def _is_booked(self, file: BatchFile) -> bool:
        """Whether the bill of this run, or of an earlier one that counts, has the batch."""
        return file.run == self._run.name or not self._run.options.overwrite

    def _settle(self, file: BatchFile, cost: float) -> None:
        """Put the cost of a batch in the place of what was set aside for it, by this run or by an earlier one that counts."""
        purse = self._caller.purse
        if purse is not None:
            purse.settle(file.most_usd if self._is_booked(file) else 0.0, cost)
        publish(self._caller.usage)

    def _take(self, file: BatchFile, batch: Batch) -> None:
        """Store the results of a batch that is over, and enter them."""
        if batch.status == "failed" and not batch.files:
            self._unbook(file)
            file.status = "done"
            file.save(self._run.output)
            raise LLMError(
                f"{self._caller.halt.endpoint} refused batch {batch.id} as a whole: "
                f"{self._caller.halt.described(Failure('refusal', batch.reason or 'no reason given'))}; the same command sends it again"
            )
        with self._run.output.publishing(file.results) as sink:
            for each in batch.files:
                sink.write(self._api.download(each).rstrip(b"\n") + b"\n")
        self._enter(file)

    def _take_files(self, files: Sequence[BatchFile]) -> None:
        absent = []
        for file in files:
            if self._run.output.exists(file.results):
                self._enter(file)
            else:
                absent.append(file)
        if absent:
            model, path = self._caller.settings.model, self._run.output.path
            raise IncompleteError(
                f"no results yet for {counted(len(absent), 'file')} of questions; the same command reads them. For the first: "
                f"vllm run-batch -i {path(absent[0].requests)} -o {path(absent[0].results)} --model {model}"
            )

    def _enter(self, file: BatchFile) -> None:
        """Judge the results of a file, keep the answers, and close the file's record."""
        with self._run.output.open(file.results) as lines:
            results = results_of(lines, file.ids(self._run.output), self._tagger.questions)
        hide = self._caller.halt.secrets.hide
        answers = {
            name: replace(a, text=hide(a.text), answered_by=hide(a.answered_by)) for name, a in results.answers.items()
        }
        self._caller.keep((bytes.fromhex(name.partition(".")[0]), answer) for name, answer in answers.items())
        self._count(file, results)
        file.failed = {
            name.partition(".")[0]: self._caller.halt.described(failure) for name, failure in results.failures.items()
        }
        file.status = "done"
        file.save(self._run.output)
        self._note_failures(file.failed)
        self._n_answers += len(answers)
        silent = file.lines - len(answers) - len(file.failed)
        odd = "".join(f"; {n:,} {what} left out" for what, n in sorted(results.odd.items()))
        self._run.display.say(
            f"{file.requests}: {len(answers):,} answers, {len(file.failed):,} failures, {silent:,} without a reply{odd}"
        )

    def _count(self, file: BatchFile, results: Results) -> None:
        """Enter the tokens and the money of the results into the bill. Failures that are paid are part of it."""
        usage, purse, cost = self._caller.usage, self._caller.purse, 0.0
        paid = [*results.answers.values(), *(f.paid for f in results.failures.values() if f.paid is not None)]
        for answer in paid:
            usage.add(answer.usage)
            cost += purse.price.usd(answer.usage) if purse is not None else 0.0
        usage.unusable += len(paid) - len(results.answers)
        models = Counter(answer.answered_by for answer in results.answers.values())
        for name, n in models.items():
            usage.models[name] = usage.models.get(name, 0) + n
        if self._mode == FILES:
            usage.requests += file.lines
        self._settle(file, cost)

    def _note_failures(self, failed: dict[str, str]) -> None:
        for key, reason in failed.items():
            self._failures.setdefault(key, []).append(reason)

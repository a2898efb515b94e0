"""A durable cache of paid answers: one SQLite file (WAL) that any number of processes share.

An answer is committed before it is used, so no committed answer is paid for twice. Failures are not stored. WAL with
synchronous=NORMAL survives a killed process. A power cut may lose the last answers, but never the file. The file has answers
and token counts, no documents and no keys. Only its owner may read it: an answer says something about a document.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.taggers._llm.reply import Answer
from tagcorpus.taggers._llm.tokens import Tokens

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
GROUP_SECONDS = 0.005
"""Answers wait this long for others to share a transaction. Their places among the calls in flight are free meanwhile."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Rights of the group and of others."""

_SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, model TEXT NOT NULL
) WITHOUT ROWID"""


def default_path() -> Path:
    """llm.sqlite in the user's cache folder. Raises ConfigError for a user without one."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise ConfigError(
            "no folder for the cache of answers: HOME is not set, and this user has no home. Set HOME, or --set domain.llm_cache=PATH"
        ) from None
    return Path(root) / "tagcorpus" / "llm.sqlite"


_LOGPROBS = "CREATE TABLE IF NOT EXISTS logprobs (key BLOB PRIMARY KEY, tokens TEXT NOT NULL) WITHOUT ROWID"
"""A table that only caches of answers with log probabilities have."""


class AnswerCache:
    """Answers by key. `get` and `put` may run in two different threads, each always in the same one.

    Raises OutputError when the file is no cache, damaged, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            _make_private(self.path)
            self._reader = self._open()
            self._writer = self._open()
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from None

    def get(self, key: bytes) -> Answer | None:
        """The stored answer, or None."""
        try:
            row = self._reader.execute(
                "SELECT text, finish_reason, prompt_tokens, completion_tokens, model FROM answers WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from None
        if row is None:
            return None
        text, finish_reason, prompt, completion, model = row
        return Answer(text, finish_reason, Tokens(prompt=prompt, completion=completion), model, self._logprobs(key))

    def _logprobs(self, key: bytes) -> str:
        try:
            row = self._reader.execute("SELECT tokens FROM logprobs WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return ""
            raise self._failure(error) from None
        return str(row[0]) if row else ""

    def put(self, answers: Iterable[tuple[bytes, Answer]]) -> None:
        """Commits all of them in one transaction; the first answer to a key stays."""
        answers = list(answers)
        rows = [(k, a.text, a.finish_reason, a.usage.prompt, a.usage.completion, a.answered_by) for k, a in answers]
        logprobs = [(k, a.logprobs) for k, a in answers if a.logprobs]
        try:
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                self._writer.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", rows)
                if logprobs:
                    self._writer.execute(_LOGPROBS)
                    self._writer.executemany("INSERT OR IGNORE INTO logprobs VALUES (?, ?)", logprobs)
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _open(self) -> sqlite3.Connection:
        # One thread opens, another uses: each connection stays with one thread afterwards.
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone())
        connection.execute("PRAGMA synchronous=NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its format {version} is newer than this version's {SCHEMA_VERSION}")
        if version < SCHEMA_VERSION:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        return connection

    def _failure(self, error: Exception) -> OutputError:
        return OutputError(
            f"the cache of LLM answers {str(self.path)!r} cannot be used: {error}; move the file away if it is damaged, "
            "name another one with --llm-cache PATH, or do without one (--no-llm-cache)"
        )


class AnswerWriter:
    """Commits the answers of one event loop, many in a transaction, from a thread of its own."""

    def __init__(self, cache: AnswerCache, loop: asyncio.AbstractEventLoop) -> None:
        self._cache, self._loop = cache, loop
        self._unsaved: list[tuple[bytes, Answer, asyncio.Future[None]]] = []
        self._saving: asyncio.Task[None] | None = None
        self._disk = concurrent.futures.ThreadPoolExecutor(1, "llm-cache")

    @property
    def is_busy(self) -> bool:
        """Whether answers are not on disk yet."""
        return bool(self._unsaved) or (self._saving is not None and not self._saving.done())

    async def commit(self, key: bytes, answer: Answer) -> None:
        """Returns once the answer is on disk. Answers that come in meanwhile share the next transaction."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._unsaved.append((key, answer, done))
        if self._saving is None or self._saving.done():
            self._saving = self._loop.create_task(self._save())
        await done

    def close(self) -> None:
        """Ends the thread, and closes the cache."""
        self._disk.shutdown()
        self._cache.close()

    async def _save(self) -> None:
        while self._unsaved:
            await asyncio.sleep(GROUP_SECONDS)
            group, self._unsaved = self._unsaved, []
            error: Exception | None = None
            answers = [(key, answer) for key, answer, _ in group]
            try:
                try:
                    written = self._loop.run_in_executor(self._disk, self._cache.put, answers)
                except RuntimeError:  # the interpreter is ending and takes no new work into threads
                    self._cache.put(answers)
                else:
                    await written
            except Exception as failure:
                error = failure
            for _, _, done in group:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)


def _make_private(path: Path) -> None:
    """Create the file for its owner only, or take the rights of others from an existing one.

    SQLite gives the files that it adds the rights of the database. A folder that is new, or the package's own, becomes private,
    too; a folder with other things of the user does not. Rights that cannot be changed (another owner, a file system without
    rights) stay.
    """
    is_new = not path.parent.exists()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    beside = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))
    folders = [path.parent] if is_new or path == default_path() else []
    for each in (path, *beside, *folders):
        with contextlib.suppress(OSError):
            state = each.stat()
            if state.st_uid == os.getuid() and state.st_mode & OTHERS:
                each.chmod(stat.S_IMODE(state.st_mode) & ~OTHERS)


def _patiently(act: Callable[[], object]) -> None:
    """SQLite's busy time-out does not cover the change to WAL when two processes create the file at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            act()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)

"""The ledger of a run: what became of every chunk, what is in quarantine and why, and the exit code that deserves."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tagcorpus
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.records import REASONS
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.taggers._interface.installed import versions_of

VERSIONS_OF = (
    "numpy", "pyarrow", "numba", "tiktoken", "pycld2", "fasttext-community", "openai", "datatrove", "ray",
    "torch", "transformers", "stanza", "spacy",
)  # fmt: skip
# Of quarantined rows, the larger of these may pass without a word from the exit code.
ALLOWED_ROWS = 10
ALLOWED_SHARE = 0.01
SHOWN_FILES = 5


class Ledger:
    """Filled chunk by chunk; `totals` are over the whole plan, resumed chunks included."""

    def __init__(self) -> None:
        self.chunks: list[dict[str, Any]] = []
        self.totals = Counts()
        self.notes: list[str] = []
        self.failed: list[str] = []
        """Sentences about input files whose result could not be written, while those of others could."""
        self.duplicate_ids = 0
        self.without_documents: list[dict[str, str]] = []
        """`input` and `why` of every file that was read to its end and gave no document."""
        self.unlabelled = 0
        """Documents for which an LLM gave no label."""
        self.empty_rows = 0
        """Rows of a feature table that have no value at all."""
        self.doubts: list[str] = []
        """Reasons not to rely on the labels, though every document has one."""
        self.llm: dict[str, Any] = {}
        """Requests and tokens of this run, however it ends."""
        self.llm_of_output: dict[str, Any] = {}
        """Requests and tokens of all runs on the output, with this one."""
        self.workers = 1
        """The largest number of workers that computed at once."""

    def enter(
        self,
        plan: Plan,
        instances: Sequence[Instance],
        counts: Mapping[tuple[int, str], Counts],
        seconds: Mapping[int, float],
    ) -> None:
        """Enter every chunk of the plan. counts: by rank and instance; seconds: of the ranks computed in this run.

        A later pass of the same run over the same plan adds its instances' failures and its seconds.
        """
        if self.chunks:
            self._enter_again(instances, counts, seconds)
            return
        for rank, (planned, k) in enumerate(plan.chunks):
            own = [counts[rank, i.name] for i in instances if (rank, i.name) in counts]
            if len(own) < len(instances):
                self.chunks.append({"input": planned.file.name, "range": k, "is_done": False})
                continue
            read = Counts.from_json(own[0].to_json())
            read.quarantined = Counter({r: n for c in own for r, n in c.quarantined.items()})
            read.remarks = Counter({r: n for c in own for r, n in c.remarks.items()})
            self.totals.add(read)
            when = {"seconds": round(seconds[rank], 3)} if rank in seconds else {"is_resumed": True}
            self.chunks.append({"input": planned.file.name, "range": k, "is_done": True, **read.to_json(), **when})
        self._enter_files(plan)

    def note(self, *notes: str) -> None:
        """Keep sentences about the run."""
        self.notes += notes

    def fail(self, sentences: Iterable[str]) -> None:
        """Enter input files whose result could not be written."""
        self.failed += sentences

    def doubt(self, sentence: str) -> None:
        """Enter a reason why the labels cannot be relied on."""
        self.doubts.append(sentence)

    def enter_bill(self, usage: dict[str, Any], of_output: dict[str, Any]) -> None:
        """Enter the requests and tokens of this run and of all runs on the output; an empty mapping changes nothing."""
        self.llm = usage or self.llm
        self.llm_of_output = of_output or self.llm_of_output

    def enter_unlabelled(self, n: int) -> None:
        self.unlabelled = n

    def enter_duplicate_ids(self, n: int) -> None:
        self.duplicate_ids = n

    def enter_empty_rows(self, n: int) -> None:
        self.empty_rows = n

    def enter_workers(self, n: int) -> None:
        self.workers = max(self.workers, n)

    def _enter_files(self, plan: Plan) -> None:
        of_file: dict[str, list[dict[str, Any]]] = {}
        for entry in self.chunks:
            of_file.setdefault(entry["input"], []).append(entry)
        for planned in plan.files:
            entries = of_file.get(planned.file.name, [])
            if not all(e["is_done"] for e in entries) or any(e["documents"] for e in entries):
                continue
            if any(e["unsampled"] or e["filter_duplicates"] for e in entries):
                continue  # left out by choice
            quarantined = sum((Counter(e["quarantined"]) for e in entries), Counter[str]())
            broken = next((r.broken for r in planned.chunks if r.broken), "")
            if quarantined:
                why = broken or "; ".join(f"{n:,} {_in_words(r)}" for r, n in quarantined.most_common(3))
            elif planned.rows:
                why = "blank lines only"
            else:
                why = "no rows" if planned.file.is_table or any(r.end for r in planned.chunks) else "0 bytes"
            self.without_documents.append({"input": planned.file.name, "why": why})

    def _enter_again(
        self,
        instances: Sequence[Instance],
        counts: Mapping[tuple[int, str], Counts],
        seconds: Mapping[int, float],
    ) -> None:
        for rank, entry in enumerate(self.chunks):
            own = [counts[rank, i.name] for i in instances if (rank, i.name) in counts]
            if not entry["is_done"] or len(own) < len(instances):
                entry["is_done"] = False
                continue
            failed = Counter({r: n for c in own for r, n in c.quarantined.items() if r.startswith("tagger:")})
            self.totals.quarantined.update(failed)
            for c in own:
                self.totals.remarks.update(c.remarks)
            entry["quarantined"] = dict(sorted((failed + Counter(entry["quarantined"])).items()))
            if rank in seconds:
                entry.pop("is_resumed", None)
                entry["seconds"] = round(entry.get("seconds", 0) + seconds[rank], 3)

    def verdict(
        self,
        max_quarantined: float | None,
        quarantine: str,
        *,
        may_be_empty: bool = False,
        damage: Callable[[str, int], str] = lambda _input, _chunk: "",
    ) -> tuple[int, list[str]]:
        """Exit code of a run that came to its end, and the sentences that explain it.

        max_quarantined   a share of the lines below 1, a count from 1 on; None = the larger of 10 rows and 1 %
        quarantine        where the quarantine lies, for the sentence
        may_be_empty      whether an input without any document is as good as another (--allow-empty)
        damage            why a chunk of an input is broken
        """
        lines = []
        totals = self.totals
        rows = totals.quarantined_rows
        if self.duplicate_ids:
            lines.append(
                f"{self.duplicate_ids:,} of {totals.documents:,} documents repeat an earlier id; all of them are kept"
            )
        lines += [f"{n:,} {sentence}" for sentence, n in sorted(totals.remarks.items())]
        if rows:
            reasons = "; ".join(f"{n:,} {_in_words(r)}" for r, n in totals.quarantined.most_common())
            lines.append(f"{rows:,} row{'s are' if rows != 1 else ' is'} in quarantine ({quarantine}): {reasons}")
        lines += self.failed
        broken = {r["input"]: r["range"] for r in self.chunks if r.get("quarantined", {}).get("broken_file")}
        if without := [f for f in self.without_documents if f["input"] not in broken]:
            n = len(without)
            named = listed([f"{f['input']} ({f['why']})" for f in without], " in the ledger")
            lines.append(f"{counted(n, 'file')} gave no document: {named}")
        if broken:
            shown = [self._breakage(name, damage(name, k)) for name, k in list(broken.items())[:SHOWN_FILES]]
            lines.append(f"broken input: {listed(shown, ' in the ledger', len(broken))}")
            return 1, lines
        if self.failed:
            return 1, lines
        if not totals.documents and not totals.unsampled and not may_be_empty:
            lines.append(
                "no documents in the input: is it JSON Lines (one object a line), and does --text-column name the text?"
                if rows
                else "no documents in the input: it is empty. Give --allow-empty if that is intended"
            )
            return 3, lines
        allowed = self.allowed(max_quarantined)
        if rows + self.unlabelled > allowed:
            which = "quarantined rows and documents without a label are" if self.unlabelled else "that is"
            lines.append(f"{which} more than the {allowed:,.0f} rows allowed (--max-quarantined)")
            return 3, lines
        if self.empty_rows:
            n = self.empty_rows
            lines.append(f"{counted(n, 'row')} of the table {'have' if n != 1 else 'has'} no value at all")
            return 3, lines
        return (3 if self.doubts else 0), lines

    def _breakage(self, name: str, why: str) -> str:
        reason = f" ({why})" if why else ""
        is_lost = any(f["input"] == name for f in self.without_documents)
        return f"{name}{reason}{'' if is_lost else '; what came before the break was taken'}"

    def allowed(self, given: float | None) -> float:
        """Rows that may be unusable by `--max-quarantined`."""
        if given is None:
            return max(ALLOWED_ROWS, ALLOWED_SHARE * self.totals.lines)
        return given * self.totals.lines if 0 < given < 1 else given

    def to_json(self) -> dict[str, Any]:
        return {
            "totals": self.totals.to_json(),
            "duplicate_ids": self.duplicate_ids,
            "unlabelled": self.unlabelled,
            "without_documents": self.without_documents,
            **({"llm": self.llm} if self.llm else {}),
            **({"llm_of_output": self.llm_of_output} if self.llm_of_output else {}),
            "ranges_done": sum(r["is_done"] for r in self.chunks),
            "ranges_planned": len(self.chunks),
            "notes": self.notes,
            "versions": versions(),
            "ranges": self.chunks,
        }


def versions() -> dict[str, str]:
    """Versions of the packages that decide the output."""
    own = {"tagcorpus": tagcorpus.__version__, "python": platform.python_version()}
    return own | versions_of(VERSIONS_OF)


def _in_words(reason: str) -> str:
    if reason.startswith("tagger:"):
        _, instance, error = reason.split(":", 2)
        return f"on which {instance} raised {error}"
    # `_breakage` names the reason for each broken file.
    return reason if reason == "broken_file" else f"{reason} ({REASONS[reason]})"


def listed(shown: Sequence[str], where: str = "", total: int | None = None) -> str:
    """The first SHOWN_FILES of these, then the number of the others and where to find them."""
    more = (len(shown) if total is None else total) - SHOWN_FILES
    return "; ".join(shown[:SHOWN_FILES]) + (f"; {more:,} more{where}" if more > 0 else "")


def broken_files(plan: Plan) -> list[str]:
    """A sentence that names the files which are known to be broken before the work."""
    reasons = [f"{f.file.name} ({r.broken})" for f in plan.files for r in f.chunks if r.broken]
    n = len(reasons)
    return [f"{counted(n, 'broken file')} in the input: {listed(reasons)}"] if n else []

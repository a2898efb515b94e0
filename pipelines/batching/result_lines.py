"""The lines of a file of results: each is judged as a reply is, or counted as nonsense."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.taggers._asking.endpoint_tagger import Questions
from tagcorpus.taggers._llm.caller import why_unusable
from tagcorpus.taggers._llm.reply import Answer, Failure, judge

NO_REPLY = ("batch_expired", "batch_cancelled", "batch_canceled")
"""Error codes of questions that the endpoint did not come to."""


@dataclass
class Results:
    """What a file of results says. `failures` have those questions that the endpoint replied to without an answer; `odd` counts
    lines that are not results of this file's questions, and repeated ones."""

    answers: dict[str, Answer] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)


def results_of(lines: Iterable[bytes], ids: set[str], questions: Questions) -> Results:
    """The results of these questions. Of several lines about a question, the first answer counts."""
    results = Results()
    for line in lines:
        if not line.strip():
            continue
        value = _object(line)
        name = value.get("custom_id")
        if not isinstance(name, str):
            results.odd["lines that are not results"] += 1
        elif name not in ids:
            results.odd["results of other questions"] += 1
        elif name in results.answers:
            results.odd["repeated results"] += 1
        else:
            _enter(results, name, value, questions)
    return results


def _enter(results: Results, name: str, value: dict[str, Any], questions: Questions) -> None:
    error, response = value.get("error"), value.get("response")
    if not isinstance(response, dict):
        code = error.get("code") if isinstance(error, dict) else None
        if code in NO_REPLY:
            return
        reason = error.get("message") if isinstance(error, dict) else error
        results.failures[name] = Failure("fault", f"the batch says: {reason or 'no response'}"[:500])
        return
    status = response.get("status_code", 200)
    body = json.dumps(response.get("body")).encode()
    outcome = judge(status if isinstance(status, int) and status else 200, {}, body, time.time())
    if isinstance(outcome, Answer):
        outcome = why_unusable(outcome, questions.at(name.partition(".")[2])) or outcome
    if isinstance(outcome, Answer):
        results.answers[name] = outcome
        results.failures.pop(name, None)
    else:
        results.failures[name] = outcome


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

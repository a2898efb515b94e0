"""Counts of labels, their shares, and the documents without a usable answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import joined
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.caller import LONGER_CONTEXT

# The paper's features are the percentages of these domains.
DOMAINS = ("academic", "books", "code", "reference", "specific_datasets", "web")
ERROR = "error"
# Stage of a document that was not selected for labelling (`run features` labels those that are kept).
NOT_SELECTED = "not_selected"
LEFT_OUT = ("unknown", "incoherent", ERROR)
# From this share of unusable answers on, the run warns about the model.
ODD_SHARE = 0.05
# From this share of answers off the menu on, the run ends with exit code 3.
MOST_SHARE = 0.5


def label_counts(run: Run, plan: Plan, instance: Instance) -> dict[str, Any]:
    """Labels, how many of the labelled documents are English, how many documents a model was asked about, how many of these got
    an answer that is off the menu, why others got none, and which models answered, over all parts; without documents that were not
    selected."""
    models: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    english = n_asked = off_menu = 0
    for table in joined(run.output, plan.files, [instance]):
        table = table.filter(pc.fill_null(pc.not_equal(table["stage"], NOT_SELECTED), True))  # noqa: PLW2901
        n_asked += pc.sum(pc.greater(table["n_calls"], 0)).as_py() or 0
        off_menu += pc.sum(table["is_off_menu"]).as_py() or 0
        errors.update(table["error"].drop_null().to_pylist())
        if "answered_by" in table.column_names:
            models.update(name for names in table["answered_by"].drop_null().to_pylist() for name in names.split(", "))
        for prediction, language in zip(table["prediction"].to_pylist(), table["language"].to_pylist(), strict=True):
            label = ERROR if prediction is None else prediction
            labels[label] += 1
            english += label not in LEFT_OUT and language == "en"
    return {
        "labels": labels,
        "english": english,
        "asked": n_asked,
        "off_menu": off_menu,
        "errors": errors,
        "models": models,
    }


def percentages(labels: Mapping[str, int], english: int) -> dict[str, float | None]:
    """The CSV's domain_*_pct and pct_english: shares among documents whose label is not in LEFT_OUT, in percent.

    labels   documents per label; `english` of those that are not left out are in English
    returns  DOMAINS first, then the other labels of a stage tree that the user gives; 0 for every domain and a missing
             pct_english where no document remains
    """
    own_labels = sorted(set(labels) - {*DOMAINS, *LEFT_OUT})
    n = sum(labels.get(d, 0) for d in (*DOMAINS, *own_labels))
    shares: dict[str, float | None] = {
        f"domain_{d}_pct": 100 * labels.get(d, 0) / n if n else 0.0 for d in (*DOMAINS, *own_labels)
    }
    return {**shares, "pct_english": 100 * english / n if n else None}


def oddities(run: Run, tagger: EndpointTagger, counts: Mapping[str, Any]) -> list[str]:
    """Say, and return, for how many documents the model gave no proper answer; those that got no label go into the ledger,
    where they count for the exit code as rows in quarantine do."""
    off_menu, errors, n_asked = counts["off_menu"], counts["errors"], counts["asked"]
    messages = []
    if off_menu > ODD_SHARE * n_asked:
        messages.append(
            f"{off_menu:,} of {n_asked:,} documents asked about got an answer that is none of the choices, which counts as the "
            f"negative one (column is_off_menu): is {tagger.model} the right model for this tree?"
        )
    allowed = run.ledger.allowed(run.options.max_quarantined) if run.options.max_quarantined is not None else 0
    if off_menu > max(MOST_SHARE * n_asked, allowed):
        run.ledger.doubt("more than half of the documents asked about are off the menu")
        messages[-1] += " More than half are off the menu: exit 3, unless --max-quarantined allows that many"
    cut = run.ledger.llm.get("cut_prompts", 0)
    if cut:
        messages.append(
            f"the endpoint counted fewer prompt tokens than {cut:,} of {n_asked:,} documents have at least: it drops a part of long "
            f"prompts without an error, so these labels are not of the whole document. {LONGER_CONTEXT}. Then label again with "
            "--overwrite, and with another --llm-cache if only the context has changed"
        )
    if cut > MOST_SHARE * n_asked:
        run.ledger.doubt("the endpoint shortened more than half of the documents")
    if n := errors.total():
        why = errors.most_common(1)[0][0]
        messages.append(
            f"{n:,} of {n_asked:,} documents asked about got no label (column error says why; most often: {shortened(why)}). The "
            "same command does not ask about them again; with --retry-errors it does"
        )
    run.ledger.enter_unlabelled(errors.total())
    for message in messages:
        run.display.announce(message)
    return messages + _odd_models(run, counts["models"], tagger.model)


def _odd_models(run: Run, models: Counter[str], requested: str) -> list[str]:
    """Announce and return a message where several models made the labels of an output, or another one than was asked for."""
    names = ", ".join(f"{shortened(name)!r} ({n:,} documents)" for name, n in models.most_common(5))
    if len(models) > 1:
        message = f"more than one model answered (column answered_by): {names}{', ...' if len(models) > 5 else ''}"
    elif models and not is_named_like(next(iter(models)), requested):
        message = f"another model answered than {requested!r} (column answered_by): {names}"
    else:
        return []
    run.display.announce(message)
    return [message]


def is_named_like(name: str, requested: str) -> bool:
    """Whether two names may be of one model: one is part of the other, whatever folder, case and punctuation they have.

    Example  ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini") -> True
    """
    one, other = (
        re.sub(r"[\W_]+", "", model.rstrip("/").rpartition("/")[2].removesuffix(".gguf")).lower()
        for model in (name, requested)
    )
    return one in other or other in one


def shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."

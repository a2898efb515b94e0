"""`tagcorpus audit`: reads the attributes of an output twice, and writes audit/<column>.json there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.audit import measures, verdict
from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.audit.printed import as_text
from tagcorpus.pipelines.audit.tallies import tally
from tagcorpus.pipelines.audit.window import window_of
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes
from tagcorpus.pipelines.distributions.blocks import FEW_CLUSTERS, Blocks
from tagcorpus.pipelines.distributions.grouping import Grouping, named, source_of
from tagcorpus.pipelines.filtering.kept_rows import notes_on_rows, restricted
from tagcorpus.pipelines.group_statistics.groups import escaped
from tagcorpus.pipelines.options.declaring.amounts import share
from tagcorpus.pipelines.progress.heartbeat import errors_as_damage
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.sealed import sealed

VERSION = 1
# Columns that every audit groups by, where the output has them: name, tagger, column, kind.
USUAL = (
    ("language", "language", "language", "column"),
    ("length", "length", "char_len", "octave"),
    ("domain", "domain", "prediction", "column"),
    ("label", "fasttext", "label", "column"),
    ("code language", "code", "code_language", "column"),
)


def audit(
    output: str,
    column: str,
    by: Sequence[str] = (),
    against: str | None = None,
    gold: str | None = None,
    cluster: str | None = None,
    top: str = "10%",
    floor: float = 0.05,
    as_json: bool = False,
    storage_options: Sequence[str] = (),
    where: str | None = None,
) -> str:
    """What the command prints; the document is published as audit/<column>.json in the output.

    Raises InputError where the output or the gold table cannot be used, ConfigError for options that do not fit it.
    """
    top_share = share_of(top)
    remote.use_given(storage_options, [output, gold or ""])
    with errors_as_damage(output):
        document, attributes = audited(output, column, by, against, gold, cluster, top_share, floor, where)
    label = document["column"] if where is None else f"{document['column']} where {where}"
    name = f"audit/{escaped(label)}.json"
    attributes.folder.publish(name, sealed(document, allow_nan=False))
    return json.dumps(document, indent=1) if as_json else as_text(document, attributes.folder.path(name))


def audited(
    output: str,
    column: str,
    by: Sequence[str],
    against: str | None,
    gold: str | None,
    cluster: str | None,
    top: float,
    floor: float,
    where: str | None = None,
) -> tuple[dict[str, Any], Attributes]:
    """The document of an audit, and the attributes it is of."""
    attributes = restricted(Attributes(output), where)
    score = attributes.numeric(column, "--column")
    other = attributes.numeric(against, "--against") if against else None
    if other == score:
        raise ConfigError(f"--against {score.label}: name another column than --column")
    table = Gold(gold) if gold else None
    blocks = Blocks(attributes, cluster)
    window, no_window = window_of(attributes, score)
    groupings = _groupings(attributes, score, by)
    result = tally(attributes, score, groupings, blocks, top, other, window, table)
    if table and not table.n_joined:
        raise InputError(
            f"--gold {gold}: no document of {output} is in the table; compare its ids with those of the documents"
        )
    notes = notes_on_rows(attributes, where) + ([] if window else [f"judged in part: {no_window}"])
    notes += [f"{name}: left out, since there are too many values" for name in result.dropped]
    if table and table.n_joined < table.n:
        notes.append(
            f"--gold: {table.n - table.n_joined:,} of {table.n:,} gold values are of no document of this output"
        )
    if table and table.n_shared:
        notes.append(
            f"--gold: {table.n_shared:,} ids are those of several documents, which all have the gold value of the id; name "
            "documents by input and row"
        )
    n_judged = sum(measures.is_judged(t, i) for t in result.tallies for i in range(len(t.n)))
    n_used = int(result.tallies[0].sums.any(axis=(1, 2)).sum())
    if cluster and n_used < FEW_CLUSTERS:
        notes.append(f"the documents are of {n_used} clusters, too few for intervals to be relied on")
    agreements = [
        measures.agreement_with_column(result),
        measures.agreement_with_gold(result, table) if table else None,
    ]
    document: dict[str, Any] = {
        "audit": VERSION,
        "column": score.label,
        "tagger": attributes.description(score),
        "describes": attributes.meaning(score),
        **measures.overall(result),
        "floor": floor,
        "intervals": {
            "level": measures.LEVEL,
            "method": "jackknife over blocks of documents or clusters; of agreement, analytic (Bonett and Wright)",
            "over": blocks.described(n_used),
            "cluster": cluster,
            "groups_together": n_judged,
        },
        "judged_in_part": window.to_json() if window else None,
        "top": measures.top_of(result, top),
        "groupings": [measures.grouping_of(t, result, n_judged) for t in result.tallies],
        "agreement": [a for a in agreements if a is not None],
        "notes": notes,
    }
    for grouping in document["groupings"]:
        grouping["outcome"] = verdict.outcome(grouping, floor)
    document["verdicts"] = verdict.verdicts(document)
    return document, attributes


def share_of(text: str) -> float:
    """Example  10%, 0.1 -> 0.1. Raises ConfigError for what is not a share between 0 and 1."""
    value = share(text)
    if value is None or value == 1:
        raise ConfigError(f"--top {text}: give a percentage between 0 and 100, such as 10%")
    return value


def _groupings(attributes: Attributes, score: AttributeColumn, by: Sequence[str]) -> list[Grouping]:
    groupings = [named(attributes, name) for name in by]
    if not any(g.kind in ("file", "folder") for g in groupings):
        groupings.insert(0, source_of(attributes))
    taken = {g.column for g in groupings if g.column is not None} | {score}
    for name, tagger, column, kind in USUAL:
        usual = attributes.of_tagger(tagger, column)
        if usual is not None and usual not in taken:
            groupings.append(Grouping(name, kind, usual))
    return groupings

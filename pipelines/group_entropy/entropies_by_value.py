"""What `run features` does about the entropies of a column's groups: which are missing, in one file all that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tagcorpus.kernels.packing import packing
from tagcorpus.pipelines.counting.corpus import Corpus, Limits
from tagcorpus.pipelines.counting.token_budget import Budget, is_budget_met, put_together
from tagcorpus.pipelines.group_entropy.by_value import (
    Choosing,
    Everything,
    N,
    NumberedSource,
    PairSource,
    entropies,
    sizes,
)
from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork
from tagcorpus.pipelines.group_entropy.samples_by_value import draw
from tagcorpus.pipelines.group_statistics.groups import Group, Values, entropies_name
from tagcorpus.pipelines.storage.sealed import sealed


class Together:
    """Computes the entropies of all groups of a column at once. `known`: what exists already, by group."""

    def __init__(self, work: EntropyWork, values: Values, known: Mapping[str, dict[str, Any]]) -> None:
        self._work, self._values, self._known = work, values, dict(known)
        self._documents = NumberedSource(work.source, work.filter, values)

    def compute(self, groups: Sequence[Group], budget: Budget | None = None) -> dict[str, dict[str, Any]]:
        """Compute and publish what these groups lack, with their entropies at `budget` tokens where they have as many.

        Returns all that is known of all groups.
        """
        if not groups:
            return {}
        self._work.tokenise(groups)
        if any(g.id not in self._known for g in groups):
            self._count()
        if budget is not None:
            self._sample([g.id for g in groups if lacks(self._known[g.id], budget)], budget)
        data = sealed({"groups": self._known})
        self._work.run.output.publish(entropies_name(self._values.instance.name), data)
        return self._known

    def _count(self) -> None:
        """Of all groups: where one is to be counted, the others cost little more."""
        work = self._work
        documents, tokens = sizes(work.engine, self._documents)
        figures = entropies(work.engine, self._corpus(Everything(self._documents.n)), False)
        for i, group in enumerate(work.groups):
            size = {"num_documents": int(documents[i]), "num_tokens": int(tokens[i])}
            same = {"key": work.keys[group.id], "tokenizer": work.tokenizer.fingerprint}
            self._known[group.id] = {**same, **size, **figures[i]}

    def _sample(self, ids: Sequence[str], budget: Budget) -> None:
        if not ids:
            return
        work, sampled = self._work, set(ids)
        known = [self._known[g.id] if g.id in sampled else {} for g in work.groups]
        size = np.array([[t.get(k, 0) for t in known] for k in ("num_documents", "num_tokens")], np.int64)
        samples = draw(work.engine, self._documents, size, budget)
        figures = entropies(work.engine, self._corpus(samples), True)
        for i, group in enumerate(work.groups):
            if group.id in sampled:
                each = zip(samples.tokens[:, i].tolist(), samples.documents[:, i].tolist(), strict=True)
                of_group = figures[i :: len(work.groups)]
                self._known[group.id]["token_budget"] = put_together(budget, int(size[1, i]), list(each), of_group)

    def _corpus(self, choosing: Choosing) -> Corpus:
        work = self._work
        packed = packing(N, max(work.tokenizer.n_vocab, choosing.n))
        source = PairSource(self._documents, choosing, np.uint16 if packed.bits <= 16 else np.uint32)
        within = Limits.within(work.memory, packed.words)
        # Three ids and an offset stand for every token.
        limits = replace(within, chunk_positions=within.chunk_positions // 2)
        name = f"features-{self._values.instance.name}"
        return Corpus(work.run.output, work.plan, work.engine.reader_options, source, packed, name, limits)


def lacks(value: Mapping[str, Any], budget: Budget) -> bool:
    """Whether a group has so many tokens, and its figures at so many are not there yet."""
    return value["num_tokens"] >= budget.tokens and not is_budget_met(value.get("token_budget"), budget)

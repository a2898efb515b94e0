"""What `run features` knows of its entropies: tokenizer, groups, what is published already and what is left to compute."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import xxhash

from tagcorpus.kernels.packing import packing
from tagcorpus.pipelines.attributes.parts import Instance, part_key
from tagcorpus.pipelines.counting import phases
from tagcorpus.pipelines.counting.corpus import VERSION, Corpus, Limits, memory_bytes
from tagcorpus.pipelines.counting.summary import summary_of
from tagcorpus.pipelines.counting.token_budget import Budget, at_budget, renewed
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_entropy.of_groups import Drain, GroupEntropy, KeptSource, publish, value_of
from tagcorpus.pipelines.group_statistics.groups import Group, entropies_name, entropy_name, escaped, values_of
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.sealed import opened
from tagcorpus.pipelines.token_ids.cache import TokenizerChoice, TokenSource
from tagcorpus.pipelines.token_ids.parts import token_part_name
from tagcorpus.taggers._tokenizers.loading import load

N = 1


def keys(
    plan: Plan,
    groups: Sequence[Group],
    reader_options: ReaderOptions,
    tokenizer: str,
    filter_: Instance,
    grouping: Instance | None = None,
) -> dict[str, str]:
    """By group, xxh3-128 of everything that decides its entropy.

    tokenizer   its fingerprint
    filter_     whose column is_kept says which documents count
    grouping    whose column makes the groups, where they are not of whole files
    """
    identity = {"entropy": VERSION, "n": N, "tokens": tokenizer, "kept_by": filter_.identity()}
    if grouping is not None:
        identity |= {"grouped_by": grouping.identity(), "needs": list(getattr(grouping.tagger, "needs", ()))}
    of_chunk = {
        (planned.file.name, k): part_key(planned, k, reader_options, identity)
        for planned in plan.files
        for k in range(len(planned.chunks))
    }
    # Groups of a column share their files, and there may be thousands of both.
    parts_of = {files: [of_chunk[p.file.name, k] for p, k in group.chunks(plan)] for files, group in by_files(groups)}
    parts = {files: json.dumps(keys)[1:-1] for files, keys in parts_of.items()}
    keys_by_group = {}
    for group in groups:
        decisions = parts[group.files]
        if group.where is not None:
            decisions = ", ".join(filter(None, [json.dumps(group.where.value), decisions]))
        keys_by_group[group.id] = xxhash.xxh3_128_hexdigest(f"[{decisions}]".encode())
    return keys_by_group


def by_files(groups: Iterable[Group]) -> Iterable[tuple[tuple[str, ...], Group]]:
    """A group for each set of files that some have."""
    return {group.files: group for group in groups}.items()


class EntropyWork:
    """The entropies of the groups of one plan.

    filter_   whose column is_kept says which documents count
    grouping  whose column makes the groups, where there is one
    Raises ConfigError for a tokenizer or a memory that cannot be.
    """

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        groups: Sequence[Group],
        filter_: Instance,
        grouping: Instance | None,
        tokenizer: TokenizerChoice,
        memory: str,
    ) -> None:
        self.engine, self.run, self.plan, self.groups = engine, engine.run, plan, groups
        self.tokenizer = load(*tokenizer)
        self.packing = packing(N, self.tokenizer.n_vocab)
        self.memory = memory_bytes(memory)
        self.limits = Limits.within(self.memory, self.packing.words)
        self.keys = keys(plan, groups, engine.reader_options, self.tokenizer.fingerprint, filter_, grouping)
        self.source = TokenSource(self.run.output, plan, engine.reader_options, tokenizer, True)
        self.filter = filter_
        self.values = values_of(groups)

    def stored(self) -> dict[str, dict[str, Any]]:
        """By group, what is published of it as it is now; nothing with --overwrite."""
        if self.engine.starts_afresh:
            return {}
        read = self.run.output.read
        if self.values is not None:
            every = (opened(read(entropies_name(self.values.instance.name))) or {}).get("groups")
            published = every if isinstance(every, dict) else {}
        else:
            published = {group.id: opened(read(entropy_name(group.id))) or {} for group in self.groups}
        ids = [g.id for g in self.groups]
        current = {id_: published[id_] for id_ in ids if published.get(id_, {}).get("key") == self.keys[id_]}
        sampled = {id_: renewed(value["token_budget"]) for id_, value in current.items() if "token_budget" in value}
        return {id_: {**v, "token_budget": sampled[id_]} if id_ in sampled else v for id_, v in current.items()}

    def unread(self, files: Iterable[str]) -> list[int]:
        """Ranks of these files whose token ids the cache does not have at all."""
        names = set(files)
        there = set(self.run.output.files("tokens"))
        chunks = [(rank, planned.file.name, k) for rank, (planned, k) in enumerate(self.plan.chunks)]
        return [
            rank
            for rank, name, k in chunks
            if name in names and token_part_name(self.source.fingerprint, name, k) not in there
        ]

    def compute(self, groups: Sequence[Group], budget: Budget | None = None) -> dict[str, dict[str, Any]]:
        """Compute and publish the entropies of these groups, with those at `budget` tokens where a group has as many."""
        if not groups:
            return {}
        self.tokenise(groups)
        corpora = [self._corpus(g) for g in groups]
        own = [self.keys[g.id] for g in groups]
        step = GroupEntropy(corpora, groups, own, self.limits.chunk_positions, budget)
        results = self.engine.execute(
            [step],
            [[i] for i in range(len(groups))],
            lambda i: f"entropy of {groups[i].id}",
            "entropy",
            sum(c.plan.rows for c in corpora),
            on_done=lambda watch, i, _merged: watch.done(corpora[i].plan.rows, 0, 0),
        )
        figures = {}
        for i, group in enumerate(groups):
            value = results[i][0]
            figures[group.id] = value if value is not None else self._streamed(corpora[i], group, budget)
        return figures

    def tokenise(self, groups: Sequence[Group]) -> None:
        """Make what the cache lacks of these groups' token ids."""
        ranks = self.unread(name for files, _ in by_files(groups) for name in files)
        if len(ranks) > 1:  # else the one who needs the ids may as well make them
            self.engine.over_chunks_here(self.plan, ranks, [Drain(self.source)], "tokenising")

    def _corpus(self, group: Group) -> Corpus:
        files = set(group.files)
        plan = Plan(tuple(p for p in self.plan.files if p.file.name in files))
        own = TokenSource(self.run.output, plan, self.engine.reader_options, self.source.choice, True)
        name = f"features-{escaped(group.id)}"
        source = KeptSource(own, self.filter)
        return Corpus(self.run.output, plan, self.engine.reader_options, source, self.packing, name, self.limits)

    def _streamed(self, corpus: Corpus, group: Group, budget: Budget | None) -> dict[str, Any]:
        """By the passes of `run entropy`, for what does not fit into memory."""

        def passes() -> dict[str, Any]:
            phases.count(self.engine, corpus)
            adds = phases.merge(self.engine, corpus)
            metas = [phases.spill_file_of(corpus, r).meta for r in range(len(corpus.plan.chunks))]
            sizes = {"num_documents": sum(m["documents"] for m in metas), "num_tokens": sum(m["tokens"] for m in metas)}
            whole = summary_of(corpus, adds, self.tokenizer)
            return value_of(
                self.keys[group.id], self.tokenizer.fingerprint, sizes, adds, whole["median_corpus_entropy"]
            )

        try:
            value = phases.until_sound(self.run, passes)
        finally:
            phases.tidy(self.run, corpus)
        if budget is not None and value["num_tokens"] >= budget.tokens:
            value["token_budget"] = at_budget(self.engine, corpus, budget, phases.sample_totals)
        publish(corpus, group, value)
        return value

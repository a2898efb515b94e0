"""Sources of documents whose next-token entropy is known, as texts of words that are one token each."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.taggers._tokenizers.loading import load

Array = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, int], "np.ndarray[Any, np.dtype[np.int64]]"]


@dataclass(frozen=True)
class Source:
    """draw: symbols of a document of so many tokens; entropy: n -> bits of the next symbol given the n before it."""

    name: str
    draw: Draw
    entropy: dict[int, float]

    def write(self, path: Path, tokens: int, seed: int, mean_length: int = 200) -> Path:
        """Documents of geometric lengths, that many tokens in all (but for the last document)."""
        random = np.random.default_rng(seed)
        names = words()
        left, lines = tokens, list[str]()
        while left > 0:
            size = int(random.geometric(1 / mean_length))
            lines.append(
                json.dumps({"id": str(len(lines)), "text": "".join(names[s] for s in self.draw(random, size))})
            )
            left -= size
        path.write_text("\n".join(lines) + "\n")
        return path


@functools.cache
def words(count: int = 2000) -> tuple[str, ...]:
    """Words with a space before them that the tokenizer takes for one token, whatever stands beside them."""
    tokenizer = load("p50k_base", engine="tiktoken")
    texts = (tokenizer.decode([i]) for i in range(1000, 12_000))
    return tuple(t for t in texts if t.startswith(" ") and t[1:].isalpha() and t.isascii())[:count]


def bits(p: np.ndarray[Any, Any]) -> float:
    kept = p[p > 0]
    return float(-(kept * np.log2(kept)).sum())


def _independent(name: str, p: Array) -> Source:
    return Source(name, lambda random, size: random.choice(len(p), size, p=p), dict.fromkeys((1, 2, 3), bits(p)))


def _chain(name: str, symbols: int, order: int, followers: int, seed: int) -> Source:
    """Each context of `order` symbols has a few followers, with geometric shares."""
    random = np.random.default_rng(seed)
    states = symbols**order
    next_of = np.array([random.choice(symbols, followers, replace=False) for _ in range(states)])
    share = 0.6 ** np.arange(followers)
    share /= share.sum()
    cumulative = np.cumsum(share)

    def draw(random: np.random.Generator, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        which = np.searchsorted(cumulative, random.random(size + 100), side="right").clip(max=followers - 1)
        state, out = int(random.integers(states)), []
        for w in which:
            symbol = int(next_of[state, w])
            state = (state * symbols + symbol) % states
            out.append(symbol)
        return np.array(out[100:])  # stationary by then

    held = np.full(states, 1 / states)
    for _ in range(300):
        flow = np.zeros(states)
        for w in range(followers):
            np.add.at(flow, (np.arange(states) * symbols + next_of[:, w]) % states, held * share[w])
        held = flow
    entropy = dict.fromkeys(range(order, 4), bits(share))
    if order == 2:
        joint = np.zeros((symbols, symbols))
        for w in range(followers):
            np.add.at(joint, (np.arange(states) % symbols, next_of[:, w]), held * share[w])
        entropy[1] = bits(joint.ravel()) - bits(joint.sum(1))
    return Source(name, draw, entropy)


def _topics(name: str, topics: int, symbols: int, seed: int) -> Source:
    """A document has one topic: its tokens are independent given that, and dependent without."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(symbols, 0.1), topics)

    def draw(random: np.random.Generator, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.asarray(random.choice(symbols, size, p=p[random.integers(topics)]))

    one = p.mean(0)
    two = np.einsum("ta,tb->ab", p, p) / topics
    three = np.einsum("ta,tb,tc->abc", p, p, p) / topics
    return Source(name, draw, {1: bits(two) - bits(one), 2: bits(three) - bits(two)})


def sources() -> list[Source]:
    zipf = 1 / np.arange(1, 2001)
    return [
        _independent("uniform, 200 words", np.full(200, 1 / 200)),
        _independent("Zipf, 2,000 words", zipf / zipf.sum()),
        _chain("Markov chain, order 1, 500 words", 500, 1, 8, 1),
        _chain("Markov chain, order 2, 30 words", 30, 2, 6, 2),
        _topics("five topics, 100 words", 5, 100, 3),
    ]

"""A command without an option or argument that it needs is a usage error that names it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, Option, options_of
from tagcorpus.pipelines.options.tree import COMMANDS

NEEDED = [(c.words, [o for o in options_of(c.options) if o.default is REQUIRED]) for c in COMMANDS]


def test_predict_is_among_them() -> None:
    assert any(words == ("predict",) and [o.flags[0] for o in needed] == ["--db"] for words, needed in NEEDED)


@pytest.mark.parametrize(("words", "needed"), [n for n in NEEDED if n[1]])
def test_missing(words: tuple[str, ...], needed: list[Option]) -> None:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2
    assert "Missing" in result.output
    assert any(name in result.output for o in needed for name in (*o.flags, o.metavar) if name)

"""The options csv.delimiter, csv.escape and csv.quote, as they are typed and as they are refused."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.declaring.dialect import Dialect
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.slurm.tasks import _options


@pytest.mark.parametrize(
    ("sets", "dialect"),
    [
        ([], Dialect()),
        (["csv.delimiter=;"], Dialect(";")),
        (["csv.delimiter=|"], Dialect("|")),
        (["csv.delimiter=\\t"], Dialect("\t")),
        (["csv.delimiter=\t"], Dialect("\t")),
        (["csv.escape=\\"], Dialect(escape="\\")),
        (["csv.quote='"], Dialect(quote="'")),
        (["csv.quote="], Dialect(quote="")),
        (['csv.escape="'], Dialect()),
    ],
)
def test_what_is_typed(sets: list[str], dialect: Dialect) -> None:
    options = cast(TagOptions, load_options("tag", None, sets))
    assert options.csv == dialect


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["csv.delimiter=;;"], r"csv\.delimiter is one ASCII character"),
        (["csv.delimiter=é"], r"csv\.delimiter is one ASCII character"),
        (["csv.delimiter=\n"], r"csv\.delimiter is one ASCII character"),
        (['csv.delimiter="'], "must differ"),
        (["csv.escape=,"], "must differ"),
        (["csv.separator=;"], r"unknown key 'separator'"),
    ],
)
def test_what_is_refused(sets: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_options("tag", None, sets)


def test_a_tab_separates_in_tsv_files_unless_said_otherwise() -> None:
    assert Dialect().of("csv").delimiter == ","
    assert Dialect().of("tsv").delimiter == "\t"
    assert Dialect("|").of("tsv").delimiter == "|"
    assert Dialect().fingerprint() == {}
    assert Dialect("|").fingerprint() == {"delimiter": "|"}


def test_a_dialect_reaches_the_finish_job_of_a_job_array() -> None:
    options = dataclasses.asdict(load_options("tag", None, ["csv.delimiter=;"]))
    assert _options({"pipeline": "tag", "options": options}).csv == Dialect(";")
    earlier = {name: value for name, value in options.items() if name not in ("csv", "input_format")}
    assert _options({"pipeline": "tag", "options": earlier}).csv == Dialect()

"""What one option is. Declarations import the standard library and our errors only: `tagcorpus --help` reads nothing else.

A command's options are the fields of a frozen dataclass. The field gives name and type; `option(...)` gives everything else.
The command line, the printed YAML, the checks of values, the typed signatures of Python and the tables of the docs are made
from these fields.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.amounts import Unit


class _Nothing:
    """The only value that is not a value: no default, no constant."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Nothing()
LARGEST = 2**63 - 1
"""Whole numbers beyond it fit no column."""
Group = Literal["Input", "Output", "What to compute", "Running", "Cluster"]
GROUPS: tuple[Group, ...] = typing.get_args(Group)


@dataclass(frozen=True)
class Declaration:
    """What a field's name and type do not say.

    flags      spellings on the command line; None: `--name`; (): none, the option is a key of `--set` and `--config` only
    metavar    what help shows for the value; "": by the type
    is_path    a shell completes file names
    is_positional  an argument of the command, not a flag
    old_names  keys that are accepted for the option, too
    at_least, above, at_most, below   bounds of a number; a null passes
    unit       also takes amounts in words (20M, 800MB): of things that are counted, or of bytes
    allows_infinity  inf has a meaning here, which the help says. Elsewhere numbers are finite
    """

    help: str
    group: Group = "What to compute"
    flags: tuple[str, ...] | None = None
    metavar: str = ""
    is_path: bool = False
    is_positional: bool = False
    old_names: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    allows_infinity: bool = False
    unit: Unit | None = None

    def _bounds(self) -> list[tuple[float, str, Callable[[Any, Any], bool]]]:
        every: list[tuple[float | None, str, Callable[[Any, Any], bool]]] = [
            (self.at_least, "at least", operator.ge),
            (self.above, "above", operator.gt),
            (self.at_most, "at most", operator.le),
            (self.below, "below", operator.lt),
        ]
        return [(bound, words, holds) for bound, words, holds in every if bound is not None]

    @property
    def is_share(self) -> bool:
        """Whether a number is between 0 and 1."""
        return 0 in (self.at_least, self.above) and 1 in (self.at_most, self.below)

    @property
    def range(self) -> str:
        """The bounds in words; "" where there are none."""
        text = " and ".join(f"{words} {bound}" for bound, words, _ in self._bounds())
        return f"{text}, or inf" if text and self.allows_infinity else text

    @property
    def text(self) -> str:
        """The help text, and a sentence with the range."""
        return f"{self.help} {self.range.capitalize()}.".strip() if self.range else self.help

    def refusal(self, key: str, value: Any) -> str | None:
        """The sentence for a number out of range. NaN is always out of range, and infinity unless the option allows it."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        is_finite = -LARGEST <= value <= LARGEST if isinstance(value, int) else math.isfinite(value)
        is_allowed = is_finite or (self.allows_infinity and value == math.inf)
        if is_allowed and all(holds(value, bound) for bound, _, holds in self._bounds()):
            return None
        if isinstance(value, int) and not is_finite:
            return f"{key} must be within 64 bits, got one of {value.bit_length()}"
        words = self.range or "a number"
        has_top = self.at_most is not None or self.below is not None
        is_vague = math.isinf(value) and not (has_top or self.allows_infinity)
        return f"{key} must be {words}{' and finite' * is_vague}, got {value}"


def option(default: Any, help: str, *, is_secret: bool = False, **more: Any) -> Any:
    """A field with a default, REQUIRED for none. A list or mapping as default is copied for each instance.

    is_secret  the value is not in the options' repr
    """
    metadata = {"declaration": Declaration(help, **more)}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, repr=not is_secret, metadata=metadata)
    if default is REQUIRED:
        return dataclasses.field(repr=not is_secret, metadata=metadata)
    return dataclasses.field(default=default, repr=not is_secret, metadata=metadata)


def positional(metavar: str, default: Any = REQUIRED, **more: Any) -> Any:
    """An argument of a command, by default a path that must be given."""
    return option(default, "", metavar=metavar, is_positional=True, **{"is_path": True, **more})


def as_json(help: str) -> Any:
    """The flag --json."""
    return option(False, help, flags=("--json",), group="Output")


def section(cls: type[Any]) -> Any:
    """A field whose value is a mapping of options of its own, the fields of `cls`."""
    return dataclasses.field(default_factory=cls)


@dataclass(frozen=True)
class Option:
    """One option of a command, its dotted key and its type with it.

    constant   the value that the bare flag stands for; REQUIRED (no value) for all other options
    """

    key: str
    hint: Any
    default: Any
    declaration: Declaration
    constant: Any = REQUIRED

    @property
    def flags(self) -> tuple[str, ...]:
        if self.declaration.is_positional:
            return ()
        if self.declaration.flags is not None:
            return self.declaration.flags
        return (f"--{self.key.rpartition('.')[2].replace('_', '-')}",)

    @property
    def parameter(self) -> str:
        """The key as a Python name."""
        return re.sub(r"\W", "_", self.key)

    @property
    def kind(self) -> Any:
        """The type without null: `int` for `int | None`."""
        if typing.get_origin(self.hint) in (typing.Union, types.UnionType):
            return next(a for a in typing.get_args(self.hint) if a is not type(None))
        return self.hint

    @property
    def choices(self) -> tuple[str, ...]:
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else ()

    @property
    def is_list(self) -> bool:
        """Whether the command line takes the option several times."""
        return typing.get_origin(self.kind) in (list, dict, Sequence)

    @property
    def metavar(self) -> str:
        return self.declaration.metavar or {int: "N", float: "X"}.get(self.kind, "TEXT")

    @property
    def help(self) -> str:
        """The help text, with the range of a number, and the default where the text does not explain a null."""
        default = ",".join(self.default) if isinstance(self.default, list) else self.default
        has_default = not (
            default in (None, False, "", REQUIRED)
            or self.default == {}
            or self.kind is bool
            or self.constant is not REQUIRED
        )
        facts = [self.declaration.range] if self.declaration.range else []
        facts += [f"default: {'true' if default is True else default}"] if has_default else []
        return f"{self.declaration.help} [{'; '.join(facts)}]" if facts else self.declaration.help


def shorthand(key: str, hint: Any, help: str, *, default: Any = None, constant: Any = REQUIRED, **more: Any) -> Option:
    """A flag for a tagger's parameter, or for one value of an option.

    default  the tagger's own, for the help text: declarations import no tagger, and a test compares
    """
    return Option(key, hint, default, Declaration(help, **more), constant)


def fields_of(cls: type[Any]) -> tuple[Option, ...]:
    """The options that are fields of `cls`, those of its sections as `section.key`."""
    hints = typing.get_type_hints(cls)
    return tuple(_options(cls, hints))


def _options(cls: type[Any], hints: dict[str, Any]) -> Iterator[Option]:
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            for inner in fields_of(typing.cast(type[Any], hint)):
                yield dataclasses.replace(inner, key=f"{field.name}.{inner.key}")
        elif "declaration" in field.metadata:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            default = REQUIRED if default is dataclasses.MISSING else default
            yield Option(field.name, hint, default, field.metadata["declaration"])


def check_bounds(options: Any) -> None:
    """Raise ConfigError for a number of these options that is out of its declared bounds."""
    for one in fields_of(type(options)):
        name = one.flags[0] if one.flags else one.metavar
        if refusal := one.declaration.refusal(name, getattr(options, one.key)):
            raise ConfigError(refusal)


def options_of(cls: type[Any]) -> list[Option]:
    """All options of a command in the order of its help: by group, then in the order of declaration."""
    every = [*fields_of(cls), *getattr(cls, "SHORTHANDS", ())]
    return sorted(every, key=lambda o: GROUPS.index(o.declaration.group))

"""The characters that a CSV file is written with: the options `csv.delimiter`, `csv.escape` and `csv.quote`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.declaring.declare import option

_SPELLED = {"\\t": "\t", "tab": "\t", "\\0": "\0", "\\x01": "\x01", "\\x1f": "\x1f"}
DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class Dialect:
    """One ASCII character each.

    delimiter  between fields; empty: a tab in .tsv files, else a comma
    escape     before a quote (or before itself) makes it text; before anything else it is text. Empty: there is none
    quote      around fields that hold delimiters, quotes or line ends; empty: no field is quoted
    """

    delimiter: str = option(
        "",
        "Character between fields; empty: a tab in .tsv files, else a comma.",
        flags=(),
        group="Input",
    )
    escape: str = option(
        "",
        "Character before a quote that is text, such as a backslash in files of Spark; empty: none.",
        flags=(),
        group="Input",
    )
    quote: str = option(
        '"',
        "Character around fields that contain delimiters, quotes or line ends; empty: none.",
        flags=(),
        group="Input",
    )

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            character = _SPELLED.get(value, value)
            object.__setattr__(self, name, character)
            if len(character) > 1 or not character.isascii() or character in ("\r", "\n"):
                raise ConfigError(
                    f"csv.{name} is one ASCII character, \\t for a tab, or empty; it is {value!r}. It cannot be a line end"
                )
        if self.escape == self.quote:  # a doubled quote is text anyway
            object.__setattr__(self, "escape", "")
        used = [c for c in (self.delimiter or ",", self.escape, self.quote) if c]
        if len(set(used)) < len(used):
            raise ConfigError(
                f"csv.delimiter, csv.escape and csv.quote must differ; they are {', '.join(map(repr, used))}"
            )

    def of(self, format_: str) -> Dialect:
        """The dialect of a file of this format."""
        return self if self.delimiter else replace(self, delimiter=DELIMITERS[format_])

    def fingerprint(self) -> dict[str, str]:
        """What differs from the defaults."""
        default = asdict(Dialect())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

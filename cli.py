"""The command line: builds commands from their declarations, calls their functions, prints. No heavy import at module level."""

from __future__ import annotations

import atexit
import difflib
import errno
import gc
import importlib
import os
import sys
import typing
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from tagcorpus.errors import TagcorpusError, check_address_space
from tagcorpus.pipelines.options.declaring.amounts import Unit, amount, share
from tagcorpus.pipelines.options.declaring.common import SETTINGS
from tagcorpus.pipelines.options.declaring.declare import GROUPS, REQUIRED, Option, check_bounds, options_of
from tagcorpus.pipelines.options.tree import COMMANDS, GROUP_HELP, Command
from tagcorpus.processes import keep_stderr_writable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COLLECTED_AFTER = 250_000
"""New objects between two searches for garbage. Imports alone make twice as many, none of them garbage: searches after every
10,000 cost 0.14 CPU seconds of a start of 2. So many objects take some 50 MB."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class NameOrPath(click.types.StringParamType):
    """A name of a list, or a path. Shells complete both."""

    name = "text"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        named = [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
        return named or [CompletionItem(incomplete, type="file")]


class Amount(click.types.IntParamType):
    """A whole number, or an amount such as 20M."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else amount(value, self.unit, "the option")
        except TagcorpusError as error:
            self.fail(str(error), param, ctx)


class Share(click.types.FloatParamType):
    """A number from 0 to 1, or a percentage such as 10%."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        part = share(value) if isinstance(value, str) and value.rstrip().endswith("%") else None
        return super().convert(value, param, ctx) if part is None else part


class DeclaredCommand(click.Command):
    """A command made from its declaration. Every flag also takes the underscore spelling of the paper's scripts
    (--text_column). In a command without positional arguments, a list takes several values in a row, as a shell makes them
    of `*.jsonl`."""

    def __init__(self, declared: Command) -> None:
        settings = SETTINGS if declared.pipeline else ()
        self.declared = declared
        declared_options = [*options_of(declared.options), *settings]
        self.options = [
            (o, _click_parameter(o, i))
            for i, o in enumerate(declared_options)
            if o.flags or o.declaration.is_positional
        ]
        super().__init__(
            declared.words[-1],
            context_settings=CONTEXT,
            callback=self.call,
            params=[parameter for _, parameter in self.options],
            help=declared.options.__doc__,
            short_help=declared.short or None,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        dashed = [_dashed(a) for a in args]
        try:
            return super().parse_args(ctx, self._spread(dashed) if not _positionals(self) else dashed)
        except click.UsageError as error:
            if self.declared.pipeline and "unexpected extra argument" in error.message:
                hint = f"{error.message}. Input is given as --input PATH; a pipeline takes options only."
                raise click.UsageError(hint, error.ctx) from None
            raise

    def _spread(self, args: list[str]) -> list[str]:
        """`--input a b` as `--input a --input b`."""
        lists = {flag for option, _ in self.options if option.is_list for flag in option.flags}
        spread: list[str] = []
        flag = ""
        for argument in args:
            if argument.startswith("-") and argument != "-":
                flag = argument if argument in lists else ""
                spread.append(argument)
            elif flag and spread[-1] != flag:
                spread += [flag, argument]
            else:
                spread.append(argument)
        return spread

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by group, the common ones of a group first."""
        for group in GROUPS:
            records = [
                record
                for option, parameter in self.options
                if option.declaration.group == group
                and not option.declaration.is_positional
                and (record := parameter.get_help_record(ctx)) is not None
            ]
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)
        help_option = self.get_help_option(ctx)
        if help_option is not None and (record := help_option.get_help_record(ctx)) is not None:
            with formatter.section("Help"):
                formatter.write_dl([record])

    def call(self, **values: Any) -> None:
        given: dict[str, Any] = {}
        for option, parameter in self.options:
            value = values[str(parameter.name)]
            if value is None or value == ():
                continue
            plain = list(value) if isinstance(value, tuple) else value
            given[option.key] = plain if option.constant is REQUIRED else option.constant
        _guarded(self.declared, given)


class DeclaredGroup(click.Group):
    """Commands by name, made when they are needed. A pipeline's name alone is answered with its `run`."""

    def __init__(self, words: tuple[str, ...], help: str, short_help: str | None = None, **more: Any) -> None:
        super().__init__(
            words[-1] if words else "main", context_settings=CONTEXT, help=help, short_help=short_help, **more
        )
        self.words = words

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        depth = len(self.words)
        return list(dict.fromkeys(c.words[depth] for c in COMMANDS if c.words[:depth] == self.words))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        words = (*self.words, cmd_name)
        if words in GROUP_HELP:
            return DeclaredGroup(words, *GROUP_HELP[words])
        return next((DeclaredCommand(c) for c in COMMANDS if words in (c.words, (*c.words[:-1], c.alias))), None)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, without making the commands, whose options need not be known."""
        declared = {c.words[: len(self.words) + 1]: c for c in COMMANDS}
        rows = []
        for name in self.list_commands(ctx):
            words = (*self.words, name)
            short = GROUP_HELP[words][1] if words in GROUP_HELP else declared[words].short
            if not short:
                command = self.get_command(ctx, name)
                assert command is not None
                short = command.get_short_help_str(formatter.width - 6 - max(map(len, self.list_commands(ctx))))
            rows.append((name, short))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(self, *args: Any, **more: Any) -> Any:
        """click's `main`, which also handles a standard output that is full, or whose reader is gone."""
        try:
            try:
                return super().main(*args, **more)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # buffered text, whose errors would come after the exit code was chosen
        except BrokenPipeError as error:
            _drop_stdout()
            if isinstance(error.__context__, SystemExit):
                raise error.__context__ from None
            raise SystemExit(1) from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            _drop_stdout()
            keep_stderr_writable()
            place = "the target of standard output, or the disk of the output folder, is full"
            click.echo(f"tagcorpus: {error.strerror}: {place}. Free some space, and run the command again", err=True)
            raise SystemExit(1) from None

    def invoke(self, ctx: click.Context) -> Any:
        keep_stderr_writable()
        try:
            return super().invoke(ctx)
        except click.ClickException as error:  # the message quotes arguments, which may be file names
            vars(error).update(message=_printable(error.message))
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not self.words and any(args[0] == c.pipeline for c in COMMANDS):
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'run {args[0]}'?")
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
        if near and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


def _drop_stdout() -> None:
    """Send the rest of standard output to the null device: Python flushes it once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _positionals(command: DeclaredCommand) -> list[Option]:
    return [o for o, _ in command.options if o.declaration.is_positional]


def _click_parameter(option: Option, index: int) -> click.Parameter:
    """The parameter of click for an option. None and () mean that the option was not given."""
    declaration = option.declaration
    name = f"{option.parameter}_{index}"  # two flags may set one key
    kind: Any = click.Choice(option.choices) if option.choices else option.kind
    names = [word for word in declaration.metavar.split("|") if word.islower()]
    if names and kind is str and not option.choices:
        kind = NameOrPath(names)
    elif declaration.unit is not None and option.kind is int:
        kind = Amount(declaration.unit)
    elif declaration.is_share and option.kind is float:
        kind = Share()
    elif declaration.is_path:
        kind = click.Path()
    elif option.is_list or typing.get_origin(kind) is not None:
        kind = str
    if declaration.is_positional:
        is_required = option.default is REQUIRED
        return click.Argument(
            [name], metavar=option.metavar, required=is_required, type=kind, nargs=-1 if option.is_list else 1
        )
    # A default that is passed, be it None, satisfies `required` in click 8.3 and later.
    shared: dict[str, Any] = {"help": option.help}
    shared |= {"required": True} if option.default is REQUIRED else {"default": None}
    if option.constant is not REQUIRED or option.kind is bool:
        return click.Option([*option.flags, name], is_flag=True, **shared)
    metavar = None if option.choices else option.metavar
    return click.Option([*option.flags, name], type=kind, multiple=option.is_list, metavar=metavar, **shared)


def _dashed(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, separator, value = argument.partition("=")
    return name.replace("_", "-") + separator + value


def _printable(text: object) -> str:
    """Foreign text without control sequences of the terminal."""
    module = importlib.import_module("tagcorpus.pipelines.progress.printable")
    return str(module.printable(text))


def _guarded(command: Command, given: dict[str, Any]) -> None:
    """Call a command and print its result. Errors for the user become a message and an exit code, without a traceback."""
    gc.set_threshold(COLLECTED_AFTER, 10, 10)
    atexit.register(gc.freeze)  # the process ends, so Python need not search all its objects for garbage
    try:
        check_address_space()
        if command.pipeline:
            config, sets = given.pop("config", None), given.pop("set", [])
            describe = importlib.import_module("tagcorpus.pipelines.terminal")
            sys.exit(describe.run(command.pipeline, config, sets, given))
        options = command.options(**given)
        check_bounds(options)
        result = command.function(**vars(options))
        text, code = result if isinstance(result, tuple) else (result, 0)
        # Data for a file or a program stay unchanged.
        click.echo(text if command.is_data and not sys.stdout.isatty() else _printable(text))
        sys.exit(code)
    except KeyboardInterrupt:  # during the import of the pipelines; afterwards they handle it themselves
        click.echo("interrupted", err=True)
        sys.exit(130)
    except TagcorpusError as error:
        click.echo(f"tagcorpus: {_printable(error)}", err=True)
        sys.exit(error.exit_code)


main = DeclaredGroup(
    (),
    "Tag corpora and model generations at scale.",
    epilog="Begin with: tagcorpus run tag --input CORPUS.jsonl. Each command has a --help of its own.",
)
click.version_option(package_name="tagcorpus")(main)


if __name__ == "__main__":
    main()

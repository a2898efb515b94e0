"""Pages made from the declarations: the YAML of `tagcorpus config`, docs/options.md, and the signatures in keywords.py."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tagcorpus.pipelines.options.declaring.common import SETTINGS, Options
from tagcorpus.pipelines.options.declaring.declare import GROUPS, REQUIRED, Option, fields_of, options_of
from tagcorpus.pipelines.options.python_words import in_python
from tagcorpus.pipelines.options.tree import COMMANDS, OPTIONS
from tagcorpus.pipelines.storage.storage_options import shown
from tagcorpus.taggers import own_names

WIDTH = 100


def to_yaml(options: Options, instances: Mapping[str, Mapping[str, Any]]) -> str:
    """The options as YAML with their help as comments, and every parameter of the instances in use."""
    lines: list[str] = []
    ordered = sorted(fields_of(type(options)), key=lambda o: GROUPS.index(o.declaration.group))
    for group, members in itertools.groupby(ordered, key=lambda o: o.declaration.group):
        lines += ["", f"# ---- {group}"] if lines else [f"# ---- {group}"]
        for name, under in itertools.groupby(members, key=lambda o: o.key.rpartition(".")[0]):
            indent = "  " if name else ""
            lines += [f"{name}:"] if name else []
            owner = getattr(options, name) if name else options
            for o in under:
                lines += textwrap.wrap(
                    in_words_of_keys(o), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
                )
                key = o.key.rpartition(".")[2]
                value = getattr(owner, key)
                lines.append(
                    textwrap.indent(_dumped({key: shown(value) if key == "storage_options" else value}), indent)
                )
    for instance, parameters in instances.items():
        lines += ["", f"# ---- Parameters of {instance}", _dumped({instance: dict(parameters)})]
    return "\n".join(lines)


def in_words_of_keys(o: Option) -> str:
    """An option's help for those who write a value, not flags."""
    kind = "a mapping" if isinstance(o.default, dict) else "a list"
    text = in_python(o.declaration.text.replace("--set ", "")).replace(
        "Several: after one flag, or repeat the flag.", "Several: a list."
    )
    return re.sub(r"\brepeatable\b", kind, text)


def _dumped(value: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True)).rstrip("\n")


def options_page() -> str:
    """docs/options.md: a table of options for each command."""
    lines = [
        "# Options",
        "",
        "Each table is made from the declarations in `pipelines/options/`. A key is set by its flag, by `--set KEY=VALUE`, or in",
        "the YAML file of `--config`; a flag wins over `--set`, and `--set` wins over the file. Every flag also accepts",
        "underscores (`--text_column`). `tagcorpus config PIPELINE` prints all keys with their values.",
        "",
        "## Every pipeline",
        "",
        *_table([*options_of(Options), *SETTINGS], with_keys=True),
    ]
    common = {(o.key, o.flags) for o in fields_of(Options)}
    for command in COMMANDS:
        own = [o for o in options_of(command.options) if (o.key, o.flags) not in common or not command.pipeline]
        positionals = [o.metavar for o in own if o.declaration.is_positional]
        lines += [
            "",
            f"## {' '.join(['tagcorpus', *command.words, *positionals])}",
            "",
            _as_text(inspect.cleandoc(command.options.__doc__ or "")),
        ]
        if rows := [o for o in own if not o.declaration.is_positional]:
            lines += ["", *_table(rows, with_keys=bool(command.pipeline))]
    return "\n".join(lines) + "\n"


def _table(options: list[Option], *, with_keys: bool) -> list[str]:
    header = ["flag", *["key"] * with_keys, "default", "meaning"]
    rows = [header, ["---"] * len(header)]
    for o in options:
        flags = ", ".join(f"`{f}`" for f in o.flags)
        value = "" if o.kind is bool or o.constant is not REQUIRED else f" {'|'.join(o.choices) or o.metavar}"
        flags = f"{flags[:-1]}{value}`" if flags else ""
        is_setting = o in SETTINGS
        keys = [f"`{o.key}`" if not is_setting else ""] * with_keys
        rows.append([flags, *keys, _default(o), _as_text(o.declaration.text)])
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _as_text(text: str) -> str:
    """Markdown would take `<org>` for a tag, and leave it out."""
    return text.replace("<", "&lt;")


def _default(o: Option) -> str:
    if o.constant is not REQUIRED or o.default is None or o.default in ({}, []):
        return ""
    if o.default is REQUIRED:
        return "required"
    if o.default is True and o.kind is not bool:
        return "`true`"
    if isinstance(o.default, bool):
        return "on" if o.default else "off"
    text = ",".join(o.default) if isinstance(o.default, list) else str(o.default)
    return f"`{text}`" if text else ""


def keywords_module() -> str:
    """keywords.py: the keyword arguments of `tagcorpus.run`, a TypedDict for each pipeline."""
    lines = [
        '"""Keyword arguments of `tagcorpus.run`, for type checkers and editors. Made from the declarations: a test compares."""',
        "",
        "from __future__ import annotations",
        "",
        "import os",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, Literal, TypedDict",
        "",
        "Path = str | os.PathLike[str]",
        "",
    ]
    section_classes = {
        name: hint for name, hint in typing.get_type_hints(Options).items() if dataclasses.is_dataclass(hint)
    }
    for name, cls in section_classes.items():
        lines += _typed_dict(f"{name.title()}Keywords", "TypedDict", cls, fields_of(typing.cast(type[Any], cls)))
    common = [o for o in fields_of(Options) if "." not in o.key]
    lines += _typed_dict("Keywords", "TypedDict", Options, common)
    for name in section_classes:
        lines += [f"    {name}: {name.title()}Keywords"]
    lines += [f"    {tagger}: Mapping[str, Any]" for tagger in own_names()]
    lines += [
        "    parameters: Mapping[str, Mapping[str, Any]]",
        '    """Parameters of tagger instances, by instance name."""',
        "",
    ]
    for pipeline, pipeline_cls in OPTIONS.items():
        inherited = {o.key for o in fields_of(Options)}
        own = [o for o in fields_of(pipeline_cls) if o.key not in inherited]
        lines += _typed_dict(f"{pipeline.title()}Keywords", "Keywords", pipeline_cls, own)
    return "\n".join(lines).rstrip("\n") + "\n"


def _typed_dict(name: str, base: str, cls: Any, options: tuple[Option, ...] | list[Option]) -> Iterator[str]:
    yield from ["", f"class {name}({base}, total=False):", f'    """{cls.__doc__}"""', ""]
    for o in options:
        yield f"    {o.key}: {_annotation(o)}"
        text = in_words_of_keys(o).replace("\\", "\\\\").replace('"', "'")
        yield from textwrap.wrap(f'"""{text}"""', WIDTH, initial_indent="    ", subsequent_indent="    ")
        for old_name in o.declaration.old_names:
            yield f"    {old_name}: {_annotation(o)}"
            yield f'    """Old name of {o.key}."""'
    yield ""


def _annotation(o: Option) -> str:
    null = " | None" if o.hint != o.kind else ""
    if typing.get_origin(o.kind) is Literal:
        return f"Literal[{', '.join(repr(c).replace(chr(39), chr(34)) for c in o.choices)}]{null}"
    if o.kind == list[str]:
        return "Path | Sequence[Path]" if o.declaration.is_path else "str | Sequence[str]"
    if typing.get_origin(o.kind) is dict:
        return "Mapping[str, Any]"
    return ("Path" if o.declaration.is_path else o.kind.__name__) + null

"""Effective options of a pipeline: declared defaults < --config FILE < --set KEY=VALUE < flag, checked key by key."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.declaring.amounts import amount
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.declaring.declare import Option, fields_of
from tagcorpus.pipelines.options.places import check_place
from tagcorpus.pipelines.options.tagger_names import tagger_of
from tagcorpus.pipelines.options.tree import OPTIONS
from tagcorpus.pipelines.storage import storage_options
from tagcorpus.taggers import add_files, fits, load, names, tagger_class, type_text


def load_options(
    pipeline: str,
    config: str | None = None,
    sets: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    *,
    are_keywords: bool = False,
) -> Options:
    """The effective options. Raises ConfigError naming the key and its source.

    options       values by dotted key, from flags
    are_keywords  they are keyword arguments of Python instead, and named so
    """
    if pipeline not in OPTIONS:
        raise ConfigError(unknown_name("pipeline", pipeline, OPTIONS, "PIPELINE"))
    values = _Values(OPTIONS[pipeline])
    if config is not None:
        values.merge(_user_yaml(config), config)
    given = options or {}
    # Plain keys first: `taggers` says whose parameters those of a section are.
    for assignment in sorted(sets, key=lambda a: "." in a.partition("=")[0]):
        name, separator, text = assignment.partition("=")
        key = values.new_names.get(name.strip(), name)
        if not separator:
            raise ConfigError(f"--set takes KEY=VALUE, got {assignment!r}")
        if "." in key:  # it may be a parameter of theirs
            add_files(given.get("tagger_module") or values.plain["tagger_module"])
        entries = given.get("taggers") or values.plain.get("taggers") or []
        values.merge(_nested(key.strip(), values.from_text(key.strip(), text, entries)), f"--set {key}")
    for name, value in given.items():
        key = values.new_names.get(name, name)
        flag = f"--{key.rpartition('.')[2].replace('_', '-')}"
        values.merge(_nested(key, value), key if are_keywords else flag)
    add_files(values.plain["tagger_module"])
    return values.checked(pipeline)


SHOWN_CHARACTERS = 200


class _Values:
    """Values of all keys while the sources are merged.

    plain       options by key
    sections    options of a section, by section and key
    parameters  parameters of tagger instances, by instance
    """

    def __init__(self, cls: type[Options]) -> None:
        self.cls = cls
        self.known = {o.key: o for o in fields_of(cls)}
        self.new_names = {old: o.key for o in self.known.values() for old in o.declaration.old_names}
        hints = typing.get_type_hints(cls)
        self.section_classes: dict[str, Any] = {k: h for k, h in hints.items() if dataclasses.is_dataclass(h)}
        self.plain: dict[str, Any] = {o.key: _copy(o.default) for o in self.known.values() if "." not in o.key}
        self.sections: dict[str, dict[str, Any]] = {k: {} for k in self.section_classes}
        self.parameters: dict[str, dict[str, Any]] = {k: dict(v) for k, v in cls.PARAMETERS.items()}
        self.sources: dict[str, str] = {}  # by key, where its value comes from

    def merge(self, new: Any, where: str) -> None:
        """Take over what a source gives. Raises ConfigError for an unknown key and for a value of the wrong type."""
        if not isinstance(new, dict):
            raise ConfigError(f"{where}: must be a mapping of keys to values, got {type(new).__name__}")
        for name, value in new.items():
            key = str(self.new_names.get(name, name))
            if key != name and key in new:
                raise ConfigError(f"{where}: {name} is the old name of {key}. Give only {key}")
            if key == "parameters":
                self.merge(value, where)
            elif key == "storage_options":
                self.plain[key] = storage_options.merged(self.plain[key], _storage_options(value, where))
            elif key in self.section_classes:
                self._merge_section(key, value, where)
            elif isinstance(value, dict):
                if key in self.known:
                    _fitting(self.known[key], value, where)
                self.parameters[key] = {**self.parameters.get(key, {}), **value}
            elif key not in self.known:
                if key in self.parameters or key in names():
                    raise ConfigError(f"{where}: {key} takes a mapping of its parameters, got {value!r}")
                raise ConfigError(_unknown_key(str(key), [k for k in self.known if "." not in k], where))
            else:
                self.plain[key] = _fitting(self.known[key], value, where)
                self.sources[key] = where

    def _merge_section(self, section: str, new: Any, where: str) -> None:
        if not isinstance(new, dict):
            raise ConfigError(f"{where} ({section}): must be a mapping of keys to values, got {type(new).__name__}")
        for key, value in new.items():
            option = self.known.get(f"{section}.{key}")
            if option is None:
                known = [k.partition(".")[2] for k in self.known if k.startswith(f"{section}.")]
                raise ConfigError(unknown_name("key", key, known, f"{where} ({section})"))
            self.sections[section][key] = _fitting(option, value, where)
            self.sources[option.key] = where

    def from_text(self, key: str, text: str, entries: Sequence[str]) -> Any:
        """The value that `--set KEY=TEXT` means."""
        first, _, rest = key.partition(".")
        if first == "storage_options" and rest:
            return storage_options.scalar(rest, text)
        if (name := self.new_names.get(key, key)) in self.known:
            return _from_text(text, self.known[name].hint)
        if not rest or first in self.section_classes:
            return _from_text(text, None)
        try:
            return _from_text(text, typing.get_type_hints(tagger_class(tagger_of(first, entries))).get(rest))
        except ConfigError:
            return _from_text(text, None)  # told when the taggers are built

    def checked(self, pipeline: str) -> Options:
        """The options. Raises ConfigError for values out of bounds, and for options that contradict each other."""
        if self.cls is FeaturesOptions:
            self._of_features()
        for option in self.known.values():
            section, _, key = option.key.rpartition(".")
            value = self.sections[section].get(key, option.default) if section else self.plain[key]
            place = _at(self.sources.get(option.key, option.key), option.key)
            if (refusal := option.declaration.refusal(place, value)) is not None:
                raise ConfigError(refusal)
        plain = self.plain
        if plain["num_gpus"] > 1 and plain["num_gpus"] % 1:
            raise ConfigError(f"num_gpus above 1 must be a whole number, got {plain['num_gpus']}")
        if "" in plain["input"]:
            raise ConfigError("--input is empty (a shell variable that is not set?); the folder that you are in is .")
        try:
            check_place("output", plain["output"], self.cls.RESULT_SUFFIXES)
        except ConfigError as error:
            raise (
                ConfigError(f"{error}; the kept rows go to DIR/filtered/") if pipeline == "filter" else error
            ) from None
        check_place("work", plain["work"])
        sections: dict[str, Any] = {name: cls(**self.sections[name]) for name, cls in self.section_classes.items()}
        return self.cls(**plain, **sections, parameters=self.parameters)

    def _of_features(self) -> None:
        """Move keys out of the sections of taggers, and put the files of `models` in the place of `input`."""
        for section, keys in FeaturesOptions.IN_SECTIONS.items():
            parameters = self.parameters.get(section, {})
            moved = {key: parameters.pop(name) for name, key in keys.items() if name in parameters}
            self.merge(moved, f"section {section}")
            if not parameters:
                self.parameters.pop(section, None)
        if self.plain["models"] is not None:
            from tagcorpus.pipelines.options.models_file import read_models

            listed = read_models(self.plain["models"])
            if self.plain["input"] and self.plain["input"] != listed:
                raise ConfigError("--models FILE says which files there are; it does not go with --input")
            self.plain["input"] = listed


def check_sections(options: Options, instances: Mapping[str, str]) -> None:
    """Every mapping of parameters must belong to an instance in use."""
    for section in options.parameters:
        if section not in instances:
            raise ConfigError(
                unknown_name("section or instance", section, instances, f"--set {section}.…")
                + "; its tagger is not in use"
            )


def parameters_of(instance: str, tagger: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of an instance, defaults included (checked by building the tagger)."""
    load(tagger, given, instance)
    fields = dataclasses.fields(tagger_class(tagger))
    return {f.name: given.get(f.name, f.default) for f in fields}


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict) else value


def _fitting(option: Option, value: Any, where: str) -> Any:
    """The value. Raises ConfigError where it is not of the option's type."""
    if option.declaration.unit is not None and isinstance(value, str | float):
        value = amount(
            f"{value:.17g}" if isinstance(value, float) else value, option.declaration.unit, _at(where, option.key)
        )
    if fits(value, option.hint):
        return value
    if option.choices and isinstance(value, str):
        raise ConfigError(unknown_name(option.key, value, option.choices, where))
    is_data = option.key == "input" and not isinstance(value, str | int | float | None)
    hint = ". For a table or texts in memory there is tagcorpus.tag" if is_data else ""
    raise ConfigError(f"{_at(where, option.key)} must be {type_text(option.hint)}, got {_shown(value)}{hint}")


def _at(where: str, key: str) -> str:
    """A key with its source, where that does not name it already."""
    if where.startswith(f"{key}."):
        return key
    is_named = where in (key, f"--set {key}", f"--{key.rpartition('.')[2].replace('_', '-')}")
    return where if is_named else f"{where}: {key}"


def _shown(value: Any) -> str:
    """A value in a message: what is short as it is, all else by its type."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple) and not all(isinstance(v, str | int | float | None) for v in value):
        return f"a {type(value).__name__} of {', '.join(dict.fromkeys(type(v).__name__ for v in value))}"
    if not isinstance(value, str | int | float | list | tuple | bytes | None):
        module = type(value).__module__.partition(".")[0]
        return f"a value of type {'' if module == 'builtins' else f'{module}.'}{type(value).__name__}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _unknown_key(key: str, known: Iterable[str], where: str) -> str:
    """The sentence for an unknown key; a parameter without its tagger's name is shown with it."""
    owners = []
    for tagger in names():
        with contextlib.suppress(Exception):  # of a broken plug-in; it says so where it is used
            owners += [tagger] if key in {f.name for f in dataclasses.fields(tagger_class(tagger))} else []
    if owners and not difflib.get_close_matches(key, known, cutoff=0.8):
        return f"unknown key {key!r} ({where}): it is a parameter, given as {' or '.join(f'{t}.{key}' for t in owners)}"
    return unknown_name("key", key, known, where)


def _storage_options(value: Any, where: str) -> dict[str, Any]:
    """A mapping, of which dotted names nest, or the K=V entries of the command line."""
    if isinstance(value, Mapping):
        return storage_options.nested(value)
    if value is None:
        return {}
    if not fits(value, list[str]):  # not shown: it may be a secret
        raise ConfigError(f"{where}: storage_options must be a mapping of names to values, got {type(value).__name__}")
    return storage_options.parsed(value)


def _user_yaml(path: str) -> Any:
    import yaml

    from tagcorpus.taggers._interface.unique_keys import UniqueKeyLoader

    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, UniqueKeyLoader) or {}  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not YAML: {' '.join(str(error).split())}") from error


def _from_text(text: str, hint: Any) -> Any:
    """The value that --set gives. Text stays as it was typed where text is declared (quotes around it are YAML's); all else is
    YAML. A list of texts may also be given without brackets, between commas."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    kinds = set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}
    if value is None and type(None) in kinds:
        return None
    if typing.get_origin(hint) is typing.Literal:
        return text if text in typing.get_args(hint) else value
    if kinds <= {str, type(None)}:
        return value if isinstance(value, str) and text.lstrip()[:1] in ("'", '"') else text
    if kinds <= {list[str], type(None)}:
        try:
            entries = yaml.load(text, yaml.BaseLoader)  # takes every scalar as text
        except yaml.YAMLError:
            entries = None
        if fits(entries, list[str]):
            return entries
        return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",") if part.strip()]
    return value


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, separator, rest = key.partition(".")
    return {first: {rest: value}} if separator else {first: value}

"""Options of object stores: entries K=V as mappings, and what of them may be shown.

Values are never shown: messages, ledgers and logs have the names of the options only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError

SECRET = re.compile(
    r"key|secret|token|password|passphrase|credential|signature|connection_string|auth|cookie|header", re.I
)
# gcsfs's words for ways to log in; none of them opens anything by itself.
NO_SECRETS = ("anon", "google_default", "cloud", "cache", "browser")
TEXTS = ("profile", "username", "project", "account_name", "endpoint_url", "region_name")


def parsed(entries: Sequence[str]) -> dict[str, Any]:
    """`K=V` entries as a mapping. Raises ConfigError for one without `=`."""
    flat: dict[str, Any] = {}
    for entry in entries:
        name, separator, text = entry.partition("=")
        if not separator or not name.strip():
            # Not shown: it may be a secret.
            raise ConfigError(
                "--storage-options takes K=V (endpoint_url=http://..., profile=NAME); one is without its ="
            )
        flat[name.strip()] = scalar(name.strip(), text)
    return nested(flat)


def scalar(name: str, text: str) -> Any:
    """What is typed for an option: a YAML truth value, number or null, else text; secrets and names stay as typed."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    is_quoted = isinstance(value, str) and text.lstrip()[:1] in ("'", '"')
    leaf = name.rpartition(".")[2]
    if is_quoted or (isinstance(value, bool | int | float | None) and not SECRET.search(leaf) and leaf not in TEXTS):
        return value
    return text


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as mappings within mappings."""
    tree: dict[str, Any] = {}
    for name, value in options.items():
        first, separator, rest = str(name).partition(".")
        new = nested({rest: value}) if separator else nested(value) if isinstance(value, Mapping) else value
        tree[first] = merged(tree[first], new) if isinstance(tree.get(first), dict) and isinstance(new, dict) else new
    return tree


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, `above` counting where they differ, down to the last level."""
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _leaves(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def names(options: Mapping[str, Any]) -> list[str]:
    """Dotted names: all of them that may be written down."""
    return [name for name, _ in _leaves(options)]


def secrets(options: Mapping[str, Any]) -> list[str]:
    """Names of the options that look like secrets, or hold one in a URL."""
    return [
        name
        for name, value in _leaves(options)
        if (SECRET.search(name) and value not in NO_SECRETS) or re.search(r"//[^/]*@", str(value))
    ]


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what looks like a secret taken out."""
    hidden = set(secrets(options))
    return nested({name: "(not shown)" if name in hidden else value for name, value in _leaves(options)})


def command_shown(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments without the values of storage options."""
    words: list[str] = []
    for argument in arguments:
        before = words[-1].replace("_", "-") if words else ""
        dashed = argument.replace("_", "-")
        is_value = before == "--storage-options" or (before == "--set" and dashed.startswith("storage-options"))
        if is_value:
            words.append(f"{argument.partition('=')[0]}=..." if "=" in argument else "...")
        elif dashed.startswith(("--storage-options=", "--set=storage-options")):
            name, value = argument.split("=", 1)
            words.append(f"{name}={value.partition('=')[0]}=...")
        else:
            words.append(argument)
    return words


def refuse_on_slurm(options: Mapping[str, Any], output: str) -> None:
    """Raise ConfigError for what cannot reach the tasks of a job array without lying on a shared disk."""
    if secret_names := secrets(options):
        raise ConfigError(
            f"--storage-options {', '.join(secret_names)} with --executor slurm: a secret would be written to the shared folder of "
            "the job. Set it in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; sbatch hands it on), or "
            "name a profile that all nodes have (AWS_PROFILE, --storage-options profile=NAME)"
        )
    if options and "://" in output:
        raise ConfigError(
            f"--storage-options {', '.join(names(options))} with --executor slurm and the output {output}: the tasks look there "
            "for what they are to do before they know any option. Set them in the environment, which sbatch hands on: "
            "AWS_ENDPOINT_URL, AWS_PROFILE, AWS_DEFAULT_REGION; anything else as FSSPEC_S3_<OPTION>=VALUE"
        )

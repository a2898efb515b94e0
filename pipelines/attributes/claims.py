"""Claims: which tagger and parameters the name of an instance means in an output."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, sealed


def claim(output: Folder, instances: Iterable[Instance], *, is_forced: bool = False) -> None:
    """Record the tagger and the parameters of each instance name in this output.

    Raises ConfigError where the name has other parameters. With `is_forced` the name gets these parameters, and parts of
    the others are stale until the run replaces them.
    """
    for instance in instances:
        if is_forced or not is_claimed(output, instance) or _is_chosen_anew(output, instance):
            output.publish(_claim_name(instance), sealed(_claim(instance)))


def release(output: Folder, instances: Iterable[Instance]) -> None:
    """Remove the claims of instances without parts. A run that is refused at its first call (a wrong key, say) then
    does not bind the next run to its parameters."""
    for instance in instances:
        if not any(n.endswith(".parquet") for n in output.files(f"attributes/{instance.name}")):
            output.remove(_claim_name(instance))


def is_claimed(output: Folder, instance: Instance) -> bool:
    """Whether the name has this tagger and these parameters. Raises ConfigError where the parameters differ."""
    stored = _stored_claim(output, instance)
    identity = json.loads(json.dumps(instance.identity()))
    if stored is None or _is_other_version(stored, identity):
        return False
    if {k: stored.get(k) for k in identity} != identity:
        raise ConfigError(
            f"{output} already holds {instance.name!r} made by {_description(stored)}; now it is to be {_description(identity)}. "
            f"Give it a name of its own (--taggers NAME={instance.tagger_name}, --set NAME.parameter=value), "
            "or redo it with --overwrite"
        )
    return True


def changed_versions(output: Folder, instances: Iterable[Instance]) -> list[str]:
    """Lines like `language: version 1, now 2`, for instances whose parts were made by another version of their tagger."""
    stored = ((i, _stored_claim(output, i)) for i in instances)
    versions = ((i.name, claim["version"], i.identity()["version"]) for i, claim in stored if claim)
    return [f"{name}: version {before}, now {now}" for name, before, now in versions if before != now]


def _claim_name(instance: Instance) -> str:
    return f"attributes/{instance.name}/tagger.json"


def _claim(instance: Instance) -> dict[str, Any]:
    columns = [
        {"name": f.name, "type": str(f.type), **{k.decode(): v.decode() for k, v in (f.metadata or {}).items()}}
        for f in instance.tagger.columns
    ]
    return {**instance.identity(), **({"chosen": dict(instance.chosen)} if instance.chosen else {}), "columns": columns}


def _is_chosen_anew(output: Folder, instance: Instance) -> bool:
    stored = _stored_claim(output, instance)
    return bool(instance.chosen) and (stored or {}).get("chosen") != instance.chosen


def _stored_claim(output: Folder, instance: Instance) -> dict[str, Any] | None:
    """The recorded claim; None where the file is missing or damaged. A damaged claim can be written again without loss:
    every part has its own key."""
    claim = opened(output.read(_claim_name(instance))) or {}
    is_whole = {"tagger", "version"} <= claim.keys() and isinstance(claim.get("parameters"), dict)
    return claim if is_whole else None


def _is_other_version(stored: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Another version of the same tagger with the same parameters, as far as both versions have them."""
    if stored["version"] == identity["version"] or stored["tagger"] != identity["tagger"]:
        return False
    before, now = stored["parameters"], identity["parameters"]
    return all(before[k] == now[k] for k in before.keys() & now.keys())


def _description(identity: dict[str, Any]) -> str:
    parameters = ", ".join(f"{k}={v!r}" for k, v in sorted(identity["parameters"].items()))
    return f"{identity['tagger']}({parameters})"

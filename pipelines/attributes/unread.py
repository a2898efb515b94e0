"""`unread/<instance>/<file>/part-*.json`: how much of a chunk's documents a tagger did not read, where that is anything.

Taggers that read only windows of long documents have `bytes_read`. The receipt is published before its part, and is not in the
part, whose bytes depend on its columns alone. A part without a receipt was read whole, or an earlier version made it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.pipelines.attributes.parts import Instance, keys_of, unread_name
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import proven, sealed
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import BEGIN

WORTH_A_HINT = 0.1
"""Share of the bytes that is left unread without a word."""


@dataclass
class Unread:
    """Documents of which a part was read, and what was not.

    documents         of which the tagger read only a part
    bytes_of_documents, bytes_unread   of these documents: all bytes, and those that were not read
    """

    documents: int = 0
    bytes_of_documents: int = 0
    bytes_unread: int = 0

    def add(self, other: Unread) -> None:
        for f in dataclasses.fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


def unread_of(tagger: Any, batch: DocumentBatch) -> Unread | None:
    """What the tagger does not read of a batch; None for a tagger that does not say."""
    read = tagger.bytes_read(batch) if hasattr(tagger, "bytes_read") else None
    if read is None:
        return None
    sizes = np.diff(batch.utf8[1])
    is_part = read < sizes
    return Unread(int(is_part.sum()), int(sizes[is_part].sum()), int((sizes - read)[is_part].sum()))


def publish_unread(output: Folder, name: str, key: str, unread: Unread) -> None:
    """Publish the receipt of the part with this key; where everything was read, remove that of an earlier part."""
    if unread.documents:
        output.publish(name, sealed({"key": key, **dataclasses.asdict(unread)}))
    elif output.exists(name):
        output.remove(name)


def unread_in(output: Folder, plan: Plan, instance: Instance) -> Unread:
    """The sum over an instance's parts."""
    total = Unread()
    published = set(output.files(f"unread/{instance.name}")) if hasattr(instance.tagger, "bytes_read") else set()
    for planned, k in plan.chunks if published else ():
        name = unread_name(instance.name, planned.file.name, k)
        value = (proven(output.read(name)) if name in published else None) or {}
        if value.get("key") in keys_of(planned, k, instance):
            total.add(Unread(**{f.name: value[f.name] for f in dataclasses.fields(Unread)}))
    return total


def described(unread: Unread, documents: int, text_bytes: int, instance: Instance) -> dict[str, Any]:
    """The entry of a summary. documents, text_bytes: of the whole plan."""
    windows = getattr(instance.tagger, "windows", None)
    return {
        **({"windows": windows} if windows else {}),
        "documents_in_part": unread.documents,
        "share_of_documents": unread.documents / documents if documents else None,
        "bytes_of_documents_in_part": unread.bytes_of_documents,
        "bytes_unread": unread.bytes_unread,
        "share_of_bytes_unread": unread.bytes_unread / text_bytes if text_bytes else None,
    }


def in_words(name: str, part: Mapping[str, Any]) -> str:
    """A sentence on the entry of an instance in a summary."""
    n = part["documents_in_part"]
    return (
        f"{name} read {counted(n, 'document')} in part ({100 * part['share_of_documents']:.1f} %), and left "
        f"{100 * part['share_of_bytes_unread']:.1f} % of all bytes unread"
    )


def hints(instances: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """One sentence that names the settings by which more would be read; none where little was left unread."""
    shares = {
        name: value["read_in_part"]["share_of_bytes_unread"] or 0.0
        for name, value in instances
        if value.get("read_in_part", {}).get("windows") == BEGIN
    }
    large = {name: share for name, share in shares.items() if share > WORTH_A_HINT}
    if not large:
        return []
    amounts = " and ".join(f"{name} left {100 * share:.0f} % of the bytes unread" for name, share in large.items())
    settings = " ".join(f"--set {name}.windows=begin,middle,end" for name in large)
    return [f"{amounts}: {settings} reads three places of long documents"]

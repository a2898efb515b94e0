"""Branches of the Hugging Face Hub, pinned: an input is read at one commit, by every worker and every later run of its output.

A branch can move at any time. Therefore the first run asks the Hub once which commit the branch is at, and puts the commit into the
path of every file. The plan keeps these paths with the name of the branch. Later runs of this output take the commit from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tagcorpus.errors import InputError, TagcorpusError
from tagcorpus.pipelines.inputs.discover import label_and_path
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.storage import hub, remote


def planned_commits(files: Iterable[InputFile]) -> dict[tuple[str, str], str]:
    """Commits of the files of a plan, by (URL of the repository, branch or tag)."""
    addresses = ((hub.address_of(file.path), file.revision) for file in files if file.revision)
    return {(address.root, revision): address.revision for address, revision in addresses}


def is_superseded(file: InputFile, current: Mapping[tuple[str, str], str]) -> bool:
    """Whether a planned file is of a commit that its branch no longer means. current: as `planned_commits`, of this run."""
    if not file.revision:
        return False
    address = hub.address_of(file.path)
    return current.get((address.root, file.revision), address.revision) != address.revision


class Commits:
    """The commits at which a run reads repositories of the Hub.

    planned  commits of the plan that the run goes on with
    notes    lines for the user: which commit is read, and which branches have moved
    """

    def __init__(self, planned: Mapping[tuple[str, str], str]) -> None:
        self._planned = planned
        self._commits: dict[tuple[str, str], str] = {}
        self.notes: list[str] = []

    def pinned(self, arguments: Sequence[str]) -> list[str]:
        """`--input` arguments with a commit in every URL of the Hub. Raises InputError, ConfigError and IncompleteError if the Hub does
        not say which commit that is."""
        pinned = []
        for argument in arguments:
            path = label_and_path(argument)[1]
            at_commit = self._pinned(hub.address_of(path)) if hub.is_on_hub(path) else path
            pinned.append(argument.removesuffix(path) + at_commit)
        return pinned

    def named(self, files: Sequence[InputFile]) -> list[InputFile]:
        """The files with the branch or tag that their commit was pinned from."""
        revisions = {(root, commit): revision for (root, revision), commit in self._commits.items()}
        return [
            replace(file, revision=revisions.get((address.root, address.revision), ""))
            if hub.is_on_hub(file.path) and (address := hub.address_of(file.path))
            else file
            for file in files
        ]

    def _pinned(self, address: hub.Address) -> str:
        if address.is_pinned:
            return address.at(address.revision)
        key = (address.root, address.revision)
        if key not in self._commits:
            self._commits[key] = self._commit(address)
        return address.at(self._commits[key])

    def _commit(self, address: hub.Address) -> str:
        planned = self._planned.get((address.root, address.revision))
        if planned is None:
            commit = current_commit(address)
            self.notes.append(f"{address.root}: {address.revision} is read at commit {commit}")
            return commit
        try:
            commit = current_commit(address)
        except TagcorpusError:
            return planned  # the branch may be gone; what is planned is read at its commit
        if commit != planned:
            self.notes.append(
                f"{address.root}: {address.revision} has moved to commit {commit}. This run continues with the planned commit {planned}; "
                "a new --output, or --overwrite, reads the new one"
            )
        return planned


def current_commit(address: hub.Address) -> str:
    """The commit of a branch or tag, by one request."""
    from huggingface_hub import HfApi

    options = remote.in_use()
    api = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
    url = address.at(address.revision)
    about = remote.call_store(
        lambda: api.repo_info(
            address.repository, repo_type=address.kind, revision=address.revision, timeout=remote.CONNECT_SECONDS
        ),
        url,
        "read",
        InputError,
    )
    if not about.sha or not hub.COMMIT.fullmatch(about.sha):
        raise InputError(f"{url} could not be read: the Hub names no commit for {address.revision!r}")
    return about.sha

"""A pack to the Hub: one commit with all of the model, and a tag that says which it was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from ecgvision import __version__
from ecgvision.errors import UsageError
from ecgvision.zoo.entry import Entry, HubPlace
from ecgvision.zoo.errors import HubError, hub_errors
from ecgvision.zoo.hub import Hub
from ecgvision.zoo.packing import ROLES, Pack

# The Hub writes this one itself.
_THEIRS = {".gitattributes"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What has gone up: `entry` is ready for a `model.toml`."""

    url: str
    commit: str
    tag: str
    private: bool
    entry: Entry


def push(hub: Hub, pack: Pack, repository: str, *, private: bool = False, tag: str = "") -> Pushed:
    """Make the repository where there is none, commit the files, and tag the commit.

    Without `tag` it is the next free one of v1, v2 and so on. Raises `UsageError` for a tag that
    is taken and for a public repository where a private one was asked for, before anything goes
    up; `HubError`.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"--repo {repository!r}: expected OWNER/NAME, letters, digits and .-_")
    if tag and not _TAG.fullmatch(tag):
        raise UsageError(f"--tag {tag!r}: expected letters, digits and .-_")
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set: nothing can go up; unset it", "hub-offline")
    hub.reach()
    api = HfApi(hub.endpoint, library_name="ecgvision", library_version=__version__)
    with hub_errors(hub.endpoint, hub.cache, repository):
        url = str(api.create_repo(repository, private=private or None, exist_ok=True))
        info = api.model_info(repository)
        taken = {ref.name for ref in api.list_repo_refs(repository).tags}
    tag = tag or _next(taken)
    present = {one.rfilename for one in info.siblings or ()}
    _check(repository, info, present, private=private, tag=tag, taken=taken)
    with hub_errors(hub.endpoint, hub.cache, repository):
        commit = str(
            api.create_commit(
                repository,
                _operations(pack, present),
                commit_message=f"{pack.entry.title}, {tag}",
                parent_commit=info.sha,
            ).oid
        )
    with hub_errors(
        hub.endpoint,
        hub.cache,
        f"{repository}: the files are up as {commit}, but have no tag {tag}",
    ):
        api.create_tag(repository, tag=tag, revision=commit)
    entry = _published(pack, HubPlace(repository=repository, revision=commit, tag=tag))
    return Pushed(url, commit, tag, bool(info.private), entry)


def _check(
    repository: str, info: Any, present: set[str], *, private: bool, tag: str, taken: set[str]
) -> None:
    if private and not info.private:
        raise UsageError(
            f"{repository} is there already, and public: --private would not hold; make it private "
            "on its settings page first, or name another"
        )
    if tag in taken:
        raise UsageError(
            f"{repository} has a tag {tag!r} already; tags are never moved: name another"
        )
    foreign = sorted(present - set(ROLES) - _THEIRS)
    if foreign:
        raise HubError(
            f"{repository} holds files that no push of ours wrote: {', '.join(foreign[:3])}; name "
            "a repository of its own",
            "hub-foreign-files",
        )


def _operations(pack: Pack, present: set[str]) -> list[Any]:
    """All files anew; what an earlier version had and this one has not goes."""
    gone = sorted(present & set(ROLES) - set(pack.files))
    return [
        *(CommitOperationAdd(name, data) for name, data in pack.files.items()),
        *(CommitOperationDelete(name) for name in gone),
    ]


def _next(taken: set[str]) -> str:
    """The next free one of v1, v2 and so on.

    >>> _next({"v1", "v7", "vx", "draft"})
    'v8'
    """
    numbers = [int(name[1:]) for name in taken if re.fullmatch(r"v[0-9]{1,6}", name)]
    return f"v{max(numbers, default=0) + 1}"


def _published(pack: Pack, place: HubPlace) -> Entry:
    told = pack.entry.model_dump()
    told |= {"status": "available", "reason": "", "hub": place, "files": pack.listed}
    return Entry.model_validate(told)

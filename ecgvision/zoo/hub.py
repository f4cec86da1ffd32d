"""The Hub: files fetched at one commit into the Hub's own cache, and checked by ourselves.

The client takes a file of the right size for the right one; here size and SHA-256 must be those of
the catalogue, whatever cache, mirror or server they come from. `HF_ENDPOINT`, `HF_HOME`,
`HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_HUB_DISABLE_XET` mean what they mean to the client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, get_session, try_to_load_from_cache
from huggingface_hub.errors import HTTPError

from ecgvision import __version__
from ecgvision.zoo.entry import Entry, HubPlace, ModelFile
from ecgvision.zoo.errors import HubError, hub_errors, offline, unreachable
from ecgvision.zoo.files import Checked, difference

# An endpoint that answers nothing within these is taken for dead: the client alone would try for
# half a minute.
_ANSWER_S = 4.0
# Looking up its name has no limit of its own.
_LOOK_UP_S = 0.5
# A line that broke is taken up again: clients of 2.x do so within a call, those of 1.x in the next.
_TRIES = 3
_BROKEN = ("ReadError", "RemoteProtocolError")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Hub:
    """A Hub's address, and the folder that keeps what was fetched."""

    endpoint: str
    cache: Path

    @classmethod
    def default(cls) -> Hub:
        """As the environment says."""
        return cls(constants.ENDPOINT, Path(constants.HF_HUB_CACHE))

    # --- pulling ------------------------------------------------------------------------------

    def pull(
        self, entry: Entry, revision: str = "", say: Say = lambda text: None
    ) -> dict[str, Path]:
        """The model's files by name, fetched where the cache has none that is intact.

        What is cached and intact costs no request. `revision` is another commit, branch or tag
        than the entry's; its files must still be the entry's. A file that is not as it must be is
        removed from the cache. Raises `HubError`.
        """
        place = place_of(entry)
        revision = revision or place.revision
        found = {one.file.name: one for one in self.verify(entry, revision)}
        for one in found.values():
            if one.path is not None and one.problem:
                self._discard(one.path)
                say(f"{one.file.name} in the cache was damaged ({one.problem}): fetched again")
        paths = {name: one.path for name, one in found.items() if one.path and not one.problem}
        if len(paths) < len(entry.files):
            self.reach()
        for file in entry.files:
            if file.name not in paths:
                paths[file.name] = self._fetched(place, file, revision)
                say(f"{file.name}: {file.bytes:,} bytes, as the catalogue says")
        return {file.name: paths[file.name] for file in entry.files}

    def verify(self, entry: Entry, revision: str = "") -> tuple[Checked, ...]:
        """The model's files in the cache, without a request; raises `HubError`."""
        place = place_of(entry)
        return tuple(self._checked(place, file, revision or place.revision) for file in entry.files)

    def _checked(self, place: HubPlace, file: ModelFile, revision: str) -> Checked:
        found = try_to_load_from_cache(
            place.repository, file.name, cache_dir=self.cache.resolve(), revision=revision
        )
        if not isinstance(found, str):
            return Checked(file, None, "not in the cache")
        with hub_errors(self.endpoint, self.cache, f"{place.repository}: {file.name}"):
            return Checked(file, Path(found), difference(Path(found), file))

    def _fetched(self, place: HubPlace, file: ModelFile, revision: str) -> Path:
        what = f"{place.repository} at {revision[:12]}: {file.name}"
        with hub_errors(self.endpoint, self.cache, what):
            path = Path(self._downloaded(place, file, revision))
            problem = difference(path, file)
        if problem:
            self._discard(path)
            raise HubError(
                f"{what}: {problem}; it is removed from the cache: the Hub's file is not the one "
                "of the catalogue, so do not use it; update ecgvision, or ask who keeps the model",
                "model-damaged",
            )
        return path

    def _downloaded(self, place: HubPlace, file: ModelFile, revision: str) -> str:
        for left in reversed(range(_TRIES)):
            try:
                return str(
                    huggingface_hub.hf_hub_download(
                        place.repository,
                        file.name,
                        revision=revision,
                        cache_dir=self.cache,
                        endpoint=self.endpoint,
                        library_name="ecgvision",
                        library_version=__version__,
                    )
                )
            except HTTPError as error:
                if not left or type(error).__name__ not in _BROKEN:
                    raise
        raise AssertionError("the last try returns or raises")

    def _discard(self, path: Path) -> None:
        """Remove a file from the cache, and what its links lead to, but nothing outside."""
        home = self.cache.resolve()
        with hub_errors(self.endpoint, self.cache, f"{path.name} in the cache cannot be removed"):
            while True:
                path = path.parent.resolve() / path.name
                if home not in path.parents:
                    return
                target = path.parent / path.readlink() if path.is_symlink() else None
                path.unlink(missing_ok=True)
                if target is None:
                    return
                path = target

    # --- reaching -----------------------------------------------------------------------------

    def reach(self) -> None:
        """Return once the Hub has answered anything; raises `HubError` within five seconds.

        On slow networks `HF_HUB_ETAG_TIMEOUT` gives it longer.
        """
        if constants.HF_HUB_OFFLINE:
            raise offline(self.cache)
        if not self.endpoint.startswith(("https://", "http://")):
            raise HubError(
                f"HF_ENDPOINT is {self.endpoint!r}: expected an address that begins with https://",
                "hub-unreachable",
            )
        answer_s = _ANSWER_S
        if constants.HF_HUB_ETAG_TIMEOUT != constants.DEFAULT_ETAG_TIMEOUT:
            answer_s = float(constants.HF_HUB_ETAG_TIMEOUT)
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                get_session().head(self.endpoint, timeout=answer_s, follow_redirects=False)
            except Exception as error:  # handed on to the caller's thread
                failed.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(answer_s + _LOOK_UP_S)
        if asking.is_alive():
            raise unreachable(self.endpoint, self.cache, f"no answer within {answer_s:g} s")
        with hub_errors(self.endpoint, self.cache, self.endpoint):
            for error in failed:
                raise error


def place_of(entry: Entry) -> HubPlace:
    """Where the model is; raises `HubError` for one without weights."""
    if entry.hub is None:
        why = entry.reason or "its files belong beside its model.toml, and the Hub has none"
        raise HubError(f"model {entry.id} has no weights to pull: {why}", "no-weights")
    return entry.hub

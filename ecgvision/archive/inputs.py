"""All inputs of one run, held in little room, and the names of outputs that each of them takes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from ecgvision.archive.finding import ENDINGS, Found
from ecgvision.archive.rows import escaped
from ecgvision.archive.store import LOCAL, State, Store
from ecgvision.errors import UsageError

Naming = Callable[[PurePosixPath], PurePosixPath]
"""Gives a pseudonym for a path: one for each folder, and one for the file without its ending."""

_FURTHER_PAGE = re.compile(r"(?s)(.+)-p([1-9]\d*)(?:\.qc)?")


@dataclass(frozen=True, slots=True)
class Input:
    """One file to convert into `folder` of the output folder, its outputs named by `stem`.

    `source` is its path in the store `at`; `seen` is its state where it was told with its name.

    `name` is its name in the manifest, relative to `root`; `shown` is what messages call it. All
    of these may be pseudonyms; `given` is what `name` would be without.
    """

    number: int
    source: Path
    given: str
    name: str
    root: str
    folder: Path
    stem: str
    shown: Path
    format: str
    at: Store
    seen: State | None = None

    @property
    def key(self) -> str:
        """What all names of its outputs begin with, within the output folder."""
        return _key(self.folder.as_posix(), self.stem)


@dataclass(frozen=True, slots=True)
class _Group:
    """What files of one folder share: `prefix` stands before their names in the manifest."""

    source: str
    relative: Path
    prefix: str
    root: str
    format: str
    at: Store


@dataclass
class Inputs:
    """The files of one run in order, each once; the first one that wants a name has it.

    `wfdb` and `qc` tell whether such files are written, which have names of their own. `naming`
    gives pseudonyms.
    """

    wfdb: bool = False
    qc: bool = False
    naming: Naming | None = None
    _groups: list[_Group] = field(default_factory=list)
    _numbers: dict[_Group, int] = field(default_factory=dict)
    _files: list[tuple[int, str]] = field(default_factory=list)
    _claims: dict[str, int] = field(default_factory=dict)
    _pages: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _given: dict[str, int] = field(default_factory=dict)
    _targets: list[str] = field(default_factory=list)
    _hidden: dict[str, str] = field(default_factory=dict)
    _seen: dict[int, State] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Input]:
        return map(self._at, range(len(self._files)))

    @property
    def formats(self) -> set[str]:
        """The formats that lists name, "" among them where one names none."""
        return {group.format for group in self._groups}

    @property
    def stores(self) -> set[Store]:
        """The stores that they lie in."""
        return {group.at for group in self._groups}

    @property
    def roots(self) -> list[str]:
        """The folders that names are relative to; none where names are pseudonyms."""
        if self.naming is not None:
            return []
        return sorted({escaped(group.root) for group in self._groups if group.root})

    def add(self, found: Found) -> None:
        """Take in a file unless it is there already."""
        file = found.source.name
        folder = os.path.dirname(found.source)  # noqa: PTH120  strings, as there may be millions
        prefix = found.name[: len(found.name) - len(file)]
        group = _Group(folder, found.relative, prefix, found.root, found.format, found.at)
        one = self._input(len(self._files), group, file)
        owner = self._claims.get(one.key)
        if owner is not None and self._is_same(self._at(owner), found):
            return
        if self._is_named(one.name):
            whole = f"{found.at.whole(Path(folder)).rstrip('/')}/"
            group = replace(group, prefix=whole, root="")
            one = self._input(len(self._files), group, file)
            if found.at.url and self._is_named(one.name):
                raise UsageError(
                    f"two URLs are both called {one.given!r} and differ in what is secret; convert "
                    "them to different folders"
                )
        if group not in self._numbers:
            self._numbers[group] = len(self._groups)
            self._groups.append(group)
        self._files.append((self._numbers[group], file))
        if f"{group.prefix}x" != _key(group.relative.as_posix(), "x"):
            self._given.setdefault(one.name, one.number)
        if found.seen is not None:
            self._seen[one.number] = found.seen
        elif not found.at.url and os.path.islink(found.source):  # noqa: PTH114
            self._targets.append(os.path.realpath(found.source))
        self._claim(one)

    def owner(self, one: Input) -> Input:
        """The input that has the names it wants: itself in most cases."""
        first = min(self._claims[key] for key in self._keys(one))
        return one if first == one.number else self._at(first)

    def taken(self, one: Input) -> frozenset[int]:
        """The further pages whose names other inputs have."""
        return frozenset(page for page, who in self._pages.get(one.key, ()) if who != one.number)

    def might_have(self, name: str) -> bool:
        """False only for names in the manifest that no input has."""
        path = PurePosixPath(name)
        plain = path.parent / path.stem
        return any(str(key) in self._claims for key in (plain, plain.name, str(plain).lstrip("/")))

    def inputs_in(self, folder: Path, store: Store = LOCAL) -> frozenset[str]:
        """The names of inputs that lie in the folder, through whatever links."""
        return self._inputs_by_folder.get(store.real(folder), frozenset())

    @cached_property
    def _inputs_by_folder(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        real = [group.at.real(Path(group.source)) for group in self._groups]
        for group, name in self._files:
            found.setdefault(real[group], set()).add(name)
        for target in self._targets:
            found.setdefault(os.path.dirname(target), set()).add(os.path.basename(target))  # noqa: PTH119, PTH120
        return {folder: frozenset(names) for folder, names in found.items()}

    def _at(self, number: int) -> Input:
        group, name = self._files[number]
        return self._input(number, self._groups[group], name)

    def _input(self, number: int, group: _Group, file: str) -> Input:
        source, told = Path(group.source, file), f"{group.prefix}{file}"
        if self.naming is None:
            name, root, inside = escaped(told), escaped(group.root), group.relative
            return Input(
                number,
                source,
                name,
                name,
                root,
                inside,
                source.stem,
                source,
                group.format,
                group.at,
                self._seen.get(number),
            )
        ending = source.suffix if source.suffix.lower() in ENDINGS else ""
        hidden = self.naming(_without_anchor(told))
        return Input(
            number,
            source,
            escaped(told),
            f"{hidden.as_posix()}{ending}",
            self._hidden_root(group.root),
            Path(self.naming(PurePosixPath(group.relative.as_posix(), file)).parent),
            hidden.name,
            Path(f"{hidden.name}{ending}"),
            group.format,
            group.at,
            self._seen.get(number),
        )

    @staticmethod
    def _is_same(one: Input, found: Found) -> bool:
        return one.at == found.at and one.at.whole(one.source) == found.at.whole(found.source)

    def _hidden_root(self, root: str) -> str:
        if root not in self._hidden:
            naming, plain = self.naming, _without_anchor(root)
            self._hidden[root] = naming(plain).as_posix() if naming and root else ""
        return self._hidden[root]

    def _is_named(self, name: str) -> bool:
        """Whether an input has that name, which lies somewhere else."""
        if name in self._given:
            return True
        owner = self._claims.get(_without_ending(name))
        return owner is not None and self._at(owner).name == name

    def _keys(self, one: Input) -> Iterator[str]:
        yield one.key
        if self.qc:
            yield f"{one.key}.qc"
        if self.wfdb:
            from ecgvision.writers.wfdb import record_name

            yield _key(one.folder.as_posix(), record_name(one.stem))

    def _claim(self, one: Input) -> None:
        for key in self._keys(one):
            if self._claims.setdefault(key, one.number) != one.number:
                continue
            further = _FURTHER_PAGE.fullmatch(key)
            if further is not None and (self.qc or not key.endswith(".qc")):
                self._pages.setdefault(further[1], []).append((int(further[2]), one.number))


def _key(folder: str, stem: str) -> str:
    return escaped(stem if folder == "." else f"{folder}/{stem}")


def _without_ending(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{PurePosixPath(file).stem}"


def _without_anchor(path: str) -> PurePosixPath:
    whole = PurePosixPath(Path(path).as_posix())
    return whole.relative_to(whole.anchor)

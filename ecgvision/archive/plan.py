"""What is to be done with each input: converted, kept from an earlier run, or refused by its name.

Decided one by one while the run goes on, from what the output folder knows and how the file looks
now. No file is opened here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ecgvision.archive.inputs import Input, Inputs
from ecgvision.archive.manifest import Knowledge, Known
from ecgvision.archive.rows import PageRow, now, one_line, year_of
from ecgvision.archive.store import State
from ecgvision.archive.task import FileTask, Work
from ecgvision.errors import PageError


@dataclass(frozen=True, slots=True)
class Kept:
    """A source that earlier runs have settled: so many pages done, so many refused."""

    done: int
    refused: int


@dataclass(frozen=True, slots=True)
class Barred:
    """An input whose outputs would stand in the way of others, and where it goes."""

    folder: Path
    row: PageRow


Step = FileTask | Kept | Barred


@dataclass(frozen=True)
class Plan:
    """The inputs, what is asked for, and what is known of them.

    `options` has the hash of all options by format name, "" for the format of the run. Without
    `resume` nothing is kept, and nothing replaced unless forced.
    """

    inputs: Inputs
    work: Work
    options: Mapping[str, str]
    format: str
    knowledge: Knowledge
    resume: bool = True

    def steps(self) -> Iterator[tuple[Input, Step]]:
        """What is to be done with each input, in order."""
        store, out_dir = self.work.store, self.work.out_dir
        beside = lru_cache(maxsize=4096)(
            lambda folder: self.inputs.inputs_in(out_dir / folder, store)
        )
        for one in self.inputs:
            yield one, self._step(one, beside(one.folder))

    def _step(self, one: Input, beside: frozenset[str]) -> Step:
        owner = self.inputs.owner(one)
        if owner is not one:
            return Barred(one.folder, self._clash(one, owner))
        known = self.knowledge.known.get(one.name)
        if self.work.force or not self.resume:
            return self._task(one, beside)
        if known is None:
            return self._task(one, beside, begun=one.name in self.knowledge.begun)
        if known.options != self.options[one.format]:
            if known.owned:
                return Barred(one.folder, self._other_options(one, known))
            return self._task(one, beside, begun=not known.contested)
        state = one.seen or one.at.state(one.source)
        as_it_was = state in (None, known.state)
        if known.settled and as_it_was:
            return Kept(known.done, known.refused)
        task = self._task(one, beside, owned=frozenset(known.owned), begun=not known.contested)
        if as_it_was:
            return task
        return replace(
            task,
            seen_sha256=known.sha256,
            settled=known.settled,
            moved=bool(known.root != one.root),
        )

    def _task(
        self,
        one: Input,
        beside: frozenset[str],
        *,
        owned: frozenset[int] = frozenset(),
        begun: bool = False,
    ) -> FileTask:
        return FileTask(
            one.source,
            one.name,
            one.root,
            one.folder,
            one.stem,
            one.shown,
            one.format or self.format,
            self.options[one.format],
            self.work,
            taken=self.inputs.taken(one),
            inputs=beside,
            owned=owned,
            begun=begun,
            at=one.at,
        )

    def _clash(self, one: Input, owner: Input) -> PageRow:
        error = PageError(
            "output-clash",
            one.shown,
            None,
            expected=f"outputs named {one.stem!r} for this input alone",
            found=f"that {owner.name} writes them, too",
            hint="rename one of them, or convert them to different folders",
        )
        return self._barred_row(one, error)

    def _other_options(self, one: Input, known: Known) -> PageRow:
        error = PageError(
            "output-exists",
            one.shown,
            None,
            expected="an output folder in which it was not converted with other options",
            found=f"that it was, {known.done + known.refused} of its pages",
            hint="use --force to convert it again, or another folder with -o",
        )
        return self._barred_row(one, error)

    def _barred_row(self, one: Input, error: PageError) -> PageRow:
        state = one.seen or one.at.state(one.source) or State(0, 0)
        return PageRow(
            one.name,
            source_bytes=state.size_bytes,
            source_mtime_ns=state.mtime_ns,
            source_etag=state.etag,
            reason=error.code,
            message=one_line(str(error)),
            options=self.options[one.format],
            year=year_of(state.mtime_ns) if state.mtime_ns else None,
            finished_at=now(),
            root=one.root,
        )

"""Weighs what several sources say of one scale, and refuses where they contradict each other.

Printed text, grid and pulse have a vote each; the format's own declaration only breaks ties. The
grid is the declaration times the length of a printed millimetre, so where there is a grid the
declaration has had its vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ecgvision.errors import PageError
from ecgvision.recording import ScaleSource
from ecgvision.types import Notice, Page

# Up to here sources agree; up to there they do not, but it is no other setting of the machine.
AGREE, CONTRADICT = 0.03, 0.10


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is weighed: its name and unit, the option that settles it, its code for "unlike"."""

    name: str
    unit: str
    option: str
    unlike: str


GAIN = Quantity("gain", "mm/mV", "--gain", "gain-unlike-format")
SPEED = Quantity("paper speed", "mm/s", "--speed", "speed-unlike-format")

_SAYS = {
    "text": "the printed text",
    "grid": "the grid",
    "pulse": "the calibration pulse",
    "layout": "the format",
    "given": "the user",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The value that is used, the source it is from, and what must be said of it."""

    value: float
    source: str
    notices: tuple[Notice, ...] = ()


def decide(
    what: Quantity, votes: Sequence[ScaleSource], declared: ScaleSource, page: Page
) -> Decision:
    """The value to use of `votes`, the most exact first, with `declared` to break a tie.

    Raises `PageError` "calibration-conflict" where they differ by more than 10 % and no majority
    is found.
    """
    if not votes:
        return Decision(declared.value, declared.source)
    far = _groups(votes, CONTRADICT)
    if len(far) > 1:
        return _of_far(what, votes, far, declared, page)
    return _of_near(what, votes, declared, page)


def _of_near(
    what: Quantity, votes: Sequence[ScaleSource], declared: ScaleSource, page: Page
) -> Decision:
    """Votes within 10 %: the most exact of those of which there are most, with a notice over 3 %.

    Of as many, the first: a pulse shows what a millivolt is on this very page.
    """
    most = max(_groups(votes, AGREE), key=lambda group: (len(group), -votes.index(group[0])))
    best = most[0]
    off = abs(best.value / declared.value - 1)
    if off > CONTRADICT:
        if not any(vote.source == "text" for vote in votes):
            raise _conflict(what, [*votes, declared], page)
        return Decision(best.value, best.source, (_unlike(what, votes, declared),))
    if len(most) < len(votes):
        return Decision(best.value, best.source, (_disagree(what, votes, best),))
    if off > AGREE and not any(vote.source == "grid" for vote in votes):
        return Decision(best.value, best.source, (_disagree(what, [*votes, declared], best),))
    return Decision(best.value, best.source)


def _of_far(
    what: Quantity,
    votes: Sequence[ScaleSource],
    groups: Sequence[Sequence[ScaleSource]],
    declared: ScaleSource,
    page: Page,
) -> Decision:
    """Votes more than 10 % apart: the majority, or the text where all else is the declaration."""
    if {vote.source for vote in votes} == {"text", "grid"}:
        # The grid only repeats the declaration; the text comes from this very page.
        text = next(vote for vote in votes if vote.source == "text")
        return Decision(text.value, text.source, (_unlike(what, [text], declared),))
    ballots = groups
    if not any(vote.source == "grid" for vote in votes):
        ballots = _groups([*votes, declared], CONTRADICT)
    most = max(len(group) for group in ballots)
    winners = [group for group in ballots if len(group) == most]
    if most < 2 or len(winners) > 1:
        raise _conflict(what, [*votes, declared], page)
    winner = [vote for vote in winners[0] if vote.source != "layout"]
    if not winner:
        raise _conflict(what, [*votes, declared], page)
    best = winner[0]
    if {vote.source for vote in winner} == {"text", "pulse"}:
        # Text and pulse agree; only the grid, which repeats the declaration, is against them.
        return Decision(best.value, best.source, (_unlike(what, winner, declared),))
    return Decision(best.value, best.source, (_disagree(what, votes, best),))


def _groups(votes: Sequence[ScaleSource], within: float) -> list[list[ScaleSource]]:
    """Votes whose values follow each other within a share, each group in the order of `votes`."""
    ordered = sorted(votes, key=lambda vote: vote.value)
    groups = [[ordered[0]]]
    for before, after in pairwise(ordered):
        if after.value <= before.value * (1 + within):
            groups[-1].append(after)
        else:
            groups.append([after])
    return [sorted(group, key=votes.index) for group in groups]


def _say(what: Quantity, votes: Sequence[ScaleSource]) -> str:
    """Such as "the grid says 10 mm/mV, the printed text 5 mm/mV"."""
    first, *rest = votes
    told = [f"{_SAYS[first.source]} says {first.value:.4g} {what.unit}"]
    told += [f"{_SAYS[vote.source]} {vote.value:.4g} {what.unit}" for vote in rest]
    return ", ".join(told)


def _disagree(what: Quantity, votes: Sequence[ScaleSource], used: ScaleSource) -> Notice:
    return Notice(
        "calibration-disagrees",
        f"{_say(what, votes)}: {used.value:.4g} is used, check the {what.name}",
    )


def _unlike(what: Quantity, votes: Sequence[ScaleSource], declared: ScaleSource) -> Notice:
    told = _say(what, [*votes, declared] if declared not in votes else votes)
    return Notice(what.unlike, f"{told}: the page's own word is used, check the {what.name}")


def _conflict(what: Quantity, votes: Sequence[ScaleSource], page: Page) -> PageError:
    return PageError(
        "calibration-conflict",
        page.source,
        page.number,
        expected=f"sources that agree on the {what.name}",
        found=_say(what, votes),
        hint=f"look at the page and give the {what.name} with {what.option}",
    )

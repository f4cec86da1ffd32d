"""What is said of a page: findings with words that help, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["note", "doubtful", "refused"]
Verdict = Literal["good", "doubtful", "refused"]

_RANK: Mapping[str, int] = {"note": 0, "doubtful": 1, "refused": 2}
_VERDICTS: tuple[Verdict, ...] = ("good", "doubtful", "refused")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: a code for programs, and a sentence that says what to do.

    A "note" leaves a page good; "doubtful" asks for a look; "refused" says not to use it.
    """

    code: str
    severity: Severity
    message: str
    leads: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "leads": list(self.leads),
        }


@dataclass(frozen=True, slots=True)
class Quality:
    """The verdict on one page; `findings` has the worst first, `measures` the numbers behind it."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    measures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON: numbers, lead names and fixed sentences, no text of the page."""
        return {
            "verdict": self.verdict,
            "findings": [finding.as_dict() for finding in self.findings],
            "measures": dict(self.measures),
        }


def judged(findings: Sequence[Finding], measures: Mapping[str, Any]) -> Quality:
    """The worst finding gives the verdict.

    >>> judged([Finding("flat-lead", "doubtful", "Look at it.", ("V3",))], {}).verdict
    'doubtful'
    """
    ordered = sorted(findings, key=lambda finding: -_RANK[finding.severity])
    worst = _RANK[ordered[0].severity] if ordered else 0
    return Quality(_VERDICTS[worst], tuple(ordered), measures)

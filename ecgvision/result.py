"""What comes out of one page, and what of it goes into the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision.calibration import described
from ecgvision.errors import PageError
from ecgvision.recording import Calibration, Lattice, LeadSignal, Recording
from ecgvision.types import EcgImage, LeadBox, Match, Notice

if TYPE_CHECKING:
    from ecgvision.quality import Quality
    from ecgvision.types import Pixels


@dataclass(frozen=True)
class Conversion:
    """One page turned into a picture and signals: what it was, how it was read, what came out.

    `match` has the calibrated layout. `recording` and `quality` are None where no signals were
    asked for; `qc` is the picture to check them by, (H, W, 3) RGB ``uint8``, where that was asked
    for. `refusal` is set where the signals were judged worse than was asked for: they are to be
    looked at, not to be used.
    """

    source: Path
    source_sha256: str
    page_number: int
    page_count: int
    origin: str
    format_id: str
    match: Match
    calibration: Calibration
    image: EcgImage
    recording: Recording | None = None
    quality: Quality | None = None
    qc: Pixels | None = field(default=None, repr=False)
    refusal: PageError | None = None
    notices: tuple[Notice, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """What goes into the JSON beside the picture: numbers and codes, no text of the page."""
        match = self.match
        return {
            "source": {
                "name": self.source.name,
                "sha256": self.source_sha256,
                "page": self.page_number,
                "pages": self.page_count,
                "kind": self.origin,
            },
            "format": self.format_id,
            "layout": match.layout.name,
            "match": {
                "score": round(match.score, 3),
                "offset_mm": [round(v, 2) + 0.0 for v in match.offset_mm],
                "rotation_deg": round(match.rotation_deg, 2),
                "quarter_turns": match.quarter_turns,
            },
            "scale": {
                "page_mm": [round(v, 2) for v in match.page_mm] if match.page_mm else None,
                "from": match.scale_from,
                **described(self.calibration),
            },
            "image": _described_image(self.image),
            **self._signals(),
            "warnings": [{"code": n.code, "message": n.message} for n in self.notices],
            "versions": self.versions,
        }

    def _signals(self) -> dict[str, Any]:
        """The blocks "signals" and "quality" of a page whose signals were read."""
        if self.recording is None or self.quality is None:
            return {}
        withheld = self.refusal.code if self.refusal else None
        return {
            "signals": {"withheld": withheld, **_described_recording(self.recording)},
            "quality": self.quality.as_dict(),
        }

    def details(self) -> Mapping[str, Any]:
        """What is told within the signal files: format, scale and verdict, nothing of the file."""
        calibration = self.calibration
        told = {
            "format": self.format_id,
            "layout": self.match.layout.name,
            "speed_mm_per_s": f"{calibration.speed_mm_per_s:.4g} from {calibration.speed_from}",
            "gain_mm_per_mv": f"{calibration.gain_mm_per_mv:.4g} from {calibration.gain_from}",
            "ecgvision": self.versions.get("ecgvision", ""),
        }
        if calibration.chest_gain_mm_per_mv is not None:
            told["chest_gain_mm_per_mv"] = f"{calibration.chest_gain_mm_per_mv:.4g}"
        if self.quality is not None:
            codes = ", ".join(dict.fromkeys(finding.code for finding in self.quality.findings))
            told["verdict"] = f"{self.quality.verdict}{f': {codes}' if codes else ''}"
        return told


def _described_image(image: EcgImage) -> dict[str, Any]:
    return {
        "style": image.style,
        "px_per_mm": round(image.px_per_mm, 4),
        "size_px": [image.pixels.shape[1], image.pixels.shape[0]],
        "speed_mm_per_s": round(image.speed_mm_per_s, 3),
        "gain_mm_per_mv": round(image.gain_mm_per_mv, 3),
        "leads": [_described_box(lead_box) for lead_box in image.boxes],
    }


def _described_box(lead_box: LeadBox) -> dict[str, Any]:
    box = lead_box.box
    return {
        "lead": lead_box.lead,
        "box_mm": [round(v, 3) for v in (box.left_mm, box.top_mm, box.right_mm, box.bottom_mm)],
        "start_s": round(lead_box.start_s, 3),
        "stop_s": round(lead_box.stop_s, 3),
    }


def _described_recording(recording: Recording) -> dict[str, Any]:
    return {
        "fs_hz": recording.fs_hz,
        "seconds": round(recording.seconds, 3),
        "lattice": _described_lattice(recording.lattice),
        "boxes": [_described_signal(one) for one in recording.boxes],
    }


def _described_lattice(lattice: Lattice | None) -> dict[str, Any] | None:
    if lattice is None:
        return None
    return {
        "fs_hz": round(lattice.fs_hz, 3),
        "step_uv": None if lattice.step_uv is None else round(lattice.step_uv, 4),
        "residual_uv": round(lattice.residual_uv, 4),
    }


def _described_signal(one: LeadSignal) -> dict[str, Any]:
    return {
        "lead": one.lead,
        "rhythm_strip": one.rhythm_strip,
        "start_s": round(one.start_s, 3),
        "stop_s": round(one.stop_s, 3),
        "origin": one.origin,
        "confidence": round(one.confidence, 3),
        "coverage": round(one.coverage, 3),
        "reason": one.reason,
    }

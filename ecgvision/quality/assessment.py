"""All checks of one page put together: from signals and scale to a verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.quality import thresholds as limits
from ecgvision.quality.arrangement import Arrangement, check_arrangement
from ecgvision.quality.beats import Beats, find_beats
from ecgvision.quality.checks import (
    is_clipped,
    is_flat,
    jumps_s,
    qrs_width_s,
    rows_apart,
    span_mv,
    strip_gain,
    strips_unlike,
    tempo,
)
from ecgvision.quality.physics import Physics, at_their_times, check_physics, standing_together
from ecgvision.quality.rows import Row, rows_of
from ecgvision.quality.thresholds import Thresholds, thresholds_for
from ecgvision.quality.verdict import Finding, Quality, Severity, judged

if TYPE_CHECKING:
    from ecgvision.quality.ink import CutPeak
    from ecgvision.recording import Calibration, Recording, ScaleSource
    from ecgvision.types import Layout


def assess(
    recording: Recording,
    calibration: Calibration,
    layout: Layout,
    cut: Sequence[CutPeak] = (),
) -> Quality:
    """Judge the signals of one page by what must hold on any page; no truth is needed.

    `cut` are the peaks that the reading cut off, as `ecgvision.quality.ink` finds them. Nothing is
    raised for a bad page: its findings say what is wrong with it.
    """
    rows = rows_of(recording)
    physics = check_physics(rows)
    lined_up = at_their_times(rows, physics)
    beats = find_beats(lined_up)
    arrangement = check_arrangement(beats.average_mv, layout, standing_together(lined_up))
    level = thresholds_for(layout, vector=_all_vector(recording))
    findings = [
        *_coverage(recording),
        *_shape(rows),
        *_peaks(cut, calibration),
        *_amplitude(rows),
        *_timing(rows, beats),
        *_equations(physics, arrangement, level),
        *_natural(arrangement, level),
        *_strips(rows),
        *_repeats(rows),
        *_scale(calibration),
    ]
    measures = _measures(recording, rows, beats, physics, arrangement)
    measures["peaks_cut_mv"] = {
        lead: round(missed_mv, 2) for lead, missed_mv in _cut_mv(cut, calibration).items()
    }
    return judged(findings, measures)


def _coverage(recording: Recording) -> Iterator[Finding]:
    boxes = recording.boxes
    mean = _mean_coverage(recording)
    if not boxes or mean < limits.LEAST_COVERAGE:
        yield Finding(
            "mostly-unread",
            "refused",
            f"Only {mean:.0%} of the page's traces could be read: use a better copy of the page.",
        )
        return
    absent = _names(b.lead for b in boxes if b.coverage <= 0)
    partly = _names(b.lead for b in boxes if 0 < b.coverage < limits.LEAD_COVERAGE)
    if absent:
        yield Finding(
            "lead-missing",
            "doubtful",
            f"Nothing was read of {_list(absent)}: look at the page there; the lead may be off.",
            absent,
        )
    if partly:
        yield Finding(
            "coverage-low",
            "doubtful",
            f"Much of {_list(partly)} could not be read: do not use these leads without a look.",
            partly,
        )
    elif mean < limits.PAGE_COVERAGE and not absent:
        yield Finding(
            "coverage-low",
            "doubtful",
            f"{1 - mean:.0%} of the traces could not be read: look at the gaps.",
        )


def _shape(rows: Sequence[Row]) -> Iterator[Finding]:
    flat = _names(row.lead for row in rows if is_flat(row))
    if flat:
        every = len(flat) == len({row.lead for row in rows})
        yield Finding(
            "flat-lead",
            "refused" if every else "doubtful",
            f"{_list(flat)} shows no heart: an electrode was off, or the wrong line was read.",
            flat,
        )
    clipped = _names(row.lead for row in rows if is_clipped(row))
    if clipped:
        yield Finding(
            "clipped",
            "doubtful",
            f"{_list(clipped)} stands still at its extreme: its peaks are cut off, do not measure "
            "their height.",
            clipped,
        )
    jumping = [(row.lead, jumps_s(row)) for row in rows]
    leads = _names(lead for lead, times in jumping if times)
    if leads:
        at_s = next(times[0] for _, times in jumping if times)
        yield Finding(
            "jump",
            "doubtful",
            f"{_list(leads)} steps to another level, first at {at_s:.1f} s: the reading may have "
            "changed to another line there.",
            leads,
        )


def _peaks(cut: Sequence[CutPeak], calibration: Calibration) -> Iterator[Finding]:
    missed_mv = _cut_mv(cut, calibration)
    leads = tuple(lead for lead, mv in missed_mv.items() if mv >= limits.PEAK_CUT_MV)
    if leads:
        yield Finding(
            "peaks-cut",
            "doubtful",
            f"The ink goes on past peaks that were read in {_list(leads)}, by up to "
            f"{max(missed_mv.values()):.1f} mV: do not measure their height.",
            leads,
        )


def _cut_mv(cut: Sequence[CutPeak], calibration: Calibration) -> dict[str, float]:
    """The most that is missing of a peak of each lead, in mV."""
    found: dict[str, float] = {}
    for peak in cut:
        missed_mv = peak.missed_mm / calibration.gain_of(peak.lead)
        found[peak.lead] = max(missed_mv, found.get(peak.lead, 0.0))
    return found


def _amplitude(rows: Sequence[Row]) -> Iterator[Finding]:
    spans = {row.lead: span_mv(row) for row in rows}
    if not spans:
        return
    largest = max(spans.values())
    if largest < limits.SMALLEST_MV:
        yield Finding(
            "amplitude-too-small",
            "refused",
            f"The largest lead is {largest:.2f} mV high: the gain is wrong, or no trace was read.",
        )
    tall = _names(lead for lead, span in spans.items() if span > limits.LARGEST_MV)
    if tall:
        yield Finding(
            "amplitude-too-large",
            "refused",
            f"{_list(tall)} is {largest:.1f} mV high, which no heart makes: check the gain, and "
            "whether other print was read.",
            tall,
        )


def _timing(rows: Sequence[Row], beats: Beats) -> Iterator[Finding]:
    rate, pace = beats.rate_bpm, tempo(beats)
    if not len(beats.at):
        yield Finding(
            "no-beats", "refused", "No QRS complex was found: look whether the traces were read."
        )
    elif rate is not None and not limits.SLOWEST_BPM <= rate <= limits.FASTEST_BPM:
        yield Finding(
            "rate-implausible",
            "doubtful",
            f"The rate comes out at {rate:.0f} per minute: check the paper speed.",
        )
    if pace is not None and not limits.TEMPO_LOW <= pace <= limits.TEMPO_HIGH:
        slow = pace > 0
        yield Finding(
            "speed-implausible",
            "doubtful",
            f"The beats are {'slow and wide' if slow else 'fast and narrow'}: check whether the "
            f"paper ran {'faster' if slow else 'slower'} than was taken.",
        )
    apart = list(rows_apart(rows))
    if apart:
        leads = _names(lag.lead for lag in apart)
        worst_ms = 1000 * max((lag.lag_s for lag in apart), key=abs)
        yield Finding(
            "beats-not-aligned",
            "doubtful",
            f"The beats of {_list(leads)} stand {abs(worst_ms):.0f} ms "
            f"{'after' if worst_ms > 0 else 'before'} those of the rows beside: check where the "
            "row starts and whether it is of the same recording.",
            leads,
        )


def _equations(physics: Physics, arrangement: Arrangement, level: Thresholds) -> Iterator[Finding]:
    if physics.shifts_ms:
        leads = _names(name.removesuffix(" strip") for name, _ in physics.shifts_ms)
        most = max(abs(ms) for _, ms in physics.shifts_ms)
        yield Finding(
            "rows-shifted",
            "note",
            f"{_list(leads)} stands up to {most:.0f} ms beside the other rows.",
            leads,
        )
    fraction, best, kept = physics.fraction, arrangement.limb_best, arrangement.limb_kept
    broken = fraction is not None and fraction > level.physics
    # Of a page that is doubtful all the same, the likely reason helps more than none.
    if best is None or best.margin <= (level.limb_kept if broken else level.limb):
        best = kept if kept is not None and kept.margin > level.limb_kept else None
    if best is not None:
        if best.kind == "rows":
            yield Finding(
                "layout-off-by-a-row",
                "doubtful",
                "The limb leads fit if every signal belongs one row away: check the layout.",
                best.leads,
            )
        else:
            yield Finding(
                "leads-swapped",
                "doubtful",
                f"The limb leads fit better with {_list(best.leads)} exchanged: check the names of "
                "the leads on the page against the layout.",
                best.leads,
            )
    if broken and fraction is not None:
        yield Finding(
            "limb-equations-broken",
            "refused" if fraction > level.physics_refused else "doubtful",
            f"I + III = II and its like do not hold ({fraction:.0%} of the power is left over): a "
            "row was misread, has another gain, or stands under another lead's name.",
            tuple(dict.fromkeys(_leads_in(physics))),
        )


def _leads_in(physics: Physics) -> Iterator[str]:
    """The leads of the equations that are off."""
    for residual in physics.residuals:
        if residual.fraction > 0.1:
            text = residual.equation.replace("(", " ").replace(")", " ")
            yield from (word for word in text.split() if word in ("I", "II", "III") or "aV" in word)


def _natural(arrangement: Arrangement, level: Thresholds) -> Iterator[Finding]:
    turned, chest = arrangement.reversal, arrangement.chest
    if turned is None or chest is None:
        yield Finding(
            "arrangement-unchecked",
            "note",
            "Leads are missing, so that swaps of the chest leads and reversed electrodes would "
            "not be seen.",
        )
        return
    if turned.margin > level.arrangement:
        yield Finding(
            "limb-leads-reversed",
            "doubtful",
            f"The limb leads look like a recording with {turned.kind} reversed: compare with an "
            "earlier ECG, or repeat the recording.",
            turned.leads,
        )
    if chest.margin > level.arrangement:
        yield Finding(
            "chest-leads-swapped",
            "doubtful",
            f"The chest leads look more natural with {_list(chest.leads)} exchanged: check their "
            "names and the order of R waves from V1 to V6.",
            chest.leads,
        )


def _strips(rows: Sequence[Row]) -> Iterator[Finding]:
    for lead, ratio in strip_gain(rows).items():
        if not 1 / limits.STRIP_GAIN < ratio < limits.STRIP_GAIN:
            yield Finding(
                "strip-gain",
                "doubtful",
                f"The rhythm strip of {lead} is {ratio:.2f} times as high as the lead: the rows "
                "have different gains.",
                (lead,),
            )


def _repeats(rows: Sequence[Row]) -> Iterator[Finding]:
    unlike = {
        lead: left for lead, left in strips_unlike(rows).items() if left > limits.STRIP_UNLIKE
    }
    if unlike:
        yield Finding(
            "strip-unlike-lead",
            "doubtful",
            f"The rhythm strip of {_list(tuple(unlike))} does not show what the lead shows at the "
            "same time: check the names of both, and whether one was misread.",
            tuple(unlike),
        )


def _scale(calibration: Calibration) -> Iterator[Finding]:
    doubts = ("calibration-disagrees", "gain-unlike-format", "speed-unlike-format")
    told = {notice.code for notice in calibration.notices}
    for notice in calibration.notices:
        severity: Severity = "doubtful" if notice.code in doubts else "note"
        yield Finding(notice.code, severity, notice.message)
    if "calibration-disagrees" in told:
        return
    for what, sources in (
        ("gain", calibration.gain_sources),
        ("paper speed", calibration.speed_sources),
    ):
        off = [s for s in sources if s.source != "layout" and abs(s.off) > limits.SCALE_OFF]
        if off:
            yield Finding(
                "scale-sources-disagree",
                "doubtful",
                f"The {what} read from {_sources(off)} is another than was used: look at the "
                "calibration pulse and the printed scale.",
            )


def _sources(off: Sequence[ScaleSource]) -> str:
    return " and ".join(f"the {s.source} ({s.value:.3g}, {s.off:+.0%})" for s in off)


def _measures(
    recording: Recording,
    rows: Sequence[Row],
    beats: Beats,
    physics: Physics,
    arrangement: Arrangement,
) -> dict[str, Any]:
    """Numbers for the JSON, rounded; None where a check had nothing to work on."""
    best, kept = arrangement.limb_best, arrangement.limb_kept
    turned, chest = arrangement.reversal, arrangement.chest
    return {
        "coverage": _rounded(_mean_coverage(recording), 3),
        "beats": len(beats.at),
        "rate_bpm": _rounded(beats.rate_bpm, 1),
        "qrs_width_ms": _rounded(1000 * (qrs_width_s(beats) or 0.0), 0),
        "tempo": _rounded(tempo(beats), 2),
        "limb_left_over": _rounded(physics.fraction, 4),
        "equations": [
            {
                "equation": r.equation,
                "start_s": round(r.start_s, 2),
                "stop_s": round(r.stop_s, 2),
                "rms_uv": round(r.rms_uv, 1),
                "fraction": round(r.fraction, 4),
                "offset_uv": round(r.offset_uv, 1),
            }
            for r in physics.residuals
        ],
        "shifts_ms": {name: round(ms, 1) for name, ms in physics.shifts_ms},
        "average_limb_left_over": _rounded(arrangement.limb_fraction, 4),
        "limb_margin": _rounded(best.margin if best else None, 4),
        "limb_kept_margin": _rounded(kept.margin if kept else None, 4),
        "reversal_margin": _rounded(turned.margin if turned else None, 2),
        "chest_margin": _rounded(chest.margin if chest else None, 2),
        "span_mv": {row.name: round(span_mv(row), 3) for row in rows},
        "strip_unlike": {lead: round(left, 4) for lead, left in strips_unlike(rows).items()},
        "strip_gain": {lead: round(ratio, 3) for lead, ratio in strip_gain(rows).items()},
    }


def _all_vector(recording: Recording) -> bool:
    """Whether all that was read was read off lines."""
    origins = {box.origin for box in recording.boxes if box.origin is not None}
    return origins == {"vector"}


def _mean_coverage(recording: Recording) -> float:
    """How much of the boxes' time was read."""
    lengths = np.array([box.stop_s - box.start_s for box in recording.boxes])
    read = np.array([box.coverage for box in recording.boxes])
    return float(read @ lengths / lengths.sum()) if len(lengths) else 0.0


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)


def _names(leads: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(leads))


def _list(leads: Sequence[str]) -> str:
    """Names for a sentence.

    >>> _list(["I", "II", "V1"])
    'I, II and V1'
    """
    return " and ".join(", ".join(leads).rsplit(", ", 1))

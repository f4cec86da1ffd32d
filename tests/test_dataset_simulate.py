"""Simulated cohorts: the study's shares, and ECGs that show what was put in, as far as it was."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.dataset.drawing_labels import read_labelled
from ecgvision.dataset.records import open_records
from ecgvision.dataset.simulate import CohortOptions, SimulatedEcg, simulated_ecgs
from ecgvision.dataset.simulate_files import write_cohort
from ecgvision.dataset.simulate_heart import (
    TERRITORIES,
    Disease,
    Effects,
    Recorded,
    Territory,
    simulated_ecg,
)
from ecgvision.errors import UsageError
from ecgvision.testing import Ecg

CLEAN = Recorded(fs_hz=500.0, noise_mv=0.0, wander_mv=0.0)
PATIENTS = range(12)
# The leads that look at each territory.
LEADS_OF: dict[Territory, tuple[str, ...]] = {
    "anterior": ("V1", "V2", "V3"),
    "inferior": ("II", "III", "aVF"),
    "lateral": ("I", "aVL", "V6"),
}


@cache
def ecg(number: int, territory: Territory = "none", lvef: float = 65.0, effect: float = 1.0) -> Ecg:
    disease, effects = Disease(territory, lvef), Effects(effect, effect)
    return simulated_ecg([7, number], [8, number], disease, effects, CLEAN)


def beat(one: Ecg, lead: str, start_s: float, stop_s: float) -> np.ndarray:
    """The median over all whole beats of a lead, from its level before the QRS."""
    signal, fs_hz = one.lead(lead), one.fs_hz
    beats = []
    for peak_s in one.r_peaks_s:
        first, last = round((peak_s + start_s) * fs_hz), round((peak_s + stop_s) * fs_hz)
        level = round((peak_s - 0.08) * fs_hz)
        if level >= 0 and last < len(signal):
            beats.append(signal[first:last] - signal[level])
    return np.median(beats, axis=0)


def early_mv(one: Ecg, lead: str) -> float:
    """The deepest point of the first 30 ms of the QRS: a Q wave, or the start of a QS."""
    return float(beat(one, lead, -0.035, -0.005).min())


def t_mv(one: Ecg, lead: str) -> float:
    """The height of T where it is furthest from the level."""
    t = beat(one, lead, 0.14, 0.42)
    return float(t[np.abs(t).argmax()])


def qrs_s(one: Ecg) -> float:
    """How long the speed of the whole vector is over a tenth of its highest."""
    leads = np.stack([beat(one, lead, -0.08, 0.12) for lead in ("I", "II", "V1", "V3", "V5")])
    speed = np.linalg.norm(np.diff(leads, axis=1), axis=0)
    fast = np.flatnonzero(speed > 0.1 * speed.max())
    return float((fast[-1] - fast[0]) / one.fs_hz)


@pytest.mark.parametrize("territory", TERRITORIES)
def test_a_scar_takes_the_first_part_of_the_qrs_and_inverts_t_in_its_leads(
    territory: Territory,
) -> None:
    for lead in LEADS_OF[territory]:
        q = [early_mv(ecg(n, territory), lead) - early_mv(ecg(n), lead) for n in PATIENTS]
        t = [t_mv(ecg(n, territory), lead) - t_mv(ecg(n), lead) for n in PATIENTS]
        assert np.median(q) < -0.1, lead
        assert np.median(t) < -0.1, lead
    # The lead in the middle of it has T waves below the level in most patients.
    middle = LEADS_OF[territory][1]
    assert np.mean([t_mv(ecg(n, territory), middle) < 0 for n in PATIENTS]) > 0.5


def test_r_is_lost_over_an_anterior_scar() -> None:
    def r(one: Ecg) -> float:
        return float(beat(one, "V3", -0.06, 0.06).max())

    assert all(r(ecg(n, "anterior")) < r(ecg(n)) for n in PATIENTS)


def test_scars_show_where_they_are() -> None:
    # Q waves come in the leads of the territory, more than in those of the others.
    for territory in TERRITORIES:
        gain = {
            other: np.median(
                [
                    early_mv(ecg(n), lead) - early_mv(ecg(n, territory), lead)
                    for n in PATIENTS
                    for lead in leads
                ]
            )
            for other, leads in LEADS_OF.items()
        }
        assert max(gain, key=lambda other: gain[other]) == territory


def test_a_weak_ventricle_widens_the_qrs_and_inverts_the_lateral_t() -> None:
    wider = [qrs_s(ecg(n, lvef=30.0)) / qrs_s(ecg(n)) for n in PATIENTS]
    assert 1.2 < np.median(wider) < 1.9
    assert min(wider) > 1.0
    assert np.mean([t_mv(ecg(n, lvef=30.0), "V6") < 0 for n in PATIENTS]) > 0.7
    assert np.mean([t_mv(ecg(n), "V6") > 0 for n in PATIENTS]) > 0.9


def test_both_take_voltage() -> None:
    def voltage(one: Ecg) -> float:
        return float(np.sqrt(np.mean(beat(one, "V5", -0.06, 0.06) ** 2)))

    assert np.median([voltage(ecg(n, lvef=30.0)) / voltage(ecg(n)) for n in PATIENTS]) < 0.95
    assert np.median([voltage(ecg(n, "lateral")) / voltage(ecg(n)) for n in PATIENTS]) < 0.95


def test_a_weaker_effect_shows_less() -> None:
    q = [np.median([early_mv(ecg(n, "inferior", effect=e), "aVF") for n in PATIENTS])
         for e in (0.0, 0.5, 1.0, 2.0)]  # fmt: skip
    assert q == sorted(q, reverse=True)


def test_without_effect_the_disease_leaves_no_trace() -> None:
    healthy = ecg(3, effect=0.0)
    for disease in (("anterior", 65.0), ("inferior", 25.0), ("none", 20.0)):
        other = ecg(3, *disease, effect=0.0)
        assert np.array_equal(other.signal_mv, healthy.signal_mv)
        assert other.r_peaks_s == healthy.r_peaks_s
    assert not np.array_equal(ecg(3, "anterior").signal_mv, healthy.signal_mv)


def test_a_lvef_at_and_above_55_leaves_no_trace() -> None:
    assert np.array_equal(ecg(2, lvef=55.0).signal_mv, ecg(2, lvef=80.0).signal_mv)


def test_the_limb_leads_sums_hold_to_the_microvolt() -> None:
    one = simulated_ecg([1], [2], Disease("inferior", 30.0), Effects())
    uv = np.rint(one.signal_mv.astype(float) * 1000)
    i, ii, iii, avr, avl, avf = uv[:6]
    assert np.abs(uv - one.signal_mv.astype(float) * 1000).max() < 1e-3
    assert np.array_equal(iii, ii - i)
    assert np.array_equal(2 * avr, -(i + ii))
    assert np.array_equal(2 * avl, 2 * i - ii)
    assert np.array_equal(2 * avf, 2 * ii - i)


# --- the cohort -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort() -> list[SimulatedEcg]:
    return list(simulated_ecgs(CohortOptions(6000, seed=3)))


def share(rows: list[SimulatedEcg], name: str) -> float:
    known = [one.row[name] for one in rows if one.row[name] is not None]
    return float(np.mean(known))


def off(found: float, due: float, count: int) -> float:
    """How many standard errors a share is off."""
    return float(abs(found - due) / np.sqrt(due * (1 - due) / count))


def test_shares_are_the_studys_within_sampling_error(cohort: list[SimulatedEcg]) -> None:
    n = len(cohort)
    lvef = np.array([one.row["lvef_percent"] for one in cohort])
    unknown = np.mean([one.row["diabetes"] is None for one in cohort])
    age = np.array([one.row["age_years"] for one in cohort])
    assert off(share(cohort, "scar"), 0.271, n) < 4
    assert off(float(np.mean(lvef < 50)), 0.187, n) < 4
    assert off(float(np.mean(lvef < 40)), 0.124, n) < 4
    assert off(1 - share(cohort, "sex"), 0.505, n) < 4
    assert off(float(unknown), 0.385, n) < 4
    assert abs(age.mean() - 72.3) < 4 * 13.8 / np.sqrt(n)
    assert abs(age.std() - 13.8) < 0.5
    two = sum(count == 2 for count in Counter(one.row["patient"] for one in cohort).values())
    assert off(two / 6000, 14052 / 13707 - 1, 6000) < 4


def test_years_and_formats_are_the_studys(cohort: list[SimulatedEcg]) -> None:
    n = len(cohort)
    years = np.array([one.row["year"] for one in cohort])
    formats = np.array([one.row["format"] for one in cohort])
    assert set(years.tolist()) == set(range(2009, 2022))
    assert set(formats[years <= 2016]) == {"ge-mac1200"}
    assert set(formats[years >= 2017]) == {"philips-tc30"}
    for first, last, count in ((2009, 2014, 5795), (2015, 2015, 1217), (2016, 2016, 895)):
        found = np.mean((years >= first) & (years <= last))
        assert off(float(found), count / 14052, n) < 4
    assert off(float(np.mean(formats == "philips-tc30")), 6145 / 14052, n) < 4


def test_features_are_missing_together_and_age_and_sex_never(cohort: list[SimulatedEcg]) -> None:
    four = ("smoking", "diabetes", "hypertension", "dyslipidemia")
    assert {sum(one.row[name] is None for name in four) for one in cohort} == {0, 4}
    assert all(one.row["age_years"] is not None and one.row["sex"] in (0, 1) for one in cohort)


def test_scar_and_lvef_go_together(cohort: list[SimulatedEcg]) -> None:
    low = {
        scar: np.mean([o.row["lvef_percent"] < 50 for o in cohort if o.row["scar"] == scar])
        for scar in (0, 1)
    }
    assert low[1] > 2.5 * low[0]
    territories = {one.row["scar_territory"] for one in cohort if one.row["scar"]}
    assert territories == set(TERRITORIES)
    assert {one.row["scar_territory"] for one in cohort if not one.row["scar"]} == {"none"}


def test_one_patient_is_one_person(cohort: list[SimulatedEcg]) -> None:
    by_patient: dict[str, list[SimulatedEcg]] = {}
    for one in cohort:
        by_patient.setdefault(one.row["patient"], []).append(one)
    for ecgs in by_patient.values():
        if len(ecgs) == 2:
            first, second = (one.row for one in ecgs)
            assert second["year"] > first["year"]
            later = second["year"] - first["year"]
            assert second["age_years"] - first["age_years"] == pytest.approx(later, abs=0.11) or (
                second["age_years"] == 104.0
            )
            assert (first["sex"], first["scar_territory"]) == (
                second["sex"],
                second["scar_territory"],
            )
            assert ecgs[0].heart_seed == ecgs[1].heart_seed
            assert ecgs[0].beat_seed != ecgs[1].beat_seed


def test_a_smaller_cohort_has_another_population_of_the_same_kind() -> None:
    first = [one.row for one in simulated_ecgs(CohortOptions(50, seed=1))]
    assert first == [one.row for one in simulated_ecgs(CohortOptions(50, seed=1))]
    assert first != [one.row for one in simulated_ecgs(CohortOptions(50, seed=2))]


@pytest.mark.parametrize(
    ("patients", "seed", "effects"),
    [(0, 0, Effects()), (1, -1, Effects()), (1, 0, Effects(-0.1)), (1, 0, Effects(lvef=9.0))],
)
def test_what_cannot_be_asked_for(patients: int, seed: int, effects: Effects) -> None:
    with pytest.raises(UsageError, match="--"):
        CohortOptions(patients, seed, effects)


# --- files ----------------------------------------------------------------------------------------


def test_the_command_writes_what_can_be_drawn(tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    command = ["dataset", "simulate", "-o", str(out), "--patients", "5", "--seed", "4"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "5 patients" in done.output
    about = json.loads((out / "cohort.json").read_text())
    assert about["simulated"] is True
    records = open_records(str(out))
    assert records.simulated
    options = CohortOptions(5, seed=4)
    made = list(simulated_ecgs(options))
    assert records.names == tuple(one.row["record"] for one in made)
    for one in made:
        assert np.array_equal(records.read(one.row["record"]).signal_mv, one.ecg(options).signal_mv)
    labelled = read_labelled(records, None, None)
    for one in made:
        entry = labelled.entries[one.row["record"]]
        assert entry.patient == one.row["patient"]
        assert entry.keys["year"] == one.row["year"]
        assert entry.values["scar_territory"] == one.row["scar_territory"]
        assert entry.values["lvef_percent"] == one.row["lvef_percent"]
        assert entry.values["smoking"] == one.row["smoking"]
    assert labelled.format_of == {one.row["record"]: one.row["format"] for one in made}
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "output-exists" in again.output
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0


def test_the_same_cohort_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cohort(tmp_path / name, CohortOptions(3, seed=2))
    for file in ("signals.npz", "labels.csv", "schema.toml", "cohort.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

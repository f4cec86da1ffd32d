"""Figures of models against published, hand-computed and simulated truth."""

from __future__ import annotations

import math

import asah
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from ecgvision.evaluation import calibration, rates
from ecgvision.evaluation.auc import APART, ONE_CLASS, TIED, areas, auc, compare, delong, holm
from ecgvision.evaluation.prevalence import matched
from ecgvision.evaluation.rates import best_f1_threshold, counts_at, threshold_for, wilson
from ecgvision.evaluation.resampling import (
    auc_of,
    average_precision_of,
    mean_of,
    once,
    percentile,
    replicates,
    weighted_f1_of,
)

Floats = NDArray[np.float64]


def sample(seed: int, n: int = 80, ties: bool = True) -> tuple[Floats, Floats]:
    """Labels and scores, the scores rounded so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.35).astype(float)
    labels[:4] = (0, 0, 1, 1)
    scores = rng.normal(labels)
    return labels, np.round(scores, 1) if ties else scores


# --- DeLong, held to pROC ---------------------------------------------------------------------


@pytest.mark.parametrize("marker", asah.AREAS)
def test_auc_and_interval_are_those_of_proc(marker: str) -> None:
    value, low, high, variance = asah.AREAS[marker]
    found = delong(asah.POOR, asah.MARKERS[marker])
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-9)
    assert areas(asah.POOR, asah.MARKERS[marker]).covariance == pytest.approx(variance, abs=1e-11)


@pytest.mark.parametrize("marker", asah.TESTS)
def test_the_paired_test_is_that_of_proc(marker: str) -> None:
    covariance, z, p, low, high = asah.TESTS[marker]
    found = compare(asah.POOR, asah.S100B, asah.MARKERS[marker])
    assert (found.z, found.p) == pytest.approx((z, p), abs=1e-9)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), abs=1e-9)
    pair = areas(asah.POOR, [asah.S100B, asah.MARKERS[marker]])
    assert pair.covariance[0, 1] == pytest.approx(covariance, abs=1e-11)


def test_the_documented_figures_as_they_are_printed() -> None:
    found = delong(asah.POOR, asah.S100B)
    assert f"{found.value:.4f} {found.low:.4f}-{found.high:.4f}" == "0.7314 0.6301-0.8326"


def test_the_logit_interval_is_symmetric_there_and_stays_inside() -> None:
    found = delong(asah.POOR, asah.S100B, scale="logit")
    # By hand: log(A / (1 - A)) +- 1.96 sqrt(variance) / (A (1 - A)).
    value, _, _, variance = asah.AREAS["s100b"]
    half = 1.959964 * math.sqrt(variance) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    expected = [1 / (1 + math.exp(-(middle + side * half))) for side in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-6)
    nearly = delong([0] * 20 + [1] * 5, [*range(20), 18.5, 30, 31, 32, 33], scale="logit")
    assert nearly.low < nearly.value < nearly.high < 1


def brute_covariance(labels: Floats, scores: Floats) -> Floats:
    """DeLong's covariance with every pair looked at, as the paper writes it."""
    ups, downs = scores[:, labels == 1], scores[:, labels == 0]
    pairs = (ups[:, :, None] > downs[:, None]) + 0.5 * (ups[:, :, None] == downs[:, None])
    return np.cov(pairs.mean(2)) / ups.shape[1] + np.cov(pairs.mean(1)) / downs.shape[1]


@pytest.mark.parametrize("seed", range(4))
def test_midranks_give_what_all_pairs_give_and_scikit_learn(seed: int) -> None:
    labels, first = sample(seed)
    second = np.round(first + np.random.default_rng(seed).normal(size=first.size), 1)
    found = areas(labels, [first, second])
    assert found.covariance == pytest.approx(brute_covariance(labels, np.stack([first, second])))
    expected = [roc_auc_score(labels, one) for one in (first, second)]
    assert found.aucs == pytest.approx(expected)
    assert auc(labels, first) == pytest.approx(expected[0])


def test_no_interval_where_the_sample_has_no_spread() -> None:
    labels = [0, 0, 0, 1, 1]
    assert (delong(labels, [2.0] * 5).value, delong(labels, [2.0] * 5).note) == (0.5, TIED)
    apart = delong(labels, [1, 2, 3, 4, 5])
    assert (apart.value, apart.note, apart.has_interval) == (1.0, APART, False)
    one_class = delong([1, 1], [0.1, 0.2])
    assert math.isnan(one_class.value)
    assert one_class.note == ONE_CLASS
    assert not delong([0, 0, 1], [1, 3, 2]).has_interval
    same = compare(labels, [1, 5, 2, 4, 3], [10, 50, 20, 40, 30])
    assert (same.z, same.p, same.difference.value) == (0.0, 1.0, 0.0)
    assert math.isnan(compare([1, 1], [1, 2], [2, 1]).p)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 1, math.nan], [1, 2, 3]), ([0, 1], [1, math.nan]), ([0, 2], [1, 2]), ([0, 1], [1])],
)
def test_what_is_no_label_or_score_is_refused(labels: list[float], scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must be|do not fit"):
        delong(labels, scores)


# --- coverage of a known AUC ------------------------------------------------------------------

TRUE_AUC = 0.8
SHIFT = float(norm.ppf(TRUE_AUC)) * math.sqrt(2)  # binormal, both variances 1


def test_intervals_cover_the_auc_of_a_binormal_model() -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat([1.0, 0.0], (50, 70))
    hits = {"delong": 0, "logit": 0, "bootstrap": 0}
    trials = 400
    for number in range(trials):
        scores = rng.normal(SHIFT * labels)
        drawn = replicates({"auc": auc_of(labels, scores)}, labels, draws=300, seed=number)["auc"]
        found = {
            "delong": delong(labels, scores),
            "logit": delong(labels, scores, scale="logit"),
            "bootstrap": percentile(auc(labels, scores), drawn, ""),
        }
        for name, one in found.items():
            hits[name] += one.low <= TRUE_AUC <= one.high
    # 400 trials of 95 % have a standard error of 1.1 %.
    assert {name: 0.92 <= n / trials <= 0.98 for name, n in hits.items()} == dict.fromkeys(
        hits, True
    ), hits


def test_patients_with_several_ecgs_widen_the_interval_as_they_should() -> None:
    """Three ECGs a patient with nearly the same score: a third of the information."""
    rng = np.random.default_rng(11)
    patients = np.repeat(np.arange(80), 3)
    labels = np.repeat(np.arange(80) < 35, 3).astype(float)
    trials, plain, by_patient, bootstrap, rejected, wrongly = 300, 0, 0, 0, 0, 0
    for number in range(trials):
        person, other = rng.normal(size=(2, 80))
        scores = SHIFT * labels + np.repeat(person, 3) * 0.95 + rng.normal(size=240) * 0.31
        second = SHIFT * labels + np.repeat(other, 3) * 0.95 + rng.normal(size=240) * 0.31
        true = norm.cdf(SHIFT / math.sqrt(2 * (0.95**2 + 0.31**2)))
        one, two = delong(labels, scores), delong(labels, scores, patients)
        statistic = {"auc": auc_of(labels, scores)}
        drawn = replicates(statistic, labels, patients, draws=200, seed=number)["auc"]
        three = percentile(two.value, drawn, "")
        plain += one.low <= true <= one.high
        by_patient += two.low <= true <= two.high
        bootstrap += three.low <= true <= three.high
        rejected += compare(labels, scores, second, patients).p < 0.05
        wrongly += compare(labels, scores, second).p < 0.05
    assert 0.91 <= by_patient / trials <= 0.985
    assert 0.91 <= bootstrap / trials <= 0.985
    assert plain / trials < 0.85
    assert rejected / trials < 0.09  # both models are equally good
    assert wrongly / trials > 0.15


def test_a_patient_may_have_positive_and_negative_ecgs() -> None:
    """Pairs of one positive and one negative of a person: their shared part cancels out."""
    rng = np.random.default_rng(5)
    patients, labels = np.repeat(np.arange(70), 2), np.tile([1.0, 0.0], 70)
    hits, wide = 0, 0
    true = norm.cdf(SHIFT / math.sqrt(2))
    for _ in range(300):
        scores = (
            SHIFT * labels + np.repeat(rng.normal(size=70), 2) * 0.8 + rng.normal(size=140) * 0.6
        )
        found = delong(labels, scores, patients)
        hits += found.low <= true <= found.high
        whole = delong(labels, scores)
        wide += whole.high - whole.low > found.high - found.low
    assert 0.91 <= hits / 300 <= 0.985
    assert wide > 280


def test_the_same_ecg_twice_tells_nothing_new() -> None:
    labels, scores = sample(2)
    twice = delong(np.tile(labels, 2), np.tile(scores, 2), np.tile(np.arange(labels.size), 2))
    once_only = delong(labels, scores)
    assert (twice.low, twice.high) == pytest.approx((once_only.low, once_only.high))
    naive = delong(np.tile(labels, 2), np.tile(scores, 2))
    assert naive.high - naive.low < 0.72 * (once_only.high - once_only.low)


def test_single_patients_change_nothing() -> None:
    labels, scores = sample(2)
    alone = delong(labels, scores, [f"p{k}" for k in range(labels.size)])
    assert alone == delong(labels, scores)


# --- the bootstrap's figures ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_weighted_figures_are_those_of_repeated_examples(seed: int) -> None:
    labels, scores = sample(seed, 40)
    times = np.random.default_rng(seed).integers(0, 3, (1, 40)).astype(float)
    many = np.repeat(np.arange(40), times[0].astype(int))
    called = (scores > 0.4).astype(float)
    checks = [
        (auc_of(labels, scores), roc_auc_score(labels[many], scores[many])),
        (
            average_precision_of(labels, scores),
            average_precision_score(labels[many], scores[many]),
        ),
        (
            weighted_f1_of(labels, called),
            f1_score(labels[many], called[many], average="weighted"),
        ),
        (mean_of(scores), scores[many].mean()),
    ]
    for statistic, expected in checks:
        assert statistic(times)[0] == pytest.approx(expected)
    assert once(auc_of(labels, scores), 40) == pytest.approx(roc_auc_score(labels, scores))


def test_draws_keep_both_classes_whole_patients_and_their_seed() -> None:
    labels = np.array([1.0, 1, 0, 0, 0, 0])
    patients = ["a", "a", "a", "b", "c", "c"]
    seen: list[Floats] = []

    def watch(weights: Floats) -> Floats:
        seen.append(weights.copy())
        return weights @ labels

    alone = replicates({"positives": watch}, labels, draws=50, seed=1)["positives"]
    assert (alone == 2).all()
    assert (seen.pop().sum(axis=1) == 6).all()
    first = replicates({"x": watch}, labels, patients, draws=50, seed=1)["x"]
    weights = seen.pop()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    assert (weights[:, 0] == 1).all()  # the only patient with a positive ECG
    assert (weights[:, 3] + weights[:, 4] == 2).all()
    assert (replicates({"x": watch}, labels, patients, draws=50, seed=1)["x"] == first).all()
    assert (replicates({"x": watch}, labels, draws=9, seed=2)["x"] == 2).all()


def test_draws_that_do_not_differ_make_no_interval() -> None:
    """Also where they differ by rounding, as the Brier score of a constant does."""
    drawn = replicates({"brier": mean_of([0.07, 0.07, 0.53])}, [0, 0, 1], draws=100)["brier"]
    assert not percentile(0.223, drawn, "").has_interval


def test_draws_that_do_not_fit_into_memory_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = sample(1)
    monkeypatch.setattr("ecgvision.evaluation.resampling._CELLS", 7 * labels.size)
    found = replicates({"auc": auc_of(labels, scores)}, labels, draws=20)["auc"]
    assert found.shape == (20,)
    assert np.unique(found).size > 10


# --- rates and thresholds ---------------------------------------------------------------------


def test_wilson_as_published() -> None:
    """Newcombe, Stat Med 1998 (17), 857, table I, method 3."""
    for hits, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = wilson(hits, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20).high == 1.0
    assert math.isnan(wilson(0, 0).value)


def test_thresholds_for_a_sensitivity_lose_no_more_specificity_than_needed() -> None:
    labels = np.repeat([1, 0], (10, 10))
    scores = np.concatenate([np.arange(1, 11), np.arange(10) + 0.5])
    assert threshold_for(labels, scores, 0.8) == 3
    assert threshold_for(labels, scores, 0.9) == 2
    assert threshold_for(labels, scores, 0.95) == 1
    found = counts_at(labels, scores, 3)
    assert (found.sensitivity.value, found.specificity.value) == (0.8, 0.3)
    assert threshold_for(labels, np.zeros(20), 0.8) == 0  # all tied: all are called positive
    assert math.isnan(threshold_for([0, 0], [1, 2], 0.8))


def test_counts_and_predictive_values_by_hand() -> None:
    found = counts_at([1, 1, 1, 0, 0, 0, 0], [3, 2, 0, 2, 1, 1, 0], 2)
    assert found == rates.Counts(2, 1, 3, 1)
    values = (
        found.sensitivity,
        found.specificity,
        found.positive_predictive_value,
        found.negative_predictive_value,
    )
    assert [one.value for one in values] == pytest.approx([2 / 3, 3 / 4, 2 / 3, 3 / 4])


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_and_its_corners_are_scikit_learns(seed: int) -> None:
    labels, scores = sample(seed)
    fpr, tpr, _ = sklearn_roc(labels, scores, drop_intermediate=False)
    curve = rates.roc_curve(labels, scores)
    assert curve.fpr == pytest.approx(fpr)
    assert curve.tpr == pytest.approx(tpr)
    corners = curve.corners()
    assert np.trapezoid(corners.tpr, corners.fpr) == pytest.approx(roc_auc_score(labels, scores))
    assert corners.thresholds.size <= curve.thresholds.size


@pytest.mark.parametrize("seed", range(3))
def test_the_best_threshold_is_the_best_of_all(seed: int) -> None:
    labels, scores = sample(seed, 50)
    found = best_f1_threshold(labels, scores)
    every = {
        float(t): f1_score(labels, scores >= t, average="weighted")
        for t in [*np.unique(scores), np.inf]
    }
    assert every[found] == pytest.approx(max(every.values()))


def test_a_threshold_may_be_that_nobody_is_positive() -> None:
    assert best_f1_threshold([0, 0, 0, 1], [1, 1, 1, 1]) == math.inf
    assert best_f1_threshold([0, 1, 1, 1], [1, 1, 1, 1]) == 1
    assert best_f1_threshold([0, 1, 1, 1], [1, 1, 1, 1], prevalence=0.1) == math.inf
    assert math.isnan(best_f1_threshold([1, 1], [1, 2]))


# --- calibration ------------------------------------------------------------------------------


def test_brier_and_reliability() -> None:
    labels, scores = sample(3)
    chance = calibration.probability(scores)
    expected = brier_score_loss(labels, chance)
    assert calibration.brier(labels, chance).mean() == pytest.approx(expected)
    found = calibration.reliability(labels, chance, bins=4)
    assert found.n.sum() == labels.size
    assert (found.n * found.observed).sum() == pytest.approx(labels.sum())
    assert (found.n * found.predicted).sum() == pytest.approx(chance.sum())
    tied = calibration.reliability([0, 1, 1, 0], [0.3] * 4)
    assert (tied.n.tolist(), tied.observed.tolist()) == ([4], [0.5])
    assert calibration.reliability([], []).n.size == 0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, 40_000)
    labels = rng.random(true.size) < calibration.probability(true)
    found = calibration.fit_temperature(labels, true * temperature)
    assert found.value == pytest.approx(temperature, rel=0.04)
    assert found.nll <= found.nll_before
    logits = rng.normal(0, 2, (40_000, 3))
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    classes = (rng.random((40_000, 1)) > np.cumsum(chance, axis=1)).sum(1)
    many = calibration.fit_temperature(classes, logits * temperature)
    assert many.value == pytest.approx(temperature, rel=0.04)


@pytest.mark.parametrize(
    ("labels", "logits", "why"),
    [
        ([], [], "no validation"),
        ([1, 1], [0.2, 0.3], "only one class"),
        ([0, 1], [0.5, 0.5], "the same"),
        ([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0], "no temperature"),
        ([0, 0, 1, 1], [2.0, 1.0, -1.0, -2.0], "no temperature"),
    ],
)
def test_no_temperature_is_made_up(labels: list[float], logits: list[float], why: str) -> None:
    found = calibration.fit_temperature(labels, logits)
    assert found.value == 1.0
    assert why in found.note


# --- several tests, another prevalence --------------------------------------------------------


def test_holm_as_published() -> None:
    """0.005 four times, 0.01 three times, 0.03 twice, and 0.04 not under what is before it."""
    assert holm([0.01, 0.04, 0.03, 0.005, np.nan])[:4] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(holm([np.nan, 0.2])[0])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


def test_another_prevalence_changes_f1_and_predictive_values_and_not_the_auc() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([1.0, 0.0], (1000, 1000))
    scores = rng.normal(SHIFT * labels)
    found = matched(labels, scores, 0.08, threshold=SHIFT / 2, seed=4)
    assert found.positives == 40
    assert found.draws == 1000
    whole = auc(labels, scores)
    assert found.auc.value == pytest.approx(whole, abs=0.01)
    # 40 and 460: the spread of a draw, and of the mean of 1,000 draws, 32 times narrower.
    spread = found.auc.high - found.auc.low
    assert 0.10 < spread < 0.18
    assert found.mean_auc.high - found.mean_auc.low == pytest.approx(spread / 31.6, rel=0.15)
    hit = float((scores[:1000] >= SHIFT / 2).mean())
    false = float((scores[1000:] >= SHIFT / 2).mean())
    expected = hit * 0.08 / (hit * 0.08 + false * 0.92)
    assert found.positive_predictive_value.value == pytest.approx(expected, abs=0.01)
    assert matched(labels, scores, 0.08, threshold=0.0, seed=4).auc == found.auc


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 0.0001, -1, math.nan])
def test_a_prevalence_leaves_both_classes(prevalence: float) -> None:
    with pytest.raises(ValueError, match="prevalence"):
        matched([0, 1], [0, 1], prevalence, threshold=0.5)

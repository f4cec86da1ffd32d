"""Clinical features: what is filled in follows age and sex and keeps the prevalence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ecgvision.dataset.clinical import ClinicalError, ClinicalImputer, fill_in_training

FEATURES = ("smoking", "diabetes", "hypertension", "dyslipidemia")
# Truth: probability at 72 years, its rise a year, and what being female adds.
TRUTH = {
    "smoking": (0.25, -0.004, -0.2),
    "diabetes": (0.3, 0.001, 0.0),
    "hypertension": (0.6, 0.008, 0.1),
    "dyslipidemia": (0.5, 0.0, 0.15),
}
MISSING = 0.385


def whole(count: int, seed: int = 1) -> pd.DataFrame:
    """A simulated cohort of which everything is known."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(48, 96, count)  # of standard deviation 13.9, as in the study
    sex = (rng.random(count) < 0.495).astype(float)
    frame = pd.DataFrame({"age_years": age, "sex": sex})
    for name, (level, per_year, per_sex) in TRUTH.items():
        chance = level + per_year * (age - 72) + per_sex * (sex - 0.5)
        frame[name] = (rng.random(count) < chance).astype(float)
    return frame


def cohort(count: int = 20_000, seed: int = 1, missing: float = MISSING) -> pd.DataFrame:
    frame = whole(count, seed)
    gone = np.random.default_rng(seed + 1).random(count) < missing
    frame.loc[gone, list(FEATURES)] = np.nan
    return frame


@pytest.fixture(scope="module")
def fitted() -> ClinicalImputer:
    return ClinicalImputer().fit(cohort())


# --- against known truth ------------------------------------------------------------------------


def test_the_functions_of_age_and_sex_are_found(fitted: ClinicalImputer) -> None:
    known = 20_000 * (1 - MISSING)
    for name, (_, per_year, per_sex) in TRUTH.items():
        model = fitted.fitted_.features[name]
        # Four standard errors of a slope: at most 0.5 / (sd * sqrt(n)).
        assert model.per_year == pytest.approx(per_year, abs=4 * 0.5 / (13.8 * known**0.5))
        assert model.per_sex == pytest.approx(per_sex, abs=4 * 0.5 / (0.5 * known**0.5))


def test_the_prevalence_among_the_known_is_kept(fitted: ClinicalImputer) -> None:
    frame = cohort()
    gone = frame["smoking"].isna()
    filled = fitted.transform(frame)
    for name in FEATURES:
        prevalence = frame[name].mean()
        # Every score is different, as ages are: no further off than one row.
        assert filled.loc[gone, name].mean() == pytest.approx(prevalence, abs=1 / gone.sum())
        truth = whole(20_000).loc[gone, name].mean()
        assert filled.loc[gone, name].mean() == pytest.approx(
            truth, abs=4 * 0.5 / gone.sum() ** 0.5
        )


def test_those_with_the_highest_chance_are_given_the_feature(fitted: ClinicalImputer) -> None:
    frame = cohort()
    filled = fitted.transform(frame)[frame["hypertension"].isna()]
    chance = 0.6 + 0.008 * (filled["age_years"] - 72) + 0.1 * (filled["sex"] - 0.5)
    yes, no = chance[filled["hypertension"] == 1], chance[filled["hypertension"] == 0]
    # But for the error of the slopes the two do not overlap.
    assert yes.quantile(0.02) > no.quantile(0.98) - 0.02


def test_what_is_known_stays(fitted: ClinicalImputer) -> None:
    frame = cohort()
    filled = fitted.transform(frame)
    for name in ("age_years", "sex", *FEATURES):
        known = frame[name].notna()
        pd.testing.assert_series_equal(filled.loc[known, name], frame.loc[known, name])
        assert filled[name].notna().all()
    assert list(filled.columns) == list(frame.columns)
    assert frame["smoking"].isna().any()  # the frame given is not changed


def test_few_ages_still_keep_the_prevalence_as_well_as_can_be() -> None:
    frame = pd.DataFrame(
        {
            "age_years": [40.0] * 6 + [60] * 6 + [80] * 6,
            "sex": 0.0,
            "smoking": [0, 0, 0, 1]
            + [np.nan] * 2
            + [0, 0, 1, 1]
            + [np.nan] * 2
            + [1] * 4
            + [np.nan] * 2,
        }
    )  # 7 of 12 smoke, more with age: 2 or 4 of the 6 that are missing can, 4/6 is nearer
    filled = ClinicalImputer().fit_transform(frame)["smoking"]
    assert filled[[4, 5, 10, 11, 16, 17]].tolist() == [0, 0, 1, 1, 1, 1]


def test_a_feature_that_nobody_or_everybody_has_is_given_to_nobody_or_everybody() -> None:
    frame = cohort(200).assign(smoking=lambda one: one["smoking"] * 0)
    frame["diabetes"] = frame["diabetes"] * 0 + 1
    filled = ClinicalImputer().fit(frame).transform(cohort(500, seed=9))
    fresh = cohort(500, seed=9)["smoking"].isna()
    assert (filled.loc[fresh, "smoking"] == 0).all()
    assert (filled.loc[fresh, "diabetes"] == 1).all()


def test_age_and_sex_are_filled_in_from_each_other_as_scikit_learn_does() -> None:
    frame = whole(3000)
    rng = np.random.default_rng(5)
    frame["age_years"] += 6 * frame["sex"]
    frame.loc[rng.random(3000) < 0.1, "age_years"] = np.nan
    frame.loc[rng.random(3000) < 0.1, "sex"] = np.nan
    base = frame[["age_years", "sex"]].to_numpy()
    expected = IterativeImputer(BayesianRidge(), max_iter=100, random_state=0).fit_transform(base)
    filled = ClinicalImputer().fit_transform(frame)
    np.testing.assert_allclose(filled["age_years"], expected[:, 0], rtol=1e-12)
    gone = frame["sex"].isna()
    assert set(filled.loc[gone, "sex"]) == {0.0, 1.0}
    # Rows without age as well all have one score: at worst half of them are too many or too few.
    tied = (gone & frame["age_years"].isna()).sum() / gone.sum()
    assert filled.loc[gone, "sex"].mean() == pytest.approx(frame["sex"].mean(), abs=tied / 2 + 0.01)


def test_the_features_are_those_of_scikit_learn_cut(fitted: ClinicalImputer) -> None:
    frame = cohort()
    for name in FEATURES:
        columns = frame[["age_years", "sex", name]].to_numpy()
        expected = IterativeImputer(BayesianRidge(), random_state=0).fit_transform(columns)[:, 2]
        gone = frame[name].isna().to_numpy()
        cut = expected[gone] >= fitted.fitted_.features[name].threshold
        np.testing.assert_array_equal(fitted.transform(frame)[name].to_numpy()[gone], cut)


# --- training only ------------------------------------------------------------------------------


def test_only_training_rows_are_filled_in_and_learnt_from() -> None:
    rows = cohort(2000)
    rows["split"] = np.where(np.arange(2000) % 4 == 0, "test", "train")
    filled, imputer = fill_in_training(rows, ("age_years", "sex", *FEATURES))
    test = rows["split"] == "test"
    pd.testing.assert_frame_equal(filled[test], rows[test])
    assert filled.loc[~test, list(FEATURES)].notna().all(axis=None)
    other = rows.copy()
    other.loc[test, list(FEATURES)] = 1.0  # whatever stands in the test rows
    assert fill_in_training(other, FEATURES)[1].to_json() == imputer.to_json()
    with pytest.raises(ClinicalError, match="no row is in training"):
        fill_in_training(rows.assign(split="test"), FEATURES)


# --- kept as JSON -------------------------------------------------------------------------------


def test_it_comes_back_from_json_to_the_last_bit(fitted: ClinicalImputer) -> None:
    fresh = cohort(5000, seed=11)
    fresh.loc[:40, "age_years"] = np.nan
    fresh.loc[20:80, "sex"] = np.nan
    found = ClinicalImputer.from_json(fitted.to_json())
    pd.testing.assert_frame_equal(found.transform(fresh), fitted.transform(fresh), check_exact=True)
    assert found.to_json() == fitted.to_json()
    assert found.get_feature_names_out().tolist() == ["age_years", "sex", *FEATURES]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version"),
        ({"kind": "other"}, "kind"),
        ({"surprise": 1}, "surprise"),
        ({"mean_age": "NaN"}, "mean_age"),
        ({"features": {"smoking": {"per_year": 0.1}}}, "features.smoking.per_sex"),
    ],
)
def test_other_json_is_refused(
    fitted: ClinicalImputer, change: dict[str, object], told: str
) -> None:
    text = json.dumps(json.loads(fitted.to_json()) | change)
    with pytest.raises(ClinicalError, match=told):
        ClinicalImputer.from_json(text)
    with pytest.raises(ClinicalError, match=r"run/clinical\.json: expected a clinical imputer"):
        ClinicalImputer.from_json("{", "run/clinical.json")


# --- as an estimator ----------------------------------------------------------------------------


def test_it_behaves_as_an_estimator(fitted: ClinicalImputer) -> None:
    fresh = clone(fitted)
    assert fresh.get_params() == {"age": "age_years", "sex": "sex", "features": None}
    with pytest.raises(NotFittedError):
        fresh.transform(cohort(50))
    with pytest.raises(NotFittedError):
        fresh.to_json()
    assert fresh.set_params(features=["smoking"]).fit(cohort(200)) is fresh
    assert fresh.get_feature_names_out().tolist() == ["age_years", "sex", "smoking"]
    assert fresh.n_features_in_ == 3
    scaled = make_pipeline(fresh, FunctionTransformer(lambda one: one * 1.0))
    assert scaled.fit_transform(cohort(200))["smoking"].notna().all()


def test_fitting_twice_gives_the_same() -> None:
    assert ClinicalImputer().fit(cohort(500)).to_json() == (
        ClinicalImputer().fit(cohort(500)).to_json()
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"smoking": np.nan}, "column smoking has no known value in 300 rows"),
        ({"age_years": np.nan}, "column age_years has no known value"),
        ({"sex": np.nan}, "column sex has no known value"),
        ({"smoking": 2.0}, "column smoking: expected 0 and 1, found 2"),
        ({"sex": 0.5}, "column sex: expected 0 and 1, found 0.5"),
        ({"age_years": np.inf}, "column age_years: expected finite ages, found inf"),
        ({"smoking": "yes"}, "column smoking: expected numbers"),
    ],
)
def test_nothing_is_guessed_from_nothing_or_from_other_values(
    change: dict[str, object], told: str
) -> None:
    with pytest.raises(ClinicalError, match=told):
        ClinicalImputer().fit(cohort(300).assign(**change))


def test_columns_that_are_not_there_are_named(fitted: ClinicalImputer) -> None:
    with pytest.raises(ClinicalError, match="expected a column diabetes, found"):
        fitted.transform(cohort(30).drop(columns="diabetes"))


def test_a_handful_of_known_values_will_do() -> None:
    frame = cohort(12, missing=0.0)
    frame.loc[1:, "smoking"] = np.nan
    filled = ClinicalImputer().fit_transform(frame)
    assert filled["smoking"].notna().all()
    assert set(filled["smoking"]) == {frame.loc[0, "smoking"]}

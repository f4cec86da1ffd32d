"""A probability's place among those of a cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgvision.web.cohort import COHORT, cohort_bytes, read_cohort


def test_the_place_is_the_share_below(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    chances = rng.beta(0.5, 3, 2000)
    (tmp_path / COHORT).write_bytes(cohort_bytes("drawn", {"mi": chances, "cd": [0.2] * 9}))
    cohort = read_cohort(tmp_path / "model.toml")
    assert cohort is not None
    for chance in (0.01, 0.1, 0.4):
        place = cohort.place("mi", chance)
        assert place is not None
        assert place["percentile"] == pytest.approx(100 * (chances < chance).mean(), abs=1)
    assert cohort.place("cd", 0.2) == {"percentile": 50.0, "test_set": "drawn"}
    assert cohort.place("mi", 0.0)["percentile"] == 0  # type: ignore[index]
    assert cohort.place("mi", 1.0)["percentile"] == 100  # type: ignore[index]
    assert cohort.place("hyp", 0.5) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"test_set": "x", "percentiles": {"mi": [0.1, 0.2]}}']
)
def test_other_files_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / COHORT).write_text(text)
    assert read_cohort(tmp_path / "model.toml") is None

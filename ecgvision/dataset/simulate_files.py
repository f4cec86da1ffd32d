"""A simulated cohort on disk: packed signals, labels, their schema, and how it was made."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgvision import __version__
from ecgvision.dataset.drawing_labels import SCHEMA
from ecgvision.dataset.folders import whole_folder
from ecgvision.dataset.records import COHORT, EIGHT, LABELS, PACKED, packed_bytes
from ecgvision.dataset.simulate import CohortOptions, simulated_ecgs
from ecgvision.output import json_bytes, write_files
from ecgvision.types import LEADS

_EIGHT_ROWS = [LEADS.index(lead) for lead in EIGHT]
_SCHEMA_TOML = """\
# A simulated cohort: no patient stands behind it.
[columns]
record = "record"
patient = "patient"
year = "year"
format = "format"

[clinical]
age_years = { title = "Age (years)" }
sex = { values = "binary", title = "Female" }
smoking = { values = "binary", title = "Smoking, now or earlier" }
diabetes = { values = "binary", title = "Diabetes" }
hypertension = { values = "binary", title = "Hypertension" }
dyslipidemia = { values = "binary", title = "Dyslipidemia" }

[labels]
scar = { values = "binary", title = "Myocardial scar" }
lvef_percent = { title = "LVEF (%)" }

[labels.scar_territory]
values = "text"
classes = ["none", "anterior", "inferior", "lateral"]
title = "Territory of the scar"
"""


@dataclass(frozen=True, slots=True)
class Cohort:
    """What was written: how many patients and ECGs."""

    folder: Path
    patients: int
    ecgs: int


def write_cohort(
    folder: Path,
    options: CohortOptions,
    *,
    replace: bool = False,
    tell: Callable[[int, int], None] = lambda over, total: None,
) -> Cohort:
    """Simulate a cohort and write it whole or not at all.

    Raises `DatasetError` where something else stands there, `OutputError` where nothing can be
    written.
    """
    how = options.recorded
    with whole_folder(folder, COHORT, replace=replace) as new:
        ecgs = list(simulated_ecgs(options))
        leads8_uv = np.empty((len(ecgs), len(EIGHT), round(how.seconds * how.fs_hz)), np.int16)
        for number, one in enumerate(ecgs):
            leads8_uv[number] = np.rint(one.ecg(options).signal_mv[_EIGHT_ROWS] * 1000.0)
            tell(number + 1, len(ecgs))
        write_files(
            {
                new / PACKED: packed_bytes(leads8_uv, how.fs_hz),
                new / LABELS: _table_bytes([one.row for one in ecgs]),
                new / SCHEMA: _SCHEMA_TOML.encode(),
                new / COHORT: json_bytes(_about(options, len(ecgs))),
            }
        )
    return Cohort(folder, options.patients, len(ecgs))


def _about(options: CohortOptions, ecgs: int) -> dict[str, Any]:
    return {
        "kind": "ecgvision-cohort",
        "version": 1,
        "simulated": True,
        "patients": options.patients,
        "ecgs": ecgs,
        "seed": options.seed,
        "effect_scar": options.effects.scar,
        "effect_lvef": options.effects.lvef,
        "recorded": asdict(options.recorded),
        "versions": {"ecgvision": __version__},
    }


def _table_bytes(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()

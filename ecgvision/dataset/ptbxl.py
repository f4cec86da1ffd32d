"""The labels of PTB-XL as a data set has them.

Wagner et al., PTB-XL, a large publicly available electrocardiography dataset. Scientific Data
2020;7:154. Folds 1 to 8 are for training, 9 for validation, 10 for the test.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ecgvision.dataset.about import ColumnInfo, DatasetError
from ecgvision.dataset.drawing_labels import Labelled

SUPERCLASSES = {
    "norm": "Normal ECG",
    "mi": "Myocardial infarction",
    "sttc": "ST/T change",
    "cd": "Conduction disturbance",
    "hyp": "Hypertrophy",
}
_OVER_89, _OLDEST_YEARS = 300, 90.0
_COLUMNS = ("ecg_id", "patient_id", "strat_fold", "age", "sex", *SUPERCLASSES)


def ptbxl_labels(path: Path) -> Labelled:
    """The table `labels.csv` of the packed PTB-XL; raises `DatasetError` where it is another.

    Ages over 89, which PTB-XL hides as 300, become 90 years. `scp_codes` and
    `infarction_stadium` are kept where they are there.
    """
    try:
        table = pd.read_csv(path, dtype={"ecg_id": str, "patient_id": str})
        lacking = [name for name in _COLUMNS if name not in table]
        found = f"no column {', '.join(lacking)}" if lacking else ""
    except (OSError, ValueError) as error:
        found = f"something else ({type(error).__name__})"
    if found:
        raise DatasetError(
            "labels-wrong",
            path,
            None,
            expected=f"a table with {', '.join(_COLUMNS)}",
            found=found,
            hint="without ptbxl: in front of the folder, --labels takes tables of other columns",
        )
    rows = pd.DataFrame(
        {
            "patient": table["patient_id"],
            "fold": table["strat_fold"],
            "age_years": table["age"].where(table["age"] != _OVER_89, _OLDEST_YEARS).astype(float),
            "sex": table["sex"].astype(float),
            **{name: table[name].astype(float) for name in SUPERCLASSES},
        }
    )
    columns = {
        "age_years": ColumnInfo(role="clinical", title="Age (years)"),
        "sex": ColumnInfo(role="clinical", title="Female"),
        **{name: ColumnInfo(role="label", title=title) for name, title in SUPERCLASSES.items()},
    }
    if "infarction_stadium" in table:
        rows["infarction_stadium"] = table["infarction_stadium"]
        columns["infarction_stadium"] = ColumnInfo(role="label", title="Stadium of infarction")
    if "scp_codes" in table:
        rows["scp_codes"] = table["scp_codes"]
        columns["scp_codes"] = ColumnInfo(role="other", title="SCP statements")
    rows.index = pd.Index(table["ecg_id"])
    return Labelled(rows, columns)

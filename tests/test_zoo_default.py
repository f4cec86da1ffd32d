"""The default model's figures come out again, on a part of the test set its card speaks of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgvision.dataset.drawing import DrawOptions, draw_record
from ecgvision.dataset.drawing_labels import read_labelled
from ecgvision.dataset.records import open_records
from ecgvision.evaluation.auc import auc
from ecgvision.predicting import load_model
from ecgvision.predicting.model import DEFAULT

pytest.importorskip("onnxruntime", reason="the figures are those of the int8 file")

TEST_FOLD, EVERY = 10, 8
# Of these 138 records on Philips pages.
EXPECTED = {"mi": 0.851, "sttc": 0.935, "cd": 0.933, "hyp": 0.855}


def test_the_figures_of_the_card_come_out_again(data: Path) -> None:
    records = open_records(f"ptbxl:{data / 'ptbxl'}")
    entries = read_labelled(records, None, None).entries
    some = [name for name, one in entries.items() if one.keys["fold"] == TEST_FOLD][::EVERY]
    model = load_model(DEFAULT)
    options = DrawOptions(image_px=model.image_px, scan_share=0.0, seed=1, direct=True)
    drawn = [draw_record(one, records.read(one), ["philips-tc30"], options)[0] for one in some]
    images = np.stack([one.image for one in drawn if one.image is not None])
    assert len(images) == len(some) == 138
    found = {
        task: auc([float(entries[one].values[task] or 0) for one in some], scores)
        for task, scores in model.probabilities(images).items()
    }
    assert found == pytest.approx(EXPECTED, abs=0.01)
    for metric in model.entry.metrics:
        if metric.name == "auc" and metric.format == "philips-tc30":
            # A sample of an eighth: its error is about three times that of all.
            slack = 3 * (metric.high - metric.low) / 2
            assert abs(found[metric.task] - metric.value) < slack

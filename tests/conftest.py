"""What several tests share: the real material, the installed formats, pages from bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from ecgvision.media import open_report
from ecgvision.plugins import Format, load_formats
from ecgvision.testing import Ecg, synthetic_ecg
from ecgvision.types import Layout, Page

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
# Only every so many records are kept in memory.
PTBXL_STEP = 50
PTBXL_HZ = 250

# Every layout of the formats that come with the package.
STOCK_LAYOUTS = [
    ("edan-se3", "6x2+1R"),
    ("edan-se3", "6x2"),
    ("edan-se3", "3x4+1R"),
    ("edan-se3", "3x4"),
    ("ge-mac1200", "6x2"),
    ("ge-muse", "3x4+3R"),
    ("ge-muse", "3x4+1R"),
    ("ge-muse", "3x4"),
    ("philips-tc30", "3x4+1R"),
    ("philips-tc30", "3x4+1R-joined"),
    ("philips-tc30", "3x4+1R-wide"),
]

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"data", "ptbxl"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with the real material; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no real material in {DATA}: set ECGVISION_DATA to its folder")
    return DATA


@pytest.fixture(scope="session")
def ptbxl(data: Path) -> Callable[[int], Ecg]:
    """Gives a real 10 s recording by its number, 0 to 67."""
    path = data / "ptbxl" / "signals.npz"
    if not path.is_file():
        pytest.skip(f"no PTB-XL signals in {path}")
    with np.load(path) as file:
        leads8_uv = np.cumsum(file["delta_uv"][::PTBXL_STEP], axis=2, dtype=np.int16)

    @cache
    def record(number: int) -> Ecg:
        return Ecg.from_eight(leads8_uv[number], PTBXL_HZ)

    return record


@pytest.fixture(scope="session")
def ecg() -> Ecg:
    """A synthetic recording, long enough for columns of more than 2.5 s."""
    return synthetic_ecg(seed=3, noise_mv=0.01, seconds=12)


@pytest.fixture(scope="session")
def formats() -> dict[str, Format]:
    return {one.info.id: one for one in load_formats().formats}


@pytest.fixture(scope="session")
def layout_of(formats: dict[str, Format]) -> Callable[[str, str], Layout]:
    """A layout by the ids of its format and itself."""

    def find(format_id: str, name: str) -> Layout:
        return next(one for one in formats[format_id].layouts if one.name == name)

    return find


@pytest.fixture
def page_of(tmp_path: Path) -> OpenPage:
    """Gives the first page of a file's bytes."""
    numbers = count(1)

    def opened(content: bytes, suffix: str = ".pdf") -> Page:
        path = tmp_path / f"page-{next(numbers)}{suffix}"
        path.write_bytes(content)
        return open_report(path).page(1)

    return opened

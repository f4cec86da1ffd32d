"""What a network is asked about: pictures of its size, or recordings of its rate and length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.loading import PageSignals

if TYPE_CHECKING:
    from ecgvision.predicting.config import ModelConfig, SignalPart

# The names of what an exported network takes.
PAGE, SIGNAL, CLINICAL = "page", "signal", "clinical"


class Signals(Protocol):
    """(12, n) float32 mV at `fs_hz`, NaN where not printed."""

    @property
    def signal_mv(self) -> NDArray[np.float32]: ...

    @property
    def fs_hz(self) -> float: ...


def entered(given: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """(n, H, W) ``uint8`` pages or (n, 12, T) recordings as an exported network takes them.

    >>> entered(np.full((1, 2, 2), 255, np.uint8))["page"].shape
    (1, 1, 2, 2)
    """
    if given.dtype == np.uint8:
        return {PAGE: given[:, None].astype(np.float32) / np.float32(255)}
    return {SIGNAL: np.ascontiguousarray(given, np.float32)}


def check_input(given: Any, config: ModelConfig) -> None:
    """Raise `ValueError` unless it is (n, H, W) ``uint8`` of the network's size.

    For networks of signals: (n, 12, T) float32 of its length.
    """
    if config.is_signal:
        told, dtype = (len(config.signal.leads), config.signal.samples), "float32"
    else:
        told, dtype = (config.image.height_px, config.image.width_px), "uint8"
    fine = isinstance(given, np.ndarray) and given.ndim == 3 and given.dtype == dtype
    if not fine or given.shape[1:] != told:
        raise ValueError(
            f"expected (n, {told[0]}, {told[1]}) {dtype}, found {getattr(given, 'shape', given)!r} "
            f"{getattr(given, 'dtype', '')}"
        )


def recording_input(
    signal_mv: NDArray[np.float32], fs_hz: float, due: SignalPart
) -> NDArray[np.float32]:
    """(12, n) mV at `fs_hz`, NaN where not printed, as (12, `due.samples`) at the model's rate.

    Longer recordings are cut, shorter ones end in NaN, as in the data set it learned from. Between
    samples the line is straight; next to a sample that is not known, nothing is.

    >>> from ecgvision.predicting.config import SignalPart
    >>> due = SignalPart(fs_hz=100, samples=4, leads=("I",))
    >>> recording_input(np.float32([[0, 1, 2, 3, np.nan, 5]]), 200.0, due)
    array([[ 0.,  2., nan, nan]], dtype=float32)
    """
    if abs(fs_hz - due.fs_hz) < 1e-6 * due.fs_hz:
        found = signal_mv[:, : due.samples]
    else:
        at = np.arange(due.samples) * (fs_hz / due.fs_hz)
        at = at[at <= signal_mv.shape[1] - 1]
        first = np.floor(at + 1e-9).astype(np.int64)
        share = np.clip(at - first, 0, 1)
        share[share < 1e-9] = 0
        after = np.minimum(first + 1, signal_mv.shape[1] - 1)
        # What has no share must not make the sum unknown.
        second = np.where(share > 0, signal_mv[:, after], 0)
        found = signal_mv[:, first] * (1 - share) + second * share
    return PageSignals(found, due.fs_hz).fitted(due.samples)

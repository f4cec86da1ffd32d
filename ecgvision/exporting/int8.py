"""An ONNX file in whole numbers of 8 bits: static, its ranges taken from real pages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ecgvision.exporting.onnx_file import ExportError, runner, stripped
from ecgvision.predicting.inputs import CLINICAL, entered

MOST_AUC_LOST = 0.005
"""By how much the AUC of an int8 file may differ from that of the network."""

# What a network computes most of its time. All else stays in 32 bits.
_OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "GlobalAveragePool"]
_OPERATORS_OF_SIGNALS = ["Conv", "Gemm", "MatMul"]
_LEAD_BY_LEAD = {"lead", "mix"}  # modules of `ResNet1d`
_AT_A_TIME = 16


def int8_bytes(
    data: bytes, pages: NDArray[Any], clinical: NDArray[np.float32] | None = None
) -> bytes:
    """The file with weights and activations in 8 bits (QDQ, each channel its own scale).

    `pages` are (n, H, W) ``uint8`` or (n, 12, T) float32 recordings, `clinical` (n, k): the ranges
    of the activations are those that they give. Weights take 7 of the 8 bits: with all 8, sums
    overflow on processors without instructions for them, and the answers would depend on the
    machine.

    Of a network of recordings only what comes after its leads are mixed is in 8 bits, and only its
    convolutions and linear layers: 256 steps from the lowest to the highest millivolt are too wide
    for a P wave. That took the largest difference of a probability from 0.28 to 0.05. Raises
    `ExportError`.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not len(pages):
        raise ExportError("int8 needs pages to take its ranges from; found none")
    images = pages.dtype == np.uint8
    with TemporaryDirectory() as folder, _quiet():
        plain, ready, small = (
            Path(folder) / name for name in ("plain.onnx", "ready.onnx", "small.onnx")
        )
        plain.write_bytes(data)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            _reader(pages, clinical),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS if images else _OPERATORS_OF_SIGNALS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[] if images else _kept(onnx.load(ready)),
        )
        return stripped(onnx.load(small))


def _kept(model: Any) -> list[str]:
    """The convolutions of a network of recordings that stay in 32 bits, by their torch modules."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and not _LEAD_BY_LEAD.isdisjoint(node.name.split("/"))
    ]


class _quiet:  # noqa: N801  used as a function
    """Keeps the tool's advice to itself: what it advises has been done."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: Any) -> None:
        self._caught.__exit__(*error)
        logging.disable(logging.NOTSET)


def _reader(pages: NDArray[Any], clinical: NDArray[np.float32] | None) -> Any:
    """What the tool takes its pages from."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = batches(pages, clinical)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._left, None)

    return Reader()


def batches(
    pages: NDArray[Any], clinical: NDArray[np.float32] | None
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The inputs of an exported network, some pages at a time."""
    for k in range(0, len(pages), _AT_A_TIME):
        some = slice(k, k + _AT_A_TIME)
        given = entered(pages[some])
        if clinical is not None:
            given[CLINICAL] = np.ascontiguousarray(clinical[some], np.float32)
        yield given


def log_odds(
    data: bytes, pages: NDArray[Any], clinical: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float64]]:
    """(n,) log-odds by task, not calibrated, of what the file says of the pages."""
    parts: dict[str, list[NDArray[np.float64]]] = {}
    run = runner(data)
    for given in batches(pages, clinical):
        for name, logits in run(list(given.values())).items():
            two = logits.astype(np.float64)
            parts.setdefault(name, []).append(two[:, 1] - two[:, 0])
    return {name: np.concatenate(each) for name, each in parts.items()}


def most_apart(one: dict[str, NDArray[np.float64]], other: dict[str, NDArray[np.float64]]) -> float:
    """The largest difference of a probability, uncalibrated, between two sets of log-odds."""

    def chance(odds: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(0.5 * (1 + np.tanh(odds / 2)))

    return max(float(np.abs(chance(one[name]) - chance(other[name])).max()) for name in one)


__all__: Sequence[str] = (
    "MOST_AUC_LOST",
    "batches",
    "int8_bytes",
    "log_odds",
    "most_apart",
)

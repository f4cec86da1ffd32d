"""A network as an ONNX file: the same answers without torch, and nothing of the machine in it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgvision.errors import EcgVisionError
from ecgvision.models import MultiTaskNet
from ecgvision.models.asked import Asked, Recordings
from ecgvision.predicting.inputs import CLINICAL, PAGE, SIGNAL
from ecgvision.types import LEADS

OPSET = 17
MOST_DIFFERENCE = 1e-4
"""By how much the logits of the file may differ from those of the network."""

_TRIED = 4


class ExportError(EcgVisionError):
    """A network cannot be exported, or what was exported answers otherwise."""

    code = "export"


class _Listed(nn.Module):
    """The network with its logits as a list, in the order of its tasks."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked, self._tasks = asked, tuple(asked.net.heads)

    def forward(self, given: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, ...]:
        found = self.asked(given, clinical)
        return tuple(found[name] for name in self._tasks)


def onnx_bytes(net: MultiTaskNet, recordings: Recordings | None = None, seed: int = 0) -> bytes:
    """The network as ONNX of opset 17.

    It takes `page`, (n, 1, H, W) float32 of 0 to 1, or where it is one of `recordings` `signal`,
    (n, 12, T) float32 mV with NaN where not printed; and `clinical`, (n, k) float32 without NaN,
    where the network has clinical features. It gives (n, 2) logits by the names of the tasks. Any
    n will do. Raises `ExportError` where ONNX Runtime answers otherwise than torch on seeded input.
    """
    if net.signal and not (net.settings.whole_recordings and recordings):
        raise ExportError("networks of single beats are not exported: only those of recordings")
    net.eval()
    tasks = list(net.heads)
    inputs = _inputs(net, recordings, 2, seed)
    names = [SIGNAL if net.signal else PAGE, CLINICAL][: len(inputs)]
    into = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter without packages of its own is called legacy; what it traces is constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Listed(Asked(net, recordings)).eval(),
            tuple(map(torch.from_numpy, inputs)),
            into,
            input_names=names,
            output_names=tasks,
            dynamic_axes={name: {0: "n"} for name in (*names, *tasks)},
            opset_version=OPSET,
            dynamo=False,
        )
    data = stripped(onnx.load_from_string(into.getvalue()))
    most = difference(net, data, recordings, seed + 1)
    if not most <= MOST_DIFFERENCE:
        raise ExportError(
            f"the ONNX file answers otherwise than the network: expected logits within "
            f"{MOST_DIFFERENCE:g}, found {most:.3g} off; use the weights with torch"
        )
    return data


def stripped(model: Any) -> bytes:
    """The file without what exporters note of this machine: paths, stack traces, their names."""
    model.producer_name, model.producer_version, model.doc_string = "ecgvision", "", ""
    model.graph.doc_string, model.graph.name = "", "network"
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        if hasattr(node, "metadata_props"):
            del node.metadata_props[:]
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def difference(
    net: MultiTaskNet, data: bytes, recordings: Recordings | None = None, seed: int = 0
) -> float:
    """The largest difference of any logit between torch and the file, on seeded input."""
    inputs = _inputs(net, recordings, _TRIED, seed)
    with torch.inference_mode():
        due = Asked(net, recordings)(*map(torch.from_numpy, inputs))
    found = runner(data)(inputs)
    return max(float(np.abs(found[name] - due[name].numpy()).max()) for name in due)


Run = Callable[[Sequence[NDArray[np.float32]]], dict[str, NDArray[np.float32]]]


def runner(data: bytes) -> Run:
    """ONNX Runtime with the file: from its inputs to its outputs by name."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    takes = [one.name for one in session.get_inputs()]
    gives = [one.name for one in session.get_outputs()]

    def run(inputs: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        found = session.run(gives, dict(zip(takes, inputs, strict=True)))
        return dict(zip(gives, found, strict=True))

    return run


def _inputs(
    net: MultiTaskNet, recordings: Recordings | None, n: int, seed: int
) -> tuple[NDArray[np.float32], ...]:
    """Pages or recordings, and features where the network takes them."""
    rng = np.random.default_rng(seed)
    given = _pages(net, n, rng) if recordings is None else _recordings(recordings, n, rng)
    if net.clinical is None:
        return (given,)
    columns = net.clinical.columns
    features = rng.integers(0, 2, (n, len(columns))).astype(np.float32)
    return given, features


def _pages(net: MultiTaskNet, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Dark dots on light paper."""
    height, width = net.settings.image_px
    pages = np.ones((n, 1, height, width), np.float32)
    dark = rng.random((n, 1, height, width)) < 0.05
    pages[dark] = rng.random(int(dark.sum())).astype(np.float32)
    return pages


def _recordings(told: Recordings, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of half a millivolt; of every second lead a part is not printed."""
    signals = rng.normal(0, 0.5, (n, len(LEADS), told.samples)).astype(np.float32)
    signals[:, ::2, : told.samples // 3] = np.nan
    return signals

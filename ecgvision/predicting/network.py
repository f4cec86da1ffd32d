"""Who computes: ONNX Runtime, or torch where that is asked for or alone at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgvision.errors import UsageError
from ecgvision.predicting.inputs import CLINICAL, PAGE, SIGNAL, entered
from ecgvision.zoo.files import ModelFileError

if TYPE_CHECKING:
    from ecgvision.predicting.config import ModelConfig
    from ecgvision.zoo.entry import Entry, Role

Backend = Literal["auto", "onnx", "torch"]
BACKENDS: tuple[Backend, ...] = ("auto", "onnx", "torch")


class Network(Protocol):
    """What it is asked about, and (n, k) clinical features, to (n, 2) logits by task.

    It is asked about (n, H, W) ``uint8`` pages or (n, 12, T) float32 recordings.
    """

    def __call__(
        self, given: NDArray[Any], clinical: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]: ...


def chosen_role(entry: Entry, backend: str) -> Role:
    """Which of the model's files is to answer; raises `UsageError` where none can."""
    if backend not in BACKENDS:
        raise UsageError(f"--backend is one of {', '.join(BACKENDS)}, found {backend!r}")
    there: Sequence[Role] = ("onnx-int8", "onnx")
    roles = {file.role for file in entry.files}
    onnx = next((role for role in there if role in roles), None)
    has_onnx, has_torch = (find_spec(name) is not None for name in ("onnxruntime", "torch"))
    if backend != "torch" and onnx and has_onnx:
        return onnx
    if backend == "onnx":
        if onnx is None:
            raise UsageError(f"model {entry.id} has no ONNX file; use --backend torch")
        raise _needs("onnxruntime", "onnx")
    if not has_torch:
        raise _needs("torch", "train") if backend == "torch" or not onnx else _needs_one()
    return "weights"


def _needs(package: str, extra: str) -> UsageError:
    return UsageError(
        f"this needs {package}, which is not installed: pip install 'ecgvision[{extra}]'"
    )


def _needs_one() -> UsageError:
    return UsageError(
        "this needs onnxruntime, which is not installed: pip install 'ecgvision[onnx]'"
    )


def open_network(entry: Entry, role: Role, path: Path, config: ModelConfig) -> Network:
    """The network in that file; raises `ModelFileError`, `ModelError`."""
    if role == "weights":
        from ecgvision.models.asked import Recordings
        from ecgvision.models.frozen import FrozenNet

        recipe, recordings = config.recipe, None
        if config.is_signal:
            recordings = Recordings(config.signal.fs_hz, config.signal.samples, config.crop_s)
        return FrozenNet(recipe.tasks, recipe.model, recipe.clinical, path, recordings)
    return OnnxNetwork(entry, path, config)


class OnnxNetwork:
    """An ONNX file in ONNX Runtime, on the CPU.

    Raises `ModelFileError` for a file that is none, or takes or gives something else.
    """

    def __init__(self, entry: Entry, path: Path, config: ModelConfig) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = _cores()
        # Idle threads that spin make everything else slower.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path, settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of the library's own kinds, which it does not export
            raise ModelFileError(
                f"{entry.id}: {path.name}: expected an ONNX network, found something that ONNX "
                f"Runtime does not load ({type(error).__name__}); pull or export it anew"
            ) from error
        self._tasks = [task.name for task in config.recipe.tasks]
        takes = [one.name for one in self._session.get_inputs()]
        gives = [one.name for one in self._session.get_outputs()]
        due = [
            SIGNAL if config.is_signal else PAGE,
            *([CLINICAL] if config.recipe.clinical else []),
        ]
        if takes != due or gives != self._tasks:
            raise ModelFileError(
                f"{entry.id}: {path.name}: expected {', '.join(due)} to {', '.join(self._tasks)}, "
                f"found {', '.join(takes)} to {', '.join(gives)}; export it anew"
            )

    def __call__(
        self, given: NDArray[Any], clinical: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]:
        inputs = entered(given)
        if clinical is not None:
            inputs[CLINICAL] = clinical
        found = self._session.run(self._tasks, inputs)
        return dict(zip(self._tasks, found, strict=True))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

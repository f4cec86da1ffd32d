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
from ecgvision.zoo.files import ModelFileError

if TYPE_CHECKING:
    from ecgvision.predicting.config import ModelConfig
    from ecgvision.zoo.entry import Entry, Role

Backend = Literal["auto", "onnx", "torch"]
BACKENDS: tuple[Backend, ...] = ("auto", "onnx", "torch")
# The names of what an exported network takes.
PAGE, CLINICAL = "page", "clinical"


class Network(Protocol):
    """(n, H, W) ``uint8`` pages, and (n, k) clinical features, to (n, 2) logits by task."""

    def __call__(
        self, pages: NDArray[np.uint8], clinical: NDArray[np.float32] | None
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
        from ecgvision.models.frozen import FrozenNet

        recipe = config.recipe
        return FrozenNet(recipe.tasks, recipe.model, recipe.clinical, path)
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
        due = [PAGE, CLINICAL] if config.recipe.clinical else [PAGE]
        if takes != due or gives != self._tasks:
            raise ModelFileError(
                f"{entry.id}: {path.name}: expected {', '.join(due)} to {', '.join(self._tasks)}, "
                f"found {', '.join(takes)} to {', '.join(gives)}; export it anew"
            )

    def __call__(
        self, pages: NDArray[np.uint8], clinical: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]:
        given: dict[str, Any] = {PAGE: pages[:, None].astype(np.float32) / 255}
        if clinical is not None:
            given[CLINICAL] = clinical
        found = self._session.run(self._tasks, given)
        return dict(zip(self._tasks, found, strict=True))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

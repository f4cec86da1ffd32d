"""Weights as safetensors files, which hold numbers alone; loaded strictly or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ecgvision.models.settings import ModelError
from ecgvision.output import write_files

# More names than these tell a reader nothing new.
_NAMED = 3


def save_weights(net: nn.Module, path: Path) -> None:
    """Write all parameters and running statistics, whole or not at all; raises `OutputError`."""
    write_files({path: weight_bytes(net)})


def weight_bytes(net: nn.Module, *, half: bool = False) -> bytes:
    """What `save_weights` writes; with `half` in 16 bits, which loading makes 32 again."""
    state = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
    if half:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
        lost = [name for name, t in state.items() if not bool(t.isfinite().all())]
        if lost:
            raise ModelError(
                f"tensor {lost[0]}: has numbers over 65,504, which 16 bits cannot hold; keep the "
                "weights in 32 bits"
            )
    data: bytes = save(state, metadata={"format": "pt"})
    return data


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill a network from a file of `save_weights`.

    Raises `ModelError`, which names the tensor, where one is missing, left over, of another shape
    or not finite. The network is then as it was.
    """
    fit_state(net, read_tensors(path), path.name)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises `ModelError`."""
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path.name}: expected a file of weights, found {error.strerror}; check the path"
        ) from error
    except SafetensorError as error:
        raise ModelError(
            f"{path.name}: expected safetensors, found a file that is not or is cut short; "
            "take a whole one, pickled weights are not read"
        ) from error
    return tensors


def fit_state(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load the tensors strictly; raises `ModelError`."""
    own = net.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        parts = [_listed("lacks", missing), _listed("has besides", unexpected)]
        raise ModelError(
            f"{source}: {' and '.join(p for p in parts if p)}; "
            "tasks, clinical features and backbone must be those it was trained with"
        )
    for name, tensor in own.items():
        found = state[name]
        if found.shape != tensor.shape:
            raise ModelError(
                f"{source}: tensor {name}: expected shape {tuple(tensor.shape)}, "
                f"found {tuple(found.shape)}; "
                "tasks, clinical features and backbone must be those it was trained with"
            )
        if found.is_floating_point() and not bool(found.isfinite().all()):
            raise ModelError(
                f"{source}: tensor {name}: expected finite numbers, found others; "
                "the file is damaged or its training failed: train anew"
            )
    net.load_state_dict(dict(state), strict=True)


def _listed(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{verb} tensor {', '.join(names[:_NAMED])}{more}"

"""A model of the zoo, loaded: from pictures to calibrated probabilities and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.images import network_image
from ecgvision.errors import PageError, UsageError
from ecgvision.predicting.answers import SIMULATED, PageAnswer, TaskAnswer
from ecgvision.predicting.clinical import Value, features, network_features
from ecgvision.predicting.config import ModelConfig, read_config
from ecgvision.predicting.inputs import Signals, check_input, recording_input
from ecgvision.predicting.network import Backend, Network, chosen_role, open_network
from ecgvision.types import Notice
from ecgvision.zoo.catalogue import Model, find_model
from ecgvision.zoo.entry import Entry, ModelFile, Role, Threshold
from ecgvision.zoo.files import ModelFileError, checked_path

if TYPE_CHECKING:
    from ecgvision.conversion import PageOptions
    from ecgvision.models.frozen import FrozenNet
    from ecgvision.normalise import ImageOptions
    from ecgvision.result import Conversion
    from ecgvision.types import EcgImage

Floats = NDArray[np.float64]
DEFAULT = "ptbxl-compact"
"""The model that is asked unless another is named."""

# More at a time are hardly quicker.
_AT_A_TIME = 32
# Boxes whose sides differ by less are of one size.
_SAME = 0.05


@dataclass(frozen=True, eq=False)
class ZooModel:
    """A model that can be asked; `weights` is the file that answers."""

    entry: Entry
    config: ModelConfig = field(repr=False)
    network: Network = field(repr=False)
    weights: str

    @property
    def image_px(self) -> tuple[int, int]:
        """Height and width of the images that it takes."""
        return self.config.image.height_px, self.config.image.width_px

    @property
    def clinical(self) -> tuple[str, ...]:
        """The clinical features that it takes; those not given are filled in."""
        return self.config.recipe.clinical

    @property
    def image_options(self) -> ImageOptions:
        """How `convert` must draw a page for it; a model of signals does not mind."""
        from ecgvision.normalise import ImageOptions

        if self.config.is_signal:
            return ImageOptions()
        return ImageOptions(style=self.config.image.style)  # type: ignore[arg-type]

    @property
    def page_options(self) -> PageOptions:
        """All that `convert_each` must do for it: the page's signals decide whether it answers."""
        from ecgvision.conversion import PageOptions, SignalOptions

        signal = self.config.is_signal
        how = SignalOptions(self.config.signal.fs_hz) if signal else SignalOptions()
        return PageOptions(self.image_options, signals=how, read_signals=True)

    def logits(
        self,
        given: NDArray[Any],
        clinical: Sequence[Mapping[str, Value]] | None = None,
    ) -> dict[str, Floats]:
        """(n,) log-odds by task, not calibrated, of what `prepared` gave for each page.

        That is (n, H, W) ``uint8`` images of `image_px`, or (n, 12, T) float32 mV. `clinical` has
        the features of each. Raises `ValueError` for anything else, `UsageError` for features that
        the model does not know.
        """
        check_input(given, self.config)
        if clinical is not None and len(clinical) != len(given):
            raise ValueError(f"expected features of {len(given)} pages, found {len(clinical)}")
        rows = [features(one, self.clinical) for one in clinical or [{}] * len(given)]
        filled = network_features(rows, self.config)
        parts: dict[str, list[Floats]] = {task.name: [] for task in self.entry.tasks}
        for k in range(0, len(given), _AT_A_TIME):
            some = slice(k, k + _AT_A_TIME)
            found = self.network(given[some], None if filled is None else filled[some])
            for name, logits in found.items():
                two = logits.astype(np.float64)
                parts[name].append(two[:, 1] - two[:, 0])
        return {name: np.concatenate([np.empty(0), *each]) for name, each in parts.items()}

    def probabilities(
        self,
        given: NDArray[Any],
        clinical: Sequence[Mapping[str, Value]] | None = None,
    ) -> dict[str, Floats]:
        """(n,) calibrated probabilities by task: as `logits`, divided by the temperatures."""
        logits = self.logits(given, clinical)
        return {name: probability(one, self.temperature(name)) for name, one in logits.items()}

    def temperature(self, task: str) -> float:
        """What the task's log-odds are divided by, 1 where it was not calibrated."""
        found = [one.temperature for one in self.entry.calibration if one.task == task]
        return found[0] if found else 1.0

    def prepared(self, image: EcgImage, recording: Signals | None = None) -> NDArray[Any]:
        """A page as the network takes it: its picture, (H, W) ``uint8``, or (12, T) float32 mV.

        Raises `UsageError` for a model of signals where there is no `recording`.
        """
        if not self.config.is_signal:
            return network_image(image.pixels, *self.image_px)
        if recording is None:
            raise UsageError(f"{self.entry.id} takes signals: convert the page with signals")
        return recording_input(recording.signal_mv, recording.fs_hz, self.config.signal)

    def answer(
        self, conversion: Conversion, clinical: Mapping[str, Value] | None = None
    ) -> PageAnswer:
        """What the model says of a page that was converted as `image_options` asks.

        Convert with signals: a page whose signals were refused gets no answer. Raises `UsageError`
        for features that the model does not know, and where a model of signals has none to see.
        """
        if conversion.refusal is not None:
            return self.refused(conversion.refusal, conversion.format_id)
        if conversion.quality is not None and conversion.quality.verdict == "refused":
            return self.refused(_refusal(conversion), conversion.format_id)
        page = self.prepared(conversion.image, conversion.recording)
        warnings = self.warnings(conversion.format_id, conversion.image, clinical or {})
        if conversion.quality is None:
            warnings = (*warnings, QUALITY_UNKNOWN)
        elif conversion.quality.verdict == "doubtful":
            warnings = (*warnings, QUALITY_DOUBTFUL)
        return replace(
            self.answer_prepared(page, clinical),
            source=conversion.source,
            page=conversion.page_number,
            format_id=conversion.format_id,
            warnings=warnings,
        )

    def answer_prepared(
        self, page: NDArray[Any], clinical: Mapping[str, Value] | None = None
    ) -> PageAnswer:
        """What the model says of one page as `prepared` gave it, whatever that shows."""
        chances = self.probabilities(page[None], [clinical or {}])
        tasks = tuple(self._task_answer(name, float(one[0])) for name, one in chances.items())
        return self._blank(tasks=tasks)

    def refused(self, error: PageError, format_id: str = "") -> PageAnswer:
        """The answer for a page that cannot be answered for."""
        answer = self._blank(refusal=error)
        return replace(answer, source=error.source, page=error.page, format_id=format_id)

    def warnings(
        self, format_id: str, image: EcgImage, clinical: Mapping[str, Value]
    ) -> tuple[Notice, ...]:
        """What a reader of the answer must know: what the model has not seen, what was guessed."""
        found = []
        if self.entry.simulated:
            found.append(Notice("model-simulated", SIMULATED))
        if format_id not in self.entry.formats:
            seen = ", ".join(self.entry.formats) or "it does not say which it has"
            found.append(
                Notice(
                    "format-unseen",
                    f"this model has not seen pages of {format_id} ({seen}): its answer may mean "
                    "nothing",
                )
            )
        if not self.config.is_signal and _differs(image, self.image_options):
            found.append(
                Notice(
                    "style-unseen",
                    f"this model has not seen pictures such as this one ({_told(image)}): convert "
                    f"with --style {self.config.image.style} and the default size of its boxes",
                )
            )
        known = features(clinical, self.clinical)
        guessed = [name for name, value in known.items() if value != value]
        if guessed:
            found.append(
                Notice("clinical-guessed", f"not given, so filled in: {', '.join(guessed)}")
            )
        return tuple(found)

    def _task_answer(self, name: str, chance: float) -> TaskAnswer:
        task = next(one for one in self.entry.tasks if one.name == name)
        point = operating_point(self.entry, name)
        return TaskAnswer(
            task=name,
            title=task.title or name,
            probability=chance,
            positive=None if point is None else chance >= point.threshold,
            threshold=None if point is None else point.threshold,
            operating_point=None if point is None else point.name,
        )

    def _blank(
        self, tasks: tuple[TaskAnswer, ...] = (), refusal: PageError | None = None
    ) -> PageAnswer:
        return PageAnswer(
            source=Path(),
            page=None,
            model=self.entry.id,
            tasks=tasks,
            refusal=refusal,
            weights=self.weights,
            simulated=self.entry.simulated,
        )


QUALITY_UNKNOWN = Notice(
    "quality-unknown", "the page's signals were not read, so nobody knows whether it is fit"
)
QUALITY_DOUBTFUL = Notice("quality-doubtful", "the page's signals are doubtful; look at the page")


def probability(log_odds: Floats, temperature: float) -> Floats:
    """Of log-odds, without overflow.

    >>> probability(np.array([0.0, -1e6]), 1.5)
    array([0.5, 0. ])
    """
    return np.asarray(0.5 * (1 + np.tanh(log_odds / (2 * temperature))))


def operating_point(entry: Entry, task: str) -> Threshold | None:
    """The task's default threshold, or its only one."""
    points = [one for one in entry.thresholds if one.task == task]
    default = [one for one in points if one.default]
    if default:
        return default[0]
    return points[0] if len(points) == 1 else None


def load_model(name: str | Path = DEFAULT, *, backend: Backend = "auto") -> ZooModel:
    """A model of the zoo by id, or by the path of its `model.toml`, ready to be asked.

    Its files are checked by size and SHA-256. Those that are not in the package are fetched from
    the Hub, once. `backend` "auto" takes the int8 ONNX file, else the ONNX file, else the weights
    with torch, by what the model has and what is installed.

    Raises `UsageError` for a name that is none, a model without weights and a backend that is not
    there; `ModelFileError`, `HubError`.
    """
    model = find_model(str(name))
    entry = model.entry
    if entry.status == "no-weights":
        raise UsageError(f"model {entry.id} has no weights: {entry.reason}")
    role = chosen_role(entry, backend)
    wanted = {one: _file(entry, one) for one in ("config", role)}
    paths = _paths(model, tuple(wanted.values()))
    config = read_config(paths[wanted["config"].name], entry)
    weights = wanted[role]
    return ZooModel(
        entry, config, open_network(entry, role, paths[weights.name], config), weights.name
    )


def load_torch_model(name: str | Path) -> tuple[ZooModel, FrozenNet]:
    """`load_model` with the backend torch, and the network itself; raises as that does."""
    from ecgvision.models.frozen import FrozenNet

    model = load_model(name, backend="torch")
    if not isinstance(model.network, FrozenNet):
        raise AssertionError("the backend torch loads a network of torch")
    return model, model.network


def _file(entry: Entry, role: Role) -> ModelFile:
    found = [file for file in entry.files if file.role == role]
    if len(found) != 1:
        raise ModelFileError(
            f"{entry.id}: model.toml: expected one file of role {role}, found {len(found)}; "
            "weights in several pieces cannot be asked yet"
        )
    return found[0]


def _paths(model: Model, files: tuple[ModelFile, ...]) -> dict[str, Path]:
    """Where the files are, each the catalogue's very one; they are fetched where need be."""
    beside = {file.name: model.beside(file) for file in files}
    if all(beside.values()):
        return {f.name: checked_path(model, f, path) for f in files if (path := beside[f.name])}
    if model.entry.hub is None:
        lost = ", ".join(name for name, path in beside.items() if path is None)
        raise ModelFileError(
            f"{model.entry.id}: expected {lost} beside {model.path.name}, found none; install "
            "ecgvision anew, or ask who keeps the model"
        )
    try:
        from ecgvision.zoo.hub import Hub
    except ModuleNotFoundError as error:
        raise UsageError(
            f"model {model.entry.id} is on the Hub, and {error.name} is not installed: "
            "pip install 'ecgvision[hub]'"
        ) from error
    return Hub.default().pull(model.entry)


def _differs(image: EcgImage, options: ImageOptions) -> bool:
    """Whether a picture is of another style, or its lead boxes of another size."""
    if image.style != options.style:
        return True
    if image.style != "canonical":
        return False
    height, width = image.pixels.shape
    seconds = width / 2 / image.px_per_mm / image.speed_mm_per_s
    height_mm = height / 6 / image.px_per_mm
    due = ((seconds, options.box_s), (height_mm, options.lead_height_mm))
    return any(abs(found / wanted - 1) > _SAME for found, wanted in due)


def _told(image: EcgImage) -> str:
    height, width = (side / image.px_per_mm for side in image.pixels.shape)
    return f"{image.style}, {width:.0f} x {height:.0f} mm"


def _refusal(conversion: Conversion) -> PageError:
    quality = conversion.quality
    worst = f": {quality.findings[0].code}" if quality and quality.findings else ""
    return PageError(
        "quality-refused",
        conversion.source,
        conversion.page_number,
        expected="signals that are good or doubtful",
        found=f"refused ones{worst}",
        hint="look at the page: no model is asked about it",
    )

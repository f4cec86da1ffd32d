"""Models of signals: exported, bundled and asked as models of images are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from training_data import tiny_rows
from zoo_data import CARD, RECORDINGS, SIGNAL_MODEL, tiny_signal_net, tiny_zoo, untrained_run

import ecgvision
from ecgvision import PageError, UsageError, ZooModel, load_model
from ecgvision.cli import main
from ecgvision.conversion import SignalOptions
from ecgvision.dataset.about import ColumnInfo, DatasetInfo, SignalInfo
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.exporting.int8 import int8_bytes, log_odds, most_apart
from ecgvision.exporting.onnx_file import ExportError, difference, onnx_bytes
from ecgvision.models import ModelSettings, MultiTaskNet
from ecgvision.models.asked import pieces, resampled
from ecgvision.plugins import Format
from ecgvision.predicting.config import SignalPart
from ecgvision.predicting.inputs import recording_input
from ecgvision.testing import Ecg, ModelContract, draw_page
from ecgvision.training.recipe import load_recipe
from ecgvision.types import LEADS
from ecgvision.zoo.files import ModelFileError

Asked = Callable[..., tuple[int, dict]]


def recordings(rows: int, seed: int = 0) -> np.ndarray:
    """Beats of all kinds, in two columns as a page has them: NaN where a lead is not printed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RECORDINGS.samples) / RECORDINGS.fs_hz
    rate_hz = rng.uniform(0.8, 2, (rows, 1, 1))
    height_mv = rng.uniform(0.2, 2, (rows, 12, 1))
    signals = height_mv * np.exp(-(((time_s * rate_hz) % 1 - 0.5) ** 2) / 0.002)
    signals += rng.normal(0, 0.02, signals.shape)
    signals[:, :6, RECORDINGS.samples // 2 :] = np.nan
    signals[:, 6:, : RECORDINGS.samples // 2] = np.nan
    return signals.astype(np.float32)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_zoo(tmp_path_factory.mktemp("zoo"), signal=True)


@pytest.fixture(scope="module")
def tiny(zoo: Path) -> ZooModel:
    return load_model(zoo)


@pytest.fixture(scope="module")
def page(formats: dict[str, Format], ecg: Ecg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    one = formats["philips-tc30"]
    path = tmp_path_factory.mktemp("pages") / "page.pdf"
    path.write_bytes(draw_page(one.layouts[0], one.info, ecg).pdf)
    return path


class TestTinySignalModel(ModelContract):
    # Its weights are random; how far machines matter to it says nothing.
    most_machine_difference = 1.0

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def named(cls, zoo: Path) -> None:
        text = zoo.read_text()
        for task in ("mi", "cd"):
            text += (
                f'\n[[metrics]]\ntask = "{task}"\nname = "auc"\nvalue = 0.5\nlow = 0.4\n'
                'high = 0.6\ninterval = "none"\ntest_set = "none"\nexamples = 1\ncommand = "none"\n'
            )
        text += '\n[[thresholds]]\ntask = "cd"\nname = "a"\nthreshold = 0.5\nchosen_on = "none"\n'
        text += '\n[[calibration]]\ntask = "cd"\ntemperature = 1.0\nfitted_on = "none"\n'
        whole = zoo.with_name("whole.toml")
        text = 'datasets = ["none"]\n' + text
        whole.write_text(text)
        cls.model_id = str(whole)


# --- the network ----------------------------------------------------------------------------------


def test_both_backends_resample_cut_and_average(zoo: Path) -> None:
    signals = recordings(5)
    net = tiny_signal_net()
    with torch.inference_mode():
        at_100_hz = resampled(torch.from_numpy(signals), 200.0, 100.0)
        each = [net(piece)["mi"] for piece in pieces(at_100_hz, 500)]
    assert len(each) == 3  # 10 s in pieces of 5 s
    due = torch.stack(each).mean(dim=0)
    odds = (due[:, 1] - due[:, 0]).numpy()
    assert np.ptp(odds) > 0.01
    for backend, weights in (("onnx", "model.onnx"), ("torch", "weights.safetensors")):
        model = load_model(zoo, backend=backend)  # type: ignore[arg-type]
        assert model.weights == weights
        np.testing.assert_allclose(model.logits(signals)["mi"], odds, atol=1e-4)


def test_a_network_of_several_members_is_one_file() -> None:
    settings = ModelSettings.model_validate({**SIGNAL_MODEL, "members": 3})
    torch.manual_seed(0)
    net = MultiTaskNet(tiny_tasks(), settings, (), signal=True).eval()
    data = onnx_bytes(net, RECORDINGS)
    assert difference(net, data, RECORDINGS) < 1e-4
    assert len(data) > 2.5 * len(onnx_bytes(tiny_signal_net(), RECORDINGS))


def tiny_tasks() -> tuple:
    from zoo_data import TASKS

    return TASKS


def test_int8_is_close_where_parts_are_not_printed() -> None:
    data = onnx_bytes(tiny_signal_net(), RECORDINGS)
    small = int8_bytes(data, recordings(32, seed=1))
    seen = recordings(16, seed=2)
    exact, rounded = log_odds(data, seen), log_odds(small, seen)
    assert np.isfinite(rounded["mi"]).all()
    assert 0 < most_apart(exact, rounded) < 0.1
    assert np.corrcoef(exact["mi"], rounded["mi"])[0, 1] > 0.9


def test_networks_of_beats_are_not_exported() -> None:
    net = MultiTaskNet(tiny_tasks(), ModelSettings(backbone="resnet10t"), (), signal=True)
    with pytest.raises(ExportError, match="networks of single beats are not exported"):
        onnx_bytes(net, RECORDINGS)


# --- what it is asked about -----------------------------------------------------------------------


def due_of(samples: int) -> SignalPart:
    return SignalPart(fs_hz=200.0, samples=samples, leads=LEADS)


def test_a_recording_of_another_rate_is_read_between_its_samples() -> None:
    time_s = np.arange(5000) / 500
    signal_mv = np.tile(np.sin(2 * np.pi * time_s), (12, 1)).astype(np.float32)
    signal_mv[0, :2500] = np.nan
    found = recording_input(signal_mv, 500.0, due_of(2000))
    at_s = np.arange(2000) / 200
    np.testing.assert_allclose(found[1, :1999], np.sin(2 * np.pi * at_s)[:1999], atol=1e-4)
    assert np.isnan(found[0, :1000]).all()
    assert np.isfinite(found[0, 1000:1999]).all()


def test_a_recording_is_cut_or_ends_in_what_is_not_known() -> None:
    signal_mv = np.ones((12, 2200), np.float32)
    assert recording_input(signal_mv, 200.0, due_of(2000)).shape == (12, 2000)
    short = recording_input(signal_mv, 200.0, due_of(2400))
    assert np.isfinite(short[:, :2200]).all()
    assert np.isnan(short[:, 2200:]).all()


def test_other_recordings_are_refused(tiny: ZooModel) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, 12, 2000\) float32"):
        tiny.logits(np.zeros((1, 12, 1999), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        tiny.logits(np.zeros((1, 12, 2000), np.uint8))


# --- answers --------------------------------------------------------------------------------------


def test_a_page_is_answered_by_its_signals(tiny: ZooModel, page: Path) -> None:
    (converted,) = ecgvision.convert(page, signals=SignalOptions(fs_hz=200.0))
    answer = tiny.answer(converted)
    assert converted.recording is not None
    seen = np.full((1, 12, 2000), np.nan, np.float32)
    own = converted.recording.signal_mv[:, :2000]
    seen[0, :, : own.shape[1]] = own
    due = {name: one[0] for name, one in tiny.probabilities(seen).items()}
    assert {one.task: one.probability for one in answer.tasks} == due
    assert answer.warnings == ()
    # At another rate it is nearly the same.
    (other,) = ecgvision.convert(page, signals=True)
    again = {one.task: one.probability for one in tiny.answer(other).tasks}
    assert again == pytest.approx(due, abs=0.02)
    (without,) = ecgvision.convert(page)
    with pytest.raises(UsageError, match="takes signals: convert the page with signals"):
        tiny.answer(without)


def test_the_command_answers_reports_and_archives_alike(
    zoo: Path, page: Path, tmp_path: Path
) -> None:
    def chances(given: Path, out: str, code: int = 0) -> dict:
        words = ["predict", str(given), "--model", str(zoo), "-o", str(tmp_path / out)]
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return json.loads((tmp_path / out / "predictions.json").read_text())["pages"][0]

    def converted(name: str, *words: str) -> Path:
        out = tmp_path / name
        arguments = ["convert", str(page), "-o", str(out), *words]
        assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
        return out

    report = chances(page, "a")
    archive = chances(converted("converted", "--signals", "npz", "--fs", "200"), "b")
    for one, other in zip(report["tasks"], archive["tasks"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)
    without = chances(converted("pictures"), "c", code=1)
    assert without["refusal"]["code"] == "signals-missing"
    assert "--signals npz" in without["refusal"]["message"]


def test_no_heat_map_is_drawn_of_signals(zoo: Path, page: Path, tmp_path: Path) -> None:
    words = ["explain", str(zoo), str(page), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code != 0
    assert "found a model of signals" in done.stderr.replace("one of", "a model of")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"resnet1d"', '"resnet10t"', "one of beats, which is not asked"),
        ('"input": "signal"', '"input": "image"', "a model of signals, found one of images"),
        ('"samples": 2000', '"samples": 1999', "the signals of model.toml"),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = tiny_zoo(tmp_path, signal=True)
    config = path.parent / "config.json"
    before = config.read_bytes()
    after = before.replace(old.encode(), new.encode())
    assert after != before
    config.write_bytes(after)
    text = path.read_text().replace(
        hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()
    )
    path.write_text(text.replace(f"bytes = {len(before)}", f"bytes = {len(after)}"))
    with pytest.raises(ModelFileError, match=told):
        load_model(path)


# --- from a run to the zoo ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    about = DatasetInfo(
        name="tiny",
        signal=SignalInfo(fs_hz=RECORDINGS.fs_hz, samples=RECORDINGS.samples),
        columns={
            "scar": ColumnInfo(role="label"),
            "lvef_percent": ColumnInfo(role="label"),
            "age_years": ColumnInfo(role="clinical"),
            "sex": ColumnInfo(role="clinical"),
        },
    )
    folder = tmp_path_factory.mktemp("data") / "tiny"
    return write_dataset(folder, about, tiny_rows(48), None, recordings(48))


def test_a_run_of_signals_becomes_a_folder_of_the_zoo(data: Dataset, tmp_path: Path) -> None:
    run, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    settings = [f"model.{key}={json.dumps(value)}" for key, value in SIGNAL_MODEL.items()]
    recipe = load_recipe(
        "multi-1d", [*settings, "training.augment.crop_s=5.0", 'model.pretrained=""']
    )
    untrained_run(run, recipe, tiny_signal_net(tasks=recipe.tasks), data.about)
    tasks = "".join(
        f'\n[[tasks]]\nname = "{t.name}"\ntitle = "{t.title}"\ncolumn = "{t.column}"\n'
        f'{f"below = {t.below:g}" if t.below else ""}\ndefinition = "it"\n'
        for t in recipe.tasks
    )
    (home / "model.toml").write_text(
        'id = "tiny"\ntitle = "Tiny"\nstatus = "no-weights"\nreason = "not yet"\n'
        f'recipe = "{recipe.id}"\ninput = "signal"\nlicence = "Apache-2.0"\n{tasks}'
    )
    (home / "README.md").write_text(CARD)
    words = ["models", "bundle", str(run), "-o", str(home), "--calibrate", str(data.folder)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert "[signal]\nfs_hz = 200.0\nseconds = 10.0\n" in (home / "model.toml").read_text()
    model = load_model(home / "model.toml")
    assert model.weights == "model-int8.onnx"
    seen = recordings(8, seed=3)
    exact = load_model(home / "model.toml", backend="torch").logits(seen)["scar"]
    np.testing.assert_allclose(model.logits(seen)["scar"], exact, atol=0.5)
    assert np.corrcoef(model.logits(seen)["scar"], exact)[0, 1] > 0.9


def test_signals_of_another_rate_do_not_calibrate(zoo: Path, data: Dataset, tmp_path: Path) -> None:
    about = data.about.model_copy(update={"signal": SignalInfo(fs_hz=100.0, samples=2000)})
    write_dataset(tmp_path / "other", about, data.rows, None, recordings(48))
    words = ["models", "export", str(zoo), "--int8", "--calibrate", str(tmp_path / "other")]
    done = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 1
    assert "expected signals of 2000 samples at 200 Hz" in done.stderr


def test_a_page_error_is_no_answer(tiny: ZooModel, page: Path) -> None:
    error = PageError("format-not-found", page, 1, expected="a", found="b", hint="c")
    assert tiny.refused(error).tasks == ()

"""Models of the zoo asked about pages: as torch would, calibrated, and not about refused pages."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from zoo_data import SIDE_PX, rehashed, tiny_net, tiny_zoo

import ecgvision
from ecgvision import PageError, UsageError, ZooModel, load_model
from ecgvision.cli import main
from ecgvision.plugins import Format
from ecgvision.predicting.clinical import features
from ecgvision.quality import Finding
from ecgvision.testing import Ecg, draw_page
from ecgvision.zoo.files import ModelFileError


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with features and one without."""
    folder = tmp_path_factory.mktemp("zoo")
    tiny_zoo(folder)
    tiny_zoo(folder, "tiny-clinical", clinical=("age_years", "sex"))
    return folder


@pytest.fixture(scope="module")
def tiny(zoo: Path) -> ZooModel:
    return load_model(zoo / "tiny" / "model.toml")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pages with more and more ink."""
    rng = np.random.default_rng(5)
    shares = np.linspace(0.02, 0.5, 5)[:, None, None]
    return np.where(rng.random((5, *SIDE_PX)) < shares, 0, 255).astype(np.uint8)


@pytest.fixture
def page(formats: dict[str, Format], ecg: Ecg, tmp_path: Path) -> Path:
    one = formats["philips-tc30"]
    path = tmp_path / "page.pdf"
    path.write_bytes(draw_page(one.layouts[0], one.info, ecg).pdf)
    return path


# --- the network ------------------------------------------------------------------------------


def test_both_backends_answer_as_the_network_does(zoo: Path, images: np.ndarray) -> None:
    net = tiny_net()
    with torch.inference_mode():
        due = net(net.pages(torch.from_numpy(images)))
    for backend, weights in (("onnx", "model.onnx"), ("torch", "weights.safetensors")):
        model = load_model(zoo / "tiny" / "model.toml", backend=backend)
        assert model.weights == weights
        found = model.logits(images)
        assert list(found) == ["mi", "cd"]
        for name, logits in found.items():
            odds = (due[name][:, 1] - due[name][:, 0]).numpy()
            assert np.ptp(odds) > 0.01  # or nothing is compared
            np.testing.assert_allclose(logits, odds, atol=1e-4)


def test_features_reach_the_network(zoo: Path, images: np.ndarray) -> None:
    given = [{"age": 20 + 15 * k, "sex": "female" if k % 2 else "male"} for k in range(5)]
    net = tiny_net(("age_years", "sex"))
    table = torch.tensor([[20.0 + 15 * k, float(k % 2)] for k in range(5)])
    with torch.inference_mode():
        due = net(net.pages(torch.from_numpy(images)), table)["mi"]
    for backend in ("onnx", "torch"):
        model = load_model(zoo / "tiny-clinical" / "model.toml", backend=backend)
        found = model.logits(images, given)["mi"]
        np.testing.assert_allclose(found, (due[:, 1] - due[:, 0]).numpy(), atol=1e-4)
        # What is not known is the mean age, and the sex of the mean.
        guessed = model.logits(images, [{}] * 5)["mi"]
        filled = model.logits(images, [{"age": 60, "sex": "f"}] * 5)["mi"]
        np.testing.assert_allclose(guessed, filled, atol=1e-6)
        assert np.abs(guessed - found).max() > 1e-3


def test_probabilities_are_calibrated(tiny: ZooModel, images: np.ndarray) -> None:
    logits, chances = tiny.logits(images), tiny.probabilities(images)
    np.testing.assert_allclose(chances["mi"], 1 / (1 + np.exp(-logits["mi"] / 2)))
    np.testing.assert_allclose(chances["cd"], 1 / (1 + np.exp(-logits["cd"])))


def test_batches_do_not_matter(tiny: ZooModel, images: np.ndarray) -> None:
    many = np.concatenate([images] * 8)
    assert len(many) > 32
    found = tiny.logits(many)["mi"]
    alone = np.concatenate([tiny.logits(one[None])["mi"] for one in many])
    np.testing.assert_allclose(found, alone, atol=1e-4)
    assert tiny.logits(many[:0])["mi"].shape == (0,)


@pytest.mark.parametrize("shape", [(2, 64, 95), (64, 96), (1, 64, 96, 1)])
def test_other_images_are_refused(tiny: ZooModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, 64, 96\) uint8"):
        tiny.logits(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float64"):
        tiny.logits(np.zeros((1, *SIDE_PX)))


def test_the_int8_file_is_taken_first(tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('role = "onnx"', 'role = "onnx-int8"'))
    assert load_model(path).weights == "model.onnx"
    bare = tiny_zoo(tmp_path, "bare", with_onnx=False)
    assert load_model(bare).weights == "weights.safetensors"
    with pytest.raises(UsageError, match="has no ONNX file; use --backend torch"):
        load_model(bare, backend="onnx")


def test_without_onnxruntime_torch_answers(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgvision.predicting import network

    lost = {"onnxruntime"}
    monkeypatch.setattr(network, "find_spec", lambda name: None if name in lost else name)
    path = zoo / "tiny" / "model.toml"
    assert load_model(path).weights == "weights.safetensors"
    with pytest.raises(UsageError, match=r"pip install 'ecgvision\[onnx\]'"):
        load_model(path, backend="onnx")
    lost.add("torch")
    with pytest.raises(UsageError, match=r"onnxruntime, .*pip install 'ecgvision\[onnx\]'"):
        load_model(path)
    with pytest.raises(UsageError, match=r"pip install 'ecgvision\[train\]'"):
        load_model(path, backend="torch")


def test_no_torch_is_loaded(zoo: Path, page: Path) -> None:
    code = f"""
import sys, ecgvision
model = ecgvision.load_model({str(zoo / "tiny-clinical" / "model.toml")!r})
pages = ecgvision.convert({str(page)!r}, options=model.image_options, signals=True)
print(model.answer(pages[0], {{"age": 60}}).tasks[0].task)
print(sorted({{"torch", "pandas", "sklearn", "onnx", "huggingface_hub"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["mi", "[]"]


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.onnx", "config.json"])
def test_a_flipped_byte_is_found(name: str, tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    data = bytearray((path.parent / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path.parent / name).write_bytes(data)
    with pytest.raises(ModelFileError, match=rf"tiny: {name}: expected SHA-256"):
        load_model(path)
    done = CliRunner().invoke(main, ["models", "verify", str(path)])
    assert done.exit_code == 1
    assert f"{name}: expected SHA-256" in done.stdout
    done = CliRunner().invoke(main, ["models", "pull", str(path)])
    assert done.exit_code == 1
    assert "[model-damaged]" in done.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    (path.parent / "model.onnx").unlink()
    with pytest.raises(ModelFileError, match=r"expected model\.onnx beside model\.toml"):
        load_model(path)
    assert load_model(path, backend="torch").weights == "weights.safetensors"
    done = CliRunner().invoke(main, ["models", "verify", str(path)])
    assert (done.exit_code, "model.onnx: not beside model.toml" in done.stdout) == (1, True)


def test_a_bundled_model_says_so(tmp_path: Path) -> None:
    path = str(tiny_zoo(tmp_path))
    shown = CliRunner().invoke(main, ["models", "show", path])
    assert "files        in the package" in shown.stdout
    pulled = CliRunner().invoke(main, ["models", "pull", path])
    assert (pulled.exit_code, pulled.stdout) == (
        0,
        "tiny: in the package, 3 files, all as they must be\n",
    )
    verified = CliRunner().invoke(main, ["models", "verify", path])
    assert verified.exit_code == 0, verified.stderr
    assert verified.stdout.count("as it must be") == 3


def _rewritten(folder: Path, change: Callable[[dict], None]) -> Path:
    """The tiny model with another config.json, its hash in order."""
    path = tiny_zoo(folder)
    told = json.loads((path.parent / "config.json").read_bytes())
    change(told)
    rehashed(path, "config.json", json.dumps(told).encode())
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(version=2), "version: "),
        (lambda c: c["recipe"].update(tasks=c["recipe"]["tasks"][:1]), "tasks mi, cd"),
        (lambda c: c["recipe"].update(input="signal"), "a model of images"),
        (lambda c: c["recipe"]["tasks"][0].update(classes=["a", "b"]), "classes in mi"),
        (lambda c: c["run"]["data"].update(simulated=True), "found simulated ones"),
        (lambda c: c["run"]["data"]["image"].update(height_px=65), "the images of model.toml"),
        (lambda c: c["recipe"].update(clinical=["sex"]), "nothing to fill in unknown ones by"),
        (lambda c: c.clear(), "kind: "),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    change: Callable[[dict], None], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=rf"tiny: config\.json: expected .*{told}"):
        load_model(_rewritten(tmp_path, change))


def test_an_onnx_file_of_another_network_is_refused(tmp_path: Path) -> None:
    def clinical(config: dict) -> None:
        config["recipe"]["clinical"] = ["sex"]
        config["recipe"]["model"] = {**config["recipe"]["model"], "unknown": "category"}

    with pytest.raises(ModelFileError, match="expected page, clinical to mi, cd, found page to"):
        load_model(_rewritten(tmp_path, clinical))


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="scar-lvef has no weights: no public ECG set"):
        load_model("scar-lvef")


# --- answers ----------------------------------------------------------------------------------


def test_a_page_is_answered_as_its_picture(tiny: ZooModel, page: Path) -> None:
    (converted,) = ecgvision.convert(page, options=tiny.image_options, signals=True)
    answer = tiny.answer(converted)
    image = tiny.prepared(converted.image)
    assert image.shape == SIDE_PX
    due = {name: one[0] for name, one in tiny.probabilities(image[None]).items()}
    assert {one.task: one.probability for one in answer.tasks} == due
    mi, cd = answer.tasks
    assert (mi.title, mi.threshold, mi.operating_point) == ("Infarction", 0.4, "Youden")
    assert mi.positive == (mi.probability >= 0.4)
    assert (cd.positive, cd.threshold, cd.operating_point) == (None, None, None)
    assert (answer.source, answer.page, answer.model) == (page, 1, "tiny")
    assert (answer.warnings, answer.refusal) == ((), None)


def test_refused_pages_get_no_answer(tiny: ZooModel, page: Path) -> None:
    (converted,) = ecgvision.convert(page, options=tiny.image_options, signals=True)
    assert converted.quality is not None
    error = PageError("quality-refused", page, 1, expected="a", found="b", hint="c")
    answer = tiny.answer(replace(converted, refusal=error))
    assert (answer.tasks, answer.refusal, answer.page) == ((), error, 1)
    finding = Finding("asystole", "I", "nothing to be seen")
    judged = replace(converted.quality, verdict="refused", findings=(finding,))
    answer = tiny.answer(replace(converted, quality=judged))
    assert answer.tasks == ()
    assert answer.refusal is not None
    assert "refused ones: asystole" in str(answer.refusal)
    told = answer.as_dict()
    assert (told["tasks"], told["refusal"]["code"]) == ([], "quality-refused")


def test_what_the_model_has_not_seen_is_said(tiny: ZooModel, page: Path) -> None:
    (converted,) = ecgvision.convert(page, options=tiny.image_options)
    codes = [notice.code for notice in tiny.answer(converted).warnings]
    assert codes == ["quality-unknown"]
    other = tiny.answer(replace(converted, format_id="edan-se3"))
    assert other.tasks
    assert "has not seen pages of edan-se3" in other.warnings[0].message
    (wide,) = ecgvision.convert(page, options=replace(tiny.image_options, lead_s=5.0))
    assert tiny.answer(wide).warnings[0].code == "style-unseen"
    (large,) = ecgvision.convert(page, options=replace(tiny.image_options, px_per_mm=12.0))
    assert [notice.code for notice in tiny.answer(large).warnings] == ["quality-unknown"]


def test_a_simulated_model_says_so_everywhere(page: Path, tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path, simulated=True)
    done = CliRunner().invoke(
        main, ["predict", str(page), "--model", str(path), "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "simulated data" in done.stdout
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert told["model"]["simulated"] is True
    assert "simulated data" in told["notice"]
    assert told["pages"][0]["simulated"] is True
    assert told["pages"][0]["warnings"][0]["code"] == "model-simulated"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"smoking": 1}, "knows no smoking; it takes age_years, sex"),
        ({"age": 130}, "age_years: expected 0 to 120"),
        ({"age": "old"}, "age_years: expected 0 to 120"),
        ({"sex": "x"}, "sex: expected female or male"),
        ({"sex": 2}, "sex: expected female or male"),
    ],
)
def test_features_that_cannot_be_are_refused(given: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        features(given, ("age_years", "sex"))


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def predict(zoo: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs `ecgvision predict` into `out`."""

    def run(*arguments: object, model: str = "tiny") -> Result:
        toml = str(zoo / model / "model.toml")
        out = str(tmp_path / "out")
        given = ["predict", *map(str, arguments), "--model", toml, "-o", out]
        return CliRunner().invoke(main, given, catch_exceptions=False)

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_with_a_page_that_cannot_be_read(
    predict: Callable[..., Result], page: Path, tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    (reports / "sub").mkdir(parents=True)
    page.rename(reports / "sub" / "good.pdf")
    (reports / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    done = predict(reports)
    assert done.exit_code == 1
    assert "bad.pdf" in done.stderr
    rows = rows_of(tmp_path / "out")
    assert list(rows[0]) == ["source", "page", "model", "task", "probability", "positive"]
    assert [(row["source"], row["page"], row["model"], row["task"]) for row in rows] == [
        ("sub/good.pdf", "1", "tiny", "mi"),
        ("sub/good.pdf", "1", "tiny", "cd"),
    ]
    assert rows[0]["positive"] == str(int(float(rows[0]["probability"]) >= 0.4))
    assert rows[1]["positive"] == ""
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert "not a medical device" in told["notice"]
    bad, good = told["pages"]
    assert (bad["source"], bad["tasks"], bool(bad["refusal"])) == ("bad.pdf", [], True)
    assert good["tasks"][0]["probability"] == pytest.approx(float(rows[0]["probability"]), abs=1e-6)
    assert told["model"]["weights"] == "model.onnx"


def test_predictions_are_not_replaced_unless_asked(
    predict: Callable[..., Result], page: Path, tmp_path: Path
) -> None:
    assert predict(page).exit_code == 0
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    again = predict(page)
    assert (again.exit_code, "[output-exists]" in again.stderr) == (1, True)
    assert predict(page, "--force").exit_code == 0
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.pdf",), "does not exist"),
        ((), "Missing argument"),
        (("PAGE", "--backend", "jax"), "jax"),
        (("PAGE", "--clinical", "age=67"), "knows no age; it takes no clinical features"),
        (("PAGE", "--clinical", "table.csv"), "table.csv: expected a CSV"),
        (("PAGE", "--format", "none-such"), "no format 'none-such'"),
        (("PAGE", "--format", "custom", "--layout", "none.toml"), "none.toml"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    told: str,
    predict: Callable[..., Result],
    page: Path,
    tmp_path: Path,
) -> None:
    done = predict(*(str(page) if one == "PAGE" else one for one in arguments))
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_features_by_option_and_by_table(
    predict: Callable[..., Result], page: Path, tmp_path: Path
) -> None:
    def chance(*arguments: object) -> float:
        done = predict(page, "--force", *arguments, model="tiny-clinical")
        assert done.exit_code == 0, done.stderr
        return float(rows_of(tmp_path / "out")[0]["probability"])

    young, old = (chance("--clinical", f"age={age},sex=female") for age in (20, 90))
    assert young != old
    table = tmp_path / "table.csv"
    table.write_text(f"source,age,sex,height\n{page},90,female,170\nother.pdf,20,male,\n")
    assert chance("--clinical", table) == old
    done = predict(page, "--force", "--clinical", table, model="tiny-clinical")
    assert "height" in done.stderr
    assert "of no page: 1" in done.stderr
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert told["pages"][0]["warnings"] == []
    table.write_text(f"source,age\n{page},90\n{page},20\n")
    done = predict(page, "--force", "--clinical", table, model="tiny-clinical")
    assert (done.exit_code, "line 3: " in done.stderr) == (2, True)
    table.write_text(f"source,age\n{page},900\n")
    done = predict(page, "--force", "--clinical", table, model="tiny-clinical")
    assert (done.exit_code, "line 2: age_years: expected 0 to 120" in done.stderr) == (2, True)


def test_an_archive_is_answered_from_its_pictures(
    predict: Callable[..., Result], page: Path, tmp_path: Path
) -> None:
    assert predict(page).exit_code == 0
    due = [row["probability"] for row in rows_of(tmp_path / "out")]
    blank = tmp_path / "blank.png"
    assert cv2.imwrite(str(blank), np.full((2000, 3000), 255, np.uint8))
    archive = tmp_path / "archive"
    arguments = [str(page), str(blank), "--signals", "npz", "--workers", "0", "-o", str(archive)]
    assert CliRunner().invoke(main, ["convert", *arguments]).exit_code == 1
    for named in (archive, archive / "manifest.parquet"):
        page.unlink(missing_ok=True)  # nobody needs it any more
        done = predict(named, "--force")
        assert done.exit_code == 1
        rows = rows_of(tmp_path / "out")
        assert [row["probability"] for row in rows] == due
        assert {row["source"] for row in rows} == {str(page)}
        told = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert [one["refusal"] is None for one in told["pages"]].count(False) == 1
        good = next(one for one in told["pages"] if one["refusal"] is None)
        assert good["warnings"] == []
    (archive / "page.png").write_bytes(b"no picture")
    done = predict(archive, "--force")
    assert "[picture-unreadable]" in done.stderr
    assert rows_of(tmp_path / "out") == []


def test_an_onnx_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    rehashed(path, "model.onnx", b"\x08nothing")
    with pytest.raises(ModelFileError, match=r"tiny: model\.onnx: expected an ONNX network"):
        load_model(path)

"""The catalogue: entries are checked key by key, and what comes with the package holds."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ecgvision.errors import UsageError
from ecgvision.training.recipe import load_recipe
from ecgvision.zoo.catalogue import EntryError, catalogue, entry_text, find_model, read_entry
from ecgvision.zoo.links import local_links

ROOT = Path(__file__).resolve().parents[1]

ENTRY = f"""
id = "tiny"
title = "A tiny network"
status = "available"
licence = "Apache-2.0"
formats = ["ge-mac1200"]

[image]
style = "canonical"
height_px = 256
width_px = 384

[hub]
repository = "somebody/tiny"
revision = "{"ab" * 20}"
tag = "v1"

[[tasks]]
name = "lvef"
column = "lvef_percent"
below = 50
definition = 'LVEF under 50 %, "by" cardiac MR'

[[files]]
name = "weights.safetensors"
bytes = 12
sha256 = "{"cd" * 32}"
role = "weights"

[[files]]
name = "config.json"
bytes = 3
sha256 = "{"ef" * 32}"
role = "config"

[[metrics]]
task = "lvef"
name = "auc"
value = 0.8
low = 0.75
high = 0.85
interval = "DeLong"
test_set = "cohort, 2016"
examples = 100
positives = 20
command = "python benchmarks/none.py"

[[thresholds]]
task = "lvef"
name = "sensitivity 90 %"
threshold = 0.2
chosen_on = "validation"
default = true

[[calibration]]
task = "lvef"
temperature = 1.5
fitted_on = "validation"
"""


def written(folder: Path, text: str = ENTRY, name: str = "tiny") -> Path:
    home = folder / name
    home.mkdir(exist_ok=True)
    (home / "model.toml").write_text(text, encoding="utf-8")
    (home / "README.md").write_text("# A card\n")
    return home / "model.toml"


def test_an_entry_says_what_its_file_says(tmp_path: Path) -> None:
    entry = read_entry(written(tmp_path))
    assert entry.tasks[0].below == 50
    assert entry.tasks[0].targets([49, 50]).tolist() == [1, 0]
    assert [file.role for file in entry.files] == ["weights", "config"]
    assert entry.hub is not None
    assert entry.hub.revision == "ab" * 20


def test_an_entry_written_is_read_as_itself(tmp_path: Path) -> None:
    entry = read_entry(written(tmp_path))
    assert read_entry(written(tmp_path, entry_text(entry))) == entry


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('title = "A tiny network"', "", "title: expected a value, found nothing"),
        ('title = "A', 'titel = 1\ntitle = "A', "titel: expected no such key"),
        ("bytes = 12", "bytes = 0", r"files\[0\]\.bytes: expected greater than 0, found 0"),
        ("bytes = 12", "bytes = 12\nsize = 12", r"files\[0\]\.size: expected no such key"),
        ("cd" * 32, "CD" * 32, r"files\[0\]\.sha256: expected a text of the pattern"),
        ("ab" * 20, "main", r"hub\.revision: expected a text of the pattern .* found 'main'"),
        ("ab" * 20, "ab" * 19, r"hub\.revision"),
        ("somebody/tiny", "tiny", r"hub\.repository"),
        ("weights.safetensors", "weights.bin", r"files\[0\]: a file of role weights must end in"),
        ("weights.safetensors", "../w.safetensors", r"files\[0\]\.name"),
        ("weights.safetensors", "/w.safetensors", r"files\[0\]\.name"),
        ("weights.safetensors", "a/../w.safetensors", r"files\[0\]\.name"),
        ('role = "config"', 'role = "card"', r"files\[1\]: a file of role card must end in \.md"),
        ('role = "config"', 'role = "picture"', "a file of role picture must end in .*png"),
        ('role = "config"', 'role = "notes"', r"files\[1\]\.role"),
        ('name = "config.json"', 'name = "weights.safetensors"', "files"),
        ("value = 0.8", "value = 0.9", r"metrics\[0\]: value must lie within low and high"),
        ("value = 0.8", "value = nan", r"metrics\[0\]\.value"),
        ('task = "lvef"\nname = "auc"', 'task = "scar"\nname = "auc"', "metrics speak of .*'scar'"),
        ("temperature = 1.5", "temperature = 0", r"calibration\[0\]\.temperature"),
        ("threshold = 0.2", "threshold = 20", r"thresholds\[0\]\.threshold"),
        ("definition = 'LVEF under 50 %, \"by\" cardiac MR'", "", r"tasks\[0\]\.definition"),
        ("below = 50", "below = 50\nat_least = 40", r"tasks\[0\]: give one of below"),
        ('"available"', '"no-weights"', "no-weights needs a reason"),
        ('"available"', '"no-weights"\nreason = "so"', "has neither hub nor files"),
        ('"available"', '"available"\nreason = "so"', "available needs no reason"),
        ('"available"', '"soon"', "status: expected 'available' or 'no-weights', found 'soon'"),
        ("[image]", "[image", "expected TOML, found a mistake: .*line 8"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in ENTRY
    with pytest.raises(EntryError, match=rf"^tiny/model\.toml: .*{told}"):
        read_entry(written(tmp_path, ENTRY.replace(old, new, 1)))


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = ENTRY.replace("bytes = 12", "bytes = 0").replace("temperature = 1.5", "temperature = 0")
    with pytest.raises(EntryError, match=r"files\[0\]\.bytes.*; .*calibration\[0\]\.temperature"):
        read_entry(written(tmp_path, text))


def test_weights_and_config_are_needed(tmp_path: Path) -> None:
    head, tail = ENTRY.split("[[files]]", 1)
    text = head + "[[metrics]]" + tail.split("[[metrics]]", 1)[1]
    with pytest.raises(EntryError, match=r"needs \[\[files\]\]: weights, and one config"):
        read_entry(written(tmp_path, text))


def test_a_folder_is_named_like_its_model_and_has_a_card(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert list(catalogue(tmp_path)) == ["tiny"]
    (path.parent / "README.md").unlink()
    with pytest.raises(EntryError, match=r"tiny: expected a card, README\.md"):
        catalogue(tmp_path)
    written(tmp_path).parent.rename(tmp_path / "small")
    with pytest.raises(EntryError, match=r"small/model\.toml: id: expected 'small', .* found tiny"):
        catalogue(tmp_path)


def test_models_are_found_by_id_and_by_file(tmp_path: Path) -> None:
    assert find_model("scar-lvef").entry.id == "scar-lvef"
    path = written(tmp_path)
    assert find_model(str(path)).card == path.parent / "README.md"
    with pytest.raises(UsageError, match=r"no model is called 'tiny'; there are .*scar-lvef"):
        find_model("tiny")
    with pytest.raises(UsageError, match="found no such file"):
        find_model(str(tmp_path / "none.toml"))


# --- what comes with the package --------------------------------------------------------------


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_model_without_weights_claims_nothing(name: str) -> None:
    entry = catalogue()[name].entry
    if entry.status == "no-weights":
        assert [*entry.metrics, *entry.thresholds, *entry.calibration] == []


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_card_says_what_it_is_not(name: str) -> None:
    model = catalogue()[name]
    assert model.card is not None
    text = " ".join(model.card.read_text(encoding="utf-8").split())
    assert "Research software, not a medical device." in text
    assert ("**There are no weights" in text) == (model.entry.status == "no-weights")


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_model_s_recipe_is_there_and_asks_the_same(name: str) -> None:
    recipes = ROOT / "zoo" / "recipes"
    if not recipes.is_dir():
        pytest.skip("no recipes in zoo/recipes")
    entry = catalogue()[name].entry
    if not entry.recipe:
        assert entry.status == "no-weights"
        return
    asked = load_recipe(entry.recipe).tasks
    ours = [(task.name, task.source, task.below, task.at_least, task.classes) for task in asked]
    assert ours == [(t.name, t.source, t.below, t.at_least, t.classes) for t in entry.tasks]


def test_the_recipes_of_the_study_s_card_are_there() -> None:
    recipes = ROOT / "zoo" / "recipes"
    if not recipes.is_dir():
        pytest.skip("no recipes in zoo/recipes")
    card = (ROOT / "zoo" / "scar-lvef" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*) \|.*\|$", card, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert len(named) == 15
    assert named <= {path.stem for path in recipes.glob("*.toml")}


def test_the_wheel_has_every_entry_and_card(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        hashes = {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in wheel.namelist()}
    for name, model in catalogue().items():
        beside = [model.beside(file) for file in model.entry.files]
        assert model.card is not None
        shown = local_links(model.card.read_text(encoding="utf-8"))
        pictures = [model.card.parent / one for one in shown]
        for file in (model.path, model.card, *pictures, *beside):
            assert file is not None
            there = hashes[f"ecgvision/zoo_data/{name}/{file.name}"]
            assert there == hashlib.sha256(file.read_bytes()).hexdigest()

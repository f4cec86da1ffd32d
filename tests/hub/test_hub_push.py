"""Pushing: what may go up goes up, nothing else does, and no version is ever overwritten."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save

from ecgvision.errors import UsageError
from ecgvision.zoo.card import CardError
from ecgvision.zoo.catalogue import EntryError, entry_text, read_entry
from ecgvision.zoo.errors import HubError
from ecgvision.zoo.hub import Hub
from ecgvision.zoo.packing import PackingError, pack
from ecgvision.zoo.push import push

from .conftest import CARD, WEIGHTS
from .server import HubServer

# The client's own way of sending large files.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

MakeRun = Callable[..., Path]

ENTRY = """
id = "tiny"
title = "A tiny network"
status = "no-weights"
reason = "not pushed yet"
recipe = "tiny"
licence = "Apache-2.0"
datasets = ["ptb-xl"]

[[tasks]]
name = "lvef"
column = "lvef_percent"
title = "LVEF < 50 %"
below = 50
definition = "LVEF under 50 % by cardiac MR on the same day"

[[metrics]]
task = "lvef"
name = "auc"
value = 0.75
low = 0.7
high = 0.8
interval = "DeLong"
test_set = "cohort, 2016"
examples = 895
positives = 90
command = "python benchmarks/none.py"

[[thresholds]]
task = "lvef"
name = "sensitivity 90 %"
threshold = 0.21
chosen_on = "validation"
default = true

[[calibration]]
task = "lvef"
temperature = 1.5
fitted_on = "validation"
"""


def files_of(server: HubServer, name: str) -> dict[str, bytes]:
    repository = server.repositories[name]
    return {path: blob.data for path, blob in repository.commits[repository.head].items()}


@pytest.mark.usefixtures("token")
def test_a_pushed_run_can_be_pulled_by_what_the_push_prints(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path, tmp_path: Path
) -> None:
    pushed = push(hub, pack(make_run(), card), name)
    assert server.repositories[name].tags == {"v1": pushed.commit}
    assert set(files_of(server, name)) == {
        ".gitattributes", "README.md", "config.json", "weights.safetensors"
    }  # fmt: skip
    path = tmp_path / "model.toml"
    path.write_text(entry_text(pushed.entry))
    entry = read_entry(path)
    assert entry == pushed.entry
    assert entry.hub is not None
    assert (entry.hub.revision, entry.hub.tag) == (pushed.commit, "v1")
    assert entry.image is not None
    assert (entry.image.style, entry.image.height_px) == ("canonical", 64)
    pulled = Hub(server.url, tmp_path / "another").pull(entry)
    assert pulled["weights.safetensors"].read_bytes() == WEIGHTS
    by_tag = Hub(server.url, tmp_path / "third").pull(entry, "v1")
    assert by_tag["config.json"].read_bytes() == pulled["config.json"].read_bytes()


@pytest.mark.usefixtures("token")
def test_what_tells_of_machine_and_patients_stays(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    run = make_run(
        host="ward-7",
        command=["train", "/home/somebody/data"],
        patients=["patient-4711"],
        data={
            "name": "cohort",
            "sha256": "ab" * 32,
            "simulated": False,
            "folder": "/home/somebody/data",
            "rows": {"train": ["patient-4711"], "test": 2},
        },
        environment={"python": "3.11.7", "user": "somebody", "packages": {"torch": "2.15.0"}},
    )
    packed = pack(run, card)
    push(hub, packed, name)
    everything = b"\n".join(files_of(server, name).values())
    for secret in (b"4711", b"somebody", b"ward-7", b"/home", b"pickled", b"trainer"):
        assert secret not in everything, secret
    config = json.loads(files_of(server, name)["config.json"])
    assert config["run"]["data"] == {
        "name": "cohort", "sha256": "ab" * 32, "simulated": False, "rows": {"test": 2}
    }  # fmt: skip
    assert config["recipe"]["tasks"][0]["below"] == 50
    assert "run.json: data: folder" in packed.left_out
    assert "recipe.toml: model: pretrained" in packed.left_out
    assert "recipe.toml: trainer" in packed.left_out


@pytest.mark.parametrize(
    "path",
    ["/home/a/x", "/data", "~/x", r"C:\Users\x", r"\\share\x", "from /data/x", "file:x"],
)
def test_a_path_in_a_value_that_goes_up_is_refused(
    path: str, make_run: MakeRun, card: Path
) -> None:
    with pytest.raises(PackingError, match=r"run\.data\.name: expected no path"):
        pack(make_run(data={"name": path}), card)


@pytest.mark.parametrize("name", ["ST/T changes", "and/or", "25 mm/s", "https://doi.org/10.1/x"])
def test_a_slash_is_no_path(name: str, make_run: MakeRun, card: Path) -> None:
    assert pack(make_run(data={"name": name}), card).left_out


def test_a_list_as_long_as_a_cohort_is_refused(make_run: MakeRun, card: Path) -> None:
    run = make_run()
    (run / "clinical.json").write_text(json.dumps({"age_years": list(range(65))}))
    with pytest.raises(PackingError, match=r"clinical\.age_years: expected at most 64 values"):
        pack(run, card)


@pytest.mark.parametrize(
    "name", ["model.pt", "weights.bin", "imputer.pkl", "x.joblib", "patients.csv", "notes.txt"]
)
def test_pickles_and_strangers_in_the_run_are_refused(
    name: str, make_run: MakeRun, card: Path
) -> None:
    run = make_run()
    (run / name).write_bytes(pickle.dumps([1]))
    with pytest.raises(PackingError, match=f"found {name}; .*never pickled"):
        pack(run, card)


def test_a_pickle_by_the_name_of_weights_is_refused(make_run: MakeRun, card: Path) -> None:
    run = make_run()
    (run / "weights.safetensors").write_bytes(pickle.dumps({"head": [1.0] * 100}))
    with pytest.raises(PackingError, match=r"weights\.safetensors: expected safetensors"):
        pack(run, card)


def test_weights_of_another_run_or_with_notes_are_refused(make_run: MakeRun, card: Path) -> None:
    run = make_run()
    (run / "weights.safetensors").write_bytes(save({"head": np.zeros(3, np.float32)}))
    with pytest.raises(PackingError, match="not the weights of this run"):
        pack(run, card)
    noted = save({"head": np.zeros(3, np.float32)}, metadata={"from": "/home/somebody"})
    (run / "weights.safetensors").write_bytes(noted)
    with pytest.raises(PackingError, match=r"metadata the format alone, found 1 tensors and from"):
        pack(run, card)


def test_onnx_is_onnx_and_tells_no_path(make_run: MakeRun, card: Path) -> None:
    run = make_run()
    (run / "model.onnx").write_bytes(pickle.dumps([1]))
    with pytest.raises(PackingError, match=r"model\.onnx: expected ONNX"):
        pack(run, card)
    traced = b'\x08\x09 stack_trace File "/opt/net.py", line 3'
    (run / "model.onnx").write_bytes(traced)
    with pytest.raises(PackingError, match=r"model\.onnx: expected no path .*stack traces"):
        pack(run, card)


def test_a_link_is_not_followed(make_run: MakeRun, card: Path, tmp_path: Path) -> None:
    run = make_run()
    (run / "weights.safetensors").rename(tmp_path / "elsewhere")
    (run / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackingError, match=r"expected weights\.safetensors, found none"):
        pack(run, card)


def test_a_run_that_is_not_finished_is_refused(make_run: MakeRun, card: Path) -> None:
    with pytest.raises(PackingError, match="status: expected 'done', found 'interrupted'"):
        pack(make_run(status="interrupted"), card)


def test_a_card_needs_a_text_and_a_licence(make_run: MakeRun, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    for text in ("", "---\nlicense: apache-2.0\n---\n"):
        card.write_text(text)
        with pytest.raises(CardError, match="found none"):
            pack(make_run(), card)
    card.write_text("# A tiny network\n")
    with pytest.raises(PackingError, match=r"card\.md: expected a line `license:"):
        pack(make_run(), card)
    with pytest.raises(CardError, match="check --card"):
        pack(make_run(), tmp_path / "none.md")


def test_the_card_s_head_is_made_from_the_entry(make_run: MakeRun, card: Path) -> None:
    (card.parent / "model.toml").write_text(ENTRY)
    made = ModelCard(pack(make_run(), card).files["README.md"].decode())
    assert made.text.strip() == CARD.split("---\n")[2].strip()
    data = made.data
    assert (data.license, data.library_name) == ("apache-2.0", "ecgvision")
    assert data.datasets == ["ptb-xl"]
    assert data.metrics == ["roc_auc"]
    assert {"ecg", "my-tag"} <= set(data.tags)
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("roc_auc", 0.75)
    assert result.dataset_name == "cohort, 2016"
    assert result.metric_name == "lvef auc, 95% CI 0.700 to 0.800 (DeLong)"


@pytest.mark.usefixtures("token")
def test_what_the_entry_knows_comes_back_ready(
    hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    draft = card.parent / "model.toml"
    draft.write_text(ENTRY)
    entry = push(hub, pack(make_run(), card), name).entry
    before = read_entry(draft)
    assert (entry.status, entry.reason) == ("available", "")
    for key in ("metrics", "thresholds", "calibration", "tasks"):
        assert getattr(entry, key) == getattr(before, key)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("below = 50", "below = 40", "tasks: expected .*below 50.* found .*below 40"),
        ('recipe = "tiny"', 'recipe = "other"', "recipe: expected 'tiny'"),
        ('licence = "Apache-2.0"', 'licence = "MIT"', "licence: expected 'apache-2.0' as card.md"),
        ('recipe = "tiny"', 'recipe = "tiny"\nsimulated = true', "simulated: expected False"),
    ],
)
def test_an_entry_that_is_not_of_this_run_is_refused(
    old: str, new: str, told: str, make_run: MakeRun, card: Path
) -> None:
    (card.parent / "model.toml").write_text(ENTRY.replace(old, new))
    with pytest.raises(PackingError, match=told):
        pack(make_run(), card)


def test_simulated_data_is_said_everywhere(make_run: MakeRun, card: Path) -> None:
    packed = pack(make_run(data={"name": "drawn up", "simulated": True}), card)
    assert packed.entry.simulated
    assert "simulated-data" in ModelCard(packed.files["README.md"].decode()).data.tags


@pytest.mark.usefixtures("token")
def test_versions_are_counted_and_never_overwritten(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    first = push(hub, pack(make_run(), card), name)
    second = push(hub, pack(make_run(seed=2), card), name)
    assert (first.tag, second.tag) == ("v1", "v2")
    before = dict(server.repositories[name].tags), server.repositories[name].head
    with pytest.raises(UsageError, match=r"has a tag 'v1' already; tags are never moved"):
        push(hub, pack(make_run(seed=3), card), name, tag="v1")
    assert (server.repositories[name].tags, server.repositories[name].head) == before


@pytest.mark.usefixtures("token")
def test_a_tag_that_appears_meanwhile_is_not_moved(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    push(hub, pack(make_run(), card), name)
    server.fail("POST", "/tag/", 409)
    with pytest.raises(HubError, match=r"the files are up as .* but have no tag v2.* answered 409"):
        push(hub, pack(make_run(seed=2), card), name)
    assert list(server.repositories[name].tags) == ["v1"]


@pytest.mark.usefixtures("token")
def test_the_same_again_is_the_same_commit(
    hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    packed = pack(make_run(), card)
    first = push(hub, packed, name)
    second = push(hub, packed, name, tag="again")
    assert (second.commit, second.tag) == (first.commit, "again")


@pytest.mark.usefixtures("token")
def test_onnx_goes_up_and_goes_when_a_version_has_none(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    run = make_run()
    (run / "model.onnx").write_bytes(b"\x08\x09onnx")
    (run / "model-int8.onnx").write_bytes(b"\x08\x09int8")
    entry = push(hub, pack(run, card), name).entry
    roles = {file.name: file.role for file in entry.files}
    assert (roles["model.onnx"], roles["model-int8.onnx"]) == ("onnx", "onnx-int8")
    push(hub, pack(make_run(seed=2), card), name)
    assert not [path for path in files_of(server, name) if path.endswith(".onnx")]


@pytest.mark.usefixtures("token")
def test_private_is_private_or_nothing(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    pushed = push(hub, pack(make_run(), card), name, private=True)
    assert pushed.private
    assert server.repositories[name].private
    open_one = f"{name}-open"
    server.add(open_one, {".gitattributes": b""})
    with pytest.raises(UsageError, match="is there already, and public"):
        push(hub, pack(make_run(), card), open_one, private=True)
    assert set(files_of(server, open_one)) == {".gitattributes"}


@pytest.mark.usefixtures("token")
def test_a_repository_of_others_is_left_alone(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    server.add(name, {"pytorch_model.bin": b"theirs", "README.md": b"theirs"})
    with pytest.raises(
        HubError, match=r"holds files that no push of ours wrote: pytorch_model\.bin"
    ):
        push(hub, pack(make_run(), card), name)
    assert files_of(server, name)["README.md"] == b"theirs"


@pytest.mark.parametrize("token", ["", "token-of-nobody", "token-reads"])
def test_without_the_right_token_nothing_goes_up(
    token: str,
    server: HubServer,
    hub: Hub,
    name: str,
    make_run: MakeRun,
    card: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(
        HubError, match=r"the Hub refused it \(40[13].*HF_TOKEN.* writing"
    ) as raised:
        push(hub, pack(make_run(), card), name)
    assert raised.value.code == "hub-denied"
    assert name not in server.repositories


@pytest.mark.parametrize(
    ("repo", "tag"), [("alone", ""), ("a/b/c", ""), ("a/b", "../x"), ("a/b", "-")]
)
def test_names_that_cannot_be_are_refused_before_anything_is_asked(
    repo: str, tag: str, server: HubServer, hub: Hub, make_run: MakeRun, card: Path
) -> None:
    with pytest.raises(UsageError, match="expected"):
        push(hub, pack(make_run(), card), repo, tag=tag)
    assert server.asked == []


def test_a_broken_entry_beside_the_card_is_named(make_run: MakeRun, card: Path) -> None:
    (card.parent / "model.toml").write_text(ENTRY.replace("value = 0.75", "value = 0.9"))
    with pytest.raises(EntryError, match=r"tiny/model\.toml: metrics\[0\]: value must lie within"):
        pack(make_run(), card)

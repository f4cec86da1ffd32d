"""What a network is built from: plain values, as they stand in a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecgvision.errors import EcgVisionError

# The backbones that are not timm's: one for whole recordings, one for pages.
RESNET1D = "resnet1d"
STRIPS = "lead-strips"
Side = Annotated[int, Field(ge=32, le=4096)]


class ModelError(EcgVisionError):
    """A network cannot be built as asked for, or weights do not fit it."""

    code = "model"


class ModelSettings(BaseModel):
    """The body of a network.

    `backbone` is a name of timm's, or "resnet1d" for whole recordings, or "lead-strips" for pages,
    see `ecgvision.models.strips`. Images come as `image_px`
    (height, width): others are scaled to it. They enter as three equal `planes`, as in the study,
    or as one, the weights of the first convolution being summed over its planes. `normalise` takes
    ImageNet's mean and spread off the grey values, or with "ink" makes paper 0 and ink 1.

    `pretrained` is "", "imagenet" or a safetensors file of the backbone alone.

    Signals are resampled to `fs_hz`. A timm backbone sees one beat of `beat_s` seconds a lead, from
    `before_s` before its R peak; `width`, `depth` and `kernel` are those of "resnet1d" and
    "lead-strips" alone, `lead_width` is how many numbers these keep of each lead.

    A network of several `members` is so many of the same shape, each begun anew, which see the same
    examples; the mean of their logits counts (a deep ensemble: Lakshminarayanan et al. 2017).

    `unknown` says what becomes of clinical features that are not known: "imputed", as in the study,
    or a "category" of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "resnet34d"
    image_px: tuple[Side, Side] = (384, 384)
    planes: Literal[1, 3] = 3
    normalise: Literal["imagenet", "ink"] = "imagenet"
    lead_width: int = Field(default=64, ge=1, le=1024)
    pretrained: str = ""
    embedding: int = Field(default=512, ge=1, le=8192)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    unknown: Literal["imputed", "category"] = "imputed"
    fs_hz: float = Field(default=200.0, ge=20, le=2000)
    beat_s: float = Field(default=2.0, gt=0, le=10)
    before_s: float = Field(default=0.5, ge=0, le=10)
    width: int = Field(default=64, ge=4, le=512)
    depth: int = Field(default=2, ge=1, le=8)
    kernel: int = Field(default=7, ge=3, le=31)
    members: int = Field(default=1, ge=1, le=16)

    @model_validator(mode="after")
    def _beat_holds_its_peak(self) -> Self:
        if self.before_s >= self.beat_s:
            raise ValueError("before_s must be less than beat_s: the R peak lies within the beat")
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        if self.backbone == STRIPS:
            height_px, width_px = self.image_px
            if height_px % 12 or width_px % 2:
                raise ValueError(
                    f"image_px: {STRIPS} needs a height that is a multiple of 12 and an even width"
                )
            if self.pretrained:
                raise ValueError(f"there are no pretrained weights for {STRIPS}")
        return self

    @property
    def whole_recordings(self) -> bool:
        """Whether it takes whole recordings, not images or single beats."""
        return self.backbone == RESNET1D

    @property
    def beat_samples(self) -> int:
        return round(self.beat_s * self.fs_hz)

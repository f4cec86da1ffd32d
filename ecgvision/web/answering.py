"""A model's answers to a page, as the browser is told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from ecgvision.conversion import PageOptions, convert_page
from ecgvision.errors import PageError, UsageError
from ecgvision.normalise import ImageOptions
from ecgvision.web import pages
from ecgvision.web.cohort import Cohort, read_cohort
from ecgvision.web.heat import grad_cam_maps, occlusion_maps
from ecgvision.web.settings import Heat
from ecgvision.web.shapes import ModelAbout, TaskAbout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecgvision.media import Report
    from ecgvision.plugins import Format
    from ecgvision.predicting import PageAnswer, ZooModel
    from ecgvision.result import Conversion


def about_model(name: str | None) -> ModelAbout | None:
    """What is told of the model, whose files are checked, or fetched where they have to be.

    Raises what `load_model` does, but not for a model without weights: it is told as not ready.
    """
    from ecgvision.zoo.catalogue import find_model

    if name is None:
        return None
    entry = find_model(name).entry
    told = ModelAbout(
        id=entry.id,
        title=entry.title,
        ready=entry.status == "available",
        reason=entry.reason,
        simulated=entry.simulated,
        formats=list(entry.formats),
        tasks=[TaskAbout(name=task.name, title=task.title or task.name) for task in entry.tasks],
    )
    if not told.ready:
        return told
    return told.model_copy(update={"clinical": list(_model(name).clinical)})


@lru_cache(maxsize=1)
def _model(name: str) -> ZooModel:
    """The model, loaded once in each process."""
    from ecgvision.predicting import load_model

    return load_model(name)


@lru_cache(maxsize=1)
def _cohort(name: str) -> Cohort | None:
    from ecgvision.zoo.catalogue import find_model

    return read_cohort(find_model(name).path)


def heat_of(wanted: Heat | Literal["auto"], name: str | None) -> Heat:
    """How heat maps are made: "auto" is Grad-CAM++ where all it needs is installed.

    Raises `UsageError` where it is asked for and cannot be.
    """
    from ecgvision.zoo.catalogue import find_model

    there = all(find_spec(one) is not None for one in ("torch", "pytorch_grad_cam"))
    if wanted == "grad-cam" and not there:
        raise UsageError("Grad-CAM++ needs torch and grad-cam: pip install 'ecgvision[train]'")
    if wanted != "auto":
        return wanted
    return "grad-cam" if there and name and find_model(name).bundled else "occlusion"


def answered(
    name: str | None,
    report: Report,
    page: Conversion,
    formats: Sequence[Format],
    clinical: Mapping[str, float],
    heat: Heat,
    files: dict[str, bytes],
) -> dict[str, Any]:
    """The answers to a page as `PageResult` has them; `heat` maps are added to `files`."""
    if name is None or page.refusal is not None:
        return {}
    model = _model(name)
    seen = page
    if model.image_options != ImageOptions():
        options = PageOptions(model.image_options)
        number = page.page_number
        again = convert_page(report, number, page.source_sha256, formats, options)
        if isinstance(again, PageError):
            return {"no_answer": pages.reason(again)}
        seen = again
    answer = model.answer(_judged(seen, page), dict(clinical))
    if answer.refusal is not None:
        return {"no_answer": pages.reason(answer.refusal)}
    told = [task.as_dict() for task in answer.tasks]
    cohort = _cohort(name)
    if cohort is not None:
        for one in told:
            one["cohort"] = cohort.place(one["task"], one["probability"])
    if heat != "none" and seen.image.boxes and not model.config.is_signal:
        if heat == "grad-cam":
            maps = grad_cam_maps(name, model, seen.image, clinical)
        else:
            maps = occlusion_maps(model, seen.image, clinical)
        for one in told:
            found = maps[one["task"]]
            file = f"heat-{one['task']}.png"
            files[file] = pages.noted(found.png)
            one |= {"heat_map": file, "heat_map_method": heat, "leads": found.leads}
    return {"answers": told, "warnings": [*pages.warnings(page), *_warnings(answer)]}


def _judged(seen: Conversion, page: Conversion) -> Conversion:
    """The picture that the model takes, with the verdict on the page's signals."""
    return replace(seen, quality=page.quality, refusal=page.refusal)


def _warnings(answer: PageAnswer) -> list[dict[str, str]]:
    return [{"code": one.code, "message": one.message} for one in answer.warnings]

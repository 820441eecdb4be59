"""Samples: the slices of a region, the text that speaks of them, and the true lesions where they are known."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Image, Lesion, Message, Placement, Region, Sample, Study, Task, Volume
from petct_cli.report.sections import FINDINGS, split_sentences
from petct_cli.report.sites import find_sites, load_sites
from petct_cli.volume.regions import RegionBounds

WHOLE_BODY_SECTIONS = ("head_neck", "chest", "abdomen_pelvis", "musculoskeletal")
SUV_UNIT = "SUVbw"
_AXES = 3


@cache
def _prompts() -> dict[str, str]:
    text = files("petct_cli.dataset").joinpath("data/prompts_vi.toml").read_text("utf-8")
    prompts: dict[str, str] = tomllib.loads(text)["report"]
    return prompts


def region_text(region: str, sections: Mapping[str, str]) -> str:
    """Return the findings that belong to `region`.

    The skeleton has a section of its own in the reports: a sentence that names a site goes where the site lies. One
    that names none ("elsewhere normal") goes with those that do, or with every region when no sentence names a site.
    What a report that is divided by region says outside of them goes by the sites it names, too, and nowhere without
    (`unplaced`).
    """
    if region in ("whole", "unknown"):
        # Findings that are not divided by region are of the whole body.
        wanted = (FINDINGS, *WHOLE_BODY_SECTIONS)
        return " ".join(sections[name].strip() for name in wanted if sections.get(name, "").strip())
    sites = load_sites()
    skeleton = split_sentences(sections.get("musculoskeletal", ""))
    regions_of = [{sites[key].region for key in find_sites(sentence)} for sentence in skeleton]
    named = set().union(*regions_of)
    parts = [sections.get(region, "").strip()]
    parts += [
        sentence.strip()
        for sentence, regions in zip(skeleton, regions_of, strict=True)
        if region in (regions or named or {region})
    ]
    parts += [sentence.strip() for sentence, regions in _outside(sections) if region in regions]
    return " ".join(part for part in parts if part)


def unplaced(sections: Mapping[str, str]) -> int:
    """Return how many sentences of a report that is divided by region go to none of them: they name no site."""
    return sum(not regions for _, regions in _outside(sections))


def _outside(sections: Mapping[str, str]) -> list[tuple[str, set[str]]]:
    """Return what a report that is divided by region says outside of them, and the regions of the sites it names."""
    if not any(sections.get(name, "").strip() for name in WHOLE_BODY_SECTIONS):
        return []
    sites = load_sites()
    sentences = split_sentences(sections.get(FINDINGS, ""))
    return [(sentence, {sites[key].region for key in find_sites(sentence)}) for sentence in sentences]


def region_lesions(region: str, lesions: Sequence[Lesion]) -> list[Lesion]:
    """Return the lesions whose site lies in `region`."""
    if region in ("whole", "unknown"):
        return list(lesions)
    sites = load_sites()
    return [lesion for lesion in lesions if lesion.site in sites and sites[lesion.site].region == region]


def check_volumes(study: Study) -> tuple[Volume, Volume]:
    """Return the CT and the PET of `study`.

    Raises
    ------
    RecordError
        ``no_ct``, ``no_pet``: a pair needs both. ``bad_volume``: a shape, spacing or affine that no volume
        has. ``grids_differ``: slices do not correspond.
    """
    if study.ct is None:
        raise RecordError("no_ct", "the study has no CT volume", "pair needs CT and PET; did convert find both?")
    if study.pet is None:
        raise RecordError("no_pet", "the study has no PET volume", "pair needs CT and PET; did convert find both?")
    if not (_is_volume(study.ct) and _is_volume(study.pet)):
        raise RecordError("bad_volume", "shape, spacing_mm or affine of CT or PET are not those of a volume")
    if study.ct.shape != study.pet.shape or study.ct.affine != study.pet.affine:
        raise RecordError("grids_differ", "CT and PET are on different grids", "convert with --grid pet or --grid ct")
    return study.ct, study.pet


def _is_volume(volume: Volume) -> bool:
    shape, spacing, affine = volume.shape, volume.spacing_mm, volume.affine
    return (
        len(shape) == _AXES
        and min(shape) > 0
        and (affine is None if spacing is None else len(spacing) == _AXES and min(spacing) > 0)
        and (affine is None or [len(row) for row in affine] == [_AXES + 1] * (_AXES + 1))
    )


def make_report_sample(
    study: Study,
    bounds: RegionBounds,
    split: str | None,
    sections: Mapping[str, str],
    lesions: Sequence[Lesion] | None,
) -> Sample:
    """Build the report-generation sample of one region.

    Raises
    ------
    RecordError
        ``no_findings`` when the report says nothing of the region.
    """
    reference = region_text(bounds.name, sections)
    if not reference:
        raise RecordError("no_findings", f"the report has no findings for region {bounds.name}")
    fields = {
        **identity(study, bounds.name, split),
        **shown(study, bounds),
        "messages": exchange(_prompts()[bounds.name], reference, images=2),
        "reference": reference,
    }
    if lesions is not None:
        fields["lesions"] = region_lesions(bounds.name, lesions)
    return Sample.model_validate(fields)


def shown(study: Study, bounds: RegionBounds) -> dict[str, object]:
    """Return the fields that say what is shown: the region and its slices of CT and PET.

    Raises
    ------
    RecordError
        As `check_volumes`.
    """
    ct, pet = check_volumes(study)
    positions = (slice_position_mm(pet, bounds.start), slice_position_mm(pet, bounds.stop - 1))
    region = Region(
        name=bounds.name,
        method=bounds.method,
        z=[bounds.start, bounds.stop],
        z_mm=[position for position in positions if position is not None] or None,
        partial=bounds.partial,
        **({"warning": bounds.warning} if bounds.warning else {}),
    )
    return {"region": region, "images": [_image(ct, "CT", bounds), _image(pet, "PT", bounds)]}


def exchange(question: str, answer: str, images: int) -> list[Message]:
    """Return a question after `images` pictures, and its answer."""
    parts: list[dict[str, str]] = [{"type": "image"}] * images
    return [
        Message(role="user", content=[*parts, {"type": "text", "text": question}]),
        Message(role="assistant", content=[{"type": "text", "text": answer}]),
    ]


def identity(study: Study, region: str, split: str | None, task: Task = "report") -> dict[str, object]:
    """Return the fields that say which sample this is, whether or not it can be built."""
    company = study.placement or Placement()
    placed = {"split": split, "duplicate_group": company.group, "duplicate_across": company.across}
    return {
        "id": f"{study.id}/{region}/{task}",
        "study": study.id,
        "patient": study.patient or study.id,
        **{name: value for name, value in placed.items() if value is not None},
        "task": task,
        "provenance": study.provenance,
    }


def slice_position_mm(volume: Volume, index: int) -> float | None:
    """Return the position of a slice's centre along z in patient coordinates, or from slice 0 without an affine.

    None where the data have no geometry at all.
    """
    if volume.spacing_mm is None:
        return None
    if volume.affine is None:
        return round(index * volume.spacing_mm[0], 3)
    return round(volume.affine[2][0] * index + volume.affine[2][3], 3)


def other_unit(volume: Volume, modality: str) -> dict[str, str]:
    """Return ``unit`` of a volume that is in another than HU (CT) or SUVbw (PET): what goes unsaid is in these."""
    return {} if volume.unit == {"CT": "HU", "PT": SUV_UNIT}[modality] else {"unit": volume.unit}


def _image(volume: Volume, modality: str, bounds: RegionBounds) -> Image:
    extra = {"spacing_mm": volume.spacing_mm, "affine": volume.affine, **other_unit(volume, modality)}
    return Image(
        path=volume.path,
        modality=modality,
        sha256=volume.sha256,
        z=[bounds.start, bounds.stop],
        **extra,
    )

"""``phantom``: synthetic PET/CT studies with a Vietnamese report and the true lesions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from petct_cli.core.hashing import sha256_array, sha256_bytes
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, ReportRef, Series, Study, Suv, Truth, Volume
from petct_cli.core.store import Store

if TYPE_CHECKING:
    from petct_cli.dicom.synthesise_identity import Identity
    from petct_cli.volume.phantom import Phantom

As = Literal["dicom", "volumes"]
CtGrid = Literal["fine", "pet"]


def phantom_jobs(studies: int, seed: int) -> Iterator[Study]:
    """Yield the records of studies that are still to be made: an identity and which phantom it is."""
    from petct_cli.dicom.synthesise import uid_of

    for index in range(studies):
        uid = uid_of(seed, index, "study")
        yield Study.model_validate({"id": sha256_bytes(uid.encode())[:16], "phantom": {"seed": seed, "index": index}})


@dataclass(frozen=True)
class MakePhantom:
    """Draw, render and write one phantom per record of `phantom_jobs`.

    Parameters
    ----------
    out
        Output folder as typed; a study goes to ``out/study_NNNN``.
    kind
        ``dicom``: CT and PET objects, report and lesions, as a hospital would hand them over. ``volumes``: what
        `convert` would make of them, without identifiers.
    ct_grid
        ``fine``: CT pixels of 3 mm, as scanners deliver them finer than PET. ``pet``: CT on the PET's grid, a study of
        half the size.
    """

    out: Path
    kind: As = "dicom"
    ct_grid: CtGrid = "fine"

    name: ClassVar[str] = "phantom"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    def __call__(self, record: Study) -> Iterable[Record]:
        """Return the finished study record; finished work is not done again."""
        drawn_from: dict[str, int] = (record.model_extra or {})["phantom"]
        seed, index = drawn_from["seed"], drawn_from["index"]
        store = Store(self.out, self.name)
        folder = f"study_{index + 1:04d}"
        options = {"seed": seed, "as": self.kind, "ct_grid": self.ct_grid}
        inputs = [f"phantom {index}"]
        key = store.key(inputs, options, self.version)
        stamp = entry(self.name, self.version, options, inputs)

        def build(temporary: Path) -> list[Record]:
            make = self._dicom if self.kind == "dicom" else self._volumes
            fields = make(seed, index, temporary, self.out / folder)
            return [record.with_fields(**fields, provenance=[stamp])]

        return store.once(folder, key, build)

    def _dicom(self, seed: int, index: int, temporary: Path, final: Path) -> dict[str, Any]:
        from petct_cli.dicom.synthesise import Stack, draw_protocol, write_study

        phantom, identity, sections = _compose(seed, index)
        pet_grid = phantom.pet_grid
        ct_grid = phantom.ct_grid if self.ct_grid == "fine" else pet_grid
        rng = phantom.rng("protocol")
        write_study(
            temporary,
            (seed, index),
            identity,
            draw_protocol(rng, phantom.weight_kg),
            height_m=phantom.height_m,
            weight_kg=phantom.weight_kg,
            ct=Stack(phantom.render_ct(ct_grid), ct_grid.spacing_mm, ct_grid.origin_mm),
            pet=Stack(phantom.render_pet(), pet_grid.spacing_mm, pet_grid.origin_mm),
        )
        head = identity.administrative
        report = _write_report(temporary, final, sections, head, identity.indication)
        return {
            **_demographics(phantom),
            "patient": identity.patient_id,
            "study_date": identity.study_time.strftime("%Y-%m-%d"),
            "dates": "full",
            "series": [
                Series(modality="CT", dir=str(final / "CT"), role="ct"),
                Series(modality="PT", dir=str(final / "PET"), role="pet"),
            ],
            "report": report,
            "truth": _write_truth(temporary, final, phantom),
        }

    def _volumes(self, seed: int, index: int, temporary: Path, final: Path) -> dict[str, Any]:
        from petct_cli.volume.storage import save_volume

        phantom, identity, sections = _compose(seed, index)
        grid = phantom.pet_grid
        ct, pet = phantom.render_ct(), phantom.render_pet()
        for name, volume in (("ct", ct), ("pet", pet)):
            save_volume(temporary / f"{name}.b2nd", volume, grid.affine)
        shared: dict[str, Any] = {"spacing_mm": list(grid.spacing_mm), "affine": grid.affine, "shape": list(grid.shape)}
        report = _write_report(temporary, final, sections)
        return {
            **_demographics(phantom),
            "patient": sha256_bytes(identity.patient_id.encode())[:16],
            "dates": "none",
            "period": str(identity.study_time.year),
            "report": report.model_copy(update={"sections": sections}),
            "ct": Volume(path=str(final / "ct.b2nd"), sha256=sha256_array(ct), unit="HU", dtype="int16", **shared),
            "pet": Volume(
                path=str(final / "pet.b2nd"),
                sha256=sha256_array(pet),
                unit="SUVbw",
                dtype="float32",
                suv=Suv(type="bw", branch="phantom"),
                **shared,
            ),
            "truth": _write_truth(temporary, final, phantom),
        }


def _compose(seed: int, index: int) -> tuple[Phantom, Identity, dict[str, str]]:
    from petct_cli.dicom.synthesise_identity import draw_identity
    from petct_cli.report.compose import compose_report
    from petct_cli.volume.phantom import make_phantom

    phantom = make_phantom(seed, index)
    identity = draw_identity(phantom.rng("identity"), phantom.sex, phantom.age_years)
    return phantom, identity, compose_report(phantom.lesions, phantom.rng("text"))


def _demographics(phantom: Phantom) -> dict[str, Any]:
    return {
        "sex": phantom.sex,
        "age": f"{phantom.age_years:03d}Y",
        "height_m": phantom.height_m,
        "weight_kg": phantom.weight_kg,
    }


def _write_report(
    temporary: Path,
    final: Path,
    sections: dict[str, str],
    administrative: dict[str, str] | None = None,
    indication: str | None = None,
) -> ReportRef:
    from petct_cli.report.compose import report_document

    data = orjson.dumps(report_document(sections, administrative, indication), option=orjson.OPT_INDENT_2)
    (temporary / "report.json").write_bytes(data + b"\n")
    return ReportRef(path=str(final / "report.json"), sha256=sha256_bytes(data + b"\n"), lang="vi")


def _write_truth(temporary: Path, final: Path, phantom: Phantom) -> Truth:
    lesions = [
        {key: getattr(lesion, key) for key in ("site", "side", "size_mm", "suv_max", "centre_mm")}
        for lesion in phantom.lesions
    ]
    (temporary / "lesions.json").write_bytes(orjson.dumps({"lesions": lesions}, option=orjson.OPT_INDENT_2) + b"\n")
    return Truth(lesions=str(final / "lesions.json"))

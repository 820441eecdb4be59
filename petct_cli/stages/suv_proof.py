"""Proof that de-identification left SUV alone: computed from the headers before and after, compared bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.headers import rescale_elements, suv_dataset, suv_elements

if TYPE_CHECKING:
    from petct_cli.volume.pet_header import PetHeader


@dataclass
class _Series:
    before: list[PetHeader] = field(default_factory=list)
    after: list[PetHeader] = field(default_factory=list)
    rescale_changed: bool = False


@dataclass
class SuvProof:
    """Collects the PET headers of a study, series by series."""

    _series: dict[str, _Series] = field(default_factory=dict)
    _headers: dict[bytes, PetHeader] = field(default_factory=dict)

    def add(self, series: str, before: DicomBytes, after: DicomBytes) -> None:
        """Take in one PET image as it was and as it was written; `series` is the output's name of its series."""
        entry = self._series.setdefault(series, _Series())
        entry.before.append(self._header(before))
        entry.after.append(self._header(after))
        entry.rescale_changed |= rescale_elements(before) != rescale_elements(after)

    def _header(self, dicom: DicomBytes) -> PetHeader:
        # The slices of one bed position say the same; the bytes decide.
        raw = bytes(dicom.syntax) + suv_elements(dicom)
        found = self._headers.get(raw)
        if found is None:
            from petct_cli.dicom.read import quiet_pydicom
            from petct_cli.volume.pet_header import pet_header

            with quiet_pydicom():
                found = self._headers[raw] = pet_header(suv_dataset(dicom))
        return found

    def results(self, *, required: bool = True) -> list[dict[str, Any]]:
        """Return a verdict per series.

        ``identical``; ``not_computable`` with the reason, before as after; ``given_up`` where the profile removes what
        SUV needs and so does not require it.

        Raises
        ------
        RecordError
            ``suv_changed``: the study must not be let out like this.
        """
        found = []
        for name, series in sorted(self._series.items()):
            before, after = _outcome(series.before), _outcome(series.after)
            if not required and before != after and not series.rescale_changed:
                found.append({"series": name, "verdict": "given_up"})
                continue
            if before != after or series.rescale_changed:
                raise RecordError("suv_changed", f"{name}: SUV is not the same after de-identification")
            kind, said = before[0], before[1]
            found.append({"series": name, "verdict": kind, "branch" if kind == "identical" else "reason": said})
        return found


def _outcome(headers: list[PetHeader]) -> tuple[str, str, Any]:
    """Return what SUV comes to: the branch and the exact factors, or the code of the refusal."""
    from petct_cli.volume.suv import suv_factors

    try:
        result = suv_factors(headers)
    except RecordError as error:
        return "not_computable", error.code, None
    factors = result.per_slice if result.per_slice is not None else (result.factor,)
    return "identical", result.branch, tuple(factor.hex() for factor in factors if factor is not None)

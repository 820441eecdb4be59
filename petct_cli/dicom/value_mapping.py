"""What the stored values of an enhanced PET mean: Real World Value Mapping (PS3.3 C.7.6.16.2.11) in classic words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from petct_cli.dicom.values import first_item, items, number, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DECAY_TO_MOMENT = "DATETIME"
"""Stands for Decay Correction (0054,1102) where Decay Correction DateTime (0018,9701) says what it is to."""
_UNITS: dict[str, tuple[str, str | None]] = {
    "g/ml{SUVbw}": ("GML", "BW"),
    "g/ml": ("GML", None),
    "Bq/ml": ("BQML", None),
    "g/ml{SUVlbm}": ("GML", "LBM"),
    "g/ml{SUVlbm(James128)}": ("GML", "LBMJAMES128"),
    "g/ml{SUVlbm(Janma)}": ("GML", "LBMJANMA"),
    "g/ml{SUVibw}": ("GML", "IBW"),
    "cm2/ml{SUVbsa}": ("CM2ML", "BSA"),
    "cm2/ml": ("CM2ML", None),
    "{counts}": ("CNTS", None),
}
"""UCUM units (PS3.16 CID 84) -> Units (0054,1001) and SUV Type (0054,1006), the most telling first."""
_QUANTITIES = {
    "126401": "BW",
    "126402": "LBM",
    "126403": "BSA",
    "126404": "IBW",
    "126405": "LBMJANMA",
    "126406": "LBMJAMES128",
}
"""Codes (DCM) that a Quantity Definition names an SUV by -> SUV Type."""
_RESCALE_TYPES = {"BQML", "GML", "CM2ML", "CNTS"}


def mapped_values(mappings: Sequence[Dataset], rescale_type: str | None) -> dict[str, Any]:
    """Return Units, SUVType, RescaleSlope and RescaleIntercept that `mappings` of one frame give its stored values.

    Of several mappings the one to SUVbw counts, else to Bq/ml, else to another SUV. Without any that is known, Rescale
    Type may name the unit of the rescaled values. Mappings that contradict each other, or by a table, give no units:
    SUV then refuses.
    """
    known = [(rank, *found) for one in mappings if (found := _linear(one)) and (rank := _rank(found[0])) is not None]
    if not known:
        kind = (rescale_type or "").upper()
        return {"Units": kind} if kind in _RESCALE_TYPES else {}
    best = min(rank for rank, *_ in known)
    scales = {(slope, intercept) for rank, _, slope, intercept, _ in known if rank == best}
    if len(scales) > 1:
        return {}
    (slope, intercept) = scales.pop()
    _, unit, _, _, named = next(one for one in known if one[0] == best)
    units, kind_of_suv = _UNITS[unit]
    return {
        "Units": units,
        "SUVType": kind_of_suv or (named if units in ("GML", "CM2ML") else None),
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
    }


def _rank(unit: str) -> int | None:
    return list(_UNITS).index(unit) if unit in _UNITS else None


def _linear(mapping: Dataset) -> tuple[str, float, float, str | None] | None:
    code = first_item(mapping, "MeasurementUnitsCodeSequence")
    slope, intercept = number(mapping, "RealWorldValueSlope"), number(mapping, "RealWorldValueIntercept")
    # A unit of more than 16 characters does not fit Code Value.
    unit = (text(code, "CodeValue") or text(code, "LongCodeValue")) if code is not None else None
    if unit is None or slope is None or intercept is None:
        return None
    return unit, slope, intercept, _quantity(mapping)


def _quantity(mapping: Dataset) -> str | None:
    for definition in items(mapping, "QuantityDefinitionSequence"):
        code = first_item(definition, "ConceptCodeSequence")
        found = _QUANTITIES.get(text(code, "CodeValue") or "") if code is not None else None
        if found is not None:
            return found
    return None

"""Where vendors keep what SUV needs in private elements.

A block counts by its creator. Where de-identification dropped the creator, the element is accepted when Manufacturer
(0008,0070) fits, and named in `PrivateSources.without_creator` so that the record can say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from petct_cli.dicom.values import private, text, to_datetime, to_number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_GE_SCAN_TIME = ("ge_scan_time", 0x0009, "GEMS_PETD_01", 0x0D, "GE")
_SIEMENS_SCAN_TIME = ("siemens_scan_time", 0x0071, "SIEMENS MED PT", 0x22, "SIEMENS")
_PHILIPS_SUV = ("philips_suv", 0x7053, "Philips PET Private Group", 0x00, "PHILIPS")
_PHILIPS_BQML = ("philips_bqml", 0x7053, "Philips PET Private Group", 0x09, "PHILIPS")


@dataclass(frozen=True)
class PrivateSources:
    """Private values of one PET image; None where absent, empty or not acceptable.

    Attributes
    ----------
    ge_scan_time, siemens_scan_time
        Reference time of the decay correction, (0009,xx0D) and (0071,xx22).
    philips_suv
        (7053,xx00): rescaled counts to SUVbw. 0 means "not computed" and reads as None.
    philips_bqml
        (7053,xx09): rescaled counts to Bq/ml.
    without_creator
        Names of the fields above whose block named no creator.
    """

    ge_scan_time: datetime | None = None
    siemens_scan_time: datetime | None = None
    philips_suv: float | None = None
    philips_bqml: float | None = None
    without_creator: tuple[str, ...] = ()


def private_sources(dataset: Dataset) -> PrivateSources:
    """Collect the private values that SUV may need."""
    manufacturer = (text(dataset, "Manufacturer") or "").upper()
    zone = text(dataset, "TimezoneOffsetFromUTC")
    found: dict[str, str] = {}
    unnamed: list[str] = []
    for name, group, creator, element, vendor in (_GE_SCAN_TIME, _SIEMENS_SCAN_TIME, _PHILIPS_SUV, _PHILIPS_BQML):
        value, named = private(dataset, group, creator, element)
        if value is None or not (named or manufacturer.startswith(vendor)):
            continue
        found[name] = value
        if not named:
            unnamed.append(name)
    return PrivateSources(
        to_datetime(found.get("ge_scan_time"), zone),
        to_datetime(found.get("siemens_scan_time"), zone),
        to_number(found.get("philips_suv")) or None,
        to_number(found.get("philips_bqml")) or None,
        tuple(unnamed),
    )

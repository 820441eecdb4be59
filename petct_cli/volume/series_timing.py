"""When the images of a series were acquired: static or over time, and which of two series came first.

A gated or dynamic series holds several images of one place, or is one time slot of such an acquisition (PS3.3 C.8.9.1:
Series Type, Number of Time Slots and Slices; C.7.6.16.2.7 and C.7.6.18 for cardiac and respiratory triggers).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from petct_cli.dicom.values import integer, numbers, text, texts, to_date, to_datetime, to_time

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Timing = Literal["static", "gated", "dynamic", "repeated"]


def timing_of(headers: Sequence[Dataset]) -> Timing:
    """Say how the images of one series lie in time.

    Returns
    -------
    str
        ``gated``: by Series Type or Image Type, by more than one time slot, or one place at several Trigger Times.
        ``dynamic``: more than one time slice. ``repeated``: it says neither, yet each place comes twice or more.
        ``static`` otherwise; that is also a dynamic series of one time slice, which is one frame.
    """
    first = headers[0]
    kinds = {value.upper() for keyword in ("SeriesType", "ImageType") for value in texts(first, keyword)}
    positions = [numbers(header, "ImagePositionPatient") for header in headers]
    repeated = len(set(positions)) <= len(positions) / 2
    if "GATED" in kinds or (integer(first, "NumberOfTimeSlots") or 1) > 1:
        return "gated"
    if repeated and len({text(header, "TriggerTime") for header in headers}) > 1:
        return "gated"
    slices = integer(first, "NumberOfTimeSlices")
    if "DYNAMIC" in kinds and (repeated or slices is None or slices > 1):
        return "dynamic"
    return "repeated" if repeated else "static"


def acquisition_start(headers: Sequence[Dataset]) -> datetime | None:
    """Return the earliest acquisition of a series, local time; None where an image does not tell day and time.

    Series Time is no help: reconstructions of one scan bear the times at which they were made.
    """
    found = [_moment(header) for header in headers]
    moments = [moment for moment in found if moment is not None]
    return min(moments) if moments and len(moments) == len(found) else None


def _moment(header: Dataset) -> datetime | None:
    day, clock = to_date(text(header, "AcquisitionDate")), to_time(text(header, "AcquisitionTime"))
    if clock is None:
        return to_datetime(text(header, "AcquisitionDateTime"), text(header, "TimezoneOffsetFromUTC"))
    day = day or to_date(text(header, "SeriesDate")) or to_date(text(header, "StudyDate"))
    return None if day is None else datetime.combine(day, clock)

"""The DICOM files of a study record to one CT and one PET, and what became of each series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Series, Study
from petct_cli.stages.convert_scanner import scanner_of

if TYPE_CHECKING:
    from petct_cli.dicom.input_files import InputFiles
    from petct_cli.dicom.read import Instance
    from petct_cli.volume.series_choice import Candidate, Choice
    from petct_cli.volume.series_pick import SeriesPick
    from petct_cli.volume.series_volume import SeriesVolume
    from petct_cli.volume.suv import SuvRule

    Reader = Callable[[Sequence[Instance]], SeriesVolume]

ROLES = ("ct", "pet")
_WORKED_ON = ("CT", "PT", "unknown")


@dataclass(frozen=True)
class Source:
    """One file that a series of the record names."""

    series: int
    path: Path


def sources_of(record: Study) -> list[Source]:
    """List the files of every series that may be converted, in the order of the record."""
    from petct_cli.dicom.scan import UNNAMEABLE, series_files

    found: list[Source] = []
    for place, series in enumerate(record.series):
        if series.set_aside not in (None, UNNAMEABLE) or series.modality not in _WORKED_ON:
            continue
        try:
            found.extend(Source(place, path) for path in series_files(series))
        except OSError as error:
            raise RecordError("input_unreadable", f"{series.dir}: {error.strerror}") from None
    return found


def read_study(
    record: Study, sources: list[Source], files: InputFiles, picks: Sequence[SeriesPick | None], suv: SuvRule
) -> tuple[dict[str, Any], dict[str, SeriesVolume]]:
    """Return what becomes of fields of the record, and the volumes by role (``ct``, ``pet``).

    The fields are its series with role or reason, and the scanner.

    Raises
    ------
    RecordError
        ``dicom_truncated``, ``not_dicom``, ``input_unreadable``; what choosing raises (`choose_series`) and reading
        (`read_ct`, `read_pet`). Faults of the pixels show when these are asked for.
    """
    from petct_cli.dicom.values import text
    from petct_cli.volume.series_choice import choose_series
    from petct_cli.volume.series_join import read_joined
    from petct_cli.volume.series_volume import read_ct, read_pet

    try:
        candidates, places = _candidates(sources, record, files)
    except OSError as error:
        raise RecordError("input_unreadable", f"{error.filename}: {error.strerror}") from None
    choice = choose_series(candidates, *picks)
    volumes = {}
    readers: list[Reader] = [partial(read_ct, files=files), partial(read_pet, files=files, suv=suv)]
    for role, taken, reader, pick in zip(ROLES, choice.taken, readers, picks, strict=True):
        if taken is None:
            continue
        volumes[role], places_joined, faults = read_joined(candidates if pick is None else (), taken, reader)
        choice = choice.with_joined(role, places_joined).with_reasons(faults)
    _require_whole(record, candidates, choice)
    headers = [one.header for one in reversed(choice.taken) if one is not None]
    made = scanner_of((text(header, "Manufacturer"), text(header, "ManufacturerModelName")) for header in headers)
    return {"series": _series_told(record, sources, candidates, places, choice), **made}, volumes


def _require_whole(record: Study, candidates: list[Candidate], choice: Choice) -> None:
    """Refuse a series beside whose files lies a damaged one of the same kind of name: it may be an outer slice.

    Raises
    ------
    RecordError
        ``dicom_truncated``.
    """
    from petct_cli.dicom.scan import UNREADABLE, name_shape, series_files

    damaged = [path for series in record.series if series.set_aside == UNREADABLE for path in series_files(series)]
    if not damaged:
        return
    for candidate in (*choice.taken, *(candidates[place] for place in choice.joined)):
        kinds = {(one.path.parent, name_shape(one.path)) for one in candidate.instances} if candidate else set()
        for path in damaged:
            if (path.parent, name_shape(path)) in kinds:
                message = f"{path}: damaged, and may be a slice of the {candidate.modality if candidate else ''}"
                raise RecordError("dicom_truncated", message, "copy the series again, or take the file away")


def _candidates(sources: list[Source], record: Study, files: InputFiles) -> tuple[list[Candidate], list[list[int]]]:
    """Group the images by series, scouts and stacks apart; return the groups and the sources of each.

    A byte-identical copy of an image that was read already is left out.
    """
    from petct_cli.dicom.multiframe import frames_of
    from petct_cli.dicom.read import NotDicomError, UnreadableDicomError, read_instance
    from petct_cli.dicom.scan import is_stump
    from petct_cli.dicom.values import text, texts
    from petct_cli.volume.frame_stacks import split_stacks
    from petct_cli.volume.series_choice import Candidate

    groups: dict[tuple[str, bool], list[Instance]] = defaultdict(list)
    places: dict[tuple[str, bool], list[int]] = defaultdict(list)
    seen: dict[tuple[str | None, int], list[Path]] = defaultdict(list)
    for number, source in enumerate(sources):
        try:
            instance = read_instance(source.path)
        except NotDicomError:
            if record.series[source.series].files is not None:
                raise RecordError("not_dicom", f"{source.path}: the record names it, yet it is no DICOM") from None
            if is_stump(source.path) and _is_slice_name(source, sources):
                raise _damaged(source, number, len(sources)) from None
            continue
        except UnreadableDicomError:
            raise _damaged(source, number, len(sources)) from None
        header = instance.header
        if not instance.is_image:
            continue
        if text(header, "SeriesInstanceUID") is None and instance.is_truncated:
            raise _damaged(source, number, len(sources))  # it cannot say which series lacks a slice
        alike = seen[text(header, "SOPInstanceUID"), instance.file_bytes]
        is_copy = any(files.sha256(path) == files.sha256(source.path) for path in alike)
        alike.append(source.path)
        for image in frames_of(instance):
            scout = "LOCALIZER" in {value.upper() for value in texts(image.header, "ImageType")}
            key = (text(header, "SeriesInstanceUID") or f"folder {source.path.parent}", scout)
            if number not in places[key][-1:]:
                places[key].append(number)
            if not is_copy:
                groups[key].append(image)
    stacks = [(key, stack) for key in groups if groups[key] for stack in split_stacks(groups[key])]
    found = [Candidate(key[0], text(stack[0].header, "Modality") or "unknown", stack) for key, stack in stacks]
    return found, [places[key] for key, _ in stacks]


def _is_slice_name(source: Source, sources: list[Source]) -> bool:
    """Whether a file is named like others of its series."""
    from petct_cli.dicom.scan import name_shape

    shape = name_shape(source.path)
    return any(one is not source and one.series == source.series and name_shape(one.path) == shape for one in sources)


def _damaged(source: Source, number: int, count: int) -> RecordError:
    message = f"{source.path}: file {number + 1} of {count} is damaged DICOM"
    return RecordError("dicom_truncated", message, "copy the series again")


def _series_told(
    record: Study, sources: list[Source], candidates: list[Candidate], places: list[list[int]], choice: Choice
) -> list[Series]:
    """Return the series of the record with role or reason, one entry per series that was really there."""
    told: list[Series] = []
    for entry_place, series in enumerate(record.series):
        own = sum(source.series == entry_place for source in sources)
        if not own:
            known = series.set_aside or (None if series.modality in _WORKED_ON else f"modality {series.modality}")
            told.append(series if known is None else series.model_copy(update={"set_aside": known}))
            continue
        for place, candidate in enumerate(candidates):
            files = [sources[i].path for i in places[place] if sources[i].series == entry_place]
            if not files:
                continue
            fields = series.model_dump(exclude_unset=True, exclude={"role", "set_aside", "chosen_because"})
            fields["modality"] = candidate.modality
            if len(files) != own:
                fields["files"] = [_within(series.dir, path) for path in files]
            role = choice.joined.get(place) or {id(choice.ct): "ct", id(choice.pet): "pet"}.get(id(candidate))
            if role:
                because = "continues the one taken" if place in choice.joined else choice.because[role]
                fields |= {"role": role, "chosen_because": because}
            else:
                fields["set_aside"] = choice.set_aside.get(place, "not taken")
            told.append(Series(**fields))
    return told


def _within(folder: str | None, path: Path) -> str:
    """Name a file as its series may: relative to the folder, where it lies in it."""
    return str(path.relative_to(folder) if folder is not None and path.is_relative_to(folder) else path)

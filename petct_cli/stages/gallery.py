"""``gallery``: samples with their images, texts and scores on one page, or studies on a contact sheet."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import InputError, PetctError, UsageError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.jsonl import BadLineError, decode
from petct_cli.core.records import Image, Lesion, Record, Sample, Study
from petct_cli.core.score_records import Score
from petct_cli.core.store import write_atomically
from petct_cli.metrics.glossary import name_of
from petct_cli.metrics.table import arrange
from petct_cli.metrics.verdict import verdicts
from petct_cli.report.lesions import extract_lesions, lesion_sites
from petct_cli.report.sites import lesion_words, sides_of, site_words
from petct_cli.stages.contact_sheet import ContactSheet
from petct_cli.stages.page import heading, html_page, visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Found = tuple[str, str | None]


@dataclass(frozen=True)
class Gallery:
    """Write one self-contained HTML page and pass the records on; studies get a contact sheet (`ContactSheet`).

    Parameters
    ----------
    out
        The page.
    scores
        A file of score records for the table, or None.
    cases
        How many studies to show. Chosen by a hash of their id, with at least one right and one wrong where there are
        both, so that the page neither flatters nor frightens.
    title
        Heading of the page.
    notes
        Lines of plain text under the heading.
    per_page
        Studies on a page of the contact sheet.
    """

    out: Path
    scores: Path | None = None
    cases: int = 6
    title: str = "petct"
    notes: tuple[str, ...] = ()
    per_page: int = 100

    name: ClassVar[str] = "gallery"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Sample, Study)

    def collect(self, records: Iterable[Record]) -> Iterable[Record]:
        """Yield `records` unchanged: samples after the page is written, studies as their sheet grows.

        Raises
        ------
        UsageError
            ``scores_of_studies``: scores are of samples.
        """
        stream = iter(records)
        kept: list[Record] = []
        for record in stream:
            kept.append(record)
            if isinstance(record, Study):
                if self.scores is not None:
                    raise UsageError("scores_of_studies", "--scores goes with samples; these records are studies")
                return ContactSheet(self.out, self.per_page, self.title, self.notes).collect(chain(kept, stream))
            if isinstance(record, Sample):
                break
        kept += stream
        shown = [record for record in kept if isinstance(record, Sample) and record.error is None and record.images]
        studies: dict[str, list[Sample]] = {}
        for sample in shown:
            studies.setdefault(sample.study, []).append(sample)
        parts = [heading(self.title, self.notes)]
        if self.scores is not None:
            parts.append(score_table(read_scores(self.scores)))
        parts.append("<h2>Cases</h2>" if studies else "<h2>No case has images</h2>")
        parts += [_case(studies[study]) for study in choose(studies, self.cases)]
        write_atomically(self.out, html_page(self.title, parts))
        log.info("wrote %s", self.out)
        return kept


def read_scores(path: Path) -> list[Score]:
    """Return the score records of a file.

    Raises
    ------
    InputError
        ``scores_unreadable``.
    """
    try:
        found = [decode(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise InputError("scores_unreadable", f"cannot read {path}: {error.strerror}") from None
    except BadLineError:
        raise InputError("scores_unreadable", f"{path} does not hold score records") from None
    return [record for record in found if isinstance(record, Score)]


def choose(studies: dict[str, list[Sample]], number: int) -> list[str]:
    """Return the studies to show: hash order, lesions first, the first wrong one in place of the last if need be."""
    order = sorted(studies, key=sha256_json)
    with_lesions = [study for study in order if any(sample.lesions for sample in studies[study])]
    ranked = with_lesions + [study for study in order if study not in set(with_lesions)]
    shown = ranked[:number]
    if shown and all(_all_right(studies[study]) for study in shown):
        wrong = next((study for study in ranked if not _all_right(studies[study])), None)
        if wrong is not None:
            shown[-1] = wrong
    return shown


def _all_right(samples: Sequence[Sample]) -> bool:
    return all(found_in(sample.hypothesis or "") == true_sites(sample) for sample in samples)


def found_in(text: str) -> set[Found]:
    """Return the (site, side) pairs that `text` states."""
    return lesion_sites(extract_lesions(text))


def true_sites(sample: Sample) -> set[Found]:
    """Return the (site, side) pairs that are true: of the known lesions, else of the reference."""
    if sample.lesions is not None:
        return {(lesion.site, side) for lesion in sample.lesions for side in sides_of(lesion.site, lesion.side)}
    return found_in(sample.reference or "")


def score_table(scores: Sequence[Score]) -> str:
    """Return the table of whole-data scores: a row per system and control, a column per metric."""
    overall = [score for score in scores if not score.group]
    metrics, rows = arrange(overall)
    lower = {score.metric for score in overall if not score.higher_is_better}
    lines = ["<h2>Scores</h2>", *(f"<p>{escape(visible(line))}</p>" for line in verdicts(overall))]
    lines.append('<div class="scroll"><table><thead><tr><th>System</th>')
    lines += [f"<th>{escape(name_of(metric))}{' ↓' if metric in lower else ''}</th>" for metric in metrics]
    lines.append("</tr></thead><tbody>")
    for row in rows:
        control = row.what.startswith("control")
        what = row.what.replace("_", " ") if control else ""
        label = " · ".join(part for part in (row.system, what) if part) or "all"
        lines.append(f'<tr class="{"control" if control else "main"}"><td>{escape(label)}</td>')
        lines += [_cell(row.cells.get(metric)) for metric in metrics]
        lines.append("</tr>")
    lines.append("</tbody></table></div>")
    return "".join(lines)


def _cell(score: Score | None) -> str:
    if score is None or score.value is None:
        return "<td>–</td>"
    digits = 1 if abs(score.value) >= 10 else 2
    bounds = " to ".join(f"{bound:.{digits}f}" for bound in score.ci95 or [])
    small = f"<small>{bounds}</small>" if bounds else ""
    return f"<td>{score.value:.{digits}f}{small}</td>"


def _case(samples: Sequence[Sample]) -> str:
    lesions = [lesion for sample in samples for lesion in sample.lesions or []]
    known = ", ".join(describe(lesion) for lesion in lesions) or "no lesion"
    verdict = "all sites right" if _all_right(samples) else "not all sites right"
    parts = [
        f'<section class="case"><header><h3>Study <code>{escape(samples[0].study)}</code></h3>'
        f'<span class="soft">truth: {escape(known)} — {verdict}</span></header>',
        _pictures_or_why_not(samples, lesions),
        '<div class="scroll"><table class="texts"><thead><tr><th>Region</th><th>Reference</th><th>Generated</th></tr>'
        "</thead><tbody>",
    ]
    for sample in sorted(samples, key=lambda sample: -(sample.region.z[0] if sample.region and sample.region.z else 0)):
        region = sample.region.name.replace("_", "-") if sample.region else "–"
        truth = true_sites(sample)
        hypothesis = marked(sample.hypothesis or "", truth)
        missed = truth - found_in(sample.hypothesis or "")
        if missed:
            names = ", ".join(site_words(site, side) for site, side in sorted(missed, key=str))
            hypothesis += f'<br><span class="missed">missed: {escape(names)}</span>'
        reference = marked(sample.reference or "", truth)
        parts.append(f'<tr><td>{escape(region)}</td><td lang="vi">{reference}</td><td lang="vi">{hypothesis}</td></tr>')
    parts.append("</tbody></table></div></section>")
    return "".join(parts)


def describe(lesion: Lesion) -> str:
    """Return a lesion in a few words."""
    return lesion_words(lesion.site, lesion.side, lesion.size_mm, lesion.suv_max)


def marked(text: str, truth: set[Found]) -> str:
    """Return `text` as HTML with its lesions marked, those that are not true as wrong."""
    out = []
    position = 0
    for lesion in sorted(extract_lesions(text), key=lambda lesion: lesion.span):
        start, stop = lesion.span
        named = lesion_sites([lesion])
        if start < position or not named:
            continue
        kind = "" if named <= truth else ' class="wrong"'
        out += [escape(text[position:start]), f"<mark{kind}>", escape(text[start:stop]), "</mark>"]
        position = stop
    return "".join([*out, escape(text[position:])])


def _pictures_or_why_not(samples: Sequence[Sample], lesions: Sequence[Lesion]) -> str:
    """Return the pictures, or a line that says why there are none: volumes may be gone or not what the record says."""
    try:
        return _pictures(samples, lesions)
    except PetctError as error:
        why = error.code
    except OSError as error:
        why = error.strerror or "cannot be read"
    except (ValueError, ArithmeticError, IndexError, RuntimeError, TypeError) as error:
        why = type(error).__name__
    log.warning("no pictures of a study: %s", why)
    return f'<p class="soft">images not shown: {escape(why)}</p>'


def _pictures(samples: Sequence[Sample], lesions: Sequence[Lesion]) -> str:
    import numpy as np

    from petct_cli.volume.render import fused_axial, fused_coronal, pet_mip, pet_window, to_png
    from petct_cli.volume.storage import load_volume

    images = {image.modality: image for image in samples[0].images}
    if not {"CT", "PT"} <= images.keys():
        return '<p class="soft">images not shown: CT and PET are not both named</p>'
    ct, pet = load_volume(Path(images["CT"].path)), load_volume(Path(images["PT"].path))
    dz, dy, dx = _extra(images["PT"], "spacing_mm") or [1.0, 1.0, 1.0]
    window = pet_window(_extra(images["PT"], "unit") or "SUVbw", np.nan_to_num(pet.max(axis=1)))
    affine = _extra(images["PT"], "affine")
    depth, rows, columns = pet.shape
    centres = [
        (lesion, place)
        for lesion, place in _centres(lesions, np.array(affine) if affine else None)
        if all(0 <= round(index) < length for index, length in zip(place, pet.shape, strict=True))
    ]
    circles = [(depth - 1 - z, x, lesion) for lesion, (z, y, x) in centres]
    parts = ['<div class="look">']
    parts.append(
        _figure(to_png(pet_mip(pet, window), (dz, dx)), (depth, columns), circles, (dz, dx), "PET, maximum projection")
    )
    middle = round(centres[0][1][1]) if centres else rows // 2
    parts.append(
        _figure(
            to_png(fused_coronal(ct, pet, middle, window), (dz, dx)),
            (depth, columns),
            [],
            (dz, dx),
            "CT + PET, coronal",
        )
    )
    parts.append('<div class="slices">')
    for lesion, (z, y, x) in centres[:3]:
        picture = to_png(fused_axial(ct, pet, round(z), window), (dy, dx))
        parts.append(_figure(picture, (rows, columns), [(y, x, lesion)], (dy, dx), describe(lesion)))
    parts.append("</div></div>")
    return "".join(parts)


def _extra(image: Image, name: str) -> Any:
    return (image.model_extra or {}).get(name)


def _centres(
    lesions: Sequence[Lesion], affine: NDArray[np.float64] | None
) -> list[tuple[Lesion, tuple[float, float, float]]]:
    """Return the voxel coordinates (z, y, x) of the lesions whose centre is known."""
    import numpy as np

    if affine is None:
        return []
    inverse = np.linalg.inv(affine)
    found = []
    for lesion in lesions:
        if lesion.centre_mm is not None and len(lesion.centre_mm) == len(inverse) - 1:
            z, y, x, _ = inverse @ np.array([*lesion.centre_mm, 1.0])
            found.append((lesion, (float(z), float(y), float(x))))
    return found


def _figure(
    png: bytes,
    shape: tuple[int, int],
    circles: Sequence[tuple[float, float, Lesion]],
    spacing_mm: tuple[float, float],
    caption: str,
) -> str:
    data = base64.b64encode(png).decode()
    height, width = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
    marks = "".join(
        f'<circle cx="{(column + 0.5) * spacing_mm[1]:.1f}" cy="{(row + 0.5) * spacing_mm[0]:.1f}" '
        f'r="{max(14.0, (lesion.size_mm or 0) / 2 + 8):.1f}" fill="none" stroke="#e5007a" stroke-width="3">'
        f"<title>{escape(describe(lesion))}</title></circle>"
        for row, column, lesion in circles
    )
    overlay = f'<svg viewBox="0 0 {width:.1f} {height:.1f}" preserveAspectRatio="none">{marks}</svg>' if marks else ""
    return (
        f'<figure><span class="picture"><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"{overlay}</span><figcaption>{escape(caption)}</figcaption></figure>"
    )

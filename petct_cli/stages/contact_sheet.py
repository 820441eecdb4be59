"""The contact sheet: the previews of many studies on self-contained pages, for a person to check them by eye."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from petct_cli.core.errors import InputError, PetctError
from petct_cli.core.records import Record, Study, Volume
from petct_cli.core.store import write_atomically
from petct_cli.stages.convert_preview import preview_of
from petct_cli.stages.page import heading, html_page, made_by

log = logging.getLogger(__name__)

LITTLE_OVERLAP = 0.9
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PICTURE = 2_000_000
_KIND = "petct gallery, contact sheet"


@dataclass
class _Page:
    """What is known of the page being filled."""

    number: int
    first: int
    tiles: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ContactSheet:
    """Write pages of previews while the records go by; memory holds one page, however many studies there are.

    Parameters
    ----------
    out
        The first page; the next ones lie beside it as ``NAME-2.html``, ``NAME-3.html`` and so on.
    per_page
        Studies a page.
    title
        Heading of the pages.
    notes
        Lines of plain text under the heading.

    A study without a preview is drawn from its volumes; a failed one has a tile with its code.
    """

    out: Path
    per_page: int = 100
    title: str = "petct"
    notes: tuple[str, ...] = ()

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield `records` unchanged, each after its tile is made."""
        page, all_codes, studies = _Page(1, 1), Counter[str](), 0
        for record in records:
            if isinstance(record, Study):
                if len(page.tiles) == self.per_page:
                    self._write(page, more=True)
                    page = _Page(page.number + 1, studies + 1)
                studies += 1
                page.tiles.append(tile(record))
                if record.error is not None:
                    page.codes[record.error.code] += 1
                    all_codes[record.error.code] += 1
            yield record
        self._write(page, more=False, summary=f"{studies} studies in all, {_failures(all_codes)}")
        self._remove_after(page.number)
        log.info("wrote %d pages from %s", page.number, self.out)

    def place(self, number: int) -> Path:
        """Return where a page lies; the first one is what the user named."""
        return self.out if number == 1 else self.out.with_name(f"{self.out.stem}-{number}{self.out.suffix}")

    def _write(self, page: _Page, *, more: bool, summary: str = "") -> None:
        last = page.first + len(page.tiles) - 1
        told = f"page {page.number}: studies {page.first} to {last}, {_failures(page.codes)}" if page.tiles else "none"
        links = [self._link(page.number - 1, "previous")] if page.number > 1 else []
        links += [self._link(page.number + 1, "next")] if more else []
        way = f"<nav>{' '.join(links)}</nav>" if links else ""
        end = f'<p class="soft">{escape(summary)}</p>' if summary else ""
        body = [
            f'{heading(self.title, self.notes)}<p class="soft">{escape(told)}</p>{way}',
            f'<div class="tiles">\n{chr(10).join(page.tiles)}\n</div>{end}{way}',
        ]
        data = html_page(self.title, body, styles=["contact_sheet.css"], kind=_KIND, body_class="sheet")
        write_atomically(self.place(page.number), data)

    def _link(self, number: int, word: str) -> str:
        return f'<a href="{escape(_relative(self.place(number).name))}">{word}</a>'

    def _remove_after(self, number: int) -> None:
        """Remove the further pages of an earlier, longer sheet: they would show studies that are gone."""
        while (left := self.place(number := number + 1)).is_file() and made_by(_KIND).encode() in _head(left):
            left.unlink()


def _relative(name: str) -> str:
    from urllib.parse import quote

    return f"./{quote(name)}"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(400)


def _failures(codes: Counter[str]) -> str:
    if not codes:
        return "none failed"
    named = ", ".join(f"{code} {count}" for code, count in sorted(codes.items(), key=lambda one: (-one[1], one[0])))
    return f"{codes.total()} failed: {named}"


def tile(study: Study) -> str:
    """Return one study as HTML: picture, id, what its record says of geometry and SUV."""
    name = f"<code>{escape(study.id)}</code>"
    if study.error is not None:
        told = f"failed in {study.error.stage}: {study.error.code}"
        return f'<figure class="tile failed"><figcaption>{name}<br>{escape(told)}</figcaption></figure>'
    try:
        png = _picture(study)
        why = "no volumes"
    except PetctError as error:
        png, why = None, error.code
    except OSError as error:
        png, why = None, error.strerror or "cannot be read"
    except (ValueError, ArithmeticError, IndexError, RuntimeError, TypeError) as error:
        png, why = None, type(error).__name__
    if png is None:
        picture = f'<span class="none">no picture: {escape(why)}</span>'
    else:
        data = base64.b64encode(png).decode()
        picture = f'<img alt="preview" src="data:image/png;base64,{data}">'
    lines = [escape(line) for line in _facts(study)]
    marks = [f'<span class="mark">{escape(mark)}</span>' for mark in remarks(study)]
    return f'<figure class="tile">{picture}<figcaption>{"<br>".join([name, *lines, *marks])}</figcaption></figure>'


def _picture(study: Study) -> bytes | None:
    """Return the PNG of a study: the one that its record names, else a new one of its volumes."""
    if study.preview is None:
        return preview_of(study)
    path = Path(study.preview.path)
    with path.open("rb") as file:
        data = file.read(_LARGEST_PICTURE + 1)
    if not data.startswith(_PNG) or len(data) > _LARGEST_PICTURE:
        raise InputError("bad_preview", f"{path}: not a small PNG")
    return data


def _facts(study: Study) -> list[str]:
    return [
        f"{name} {' x '.join(map(str, volume.shape))}"
        + (f", {' x '.join(f'{step:.3g}' for step in volume.spacing_mm)} mm" if volume.spacing_mm else "")
        for name, volume in (("CT", study.ct), ("PET", study.pet))
        if volume is not None
    ]


def remarks(study: Study) -> Sequence[str]:
    """Return what a person should look at twice: uneven or tilted slices, little overlap, assumed values."""
    found: list[str] = []
    for name, volume in (("CT", study.ct), ("PET", study.pet)):
        if volume is None:
            continue
        verdict = volume.geometry.verdict if volume.geometry is not None else "even"
        if verdict not in ("even", "given"):
            found.append(f"{name} slices: {verdict}")
        if volume.suv is not None and volume.suv.assumed:
            found.append(f"assumed: {', '.join(volume.suv.assumed)}")
        if name == "PET" and not volume.unit.startswith("SUV"):
            found.append(f"PET unit: {volume.unit}")
    overlap = _overlap(study.pet or study.ct)
    if overlap is not None and overlap < LITTLE_OVERLAP:
        found.append(f"the CT covers {100 * overlap:.0f} % of the PET")
    return found


def _overlap(volume: Volume | None) -> float | None:
    told = getattr(volume.geometry, "z_overlap", None) if volume is not None and volume.geometry is not None else None
    return float(told) if isinstance(told, (int, float)) else None

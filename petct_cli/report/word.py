"""Reports in Word documents (.docx): what a reader sees, as lines of plain text.

Own code and not python-docx (MIT), which passes over inserted text, content controls and text boxes without a word: the
forms of hospitals are made of these.
"""

from __future__ import annotations

import io
import posixpath
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from petct_cli.core.errors import RecordError
from petct_cli.report.deid_head import is_administrative
from petct_cli.report.headings import named
from petct_cli.report.normalise import bare

_MAX_PART = 64 << 20
_MAX_DEPTH = 400
_MAX_MARGINS = 12
_WORD = frozenset(
    {
        "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "http://purl.oclc.org/ooxml/wordprocessingml/main",
    }
)
_MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
# Signs that Word keeps as places in the font Symbol (ECMA-376 17.3.3.30).
_SIGNS = {"F0A3": "≤", "F0B3": "≥", "F0B1": "±", "F0B4": "x", "F0B0": "°", "F06D": "µ"}
# What no reader of the final document sees: text deleted or moved away, field codes, the old form of a text box.
_UNSEEN = frozenset({"del", "moveFrom", "instrText", "delText", "delInstrText", "Fallback", "rPrChange", "pPrChange"})
_NOTES = ("footnote", "endnote")
_FORM = frozenset({"sdt", "showingPlcHdr", "sdtContent", "ddList", "result", "listEntry"})


@dataclass(frozen=True)
class WordText:
    """The text of a document, and that of its page headers and footers.

    A footnote or endnote stands in brackets where its number is. Comments, deleted text, properties and authors are not
    read.
    """

    text: str
    margins: str


@dataclass
class _Cell:
    """Paragraphs of a table's cell, of a text box or of the document itself."""

    lines: list[str] = field(default_factory=list)
    rows: list[list[list[str]]] = field(default_factory=list)


def read_word(data: bytes) -> WordText:
    """Return the text of a .docx file; a row of a table is a line, and a label in a cell has a colon behind it.

    Raises
    ------
    RecordError
        ``report_format``: no such document, one behind a password, one that declares entities or embeds another
        document, or one that unpacks to more than 64 MiB.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            main = _main_part(archive)
            notes: dict[str, str] = {}
            for kind in _NOTES:
                name = posixpath.join(posixpath.dirname(main), f"{kind}s.xml")
                if name in archive.namelist():
                    notes |= _notes(_part(archive, name))
            text = "\n".join(_paragraphs(_part(archive, main), notes))
            parts = sorted(
                name
                for name in archive.namelist()
                if posixpath.dirname(name) == posixpath.dirname(main)
                and posixpath.basename(name).startswith(("header", "footer"))
                and name.endswith(".xml")
            )
            margins = "\n".join(line for name in parts[:_MAX_MARGINS] for line in _paragraphs(_part(archive, name)))
    except (BadZipFile, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError, OSError, zlib.error):
        raise RecordError("report_format", "no Word document that can be read") from None
    except expat.ExpatError:
        raise RecordError("report_format", "the Word document is damaged") from None
    return WordText(text, margins)


def _main_part(archive: ZipFile) -> str:
    """Return the name of the document's part, as the package says."""
    found: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.endswith(" Relationship") and attributes.get("Type", "").endswith("/officeDocument"):
            found.append(attributes.get("Target", "").lstrip("/"))

    _parse(_part(archive, "_rels/.rels"), start, None, None)
    return posixpath.normpath(found[0]) if found else "word/document.xml"


def _part(archive: ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        data = file.read(_MAX_PART + 1)
    if len(data) > _MAX_PART:
        raise ValueError("too large")
    return data


def _parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None,
    text: Callable[[str], None] | None,
) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise ValueError("a document type declaration")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.Parse(data, True)


def _paragraphs(data: bytes, notes: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of a part of the document, with `notes` by kind and number."""
    reader = _Reader(notes or {})
    _parse(data, reader.start, reader.end, reader.characters)
    return reader.cells[0].lines


def _notes(data: bytes) -> dict[str, str]:
    """Return the text of each footnote or endnote by kind and number."""
    reader = _Reader({})
    _parse(data, reader.start, reader.end, reader.characters)
    return reader.own_notes


class _Reader:
    """Takes the elements of a part as they come; a paragraph ends before the text boxes in it."""

    def __init__(self, notes: Mapping[str, str]) -> None:
        self.cells = [_Cell()]
        self.own_notes: dict[str, str] = {}
        self._notes = notes
        self._note = ""
        self._names: list[str] = []
        self._paragraphs: list[list[str]] = []
        self._unseen = 0
        self._runs: list[dict[str, bool]] = []
        self._in_text = False
        self._placeholders: list[bool] = []
        self._choices: list[str] = []
        self._chosen = 0

    def start(self, full: str, attributes: dict[str, str]) -> None:
        space, _, name = full.rpartition(" ")
        if len(self._names) > _MAX_DEPTH:
            raise ValueError("too deep")
        self._names.append(name)
        if self._unseen or name in _UNSEEN:
            self._unseen += 1
        elif name == "t" and space in (*_WORD, _MATH):
            self._in_text = True
        elif space in _WORD:
            self._start(name, attributes)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        value = next((value for key, value in attributes.items() if key.endswith(" val")), "1")
        if name == "altChunk":
            raise ValueError("a document within the document")
        if name == "p":
            self._paragraphs.append([])
        elif name in ("tc", "txbxContent"):
            self.cells.append(_Cell())
        elif name == "tbl":
            self.cells[-1].rows.append([])
            self.cells.append(_Cell())
        elif name == "tr":
            self.cells[-1].rows.append([])
        elif name == "r":
            self._runs.append({"hidden": False})
        elif name in ("vanish", "webHidden") and self._runs and self._names[-2] == "rPr":
            self._runs[-1]["hidden"] = value not in ("0", "false", "off")
        elif name == "sym":
            self.add(_SIGNS.get(next((v for k, v in attributes.items() if k.endswith(" char")), ""), ""))
        elif name in _FORM:
            self._form(name, value)
        elif name in _NOTES:
            self.cells.append(_Cell())
            self._note = _note(name, attributes)
        elif name.removesuffix("Reference") in _NOTES and not (self._runs and self._runs[-1]["hidden"]):
            text = self._notes.get(_note(name.removesuffix("Reference"), attributes))
            self.add(f" ({text})" if text else "")
        elif name in ("tab", "br", "cr", "noBreakHyphen", "ptab") and self._names[-2] == "r":
            self.add({"tab": "\t", "ptab": "\t", "noBreakHyphen": "-"}.get(name, "\n"))

    def _form(self, name: str, value: str) -> None:
        """Take what a form's fields are made of: content controls, and the lists of old forms."""
        if name == "sdt":
            self._placeholders.append(False)
        elif name == "showingPlcHdr" and self._placeholders:
            # "Click here to enter text" is nobody's finding.
            self._placeholders[-1] = value not in ("0", "false", "off")
        elif name == "sdtContent" and self._placeholders and self._placeholders[-1]:
            self._unseen = 1
        elif name == "ddList":
            self._choices, self._chosen = [], 0
        elif name == "result":
            self._chosen = int(value) if value.isdigit() else 0
        elif name == "listEntry":
            self._choices.append(value)

    def end(self, full: str) -> None:
        name = full.rpartition(" ")[2]
        self._names.pop()
        if self._unseen:
            self._unseen -= 1
            return
        space = full.rpartition(" ")[0]
        if name == "t" and space in (*_WORD, _MATH):
            self._in_text = False
        elif space not in _WORD:
            return
        elif name == "sdt":
            self._placeholders.pop()
        elif name == "ddList":
            self.add(self._choices[self._chosen] if self._chosen < len(self._choices) else "")
        elif name == "r":
            self._runs.pop()
        elif name == "p":
            self.cells[-1].lines += "".join(self._paragraphs.pop()).split("\n")
        elif name in _NOTES:
            lines = self.cells.pop().lines
            self.own_notes[self._note] = " ".join(" ".join(lines).split())
        elif name == "txbxContent":
            lines = self.cells.pop().lines
            self.cells[-1].lines += lines
        elif name == "tc":
            lines = self.cells.pop().lines
            self.cells[-1].rows[-1].append([line.strip() for line in lines if line.strip()])
        elif name == "tbl":
            rows = self.cells.pop().rows
            self.cells[-1].rows.pop()
            self.cells[-1].lines += [line for row in rows for line in _row_lines(row)]

    def characters(self, text: str) -> None:
        if self._in_text and not self._unseen and not (self._runs and self._runs[-1]["hidden"]):
            self.add(text)

    def add(self, text: str) -> None:
        if self._paragraphs:
            self._paragraphs[-1].append(text)


def _note(kind: str, attributes: Mapping[str, str]) -> str:
    return f"{kind} {next((value for key, value in attributes.items() if key.endswith(' id')), '')}"


# What the columns of a table of findings are called: nothing that a report says.
_COLUMN_TITLES = frozenset(
    {"stt", "tt", "vung", "vi tri", "mo ta", "noi dung", "ket qua", "hinh anh", "ton thuong", "region", "findings"}
)


def _row_lines(cells: list[list[str]]) -> Iterator[str]:
    """Yield a row of a table as lines: labels joined with what stands in the next cell, short cells with tabs."""
    cells = [cell for cell in cells if cell]
    if len(cells) > 1 and all(bare(" ".join(cell)) in _COLUMN_TITLES for cell in cells):
        return
    joined: list[list[str]] = []
    waiting = ""
    for place, cell in enumerate(cells):
        if waiting:
            joined.append([f"{waiting} {cell[0]}", *cell[1:]])
            waiting = ""
        elif len(cell) == 1 and place + 1 < len(cells) and _is_label(cell[0]):
            waiting = cell[0] if cell[0].endswith(":") else f"{cell[0]}:"
        else:
            joined.append(cell)
    if all(len(cell) == 1 for cell in joined) and not any(named(cell[0].partition(":")[0]) for cell in joined):
        if joined:
            yield "\t".join(cell[0] for cell in joined)
        return
    for cell in joined:
        yield from cell


def _is_label(text: str) -> bool:
    label = text.removesuffix(":").strip()
    return text.endswith(":") or (":" not in text and bool(named(label) or is_administrative(label)))

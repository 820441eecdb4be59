"""Random DICOM data sets as trees, written in any layout: what hypothesis plays with."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
PATIENT_ID, ACCESSION, UID, DAY, BIRTH = (
    "BN-77123",
    "ACC990217",
    "1.2.826.0.1.3680043.10.511.77",
    "20240305",
    "19310405",
)
# Character sets with a name that each of them can hold, and Python's name of the set.
NAMES = (
    ("ISO_IR 192", "utf-8", "Nguyễn^Bình^Thị Ngọc"),
    ("ISO_IR 100", "latin-1", "Müller^Jürgen^François"),
    ("ISO_IR 144", "iso8859_5", "Люксембург^Роза"),
    ("ISO_IR 126", "iso8859_7", "Παπαδόπουλος^Διονύσιος"),
    ("GB18030", "gb18030", "Wang^XiaoDong=王^小东"),
)
PIXELS = bytes(range(128))
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Node:
    """An element: bytes, numbers in a format of `struct`, or items; `undefined` for its length, by item for theirs."""

    tag: int
    vr: str
    value: bytes | tuple[str, float] | tuple[Item, ...]
    undefined: bool = False


@dataclass(frozen=True)
class Item:
    """One item of a sequence."""

    nodes: tuple[Node, ...]
    undefined: bool = False


@dataclass(frozen=True)
class Tree:
    """A whole data set, with what was planted in it and what must keep its bytes."""

    nodes: tuple[Node, ...]
    untouched: tuple[Node, ...]
    secrets: frozenset[str]


def encoded(node: Node, syntax: str) -> bytes:
    """Return the bytes of an element."""
    explicit, order = syntax != ImplicitVRLittleEndian, ">" if syntax == ExplicitVRBigEndian else "<"
    undefined = False
    if isinstance(node.value, bytes):
        pad = b"\0" if node.vr in ("UI", "OB", "UN") else b" "
        body = node.value + pad * (len(node.value) % 2)
    elif node.vr == "SQ":
        undefined = node.undefined
        body = b"".join(_item(item, syntax, order) for item in node.value if isinstance(item, Item))
        body += struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0) if undefined else b""
    else:
        body = struct.pack(order + str(node.value[0]), node.value[1])
    length = _UNDEFINED if undefined else len(body)
    group, number = node.tag >> 16, node.tag & 0xFFFF
    if not explicit:
        return struct.pack("<HHL", group, number, length) + body
    vr = node.vr.encode()
    if node.vr in _LONG:
        return struct.pack(f"{order}HH2sHL", group, number, vr, 0, length) + body
    return struct.pack(f"{order}HH2sH", group, number, vr, length) + body


def _item(item: Item, syntax: str, order: str) -> bytes:
    body = b"".join(encoded(node, syntax) for node in item.nodes)
    head = struct.pack(f"{order}HHL", 0xFFFE, 0xE000, _UNDEFINED if item.undefined else len(body))
    return head + body + (struct.pack(f"{order}HHL", 0xFFFE, 0xE00D, 0) if item.undefined else b"")


def file_of(tree: Tree, syntax: str) -> bytes:
    """Return a DICOM file of `tree`."""
    meta = b"".join(
        encoded(Node(tag, "UI", value.encode()), ExplicitVRLittleEndian)
        for tag, value in ((0x00020002, CT_CLASS), (0x00020003, f"{UID}.1.1"), (0x00020010, syntax))
    )
    body = b"".join(encoded(node, syntax) for node in tree.nodes)
    if syntax == DeflatedExplicitVRLittleEndian:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
        body += b"\0" * (len(body) % 2)
    length = encoded(Node(0x00020000, "UL", ("L", len(meta))), ExplicitVRLittleEndian)
    return bytes(128) + b"DICM" + length + meta + body


def body_of(data: bytes, syntax: str) -> bytes:
    """Return the data set of a written file, inflated."""
    length = struct.unpack("<L", data[140:144])[0]
    body = data[144 + length :]
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body) if syntax == DeflatedExplicitVRLittleEndian else body


_NUMBERS = (
    (0x00180050, "DS"), (0x00180060, "DS"), (0x00181151, "IS"), (0x00181152, "IS"), (0x00200032, "DS"),
    (0x00201041, "DS"), (0x00281050, "DS"), (0x00281051, "DS"), (0x00180088, "DS"), (0x00181110, "DS"),
)  # fmt: skip
_TEXTS = (
    (0x00081030, "LO"), (0x0008103E, "LO"), (0x00104000, "LT"), (0x00204000, "LT"), (0x00082111, "ST"),
    (0x00321060, "LO"), (0x00400254, "LO"), (0x0040A160, "UT"), (0x00189005, "SH"), (0x00281055, "LO"),
    (0x00080119, "UC"), (0x00084000, "LT"), (0x00101010, "AS"),
)  # fmt: skip
_GONE = (
    (0x00080050, "SH"), (0x00080081, "ST"), (0x00101000, "LO"), (0x00101040, "LO"), (0x00102154, "SH"),
    (0x00080050, "UN"), (0x00380010, "LO"), (0x00080054, "AE"), (0x00081190, "UR"), (0x60000022, "LO"),
    (0x60003000, "OW"), (0x50000022, "LO"), (0xFFFCFFFC, "OB"), (0x04000115, "OB"),
)  # fmt: skip
_DAYS = ((0x00080022, "DA"), (0x0008002A, "DT"), (0x00080012, "LO"))
_CREATORS = (b"SOMEBODY", b"Philips PET Private Group", b"GEMS_PETD_01")
_SEQUENCES = (0x00081032, 0x00081140, 0x00082218, 0x00400275, 0x00540220, 0x00400260, 0x00081115)


@st.composite
def _secret_nodes(draw: st.DrawFn, encoding: str, name: str, where: int) -> list[Node]:
    """Elements that must not keep what they hold; `where` is the depth."""
    plain = name.split("=", maxsplit=1)[0].replace("^", " ")
    said = (
        plain,
        " ".join(reversed(plain.split())),
        plain.upper(),
        PATIENT_ID,
        ACCESSION,
        f"{UID}.1.1",
        "05/03/2024",
        DAY,
    )
    nodes = []
    for tag, vr in draw(st.lists(st.sampled_from(_TEXTS), max_size=4, unique=True)):
        text = draw(st.sampled_from(said))
        front, back = draw(st.sampled_from(("", "WB ", "-", "x ["))), draw(st.sampled_from(("", " WB", "_1", "]")))
        if vr not in ("AS", "SH"):
            nodes.append(Node(tag, vr, f"{front}{text}{back}".encode(encoding)))
    for tag, vr in draw(st.lists(st.sampled_from(_GONE), max_size=4, unique_by=lambda pair: pair[0])):
        nodes.append(Node(tag, vr, draw(st.sampled_from(said)).encode(encoding)))
    for tag in draw(st.lists(st.sampled_from((0x00081070, 0x00081050, 0x00081048)), max_size=2, unique=True)):
        nodes.append(Node(tag, draw(st.sampled_from(("PN", "LO", "UN"))), name.encode(encoding)))
    for tag, vr in draw(
        st.lists(st.sampled_from(((0x00080022, "DA"), (0x0008002A, "DT"), (0x00080012, "LO"))), max_size=2)
    ):
        if all(node.tag != tag for node in nodes):
            nodes.append(Node(tag, vr, (DAY + ("101500.5" if vr == "DT" else "")).encode()))
    if draw(st.booleans()):
        creator = draw(
            st.sampled_from((b"SOMEBODY", b"Philips PET Private Group", b"GEMS_PETD_01", name.encode(encoding)))
        )
        if draw(st.booleans()):
            nodes.append(Node(0x70530010, "LO", creator))
        nodes.append(Node(0x70531003, draw(st.sampled_from(("LO", "UN", "OB", "UT"))), plain.encode(encoding)))
        inner = Item((Node(0x00100020, "LO", PATIENT_ID.encode()),), draw(st.booleans()))
        nodes.append(Node(0x70531004, "SQ", (inner,), draw(st.booleans())))
    if where:
        nodes.append(Node(0x00100020, "LO", PATIENT_ID.encode()))
    return nodes


@st.composite
def _untouched_nodes(draw: st.DrawFn) -> list[Node]:
    """Elements that no rule touches: numbers as they were typed, binary ones, sequences of them."""
    digits = st.sampled_from((b"1.0", b"1.50 ", b"+2", b"-0.0", b" 3", b"1e-5", b"", b"00012", b"1.0\\2.50\\3"))
    chosen = draw(st.lists(st.sampled_from(_NUMBERS), max_size=5, unique=True))
    whole = st.sampled_from((b"1", b"+2", b" 3", b"", b"00012"))
    nodes = [Node(tag, vr, draw(whole if vr == "IS" else digits)) for tag, vr in chosen]
    nodes += [Node(0x00189073, "FD", ("d", draw(st.floats(width=64, allow_nan=False))))] * draw(st.integers(0, 1))
    nodes += [Node(0x00540081, "US", ("H", draw(st.integers(0, 65535))))] * draw(st.integers(0, 1))
    if draw(st.booleans()):
        dose = Item((Node(0x00181074, "DS", draw(digits)), Node(0x00181075, "DS", b"6586.2")), draw(st.booleans()))
        nodes.append(Node(0x00540016, "SQ", (dose,) * draw(st.integers(0, 2)), draw(st.booleans())))
    return nodes


@st.composite
def _level(draw: st.DrawFn, encoding: str, name: str, depth: int) -> tuple[Node, ...]:
    nodes = draw(_secret_nodes(encoding, name, depth)) + draw(_untouched_nodes())
    if depth < 4:
        for tag in draw(st.lists(st.sampled_from(_SEQUENCES), max_size=2, unique=True)):
            count = draw(st.integers(0, 2))
            items = tuple(Item(draw(_level(encoding, name, depth + 1)), draw(st.booleans())) for _ in range(count))
            nodes.append(Node(tag, "SQ", items, draw(st.booleans())))
    return _in_order(nodes)


def _in_order(nodes: list[Node]) -> tuple[Node, ...]:
    return tuple(sorted({node.tag: node for node in nodes}.values(), key=lambda node: node.tag))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A CT image with identifiers in random places."""
    charset, encoding, name = draw(st.sampled_from(NAMES))
    untouched = draw(_untouched_nodes())
    header = [
        Node(0x00080005, "CS", charset.encode()), Node(0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        Node(0x00080016, "UI", CT_CLASS.encode()), Node(0x00080018, "UI", f"{UID}.1.1".encode()),
        Node(0x00080020, "DA", DAY.encode()), Node(0x00080060, "CS", b"CT"), Node(0x00080050, "SH", ACCESSION.encode()),
        Node(0x00100010, "PN", name.encode(encoding)), Node(0x00100020, "LO", PATIENT_ID.encode()),
        Node(0x00100030, "DA", BIRTH.encode()), Node(0x0020000D, "UI", UID.encode()),
        Node(0x0020000E, "UI", f"{UID}.1".encode()), Node(0x00280010, "US", ("H", 8)), Node(0x00280011, "US", ("H", 8)),
        Node(0x00280002, "US", ("H", 1)), Node(0x00280100, "US", ("H", 16)), Node(0x7FE00010, "OW", PIXELS),
    ]  # fmt: skip
    nodes = [*draw(_level(encoding, name, 0)), *untouched, *header]
    kept = {node.tag: node for node in nodes}
    secrets = {
        PATIENT_ID,
        ACCESSION,
        UID,
        DAY,
        "05/03/2024",
        BIRTH,
        *name.split("="),
        name.split("=")[0].replace("^", " "),
    }
    return Tree(_in_order(nodes), tuple(node for node in untouched if kept[node.tag] is node), frozenset(secrets))

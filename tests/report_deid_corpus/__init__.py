"""Generated reports with planted, invented Vietnamese identifiers, to measure de-identification by position and form.

The sentences and names are in the TOML files beside this module; ``dev`` is looked at while rules are made, ``held`` is
not. Slots: N M full names of others, G a single given name, H initials, K the patient's name, R the physician's, J the
patient's ID, X the accession number, U the birth date, Q the patient's phone, Z their address, Y the institution;
I P B C E A S T are codes, phones, insurance cards, citizen IDs, e-mails, addresses, institutions and dates of anybody.
"""

import random
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SLOT = re.compile(r"\{([A-Z])\}")

KINDS = {
    "N": "name",
    "M": "name",
    "G": "given_name",
    "H": "initials",
    "K": "known_name",
    "R": "known_name",
    "J": "known_id",
    "X": "known_id",
    "U": "known_date",
    "Q": "known_phone",
    "Z": "known_address",
    "Y": "known_institution",
    "I": "patient_code",
    "P": "phone",
    "B": "bhyt",
    "C": "cccd",
    "E": "email",
    "A": "address",
    "S": "institution",
    "T": "date",
}

CLEAN = {
    "head_neck": [
        "Không thấy hình ảnh tăng chuyển hóa FDG bất thường vùng cổ.",
        "Hạch cổ nhóm IIA phải 11 x 7 mm, SUVmax 3,4.",
        "Tuyến giáp đồng nhất.",
    ],
    "chest": [
        "Nốt mờ thùy trên phổi phải đường kính 14 mm, SUVmax: 6,2.",
        "Hạch trung thất nhóm 4R, 7 kích thước 12 x 8 mm.",
        "Không tràn dịch màng phổi.",
    ],
    "abdomen_pelvis": [
        "Gan kích thước bình thường, hạ phân thùy VI có nốt 9 mm.",
        "Nang thận trái 18 x 16 mm, không tăng chuyển hóa FDG.",
        "Tuyến tiền liệt 42 x 30 x 35 mm.",
    ],
    "musculoskeletal": [
        "Tổn thương tiêu xương thân đốt sống L3, SUVmax = 8,1.",
        "Không thấy ổ tăng chuyển hóa bất thường ở xương.",
    ],
    "impression": [
        "U phổi phải tăng chuyển hóa FDG, nghĩ nhiều đến ác tính (T2aN1M0).",
        "Hạch trung thất, SUVmax 4,8.",
        "Deauville 4.",
    ],
    "indication": ["Ung thư phổi phải đã hóa trị 6 chu kỳ.", "Theo dõi u lympho không Hodgkin."],
}
"""Sentences without identifiers that stand round the planted ones; invented."""


@dataclass(frozen=True)
class Subject:
    """The identifiers of one invented study, as its DICOM headers would hold them."""

    name: str
    physician: str
    patient_id: str
    accession: str
    birth: date
    phone: str
    address: str
    institution: str


@dataclass(frozen=True)
class Planted:
    """One planted identifier: where it stands (characters of the section), what it is and how it is written."""

    section: str
    start: int
    end: int
    kind: str
    position: str
    form: str
    plain: str


@dataclass(frozen=True)
class GeneratedReport:
    """Sections of a report, what is planted in them, and whose it is."""

    sections: Mapping[str, str]
    planted: tuple[Planted, ...]
    subject: Subject


@dataclass
class _Writer:
    parts: list[str] = field(default_factory=list)
    length: int = 0

    def add(self, text: str) -> tuple[int, int]:
        start = self.length
        self.parts.append(text)
        self.length += len(text)
        return start, self.length


@cache
def _tables(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def unmarked(text: str) -> str:
    """Return the text without diacritics, as old systems print it."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return plain.replace("đ", "d").replace("Đ", "D")


def old_tone(text: str) -> str:
    """Move the tone mark of oa, oe, uy to the other vowel (hòa and hoà): both styles are in use."""
    for tone in "\u0300\u0301\u0303\u0309\u0323":
        for pair in ("oa", "oe", "uy"):
            old = unicodedata.normalize("NFC", pair[0] + tone + pair[1])
            new = unicodedata.normalize("NFC", pair[0] + pair[1] + tone)
            text = re.sub(old + r"(?!\w)", new, text)
    return text


def _mangled(name: str, letter: Mapping[str, str]) -> str:
    return "".join(letter.get(c, c) for c in name)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda name: name,
    "upper": str.upper,
    "lower": str.lower,
    "unmarked": unmarked,
    "unmarked_upper": lambda name: unmarked(name).upper(),
    "nfd": lambda name: unicodedata.normalize("NFD", name),
    "tone": old_tone,
    "line_break": lambda name: name.replace(" ", "\n", 1),
    "two_spaces": lambda name: name.replace(" ", "  "),
    "nbsp": lambda name: name.replace(" ", "\u00a0"),
    "hyphen": lambda name: name.replace(" ", "-"),
    "zero_width": lambda name: name[:2] + "\u200b" + name[2:],
    "homoglyph": lambda name: _mangled(name, {"a": "а", "e": "е", "o": "о", "A": "А", "H": "Н", "T": "Т"}),
    "dotted": lambda name: name.replace(" ", "."),
    "surname_last": lambda name: " ".join([*name.split()[1:], name.split()[0]]),
    "run_together": lambda name: unmarked(name).replace(" ", "").upper(),
    "caret": lambda name: unmarked(name).upper().replace(" ", "^", 1),
}
"""Ways of writing a name. Those of `KNOWN_ONLY` are asked only of the study's own names."""

OTHER_FORMS = (
    ["plain"] * 10
    + ["upper"] * 3
    + ["unmarked_upper"] * 2
    + ["unmarked", "nfd", "nfd", "tone", "tone", "line_break", "two_spaces", "nbsp", "hyphen"]
)
KNOWN_FORMS = [*OTHER_FORMS, "lower", "zero_width", "homoglyph", "dotted", "surname_last", "run_together", "caret"]


class Corpus:
    """A seeded generator of reports for one part: ``dev`` or ``held``."""

    def __init__(self, part: str, seed: int) -> None:
        self.part = part
        self.rng = random.Random(f"{part}/{seed}")
        self.names = _tables("names")
        self.positions = _tables(part)

    def reports(self, each: int) -> Iterator[GeneratedReport]:
        """Yield reports until every sentence of every position has been used `each` times, four of them a report."""
        jobs = [
            (position, line)
            for position, table in self.positions.items()
            for line in table["lines"]
            for _ in range(each)
        ]
        self.rng.shuffle(jobs)
        for at in range(0, len(jobs), 4):
            yield self._report(jobs[at : at + 4])

    def subject(self) -> Subject:
        """Return an invented study's identifiers."""
        rng = self.rng
        return Subject(
            name=self.name(),
            physician=self.name(),
            patient_id=rng.choice(["BN", "", "PET", "24-"]) + f"{rng.randrange(10**6, 10**8)}",
            accession=rng.choice(["A", "ACC", ""]) + f"{rng.randrange(10**6, 10**9)}",
            birth=date(1930, 1, 1) + timedelta(days=rng.randrange(25000)),
            phone=self.mobile(),
            address=self.address(),
            institution=rng.choice(self.names["place"]["hospital"][self.part]),
        )

    def name(self) -> str:
        """Return an invented full name; one in eight is of another people of Viet Nam, one in three has a rare one."""
        rng, names = self.rng, self.names
        draw = rng.random()
        if draw < 1 / 8:
            return str(rng.choice(names["minority"][self.part]))
        family = rng.choice(names["family"][self.part] if draw < 1 / 8 + 1 / 3 else names["family"]["common"])
        middle = rng.choice(names["middle"][rng.choice(["male", "female"])])
        given = rng.choice(names["given"][rng.choice(["common", self.part])])
        return " ".join(filter(None, [family, middle, given]))

    def mobile(self) -> str:
        """Return ten digits of a mobile phone."""
        return (
            self.rng.choice(["090", "091", "097", "098", "035", "038", "070", "077", "084", "059"])
            + f"{self.rng.randrange(10**7):07}"
        )

    def address(self) -> str:
        """Return an address as it is written in towns or in villages."""
        rng, place = self.rng, {key: rng_table[self.part] for key, rng_table in self.names["place"].items()}
        province, district, commune, street = (
            rng.choice(place[key]) for key in ("province", "district", "commune", "street")
        )
        number = rng.randrange(1, 400)
        return rng.choice(
            [
                f"Số {number} {street}, phường {commune}, quận {district}, {province}",
                f"{number}/{rng.randrange(1, 90)} đường {street}, P. {commune}, Q. {district}, {province}",
                f"thôn {rng.randrange(1, 12)}, xã {commune}, huyện {district}, tỉnh {province}",
                f"Xóm {rng.choice(['Đông', 'Bắc', 'Mới'])}, {commune}, {district}, {province}",
                f"xã {commune}, huyện {district}, {province}",
                f"Tổ dân phố {rng.randrange(1, 20)}, phường {commune}, {province}",
                f"ấp {rng.choice(['Thạnh An', 'Tân Lập', '3'])}, xã {commune}, {district}, {province}",
                f"{commune} - {district} - {province}",
                f"ngõ {rng.randrange(1, 200)} {street}, {district}, {province}",
                f"{district}, {province}",
            ]
        )

    def _report(self, jobs: list[tuple[str, str]]) -> GeneratedReport:
        subject = self.subject()
        writers = {section: _Writer() for section in CLEAN}
        planted: list[Planted] = []
        for section, writer in writers.items():
            writer.add(self.rng.choice(CLEAN[section]))
        for position, line in jobs:
            table = self.positions[position]
            writer = writers[table["section"]]
            writer.add(self.rng.choice([" ", " ", "\n"]) if position not in ("signature",) else "\n\n")
            at = 0
            for slot in SLOT.finditer(line):
                writer.add(line[at : slot.start()])
                form, plain, text = self._value(slot[1], subject, bool(table.get("lower")))
                start, end = writer.add(text)
                planted.append(Planted(table["section"], start, end, KINDS[slot[1]], position, form, plain))
                at = slot.end()
            writer.add(line[at:])
            if position != "signature" and not line.endswith("."):
                writer.add(self.rng.choice(["", ".", "\n"]))
            if position != "signature" and self.rng.random() < 0.5:
                writer.add(" " + self.rng.choice(CLEAN[table["section"]]))
        return GeneratedReport(
            {section: "".join(writer.parts) for section, writer in writers.items()}, tuple(planted), subject
        )

    def _value(self, slot: str, subject: Subject, lower: bool) -> tuple[str, str, str]:
        """Return how the value is written, the value, and the value so written."""
        return self._name_of(slot, subject, lower) if slot in "NMKRGH" else self._other(slot, subject)

    def _name_of(self, slot: str, subject: Subject, lower: bool) -> tuple[str, str, str]:
        rng = self.rng
        if slot in "NM":
            return self._formed(self.name(), OTHER_FORMS + ["lower"] * (2 if lower else 0))
        if slot in "KR":
            return self._formed(subject.name if slot == "K" else subject.physician, KNOWN_FORMS)
        if slot == "G":
            given = rng.choice(self.names["given"][rng.choice(["common", self.part])])
            return self._formed(given, ["plain", "plain", "plain", "upper", "nfd"])
        return self._initials(self.name())

    def _other(self, slot: str, subject: Subject) -> tuple[str, str, str]:
        rng = self.rng
        if slot in "JXYZ":
            value = {"J": subject.patient_id, "X": subject.accession, "Y": subject.institution, "Z": subject.address}[
                slot
            ]
            return self._formed(
                value,
                ["plain", "plain", "upper", "lower", "nfd", "zero_width"] + (["unmarked"] if slot in "YZ" else []),
            )
        if slot in "UT":
            return self._day(
                subject.birth if slot == "U" else date(1950, 1, 1) + timedelta(days=rng.randrange(27000)),
                partial=slot == "T",
            )
        if slot in "PQ":
            return self._phone(
                subject.phone if slot == "Q" else rng.choice([self.mobile(), "02" + f"{rng.randrange(10**9):09}"])
            )
        if slot == "S":
            return self._formed(
                rng.choice(self.names["place"]["hospital"][self.part]), ["plain", "plain", "upper", "nfd"]
            )
        if slot == "A":
            return self._formed(self.address(), ["plain", "plain", "plain", "nfd", "unmarked"])
        return self._code(slot)

    def _formed(self, value: str, forms: list[str]) -> tuple[str, str, str]:
        form = self.rng.choice(forms)
        written = FORMS[form](value)
        return (form if written != value else "plain"), value, written

    def _initials(self, name: str) -> tuple[str, str, str]:
        words = name.replace("'", " ").split()
        rng = self.rng
        form = rng.choice(["letters", "middle", "all_dots"])
        initials = [w[0].upper() for w in words]
        written = {
            "letters": ".".join(initials),
            "middle": " ".join([words[0], *(f"{i}." for i in initials[1:-1]), words[-1]]),
            "all_dots": ".".join(initials) + ".",
        }[form]
        return f"initials_{form}", name, written

    def _day(self, day: date, partial: bool) -> tuple[str, str, str]:
        ways = {
            "d/m/Y": f"{day.day:02}/{day.month:02}/{day.year}",
            "d-m-Y": f"{day.day:02}-{day.month:02}-{day.year}",
            "d.m.Y": f"{day.day}.{day.month}.{day.year}",
            "unpadded": f"{day.day}/{day.month}/{day.year}",
            "words": f"{day.day:02} tháng {day.month:02} năm {day.year}",
            "iso": day.isoformat(),
            "digits": day.strftime("%Y%m%d"),
        }
        if partial:
            ways |= {
                "d/m/y": f"{day.day:02}/{day.month:02}/{day.year % 100:02}",
                "m/Y": f"{day.month:02}/{day.year}",
                "tháng": f"tháng {day.month}/{day.year}",
            }
            ways |= {
                "tháng năm": f"tháng {day.month} năm {day.year}",
                "timed": f"{day.day:02}/{day.month:02}/{day.year} 08:35",
                "spaced": f"{day.day} / {day.month} / {day.year}",
            }
        form = self.rng.choice(sorted(ways))
        return form, day.isoformat(), ways[form]

    def _phone(self, digits: str) -> tuple[str, str, str]:
        ways = {
            "digits": digits,
            "4 3 3": f"{digits[:4]} {digits[4:7]} {digits[7:]}",
            "4.3.3": f"{digits[:4]}.{digits[4:7]}.{digits[7:]}",
            "3-3-4": f"{digits[:3]}-{digits[3:6]}-{digits[6:]}",
            "+84": f"+84{digits[1:]}",
            "+84 spaced": f"+84 {digits[1:4]} {digits[4:7]} {digits[7:]}",
            "(+84)": f"(+84) {digits[1:]}",
            "pairs": f"{digits[:2]} {digits[2:4]} {digits[4:6]} {digits[6:8]} {digits[8:]}",
            "0084": f"0084{digits[1:]}",
            "(0xx)": f"({digits[:3]}) {digits[3:6]} {digits[6:]}",
            "dot pairs": f"{digits[:4]}.{digits[4:6]}.{digits[6:8]}.{digits[8:]}",
        }
        form = self.rng.choice(sorted(ways))
        return form, digits, ways[form]

    def _code(self, slot: str) -> tuple[str, str, str]:
        rng = self.rng
        if slot == "I":
            form = rng.choice(["digits", "letters", "slash", "dashed", "short"])
            value = {
                "digits": f"{rng.randrange(10**7, 10**10)}",
                "letters": f"BN{rng.randrange(10**5, 10**7)}",
                "slash": f"{rng.randrange(100, 9999)}/24",
                "dashed": f"24-{rng.randrange(10**4, 10**6)}",
                "short": f"{rng.randrange(1000, 99999)}",
            }[form]
            return form, value, value
        if slot == "B":
            kind, digits = (
                rng.choice(["GD", "HT", "DN", "CH", "TE", "HN"]),
                f"{rng.randrange(1, 5)}{rng.randrange(10, 96)}{rng.randrange(10**10):010}",
            )
            form = rng.choice(["whole", "groups", "lower"])
            value = {
                "whole": kind + digits,
                "groups": f"{kind} {digits[0]} {digits[1:3]} {digits[3:5]} {digits[5:8]} {digits[8:]}",
                "lower": (kind + digits).lower(),
            }[form]
            return form, kind + digits, value
        if slot == "C":
            form = rng.choice(["12 digits", "9 digits", "grouped"])
            digits = f"0{rng.randrange(10**11):011}"
            value = {
                "12 digits": digits,
                "9 digits": digits[1:10],
                "grouped": " ".join(digits[i : i + 3] for i in (0, 3, 6, 9)),
            }[form]
            return form, digits, value
        user = unmarked(self.name()).lower().replace(" ", rng.choice(["", ".", "_"])).replace("'", "")
        value = f"{user}{rng.randrange(100)}@{rng.choice(['gmail.com', 'yahoo.com.vn', 'bvbm.gov.vn'])}"
        return "email", value, value

"""Patients who do not exist, in many scripts and character sets, and every way in which their values may be written."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass

_ENCODINGS = (
    "utf-8", "utf-16-le", "utf-16-be", "latin-1", "gb18030", "iso2022_jp", "shift_jis", "euc_kr", "iso8859_5",
    "iso8859_7", "iso8859_6", "iso8859_8", "tis_620", "cp1258",
)  # fmt: skip
_ESCAPED = re.compile(rb"\x1b\$[@B]([^\x1b]+)")
_SHORTEST_SPELLING = 4


@dataclass(frozen=True)
class Person:
    """One patient, and those who treat him.

    Attributes
    ----------
    name, doctor
        PN values as they stand in the header.
    charset
        SpecificCharacterSet.
    written
        How people write the name in text, in the repertoire of `charset`.
    """

    number: int
    name: str
    doctor: str
    charset: str | tuple[str, ...]
    written: tuple[str, ...]
    issuer: str = ""
    birth: str = "19310405"
    study_day: str = "20240305"

    @property
    def patient_id(self) -> str:
        return f"BN-77{self.number:02d}31"

    @property
    def citizen_id(self) -> str:
        return f"0010850{self.number:02d}234"

    @property
    def accession(self) -> str:
        return f"ACC99{self.number:02d}0217"

    @property
    def study_id(self) -> str:
        return f"SID{self.number:02d}8841"

    @property
    def phones(self) -> tuple[str, str]:
        return f"09{self.number:02d} 345 678", f"028-39{self.number:02d}-4471"

    @property
    def address(self) -> str:
        return f"{self.number + 12} Ly Thuong Kiet, phuong May Trang"

    @property
    def institution(self) -> str:
        return "BV Sao Bien Xanh"

    @property
    def ae_titles(self) -> tuple[str, str, str]:
        return "SAOBIENAE", "SENDSAOBIEN", "RECVSAOBIEN"

    @property
    def uid(self) -> str:
        """Root of the patient's UIDs, with a day in it."""
        return f"1.2.826.0.1.3680043.10.511.20240305.{self.number + 1}"

    @property
    def dates(self) -> tuple[str, ...]:
        return self.study_day, self.birth

    @property
    def texts(self) -> tuple[str, ...]:
        """Free text as a hospital writes it; each holds an identifier."""
        year, month, day = self.study_day[:4], self.study_day[4:6], self.study_day[6:]
        return (
            *self.written,
            f"Bn {self.written[0]} dt {self.phones[0].replace(' ', '.')} dc {self.address}",
            f"{self.accession} {self.patient_id.lower()} ({self.patient_id.replace('-', '')})",
            f"tel {self.phones[1]}, {self.phones[0].replace(' ', '')}",
            f"cccd {self.citizen_id} {' '.join(self.citizen_id[at : at + 3] for at in range(0, 12, 3))}",
            f"uid {self.uid}.1.1",
            f"{day}/{month}/{year} {year}.{month}.{day} {int(day)}-{int(month)}-{year} {day}{month}{year}",
            f"PT_{self.patient_id}_{year}{month}{day}.dcm",
            f"{self.institution} {self.study_id}",
        )

    def secrets(self) -> set[str]:
        """What must not be found anywhere, as text; searched folded and in any encoding."""
        year, month, day = self.study_day[:4], self.study_day[4:6], self.study_day[6:]
        groups = [group.replace("^", " ").strip() for name in (self.name, self.doctor) for group in name.split("=")]
        digits = [re.sub(r"\D", "", phone) for phone in self.phones]
        return {
            *groups, *self.written, self.name, self.doctor, self.patient_id, self.patient_id.replace("-", ""),
            self.citizen_id, self.accession, self.study_id, *self.phones, *digits, self.phones[0].replace(" ", "."),
            self.address, self.institution, *self.ae_titles, self.uid, self.study_day, self.birth,
            f"{day}/{month}/{year}", f"{year}.{month}.{day}", f"{int(day)}-{int(month)}-{year}", f"{day}{month}{year}",
        }  # fmt: skip


def _vietnamese(number: int, family: str, middle: str, given: str, doctor: str, form: str, issuer: str) -> Person:
    def composed(text: str) -> str:
        return unicodedata.normalize(form, text)

    name = composed(f"{family}^{given}^{middle}")
    plain = composed(f"{family} {middle} {given}")
    bare = "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c)).replace("Đ", "D")
    written = (
        plain, plain.upper(), bare.upper(), bare.lower(), bare.replace(" ", ""), f"{bare.replace(' ', '_')}_F",
        " ".join(reversed(bare.split())), unicodedata.normalize("NFD", plain), unicodedata.normalize("NFC", plain),
    )  # fmt: skip
    return Person(number, name, composed(doctor), "ISO_IR 192", written, issuer)


_JAPANESE, _KOREAN = ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 149")
PEOPLE: tuple[Person, ...] = (
    _vietnamese(0, "Nguyễn", "Thị Ngọc", "Bình", "Trịnh^Quảng^Đức", "NFC", "Sao Bien"),
    _vietnamese(1, "Trần", "Đăng", "Khoa", "Lý^Hồ^Thị", "NFD", ""),
    Person(2, "Müller^Jürgen^François", "Lefèvre^Zoë", "ISO_IR 100", ("Müller Jürgen", "JURGEN MULLER")),
    Person(3, "Wang^XiaoDong=王^小东", "Li^Ming=李^明华", "GB18030", ("Wang XiaoDong", "王小东", "王 小东")),
    Person(4, "Yamada^Tarou=山田^太郎=やまだ^たろう", "Suzuki^Ichiro", _JAPANESE, ("山田太郎", "やまだ たろう")),
    Person(5, "Hong^Gildong=洪^吉洞=홍^길동", "Kim^Heejung", _KOREAN, ("홍길동", "Hong Gildong", "洪吉洞")),
    Person(6, "Люксембург^Роза", "Иванов^Пётр", "ISO_IR 144", ("Роза Люксембург", "ЛЮКСЕМБУРГ РОЗА")),
    Person(7, "Παπαδόπουλος^Διονύσιος", "Καραγιάννης^Νίκος", "ISO_IR 126", ("Διονύσιος Παπαδόπουλος",)),
    Person(8, "ﾔﾏﾓﾄ^ｼﾞﾛｳ=山本^次郎", "ﾀﾅｶ^ﾊﾅｺ", ("ISO 2022 IR 13", "ISO 2022 IR 87"), ("山本次郎", "ﾔﾏﾓﾄ ｼﾞﾛｳ")),
    Person(9, "王小明^", "李大伟", "ISO_IR 192", ("王小明", "患者王小明")),
    Person(10, "قباني^لنزار", "حداد^سمير", "ISO_IR 127", ("لنزار قباني",)),
    Person(11, "Chen^Xiaoling=陈^晓玲", "Zhao^Lei", "GBK", ("陈晓玲", "CHEN XIAOLING")),
)  # fmt: skip


def folded(text: str) -> str:
    """Return text without case, marks and differences of composition."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return plain.replace("đ", "d")


def encoded(secret: str) -> set[bytes]:
    """Return the bytes that `secret` can be in a file, without the escapes around it."""
    found = set()
    for text in {secret, secret.upper(), unicodedata.normalize("NFC", secret), unicodedata.normalize("NFD", secret)}:
        for encoding in _ENCODINGS:
            try:
                data = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            if b"\x1b" in data:
                found |= {part for part in _ESCAPED.findall(data) if len(part) >= _SHORTEST_SPELLING}
            else:
                found.add(data)
    return found


def left_in(outputs: dict[str, bytes], secrets: set[str]) -> list[str]:
    """Return ``place: secret`` for each secret in `outputs`: its bytes in any encoding, or folded text."""
    needles = [(secret, tuple(encoded(secret)), folded(secret)) for secret in sorted(secrets)]
    found = []
    for place, data in outputs.items():
        decodings = ((data, "utf-8"), (data, "utf-16-le"), (data[1:], "utf-16-le"), (data, "utf-16-be"))
        texts = [folded(part.decode(encoding, "ignore")) for part, encoding in decodings]
        found += [
            f"{place}: {secret}"
            for secret, raw, plain in needles
            if any(spelling in data for spelling in raw) or any(plain in text for text in texts)
        ]
    return found


def all_secrets() -> set[str]:
    """Everything planted, of whomever."""
    return set(itertools.chain.from_iterable(person.secrets() for person in PEOPLE))

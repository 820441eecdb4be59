"""Invented patients for synthetic studies: names, numbers and dates that de-identification has to find."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

FIRST_DAY = date(2017, 1, 2)
LAST_DAY = date(2023, 12, 29)


@dataclass(frozen=True)
class Identity:
    """Who a synthetic study pretends to be, and where and when it was made. Names are in reading order."""

    patient_name: str
    patient_id: str
    citizen_id: str
    insurance_id: str
    birth_date: date
    sex: Literal["M", "F"]
    age_years: int
    address: str
    phone: str
    referring_physician: str
    reading_physician: str
    technologist: str
    accession_number: str
    hospital: str
    hospital_address: str
    department: str
    station: str
    study_time: datetime

    @property
    def administrative(self) -> dict[str, str]:
        """The identifying head of a report, as a hospital prints it."""
        return {
            "Họ tên": self.patient_name.upper(),
            "Mã BN": self.patient_id,
            "Năm sinh": str(self.birth_date.year),
            "Giới tính": "Nam" if self.sex == "M" else "Nữ",
            "Địa chỉ": self.address,
            "Điện thoại": self.phone,
            "Số CCCD": self.citizen_id,
            "Số thẻ BHYT": self.insurance_id,
            "Bác sĩ chỉ định": f"BS. {self.referring_physician}",
            "Bác sĩ đọc kết quả": f"BS. {self.reading_physician}",
            "Số phiếu": self.accession_number,
            "Ngày chụp": self.study_time.strftime("%d/%m/%Y"),
            "Nơi chụp": f"{self.department}, {self.hospital}",
        }

    @property
    def indication(self) -> str:
        """A line of clinical history that names the patient, as such lines do."""
        who = "nam" if self.sex == "M" else "nữ"
        title = "Ông" if self.sex == "M" else "Bà"
        return (
            f"{title} {self.patient_name}, {who}, {self.age_years} tuổi, mã BN {self.patient_id}, "
            f"BS. {self.referring_physician} chỉ định chụp PET/CT ngày {self.study_time.strftime('%d/%m/%Y')}."
        )


def draw_identity(rng: np.random.Generator, sex: Literal["M", "F"], age_years: int) -> Identity:
    """Invent a patient of this sex and age, examined on a working morning of 2017-2023."""
    table = _table()
    hospital = _pick(rng, table["hospital"])
    day = FIRST_DAY + timedelta(days=int(rng.integers((LAST_DAY - FIRST_DAY).days + 1)))
    start = datetime.combine(day, time(7, 0)) + timedelta(seconds=int(rng.integers(9 * 3600)))
    # Born on some day of the year that makes the stated age right on the day of the study.
    birth = date(day.year - age_years, 1, 1) + timedelta(days=int(rng.integers(max(1, day.timetuple().tm_yday))))
    street, ward = (_pick(rng, table["address"][part]) for part in ("street", "ward"))
    return Identity(
        patient_name=_person(rng, sex),
        patient_id=f"{hospital['code']}{day:%y}{_digits(rng, 6)}",
        citizen_id=f"0{_digits(rng, 11)}",
        insurance_id=f"GD4{_digits(rng, 12)}",
        birth_date=birth,
        sex=sex,
        age_years=age_years,
        address=f"số {int(rng.integers(1, 250))} {street}, {ward}",
        phone=f"09000{_digits(rng, 5)}",
        referring_physician=_person(rng, _pick(rng, ("M", "F"))),
        reading_physician=_person(rng, _pick(rng, ("M", "F"))),
        technologist=_person(rng, _pick(rng, ("M", "F"))),
        accession_number=f"PET{day:%y%m%d}{_digits(rng, 4)}",
        hospital=hospital["name"],
        hospital_address=hospital["address"],
        department=hospital["department"],
        station=f"PETCT{hospital['code']}1",
        study_time=start,
    )


@cache
def _table() -> dict[str, Any]:
    with (Path(__file__).parent / "data" / "identities_vi.toml").open("rb") as file:
        return tomllib.load(file)


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(str(digit) for digit in rng.integers(0, 10, count))


def _person(rng: np.random.Generator, sex: str) -> str:
    table = _table()
    return " ".join((_pick(rng, table["family"]), _pick(rng, table["middle"][sex]), _pick(rng, table["given"][sex])))

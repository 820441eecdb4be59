"""Compose a Vietnamese PET/CT report from known lesions: the text of a phantom.

>>> import numpy as np
>>> compose_report([], np.random.default_rng(0))["impression"]
'Không phát hiện tổn thương ác tính trên xạ hình PET/CT toàn thân.'
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.records import Lesion
from petct_cli.report.sites import load_sites

if TYPE_CHECKING:
    import numpy as np

FINDING_SECTIONS = ("head_neck", "chest", "abdomen_pelvis", "musculoskeletal")

# Keys of a report file, as in the public ViMed-PET release.
SECTION_TITLES = {
    "head_neck": "Đầu - cổ",
    "chest": "Lồng ngực",
    "abdomen_pelvis": "Ổ bụng - khung chậu",
    "musculoskeletal": "Hệ cơ - xương",
}
FINDINGS_TITLE = "Mô tả hình ảnh"
IMPRESSION_TITLE = "Nhận định kết quả"
ADMINISTRATIVE_TITLE = "Hành chính"
INDICATION_TITLE = "Chỉ định"


@cache
def phrases() -> dict[str, Any]:
    """Return the table of sentences (``data/phrases_vi.toml``)."""
    with (Path(__file__).parent / "data" / "phrases_vi.toml").open("rb") as file:
        return tomllib.load(file)


def compose_report(lesions: Sequence[Lesion], rng: np.random.Generator) -> dict[str, str]:
    """Write a report that says exactly what `lesions` are, and nothing else that is not always true of a phantom.

    Parameters
    ----------
    lesions
        Facts; each needs ``size_mm`` (whole millimetres are written) and ``suv_max`` (one decimal is written), and
        ``side`` where its site has sides.
    rng
        Source of the wording.

    Returns
    -------
    dict
        Text by section: ``head_neck``, ``chest``, ``abdomen_pelvis``, ``musculoskeletal``, ``impression``.

    Raises
    ------
    ValueError
        If a lesion lacks its size or SUVmax.
    KeyError
        If its site is not in the table.
    """
    table = phrases()
    sections = _section_of_site()
    writer = _Writer(rng)
    told = [(sections[lesion.site], lesion, writer.name(lesion)) for lesion in lesions]
    report: dict[str, str] = {}
    for section in FINDING_SECTIONS:
        here = [(lesion, name) for of, lesion, name in told if of == section]
        sentences = []
        if rng.uniform() < 0.8:
            sentences.append(writer.pick(table["physiological"][section]))
        sentences += [writer.finding(lesion, name) for lesion, name in here]
        if not here:
            sentences.append(writer.pick(table["negative"][section]))
        elif rng.uniform() < 0.4:
            sentences.append(writer.pick(table["rest"][section]))
        if rng.uniform() < 0.6:
            sentences.append(writer.pick(table["stock"][section]))
        report[section] = " ".join(sentences)
    impression = [writer.impression(lesion, name) for _, lesion, name in told]
    impression.append(writer.pick(table["impression"]["closing" if told else "normal"]))
    report["impression"] = " ".join(impression)
    return report


def report_document(
    sections: Mapping[str, str], administrative: Mapping[str, str] | None = None, indication: str | None = None
) -> dict[str, Any]:
    """Return the JSON layout of a report file: findings by region and impression, after the identifying parts if given.

    `administrative` are the fields of the head (name, number, address), `indication` a sentence about the patient.
    """
    document: dict[str, Any] = {}
    if administrative:
        document[ADMINISTRATIVE_TITLE] = dict(administrative)
    if indication:
        document[INDICATION_TITLE] = indication
    document[IMPRESSION_TITLE] = sections["impression"]
    document[FINDINGS_TITLE] = {title: sections[section] for section, title in SECTION_TITLES.items()}
    return document


@cache
def _section_of_site() -> dict[str, str]:
    return {key: site.section for key, site in load_sites().items()}


class _Writer:
    """One reader's habits: how this report writes measures."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._table = phrases()
        self._size = self.pick(self._table["measures"]["size"])
        self._suv = self.pick(self._table["measures"]["suv"])

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def name(self, lesion: Lesion) -> str:
        """Return the site's name with its side, the same in findings and impression."""
        name = self.pick(self._table["names"][lesion.site])
        return f"{name} {self.pick(self._table['sides'][lesion.side])}" if lesion.side else name

    def finding(self, lesion: Lesion, name: str) -> str:
        if lesion.size_mm is None or lesion.suv_max is None:
            raise ValueError(f"a lesion of {lesion.site} has no size or no SUVmax to write")
        point = f"{lesion.suv_max:.1f}"
        size = self._size.format(mm=round(lesion.size_mm))
        suv = self._suv.format(point=point, comma=point.replace(".", ","))
        template = self.pick(self._table["finding"][self._table["kinds"][lesion.site]])
        return _sentence(template.format(site=name, size=size, suv=suv, mass=self._mass(lesion)))

    def impression(self, lesion: Lesion, name: str) -> str:
        wording = self._table["impression"]
        called = self.pick(wording["name"][self._table["kinds"][lesion.site]])
        called = called.format(site=name, mass=self._mass(lesion))
        return _sentence(self.pick(wording["lesion"]).format(name=called))

    def _mass(self, lesion: Lesion) -> str:
        measures = self._table["measures"]
        large = lesion.size_mm is not None and lesion.size_mm >= measures["mass_from_mm"]
        return str(measures["mass" if large else "nodule"])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

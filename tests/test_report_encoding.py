"""The encodings of report files."""

from __future__ import annotations

import unicodedata

import pytest

from petct_cli.core.errors import RecordError
from petct_cli.report.encoding import decode_report, is_legacy

TEXT = "Bệnh nhân Nguyễn Văn An: hạch rốn phổi phải đường kính 12 mm, không tăng chuyển hóa FDG."


def code_page_1258(text: str) -> bytes:
    """Write a letter and its tone as two bytes where the code page has no single one."""
    out = b""
    for letter in unicodedata.normalize("NFC", text):
        parts = unicodedata.normalize("NFD", letter)
        tones = "".join(part for part in parts if part in "\u0300\u0301\u0303\u0309\u0323")
        base = unicodedata.normalize("NFC", "".join(part for part in parts if part not in tones))
        out += base.encode("cp1258") + tones.encode("cp1258")
    return out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode(encoding: str) -> None:
    assert decode_report(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    "garbled",
    [
        TEXT.encode().decode("cp1252", "replace"),
        TEXT.encode().decode("latin-1"),
        TEXT.encode("ascii", "replace").decode(),
        TEXT.encode("ascii", "replace").replace(b"?", "\ufffd".encode()).decode(),
    ],
)
def test_what_a_wrong_conversion_left_is_refused(garbled: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode_report(garbled.encode())
    assert caught.value.code == "report_encoding"
    assert decode_report("Nốt phổi? Hạch? Gan to? Không rõ? Á à? “Â” »".encode())


def test_marks_are_no_letters() -> None:
    assert decode_report(b"\xef\xbb\xbf" * 2 + TEXT.encode()) == TEXT


def test_code_page_1258() -> None:
    assert unicodedata.normalize("NFC", decode_report(code_page_1258(TEXT))) == TEXT


@pytest.mark.parametrize("data", [b"\x00\x01\x02\xff\xfa\xfb", "Größe für Läsion über Wölbung".encode("latin-1")])
def test_what_is_no_vietnamese_text_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        decode_report(data)
    assert caught.value.code == "report_encoding"


def test_eponyms_and_units_are_no_legacy_letters() -> None:
    assert not is_legacy("Hố Rosenmüller, tế bào Hürthle, Sjögren; 12 µm, ±2, m², 30°C; hoá, khoáng, quá, toàn, ngoài")

"""In which language a text is: Vietnamese, with or without its marks, or English."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from petct_cli.report.encoding import syllable_share

VIETNAMESE, ENGLISH = "vi", "en"
_WORD = re.compile(r"[^\W\d_]+")
# Names of patients and places keep their marks in English text.
_MIN_MARKED = 0.25
_MIN_ENGLISH = 0.1
_MIN_SYLLABLES, _MIN_WORDS = 0.75, 3
# Words that are no syllable sequence of Vietnamese written without marks.
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "and",
        "with",
        "is",
        "are",
        "was",
        "were",
        "there",
        "this",
        "these",
        "from",
        "without",
        "within",
        "which",
        "right",
        "left",
        "normal",
        "abnormal",
        "uptake",
        "lesion",
        "lesions",
        "mass",
        "nodule",
        "nodules",
        "node",
        "nodes",
        "lymph",
        "lung",
        "lungs",
        "liver",
        "bone",
        "evidence",
        "increased",
        "significant",
        "metastatic",
        "metastasis",
        "metastases",
        "disease",
        "seen",
        "noted",
        "shows",
        "demonstrates",
        "negative",
        "positive",
        "for",
        "suspicious",
        "malignant",
        "malignancy",
        "findings",
        "impression",
    ]
)


def language_of(text: str) -> str:
    """Return ``vi`` or ``en``, nothing when the words do not tell.

    >>> language_of("Nốt phổi phải"), language_of("Nodule of the right lung"), language_of("Not phoi phai, gan to")
    ('vi', 'en', 'vi')
    """
    words = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    if not words:
        return ""
    if sum(map(_is_marked, words)) >= _MIN_MARKED * len(words):
        return VIETNAMESE
    if sum(word in _ENGLISH for word in words) >= _MIN_ENGLISH * len(words):
        return ENGLISH
    if len(words) >= _MIN_WORDS and syllable_share(text) >= _MIN_SYLLABLES:
        return VIETNAMESE
    return ""


@lru_cache(maxsize=1 << 14)
def _is_marked(word: str) -> bool:
    return "đ" in word or not unicodedata.normalize("NFD", word).isascii()

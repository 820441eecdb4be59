"""In which language the lesions of a sample are read: one for both sides, or what differed would be the vocabulary."""

from __future__ import annotations

from functools import lru_cache

from petct_cli.metrics.families import Item
from petct_cli.report.language import ENGLISH, VIETNAMESE, language_of


def lesion_language(item: Item, hypothesis: str) -> str:
    """Return ``vi`` or ``en``: that of the reference, of `hypothesis` where there is none; ``vi`` if words do not tell.

    >>> item = Item("i", "p", "chest", None, "Nodule of the right lung.", "")
    >>> lesion_language(item, "Nốt phổi phải."), lesion_language(item, "")
    ('en', 'en')
    """
    return read_language(str(hypothesis) if item.reference is None else item.reference)


@lru_cache(maxsize=65536)
def read_language(text: str) -> str:
    """Return ``en`` for English, else ``vi``."""
    return ENGLISH if language_of(text) == ENGLISH else VIETNAMESE

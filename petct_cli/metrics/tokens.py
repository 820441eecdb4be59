"""What a token of a report is: a syllable or number, or a word that pyvi finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from petct_cli.report.normalise import DEFAULT, Canonical

KINDS = ("syllable", "pyvi")
_KEPT_TEXTS = 10_000


@dataclass(frozen=True)
class Tokens:
    """Splits the canonical form of texts.

    Parameters
    ----------
    canonical
        Which differences in spelling count as none.
    kind
        One of `KINDS`.
    """

    canonical: Canonical = DEFAULT
    kind: str = "syllable"

    def __call__(self, text: str) -> list[str]:
        """Return the tokens of `text`; punctuation is dropped."""
        if self.kind == "syllable":
            return self.canonical.tokens(text)
        return [token for token in self._segment(self.canonical(text)).split() if any(map(str.isalnum, token))]

    def parts(self, text: str) -> list[str]:
        """Return parts of `text` whose tokens are those of `text` one after the other: pyvi needs all of it at once."""
        return text.split() if self.kind == "syllable" else [text]

    def signature(self) -> str:
        """Return every choice, and pyvi's version, since another one finds other words."""
        if self.kind == "syllable":
            return self.canonical.signature()
        from importlib.metadata import version

        return self.canonical.signature(f"pyvi-{version('pyvi')}")

    @cached_property
    def _segment(self) -> Callable[[str], str]:
        from pyvi.ViTokenizer import tokenize

        # Slow, and several metrics and controls ask for the same texts.
        segment: Callable[[str], str] = lru_cache(_KEPT_TEXTS)(tokenize)
        return segment


SYLLABLES = Tokens()

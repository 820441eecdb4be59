"""Letters of other scripts that look like Latin ones: a name written with them reads the same and must be found."""

from __future__ import annotations

_CYRILLIC = dict(zip("АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁ", "ABESIJKMHOPCTYXaesijopcyxhd", strict=True))
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοι", "ABEZHIKMNOPTYXoi", strict=True))

LATIN_OF = {**_CYRILLIC, **_GREEK}
"""The Latin letter that a Cyrillic or Greek one looks like."""


def _by_capitals() -> dict[str, str]:
    small = {letter: latin.lower() for letter, latin in LATIN_OF.items() if letter.islower()}
    capital = {letter: latin.lower() for letter, latin in LATIN_OF.items() if letter.isupper()}
    return {**small, **capital, **{letter.lower(): latin for letter, latin in capital.items()}}


FOLDED_LATIN_OF = _by_capitals()
"""The same for text without case: a letter and its capital become one and the same (н and Н: h), as they must."""

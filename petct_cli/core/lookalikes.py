"""Letters of other scripts that look like Latin ones: a name written with them reads the same and must be found."""

from __future__ import annotations

_CYRILLIC = dict(zip("АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁ", "ABESIJKMHOPCTYXaesijopcyxhd", strict=True))
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιν", "ABEZHIKMNOPTYXoiv", strict=True))

LATIN_OF = {**_CYRILLIC, **_GREEK}
"""The Latin letter that a Cyrillic or Greek one looks like."""

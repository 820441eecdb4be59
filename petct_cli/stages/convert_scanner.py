"""Which scanner a study is from: manufacturer and model, as its PET says, or else its CT."""

from __future__ import annotations

from collections.abc import Iterable


def scanner_of(told: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Return the record's ``scanner`` by the first that names any, no field for none.

    Neither PS3.15 nor a hospital's own rules count a maker or a model as identifying. The institution is never read.

    Parameters
    ----------
    told
        Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090) of the series, the weightiest first.

    >>> scanner_of([(None, None), ("ACME ", "Acme Whole  Body 64")])
    {'scanner': 'Acme Whole Body 64'}
    >>> scanner_of([("ACME", "")])
    {'scanner': 'ACME'}
    """
    for values in told:
        maker, model = (" ".join(value.split()) if isinstance(value, str) else "" for value in values)
        name = model if model.casefold().startswith(maker.casefold()) and model else f"{maker} {model}".strip()
        if name:
            return {"scanner": name}
    return {}

"""The SUV types that petct writes: what each is called, and the way to it from SUVbw.

The types are those of PS3.3 C.8.9.1.1.6 (SUV Type), named by PS3.16 CID 85; the measures lie in `body_size`.
"""

from __future__ import annotations

from dataclasses import dataclass

from petct_cli.core.errors import UsageError
from petct_cli.volume.body_size import body_weight_factor


@dataclass(frozen=True)
class SuvType:
    """One SUV type.

    Attributes
    ----------
    name
        What the user calls it, and the record's ``suv.type``.
    unit
        The record's ``pet.unit``; g/ml, but for SUVbsa cm2/ml.
    stored
        The SUV Type (0054,1006) that it is.
    """

    name: str
    unit: str
    stored: str

    def per_body_weight(self, weight_kg: float, height_m: float | None, sex: str | None) -> float:
        """Return the factor that turns SUVbw into this type (errors as `body_weight_factor`)."""
        return 1.0 if self.stored == "BW" else 1.0 / body_weight_factor(self.stored, weight_kg, height_m, sex)


SUV_TYPES = {
    one.name: one
    for one in (
        SuvType("bw", "SUVbw", "BW"),
        SuvType("lbm", "SUVlbm", "LBMJANMA"),
        SuvType("lbm-james", "SUVlbm", "LBMJAMES128"),
        SuvType("bsa", "SUVbsa", "BSA"),
        SuvType("ibw", "SUVibw", "IBW"),
    )
}


def suv_type(name: str) -> SuvType:
    """Return the type called `name`.

    Raises
    ------
    UsageError
        ``bad_suv_type``.
    """
    if name not in SUV_TYPES:
        raise UsageError("bad_suv_type", f"--suv takes {', '.join(SUV_TYPES)}")
    return SUV_TYPES[name]

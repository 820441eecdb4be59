"""Body measures that SUV is normalised by, and the way from each to body weight.

Formulas as PS3.16 CID 85 defines the SUV types; height in cm inside the formulas, as published. Sex ``O`` gets the mean
of both formulas (IBSI SUV manual).
"""

from __future__ import annotations

from collections.abc import Callable

from petct_cli.core.errors import RecordError

HEIGHT_M = (0.3, 2.7)
"""Heights outside of these are none."""


def _lbm_james(male_coefficient: float) -> Callable[[float, float], tuple[float, float]]:
    def formula(weight_kg: float, height_cm: float) -> tuple[float, float]:
        ratio = (weight_kg / height_cm) ** 2
        return 1.10 * weight_kg - male_coefficient * ratio, 1.07 * weight_kg - 148.0 * ratio

    return formula


def _lbm_janmahasatian(weight_kg: float, height_cm: float) -> tuple[float, float]:
    bmi = weight_kg / (height_cm / 100.0) ** 2
    return 9270.0 * weight_kg / (6680.0 + 216.0 * bmi), 9270.0 * weight_kg / (8780.0 + 244.0 * bmi)


def _ideal_body_weight(_weight_kg: float, height_cm: float) -> tuple[float, float]:
    return 48.0 + 1.06 * (height_cm - 152.0), 45.5 + 0.91 * (height_cm - 152.0)


_MASSES_KG: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "LBM": _lbm_james(120.0),
    "LBMJAMES128": _lbm_james(128.0),
    "LBMJANMA": _lbm_janmahasatian,
    "IBW": _ideal_body_weight,
}
"""SUV Type (0054,1006) -> (male, female) mass in kg from weight in kg and height in cm."""


def body_surface_cm2(weight_kg: float, height_m: float) -> float:
    """Return the body surface area (DuBois 1916) in cm2."""
    return float(0.007184 * weight_kg**0.425 * (height_m * 100.0) ** 0.725 * 1e4)


def body_weight_factor(suv_type: str, weight_kg: float, height_m: float | None, sex: str | None) -> float:
    """Return the factor that turns an SUV of another type into SUVbw.

    Parameters
    ----------
    suv_type
        ``LBM`` (James, 120), ``LBMJAMES128``, ``LBMJANMA``, ``IBW`` in g/ml, or ``BSA`` in cm2/ml.
    sex
        ``M``, ``F`` or ``O``; not used for BSA.

    Raises
    ------
    RecordError
        ``suv_missing_height``, ``suv_absurd_height``, ``suv_missing_sex``, ``suv_type_unsupported``.

    Examples
    --------
    >>> round(body_weight_factor("BSA", 70.0, 1.75, None), 3)
    3.788
    """
    if height_m is None or height_m <= 0:
        raise RecordError("suv_missing_height", "Patient's Size (0010,1020) is missing or 0")
    if not HEIGHT_M[0] <= height_m <= HEIGHT_M[1]:
        raise RecordError("suv_absurd_height", "Patient's Size (0010,1020) is no height in m")
    if suv_type == "BSA":
        return weight_kg * 1000.0 / body_surface_cm2(weight_kg, height_m)
    if suv_type not in _MASSES_KG:
        raise RecordError("suv_type_unsupported", "SUV Type (0054,1006) is not one that petct knows")
    male, female = _MASSES_KG[suv_type](weight_kg, height_m * 100.0)
    masses = {"M": male, "F": female, "O": (male + female) / 2.0}
    if sex not in masses:
        raise RecordError("suv_missing_sex", "Patient's Sex (0010,0040) is none of M, F, O")
    mass = masses[sex]
    if mass <= 0:
        raise RecordError("suv_absurd_height", "weight and height give no positive body mass")
    return weight_kg / mass

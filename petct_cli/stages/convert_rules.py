"""The rules behind the options of ``convert``, free of heavy imports."""

from __future__ import annotations

from petct_cli.core.errors import UsageError

PET_DTYPES = ("float32", "float16")
BODY_MARGIN_MM = 20.0
_WIDEST_MARGIN_MM = 500.0


def parse_grid(text: str) -> tuple[str, float | None]:
    """Read ``--grid`` as (pet, ct, native or iso; mm or None).

    Raises
    ------
    UsageError
        ``bad_grid``.

    Examples
    --------
    >>> parse_grid("iso:4")
    ('iso', 4.0)
    """
    kind, _, size = text.partition(":")
    if kind in ("pet", "ct", "native") and not size:
        return kind, None
    try:
        millimetres = float(size)
    except ValueError:
        millimetres = 0.0
    if kind != "iso" or not 0.2 <= millimetres <= 50.0:
        raise UsageError("bad_grid", "--grid takes pet, ct, native or iso:MM with MM from 0.2 to 50")
    return kind, millimetres


def parse_crop(text: str) -> float | None:
    """Read ``--crop`` as the margin around the body in mm, or None for no crop.

    Raises
    ------
    UsageError
        ``bad_crop``.

    Examples
    --------
    >>> parse_crop("none"), parse_crop("body"), parse_crop("body:5")
    (None, 20.0, 5.0)
    """
    if text == "none":
        return None
    kind, colon, size = text.partition(":")
    try:
        margin = float(size) if colon else BODY_MARGIN_MM
    except ValueError:
        margin = -1.0
    if kind != "body" or not 0.0 <= margin <= _WIDEST_MARGIN_MM:
        raise UsageError("bad_crop", "--crop takes none, body or body:MM with MM from 0 to 500, the margin")
    return margin


def check_pet_dtype(pet_dtype: str, form: str) -> None:
    """Refuse a number type that the PET cannot have, or not in this format.

    Raises
    ------
    UsageError
        ``bad_pet_dtype``.
    """
    if pet_dtype not in PET_DTYPES:
        raise UsageError("bad_pet_dtype", "--pet-dtype takes float32 or float16")
    if form == "nifti" and pet_dtype == "float16":
        raise UsageError("bad_pet_dtype", "NIfTI has no float16", "use --format b2nd or --pet-dtype float32")

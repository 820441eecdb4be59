"""What a person needs to check the clinical scores of one sample: its lesions, which is which, and what is wrong."""

from __future__ import annotations

from typing import Any

from petct_cli.metrics.clinical_align import align, difference
from petct_cli.metrics.clinical_lesions import ClinicalLesion, Lesions
from petct_cli.metrics.clinical_match import Floats
from petct_cli.metrics.clinical_options import FAILED_SAID, FAILED_TRUE, ClinicalOptions, Sides


def compared(sides: Sides | None, shared: Floats, options: ClinicalOptions) -> dict[str, Any]:
    """Return the lesions of both sides as JSON.

    Parameters
    ----------
    sides
        None where they are not known.
    shared
        The shared columns of the sample's row.

    Returns
    -------
    dict
        ``reference`` and ``hypothesis``: lesions with their ``spans`` in the text (none for lists) and a ``status``:
        matched, omitted or unplaced; matched or hallucinated. ``pairs``: indices into the two, with what is ``wrong``
        and ``unsaid``. Where an extraction failed, ``extraction_failed`` says on which side.
    """
    if sides is None:
        failed = [
            name for name, column in (("reference", FAILED_TRUE), ("hypothesis", FAILED_SAID)) if shared[column] > 0
        ]
        return {"extraction_failed": failed}
    pairs = align(sides.true, sides.said, options.tolerance)
    found = {pair: difference(sides.true[pair[0]], sides.said[pair[1]], options.tolerance) for pair in pairs}
    true, said = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    missing = ["omitted" if one.places else "unplaced" for one in sides.true]
    return {
        "reference": _told(sides.true, ["matched" if i in true else word for i, word in enumerate(missing)]),
        "hypothesis": _told(sides.said, ["matched" if j in said else "hallucinated" for j in range(len(sides.said))]),
        "pairs": [
            {"reference": i, "hypothesis": j, "wrong": list(one.wrong), "unsaid": list(one.unsaid)}
            for (i, j), one in found.items()
        ],
    }


def _told(lesions: Lesions, status: list[str]) -> list[dict[str, Any]]:
    return [{**_as_json(lesion), "status": word} for lesion, word in zip(lesions, status, strict=True)]


def _as_json(lesion: ClinicalLesion) -> dict[str, Any]:
    return {
        "kind": lesion.kind,
        "places": [{"organ": organ, "side": side} for organ, side in lesion.places],
        "fdg": lesion.fdg,
        "size_mm": lesion.size_mm,
        "suv_max": lesion.suv_max,
        "spans": [list(span) for span in lesion.spans],
    }

"""The extractor on real reports: against a commercial model's lists, and against physicians' lists."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from petct_cli.report.lesions import ExtractedLesion, extract_lesions
from petct_cli.report.measures import find_measures
from petct_cli.report.normalise import DEFAULT, fold
from petct_cli.report.places import find_positions
from petct_cli.report.vocabulary import load_vocabulary


def of_gpt(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a commercial model said of one lesion in comparable form."""

    def get(value: dict[str, Any], part: str) -> Any:
        return next((found for key, found in value.items() if part in fold(key)), "")

    uptake = get(entry, "mức độ fdg")
    uptake = uptake if isinstance(uptake, dict) else {}
    number = re.search(r"\d+(?:[.,]\d+)?", str(get(uptake, "suv")))
    shape, place = (
        "" if fold(str(found)) == "không có" else str(found)
        for found in (get(entry, "hình dạng"), get(entry, "vị trí"))
    )
    words = load_vocabulary()
    sides = [{side for _, side in find_positions(fold(text), words).sides} for text in (place, shape)]
    return {
        "size": find_measures(fold(str(get(entry, "kích thước")))).size_mm,
        "suv": float(number.group().replace(",", ".")) if number else None,
        "side": frozenset(sides[0] or sides[1]) or None,
        "fdg": "increased" if re.match("có|tăng", fold(str(get(uptake, "tăng")))) else None,
        "words": Counter(DEFAULT.tokens(f"{shape} {place}")),
    }


def field_f1(folder: Path, side: str) -> tuple[dict[str, float], int, int]:
    """Return F1 per field on lesions aligned by their wording, how many were aligned, and of how many."""
    texts = {row["id"]: row[side] for row in map(orjson.loads, (folder / "reports.jsonl").read_bytes().splitlines())}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    aligned = total = 0
    for row in map(orjson.loads, (folder / "gpt_lesions.jsonl").read_bytes().splitlines()):
        theirs = [of_gpt(entry) for entry in row[side] or []]
        findings: dict[int, list[ExtractedLesion]] = defaultdict(list)
        for lesion in extract_lesions(texts[row["id"]]) if theirs else []:
            findings[lesion.finding].append(lesion)
        ours: list[dict[str, Any]] = []
        for lesions in findings.values():
            start, end = lesions[0].span
            stated = texts[row["id"]][start:end]
            ours.append(
                {
                    "size": lesions[0].size_mm,
                    "suv": lesions[0].suv_max,
                    "side": frozenset(lesion.side for lesion in lesions if lesion.side) or None,
                    "fdg": "increased" if lesions[0].fdg == "increased" else None,
                    "words": Counter(DEFAULT.tokens(stated)),
                }
            )
        # By wording alone, so that no field helps to align itself; then by order, for both go through the text; shorter
        # findings first.
        scored = [
            (
                (a["words"] & b["words"]).total() / max(1, a["words"].total()) - 1e-4 * b["words"].total(),
                i,
                j,
            )
            for i, a in enumerate(theirs)
            for j, b in enumerate(ours)
            if (a["words"] & b["words"]).total() >= 0.6 * max(1, a["words"].total())
        ]
        used: set[tuple[str, int]] = set()
        for _, i, j in sorted(scored, reverse=True):
            if ("a", i) in used or ("b", j) in used:
                continue
            used |= {("a", i), ("b", j)}
            aligned += 1
            for name in ("size", "suv", "side", "fdg"):
                a, b = theirs[i][name], ours[j][name]
                if a == b:
                    counts[name]["tp"] += a is not None
                else:
                    counts[name].update(fn=int(a is not None), fp=int(b is not None))
        total += len(theirs)
    scores = {name: 2 * c["tp"] / (2 * c["tp"] + c["fp"] + c["fn"]) for name, c in counts.items()}
    return scores, aligned, total


@pytest.mark.real
def test_real_references_agree_with_another_extractor(real_data: Path) -> None:
    scores, aligned, total = field_f1(real_data / "vimed", "reference")
    print(f"references: {aligned} of {total} aligned, {scores}")
    assert aligned >= 0.93 * total
    assert scores["size"] >= 0.955, scores
    assert scores["suv"] >= 0.985, scores
    assert scores["side"] >= 0.98, scores
    assert scores["fdg"] >= 0.99, scores


@pytest.mark.real
def test_real_model_output_agrees_with_another_extractor(real_data: Path) -> None:
    """Half of what differs is text without sense, and lesions of the same words that are aligned crosswise."""
    scores, aligned, total = field_f1(real_data / "vimed", "hypothesis")
    print(f"model outputs: {aligned} of {total} aligned, {scores}")
    assert aligned >= 0.84 * total
    assert scores["size"] >= 0.91, scores
    assert scores["suv"] >= 0.935, scores
    assert scores["side"] >= 0.935, scores
    assert scores["fdg"] >= 0.925, scores


@pytest.mark.real
def test_every_suvmax_of_the_real_references_is_found(real_data: Path) -> None:
    written = found = 0
    for row in map(orjson.loads, (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()):
        literals = re.findall(r"suv\s*max\s*[:=]?\s*(\d+(?:\.\d+)?)", fold(row["reference"]))
        values = {lesion.suv_max for lesion in extract_lesions(row["reference"])}
        written += len(literals)
        found += sum(float(literal) in values for literal in literals)
    assert written > 200
    assert found >= 0.99 * written


def physicians_lists(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (report, list) where SUVmax or size literals of a list stand in the report of that patient number.

    Patient numbers repeat across years, so that a number alone does not make a pair.
    """
    rows = [orjson.loads(line) for line in (folder / "reports.jsonl").read_bytes().splitlines()]
    pairs = []
    for path in sorted((folder / "lesions").glob("*.json")):
        patient = re.search(r"REPORT_(patient_\d+)", path.name)
        entries = [of_physician(entry) for entry in orjson.loads(path.read_bytes())]
        for row in rows:
            if patient is None or row["patient_id"] != patient[1]:
                continue
            found = extract_lesions(row["reference"])
            suvs, sizes = {x.suv_max for x in found} - {None}, {x.sizes_mm for x in found} - {()}
            agreeing = sum(e["suv"] in suvs or e["sizes"] in sizes for e in entries)
            if agreeing >= max(1, len(entries) / 2):
                pairs.append((row["reference"], entries))
    return pairs


def of_physician(entry: dict[str, Any]) -> dict[str, Any]:
    values = {fold(key): value for key, value in entry.items()}
    size = next((str(value) for key, value in values.items() if key.startswith("kích thước")), "")
    uptake = next((value for key, value in values.items() if key.startswith("mức độ")), {})
    number = re.search(r"\d+(?:[.,]\d+)?", str(uptake.get("SUVmax", "")) if isinstance(uptake, dict) else "")
    place = " ".join(str(value) for key, value in values.items() if "vị trí" in key or "hình dạng" in key)
    return {
        "suv": float(number.group().replace(",", ".")) if number else None,
        "sizes": find_measures(fold(size)).sizes_mm,
        "organs": {one.organ for one in find_positions(fold(place), load_vocabulary()).named if one.organ},
    }


def chest_counts(report: str, entries: list[dict[str, Any]]) -> Counter[str]:
    """Count avid findings of the chest in both, matched by SUVmax or by sizes; an SUVmax of 0 is no uptake."""
    findings: dict[int, list[ExtractedLesion]] = defaultdict(list)
    for lesion in extract_lesions(report):
        findings[lesion.finding].append(lesion)
    ours = [
        lesions for lesions in findings.values() if any(lesion.organ in CHEST for lesion in lesions) and lesions[0].avid
    ]
    theirs = [entry for entry in entries if entry["organs"] & CHEST and entry["suv"]]
    hits = 0
    for entry in theirs:
        for lesions in ours:
            if entry["suv"] == lesions[0].suv_max or (entry["sizes"] and entry["sizes"] == lesions[0].sizes_mm):
                ours.remove(lesions)
                hits += 1
                break
    return Counter(tp=hits, fp=len(ours), fn=len(theirs) - hits)


CHEST = {
    *("lung", "pleura", "lung_hilum", "mediastinum", "bronchus", "trachea", "oesophagus", "heart", "pericardium"),
    *("chest_wall", "breast", "axilla", "internal_mammary", "diaphragm", "crus", "supraclavicular"),
}


@pytest.mark.real
def test_physicians_lists_are_found(real_data: Path) -> None:
    pairs = physicians_lists(real_data / "vimed")
    counts = [chest_counts(report, entries) for report, entries in pairs]
    table = np.array([[one["tp"], one["fp"], one["fn"]] for one in counts])
    rng = np.random.default_rng(0)
    draws = np.array([f1(table[rng.integers(0, len(table), len(table))].sum(0)) for _ in range(2000)])
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    score = f1(table.sum(0))
    print(
        f"physicians' lists, chest: F1 {100 * score:.1f}, n {len(pairs)}, 95 % CI {100 * low:.1f} to {100 * high:.1f}"
    )
    assert len(pairs) >= 5
    assert score >= 0.9


def f1(counts: Any) -> float:
    tp, fp, fn = counts
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else float("nan")

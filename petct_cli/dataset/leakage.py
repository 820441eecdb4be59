"""The leakage report: who says the same as whom, on which sides they stood, and what was done about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from petct_cli.dataset.placement import Plan
from petct_cli.dataset.splits import SPLITS

_TRAIN, _TEST = 0, 2


def leakage(plan: Plan) -> dict[str, Any]:
    """Return the report as JSON values: ids, sizes, splits and cosines, no text.

    ``groups`` are patients whose whole reports say the same, ``across`` when each by itself they stood on several
    sides; ``cosine`` is the least of the pairs that joined them. ``regions`` counts test studies with a region's text
    that some training study has word for word: boilerplate, which joins nobody, but which a model can learn by heart.
    """
    return {
        "split": plan.planner.rule.describe(),
        "duplicates": plan.planner.duplicates.describe(),
        "studies": len(plan.patient),
        "patients": len(plan.names),
        "without_words": 0 if plan.alike is None else int((plan.alike.text < 0).sum()),
        "patients_by_split": {name: dict(sorted(counts.items())) for name, counts in plan.counts().items()},
        "groups": _groups(plan),
        "templates": list(plan.groups.templates),
        "regions": _regions(plan),
    }


def _groups(plan: Plan) -> list[dict[str, Any]]:
    leader = plan.groups.leader[plan.patient]
    grouped = np.flatnonzero(plan.groups.patients[plan.patient] > 1)
    if plan.alike is None or not grouped.size:
        return []
    text = plan.alike.text
    names = plan.planner.names(set(grouped.tolist()))
    members: dict[int, list[int]] = {}
    for study in grouped.tolist():
        members.setdefault(int(leader[study]), []).append(study)
    leader_of_text = {int(text[study]): int(leader[study]) for study in grouped.tolist()}
    cosines: dict[int, float] = {}
    for one, other, cosine in zip(plan.alike.one.tolist(), plan.alike.other.tolist(), plan.alike.cosine, strict=True):
        head = leader_of_text.get(one)
        if head is not None and leader_of_text.get(other) == head:
            cosines[head] = min(cosines.get(head, 1.0), float(cosine))
    found = []
    for head in sorted(members):
        studies = sorted(members[head], key=lambda study: names[study])
        patients = {int(plan.patient[study]) for study in studies}
        found.append(
            {
                "group": plan.group_id(head),
                "kind": "near" if head in cosines else "exact",
                "cosine": round(cosines.get(head, 1.0), 4),
                "patients": len(patients),
                "across": bool(plan.torn[head]),
                "studies": [_study(plan, study, *names[study]) for study in studies],
            }
        )
    return found


def _study(plan: Plan, study: int, name: str, patient: str) -> dict[str, Any]:
    before, after = int(plan.base[plan.patient[study]]), int(plan.after[plan.patient[study]])
    told: dict[str, Any] = {"study": name, "patient": patient}
    if study in plan.faults:
        return {**told, "fault": plan.faults[study][0]}
    told["before"] = SPLITS[before]
    return {**told, "dropped": True} if plan.is_dropped(study) else {**told, "after": SPLITS[after]}


def _regions(plan: Plan) -> dict[str, dict[str, int]]:
    if plan.alike is None:
        return {}
    after = plan.after[plan.patient].copy()
    gone = [study for study in range(len(after)) if study in plan.faults or plan.is_dropped(study)]
    after[gone] = -1
    found = {}
    for region, digests in plan.planner.region_digests():
        tested = digests[(after == _TEST) & (digests != 0)]
        learned = np.unique(digests[(after == _TRAIN) & (digests != 0)])
        found[region] = {"test": len(tested), "also_in_train": int(np.isin(tested, learned).sum())}
    return found


def markdown(report: dict[str, Any]) -> str:
    """Return the report of `leakage` as Markdown."""
    torn = [group for group in report["groups"] if group["across"]]
    lines = [
        "# Leakage",
        "",
        f"{report['studies']} studies of {report['patients']} patients; {len(report['groups'])} groups of patients "
        f"with the same report, {len(torn)} of them across splits. Duplicates: {report['duplicates']['mode']}.",
        "",
        "| patients | train | val | test | none |",
        "|---|---|---|---|---|",
    ]
    for name, counts in report["patients_by_split"].items():
        lines.append(f"| {name} | " + " | ".join(str(counts.get(split, 0)) for split in (*SPLITS, "none")) + " |")
    lines += ["", "| region | test studies | whose text a training study has, too |", "|---|---|---|"]
    lines += [f"| {name} | {row['test']} | {row['also_in_train']} |" for name, row in report["regions"].items()]
    if report["templates"]:
        shared = ", ".join(map(str, report["templates"]))
        lines += ["", f"Texts taken for templates, by the number of patients that share them: {shared}."]
    lines += ["", "| group | kind | cosine | study | patient | before | after |", "|---|---|---|---|---|---|---|"]
    for group in report["groups"]:
        for study in group["studies"]:
            after = "dropped" if study.get("dropped") else study.get("after", study.get("fault"))
            cells = [group["group"], group["kind"], f"{group['cosine']:.3f}", study["study"], study["patient"]]
            lines.append("| " + " | ".join(map(_cell, [*cells, study.get("before", "-"), after])) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")

"""Clinical metrics: cases worked out by hand, properties that any scores must have, and the public outputs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.core.errors import UsageError
from petct_cli.metrics.clinical import ClinicalF1Family
from petct_cli.metrics.clinical_align import align, quality, weighted_errors
from petct_cli.metrics.clinical_detail import compared
from petct_cli.metrics.clinical_errors import ClinicalErrorFamily
from petct_cli.metrics.clinical_lesions import (
    ClinicalLesion,
    Lesions,
    RuleExtractor,
    normal_places,
    of_facts,
    organ_table,
)
from petct_cli.metrics.clinical_match import F1_ATTRIBUTES, Tolerance, agreement, count_f1, position_share, states
from petct_cli.metrics.clinical_options import SHARED_COLUMNS, ClinicalOptions, Sides
from petct_cli.metrics.families import Fact, Item, LesionList
from petct_cli.metrics.lesion_lists import read_lesions
from petct_cli.metrics.registry import PRESETS, MetricOptions, build_families
from petct_cli.metrics.severity import ERRORS, default_severity, read_severity
from petct_cli.report.lesions import LANGUAGES
from petct_cli.report.sites import load_sites
from petct_cli.report.vocabulary import load_vocabulary
from tests.samples import lines

F1S = tuple(F1_ATTRIBUTES)
ERROR_METRICS = PRESETS["vi"].families[-1].metrics
TOLERANCE = Tolerance()


def lesion(kind: str | None = None, *places: tuple[str, str | None], **changes: Any) -> ClinicalLesion:
    return ClinicalLesion(kind, normal_places(places), **changes)


NECK_R, NECK_L = ("neck", "right"), ("neck", "left")
LUNG_R, LUNG_L, LIVER = ("lung", "right"), ("lung", "left"), ("liver", None)


def f1_of(metric: str, true: list[ClinicalLesion], said: list[ClinicalLesion]) -> float | None:
    found = count_f1(metric, tuple(true), tuple(said), agreement(tuple(true), tuple(said), TOLERANCE))
    return 200 * found.tp / (2 * found.tp + found.fp + found.fn) if found.tp + found.fn else None


def sample(true: list[ClinicalLesion] | None, said: list[ClinicalLesion] | None, **changes: Any) -> Item:
    plain: dict[str, Any] = {
        "id": "i",
        "patient": "p",
        "group": "all",
        "system": None,
        "reference": None,
        "hypothesis": "",
        "reference_lesions": LesionList(None if true is None else tuple(true)),
        "hypothesis_lesions": LesionList(None if said is None else tuple(said)),
    }
    return Item(**{**plain, **changes})


def scores(items: list[Item], options: ClinicalOptions | None = None) -> dict[str, float]:
    found = {}
    for family in (ClinicalF1Family(F1S, options or ClinicalOptions()), errors(options)):
        sums = family.rows(items, [item.answer for item in items]).sum(0)
        found |= {metric: float(family.value(metric, sums)) for metric in family.metrics()}
    return found


def errors(options: ClinicalOptions | None = None) -> ClinicalErrorFamily:
    return ClinicalErrorFamily(ERROR_METRICS, options or ClinicalOptions())


# The rule, by hand.


def test_each_f1_has_the_matching_that_is_best_for_it() -> None:
    true = [lesion("node", NECK_R, fdg="increased"), lesion("node", NECK_L, fdg="none")]
    said = [lesion("node", NECK_R, fdg="none"), lesion("node", NECK_L, fdg="increased")]
    assert f1_of("f1_t", true, said) == 100
    assert f1_of("f1_tp", true, said) == 100, "right with right, left with left"
    assert f1_of("f1_tf", true, said) == 100, "crosswise: the matching by position has no hit"
    assert f1_of("f1_tpf", true, said) == 0


def test_many_lesions_of_one_type_are_matched_best_and_not_first_come() -> None:
    axilla, groin, liver = ("axilla", None), ("groin", None), ("liver", None)
    true = [lesion("node", axilla, groin, liver), lesion("node", axilla, groin)]
    said = [lesion("node", axilla, groin), lesion("node", groin, liver)]
    assert f1_of("f1_tp", true, said) == 100, "the first of each would leave the others without one"
    five = [lesion("node", NECK_R)] * 5
    assert f1_of("f1_t", five, five[:2]) == pytest.approx(200 * 2 / 7)
    assert f1_of("f1_t", five[:2], five) == pytest.approx(200 * 2 / 7)


def test_what_the_reference_leaves_unstated_is_out_on_both_sides() -> None:
    true = [lesion("node", NECK_R), lesion("mass", LUNG_R, fdg="increased")]
    said = [lesion("node", NECK_R, fdg="none"), lesion("mass", LUNG_R, fdg="increased")]
    both = tuple(true), tuple(said)
    found = count_f1("f1_tf", *both, agreement(*both, TOLERANCE))
    assert (found.tp, found.fp, found.fn, found.unscorable, found.only_said) == (1, 0, 0, 1, 1)
    elsewhere = [lesion("node", ("axilla", None), fdg="none"), said[1]]
    assert f1_of("f1_tf", true, elsewhere) == pytest.approx(200 / 3), "another place: it tells of something else"
    assert f1_of("f1_t", true, elsewhere) == 100


def test_a_lesion_out_is_never_bought_with_a_hit() -> None:
    true = [lesion("node", NECK_R), lesion("node", NECK_R, fdg="none")]
    said = [lesion("node", NECK_R, fdg="none")]
    both = tuple(true), tuple(said)
    found = count_f1("f1_tf", *both, agreement(*both, TOLERANCE))
    assert (found.tp, found.fp, found.fn, found.only_said) == (1, 0, 0, 0)


def test_unknown_is_never_a_match_and_a_miss_where_the_reference_states_it() -> None:
    assert f1_of("f1_t", [lesion(None, LUNG_R)], [lesion(None, LUNG_R)]) is None, "nothing to score"
    assert f1_of("f1_t", [lesion("mass", LUNG_R)], [lesion(None, LUNG_R)]) == 0
    assert f1_of("f1_tp", [lesion("mass", LUNG_R)], [lesion("mass")]) == 0
    assert f1_of("f1_tf", [lesion("mass", LUNG_R, fdg="none")], [lesion("mass", LUNG_R)]) == 0
    known = [lesion("mass", LUNG_R), lesion("node", NECK_R)]
    vague = [lesion("mass", LUNG_R), lesion(None, NECK_R)]
    wrong = [lesion("mass", LUNG_R), lesion("cyst", NECK_R)]
    assert f1_of("f1_t", known, vague) == f1_of("f1_t", known, wrong) == 50


def test_empty_sides() -> None:
    some = [lesion("mass", LUNG_R, fdg="increased")]
    for metric in F1S:
        assert f1_of(metric, [], []) is None
        assert f1_of(metric, [], some) is None, "no scorable lesion"
        assert f1_of(metric, some, []) == 0
    nothing = scores([sample([], [])])
    assert all(np.isnan(nothing[metric]) for metric in (*F1S, "omitted_lesions", "laterality_errors", "roiq_rules"))
    assert nothing["weighted_errors"] == nothing["omitted_per_report"] == 0
    assert nothing["abnormal_accuracy"] == 100
    assert np.isnan(nothing["abnormal_sensitivity"])
    added = scores([sample([], some), sample(some, some)])
    assert added["f1_tpf"] == pytest.approx(200 / 3), "lesions where there are none count, too"


@pytest.mark.parametrize(
    ("true", "said", "share"),
    [
        ([("lung", "bilateral")], [("lung", "bilateral")], 1),
        ([("lung", "bilateral")], [LUNG_L, LUNG_R], 1),
        ([("lung", "bilateral")], [LUNG_R], 1 / 2),
        ([LUNG_R], [LUNG_L], 0),
        ([LUNG_R], [("lung", None)], 0),
        ([("lung", None)], [LUNG_R], 1),
        ([("lung", None)], [("lung", "bilateral")], 1),
        ([("lung", None), LUNG_R], [LUNG_R], 1),
        ([NECK_R, ("axilla", "right")], [NECK_R, ("axilla", "right"), LIVER], 2 / 3),
        ([NECK_R, ("axilla", "right"), LIVER], [NECK_R], 1 / 3),
        ([("mediastinal_node", None)], [("mediastinum", "right")], 1),
        ([], [LUNG_R], 0),
        ([], [], 0),
    ],
)
def test_share_of_places(true: list[Any], said: list[Any], share: float) -> None:
    assert position_share(lesion(None, *true), lesion(None, *said)) == pytest.approx(share)


def test_naming_every_place_hits_none() -> None:
    everywhere = lesion("node", *((organ, None) for organ in organ_table().scope_of))
    assert f1_of("f1_tp", [lesion("node", NECK_R)], [everywhere]) == 0


# Errors, by hand.


def test_laterality() -> None:
    true = [
        lesion("mass", LUNG_R),
        lesion("node", NECK_L),
        lesion("node", ("axilla", "bilateral")),
        lesion("cyst", LIVER),
    ]
    said = [lesion("mass", LUNG_L), lesion("node", NECK_L), lesion("node", ("axilla", "right")), lesion("cyst", LIVER)]
    family = errors()
    sums = family.rows([sample(true, said)], [sample(true, said).answer]).sum(0)
    assert float(family.value("laterality_errors", sums)) == pytest.approx(200 / 3), "the liver has no side here"
    counts = family.counts("laterality_errors", sums)
    assert (counts["wrong_side"], counts["partly_right_side"], counts["matched"]) == (1, 1, 4)
    both = [lesion("mass", LUNG_L), lesion("mass", LUNG_R)]
    assert scores([sample([both[1]], both)])["laterality_errors"] == 0, "the right one is there: the left is made up"


def test_omitted_and_hallucinated() -> None:
    true = [lesion("mass", LUNG_R), lesion("node", NECK_L), lesion("node", ("mediastinum", None)), lesion("cyst")]
    said = [
        lesion("nodule", LUNG_R),
        lesion("mass", ("mediastinum", None)),
        lesion("cyst"),
        lesion(None, ("brain", None)),
    ]
    found = scores([sample(true, said)])
    assert found["omitted_lesions"] == pytest.approx(100 * 2 / 3), "neck and mediastinal nodes; the cyst has no place"
    assert found["hallucinated_lesions"] == pytest.approx(100 * 2 / 3), "a mass is no node; the brain"
    assert found["omitted_per_report"] == found["hallucinated_per_report"] == 2
    assert found["roi_f1_rules"] == pytest.approx(200 / 6)


def test_measures_over_matched_lesions() -> None:
    true = [lesion("node", NECK_R, suv_max=10, size_mm=20), lesion("node", NECK_L, suv_max=5), lesion("cyst", LIVER)]
    said = [
        lesion("node", NECK_R, suv_max=12, size_mm=30),
        lesion("node", NECK_L),
        lesion("cyst", LIVER, suv_max=9, size_mm=9),
    ]
    found = scores([sample(true, said)])
    assert found["lesion_suv_mae"] == 2, "over what both measured"
    assert found["lesion_suv_within"] == 50, "20 % is within; what is not said is not"
    assert (found["lesion_size_mae_mm"], found["lesion_size_within"]) == (10, 0)
    wide = scores([sample(true, said)], ClinicalOptions(tolerance=Tolerance(size=0.5, suv=0.1)))
    assert (wide["lesion_suv_within"], wide["lesion_size_within"]) == (0, 100)


def test_lesions_of_one_place_are_told_apart_by_their_measures() -> None:
    true = [lesion("node", NECK_R, suv_max=3), lesion("node", NECK_R, suv_max=9)]
    assert scores([sample(true, true[::-1])])["lesion_suv_mae"] == 0


def test_quality_of_a_pair() -> None:
    true = lesion("node", NECK_R, NECK_L, fdg="increased", suv_max=10, size_mm=20)
    assert quality(true, true, TOLERANCE) == 1
    half = lesion("node", NECK_R, fdg="increased", suv_max=11)
    assert quality(true, half, TOLERANCE) == pytest.approx(0.5**0.5 * 2 / 3)
    assert quality(true, replace(true, kind="mass"), TOLERANCE) == 0, "the core cannot be made up for"
    assert quality(replace(true, kind=None), true, TOLERANCE) is None
    assert quality(lesion("node", NECK_R), lesion("node", NECK_R, fdg="none"), TOLERANCE) == 1


def test_normal_and_abnormal_by_region() -> None:
    avid, quiet = {"fdg": "increased"}, {"fdg": "none"}
    items = [
        sample([lesion("mass", LUNG_R, **avid)], [lesion("node", NECK_R, **avid), lesion("mass", LUNG_L, **avid)]),
        sample([lesion("mass", LUNG_R, **quiet)], [lesion("mass", LUNG_R)], group="chest"),
        sample([lesion("bone", ("bone", None), **avid)], [], group="report/musculoskeletal"),
    ]
    family = errors()
    sums = family.rows(items, [item.answer for item in items]).sum(0)
    counts = family.counts("abnormal_accuracy", sums)
    assert counts["abnormal_found"] == 1, "the lung; which side is another question"
    assert (counts["false_alarms"], counts["overlooked"], counts["normal_found"]) == (1, 1, 3)
    assert family.size("abnormal_accuracy", sums) == 6, "four regions, and one each"
    parts = {part.group: part for part in family.parts(items, [item.answer for item in items])}
    assert list(parts) == [f"scope:{scope}" for scope in organ_table().scopes]
    assert parts["scope:chest"].chosen == (0, 1)
    assert float(family.value("abnormal_sensitivity", parts["scope:chest"].rows.sum(0))) == 100
    whole = sum(family.value("abnormal_accuracy", one.rows.sum(0)) * len(one.chosen) for one in parts.values())
    assert whole == pytest.approx(6 * float(family.value("abnormal_accuracy", sums)))


def test_weights_of_errors() -> None:
    severity = default_severity()

    def total(true: list[ClinicalLesion], said: list[ClinicalLesion]) -> float:
        return weighted_errors(tuple(true), tuple(said), TOLERANCE, severity)

    mass, cyst = lesion("mass", LUNG_R, fdg="increased", suv_max=9), lesion("cyst", LIVER, fdg="none")
    assert total([mass], []) == 4
    assert total([cyst], []) == 0.5
    assert total([], [mass]) == 3
    assert total([mass, cyst], [cyst, mass]) == 0
    assert total([mass], [replace(mass, places=(LUNG_L,))]) == 3
    assert total([mass], [replace(mass, suv_max=None)]) == 0.25
    assert total([mass], [replace(mass, suv_max=2, fdg="none")]) == 2.5
    assert total([lesion("mass", LIVER)], [cyst]) == 1, "taking the one for the other: a wrong type"


def test_the_weights_name_types_that_there_are() -> None:
    kinds = {term.kind for term in load_vocabulary().meanings.values()}
    for rule in default_severity().rules:
        assert set(rule.kind) <= {*kinds, "unstated"}
        assert set(rule.fdg) <= {"increased", "none", "unstated"}


def test_a_severity_file_of_ones_own() -> None:
    flat = "".join(f'[[rule]]\nerror = "{error}"\nweight = 1\n' for error in ERRORS)
    severity = read_severity(('name = "flat"\n' + flat).encode())
    some = (lesion("mass", LUNG_R), lesion("cyst", LIVER))
    assert weighted_errors(some, (), TOLERANCE, severity) == 2
    brain = '[[rule]]\nerror = "omitted"\norgan = ["liver"]\nkind = ["cyst", "unstated"]\nweight = 7\n'
    assert weighted_errors(some, (), TOLERANCE, read_severity((brain + flat).encode())) == 8
    signature = ClinicalErrorFamily(("weighted_errors",), ClinicalOptions(severity=severity))
    assert "severity:flat@" in signature.signature("weighted_errors", signature.rows([], []).sum(0))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"weight = ",
        b"name = 'empty'",
        b"[[rule]]\nerror = 'omitted'\nweight = 1",
        b"[[rule]]\nerror = 'nonsense'\nweight = 1",
        b"[[rule]]\nerror = 'omitted'\nweight = -1",
        b"[[rule]]\nerror = 'omitted'\nweight = nan",
        b"[[rule]]\nerror = 'omitted'\nweight = true",
        b"[[rule]]\nerror = 'omitted'\nweight = 1\nsite = ['lung']",
        b"[[rule]]\nerror = 'omitted'\nweight = 1\nkind = 'mass'",
        b"rule = [1]",
    ],
)
def test_bad_severity_files(content: bytes) -> None:
    with pytest.raises(UsageError) as found:
        read_severity(content)
    assert found.value.code == "bad_severity"


# What any score must be.

measure = st.sampled_from([None, 5.0, 5.5, 20.0])
lesions = st.builds(
    lesion,
    st.sampled_from([None, "node", "mass", "cyst"]),
    *[st.sampled_from([NECK_R, NECK_L, ("neck", None), LIVER, (None, None)])] * 2,
    fdg=st.sampled_from([None, "increased", "none"]),
    size_mm=measure,
    suv_max=measure,
)
stated = st.builds(
    lesion,
    st.sampled_from(["node", "mass", "cyst"]),
    *[st.sampled_from([NECK_R, NECK_L, LUNG_R, LUNG_L])] * 2,
    fdg=st.sampled_from(["increased", "none"]),
)
several = st.lists(lesions, max_size=5)
fully = st.lists(stated, min_size=1, max_size=5)
properties = settings(max_examples=100, deadline=None)


def by_trying_all(metric: str, true: list[ClinicalLesion], said: list[ClinicalLesion]) -> float | None:
    """Return the greatest F1 of all matchings, by the words of the rule."""
    asked = F1_ATTRIBUTES[metric]
    agree = agreement(tuple(true), tuple(said), TOLERANCE)
    scorable = [all(states(one, attribute) for attribute in asked) for one in true]
    if not any(scorable):
        return None

    def tells_of(i: int, j: int) -> bool:
        if scorable[i]:
            return all(agree[attribute][i, j] for attribute in asked)
        known = [name for name in ("type", "position", "fdg") if states(true[i], name)]
        counting = [name for name in known if name in asked or name == "position"]
        return all(agree[name][i, j] for name in counting or known)

    best = 0.0
    slots = [*range(len(said)), *[-1] * len(true)]
    for chosen in set(permutations(slots, len(true))):
        pairs = [(i, j) for i, j in enumerate(chosen) if j >= 0]
        if all(tells_of(i, j) for i, j in pairs):
            hits = sum(scorable[i] for i, _ in pairs)
            best = max(best, 200 * hits / (sum(scorable) + len(said) - (len(pairs) - hits)) if hits else 0.0)
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(lesions, max_size=3), st.lists(lesions, max_size=3))
def test_no_matching_gives_more(true: list[ClinicalLesion], said: list[ClinicalLesion]) -> None:
    for metric in F1S:
        expected = by_trying_all(metric, true, said)
        found = f1_of(metric, true, said)
        assert found == expected or found == pytest.approx(expected)


@properties
@given(several)
def test_a_reference_against_itself(true: list[ClinicalLesion]) -> None:
    found = scores([sample(true, true)])
    for metric, value in found.items():
        best = 0 if not errors().higher_is_better(metric) else 100
        assert np.isnan(value) or value == pytest.approx(best), metric
    for metric in F1S:
        some = any(all(states(one, attribute) for attribute in F1_ATTRIBUTES[metric]) for one in true)
        assert np.isnan(found[metric]) != some


@properties
@given(several, several, st.randoms())
def test_the_order_of_telling_changes_nothing(
    true: list[ClinicalLesion], said: list[ClinicalLesion], chance: random.Random
) -> None:
    mixed = chance.sample(true, len(true)), chance.sample(said, len(said))
    one, other = scores([sample(true, said)]), scores([sample(*mixed)])
    assert {name: repr(value) for name, value in one.items()} == {name: repr(value) for name, value in other.items()}


@properties
@given(fully, fully)
def test_where_all_is_stated_the_sides_can_be_exchanged(true: list[ClinicalLesion], said: list[ClinicalLesion]) -> None:
    for metric in F1S:
        assert f1_of(metric, true, said) == pytest.approx(f1_of(metric, said, true))
    assert len(align(tuple(true), tuple(said), TOLERANCE)) == len(align(tuple(said), tuple(true), TOLERANCE))


def not_worse(
    true: list[ClinicalLesion], said: list[ClinicalLesion], better: list[ClinicalLesion], metric: str
) -> None:
    before, after = f1_of(metric, true, said), f1_of(metric, true, better)
    assert (before is None) == (after is None)
    assert before is None or after is None or after >= before - 1e-9


def hits(metric: str, true: list[ClinicalLesion], said: list[ClinicalLesion]) -> tuple[list[int], list[int]]:
    """Return the scorable true lesions that are missed, and the stated ones that hit none."""
    found = count_f1(metric, tuple(true), tuple(said), agreement(tuple(true), tuple(said), TOLERANCE))
    taken = {i for i, _ in found.pairs}, {j for _, j in found.pairs}
    asked = F1_ATTRIBUTES[metric]
    missed = [i for i, one in enumerate(true) if i not in taken[0] and all(states(one, name) for name in asked)]
    return missed, [j for j in range(len(said)) if j not in taken[1]]


@properties
@given(several, several, st.data())
def test_a_better_hypothesis_never_scores_lower(
    true: list[ClinicalLesion], said: list[ClinicalLesion], data: st.DataObject
) -> None:
    metric = data.draw(st.sampled_from(F1S))
    missed, idle = hits(metric, true, said)
    if missed:
        told = true[data.draw(st.sampled_from(missed))]
        not_worse(true, said, [*said, told], metric)
        if idle:
            place = data.draw(st.sampled_from(idle))
            not_worse(true, said, [*said[:place], told, *said[place + 1 :]], metric)
    if idle:
        place = data.draw(st.sampled_from(idle))
        not_worse(true, said, [*said[:place], *said[place + 1 :]], metric)
    if said:
        place = data.draw(st.integers(0, len(said) - 1))
        other = data.draw(stated)
        one = said[place]
        filled = replace(one, kind=one.kind or other.kind, places=one.places or other.places, fdg=one.fdg or other.fdg)
        not_worse(true, said, [*said[:place], filled, *said[place + 1 :]], metric)


@properties
@given(several, several, st.data())
def test_telling_an_omitted_lesion_never_weighs_more(
    true: list[ClinicalLesion], said: list[ClinicalLesion], data: st.DataObject
) -> None:
    severity = default_severity()
    before = weighted_errors(tuple(true), tuple(said), TOLERANCE, severity)
    assert before >= 0
    assert before <= sum(severity.weight("omitted", one) for one in true) + sum(
        severity.weight("hallucinated", one) for one in said
    )
    matched = align(tuple(true), tuple(said), TOLERANCE)
    omitted = [i for i in range(len(true)) if i not in {i for i, _ in matched}]
    made_up = [j for j in range(len(said)) if j not in {j for _, j in matched}]
    if omitted:
        told = [*said, true[data.draw(st.sampled_from(omitted))]]
        assert len(align(tuple(true), tuple(told), TOLERANCE)) == len(matched) + 1
    if len(true) > len(said):
        after = [weighted_errors(tuple(true), (*said, one), TOLERANCE, severity) for one in true]
        assert min(after) <= before + 1e-9, "one of them is omitted"
    if made_up:
        place = data.draw(st.sampled_from(made_up))
        assert len(align(tuple(true), (*said[:place], *said[place + 1 :]), TOLERANCE)) == len(matched)


@properties
@given(st.lists(st.tuples(several, several), min_size=1, max_size=4))
def test_rows_add_up(reports: list[tuple[list[ClinicalLesion], list[ClinicalLesion]]]) -> None:
    items = [sample(true, said) for true, said in reports]
    for family in (ClinicalF1Family(F1S, ClinicalOptions()), errors()):
        answers = [item.answer for item in items]
        apart = sum(family.rows([item], [item.answer]) for item in items)
        np.testing.assert_allclose(family.rows(items, answers).sum(0), np.asarray(apart)[0], atol=1e-9)
        values = np.array([family.value(metric, family.rows(items, answers)) for metric in family.metrics()])
        assert values.shape == (len(family.metrics()), len(items))


# Texts, lists and facts.


def test_a_finding_at_several_places_is_one_lesion() -> None:
    text = "Hình ảnh vài hạch trung thất và hạch nách phải, kích thước 12 mm, tăng chuyển hóa FDG (SUVmax: 4,5)."
    (one,) = RuleExtractor()(text)
    assert (one.kind, one.fdg, one.size_mm, one.suv_max) == ("node", "increased", 12, 4.5)
    assert one.organs == {"mediastinum", "axilla"}
    assert text[slice(*one.spans[0])].startswith("Hình ảnh vài hạch")


def test_bilateral_positions_match_themselves() -> None:
    text = "Hình ảnh vài hạch bẹn hai bên, kích thước 10 mm, không tăng chuyển hóa FDG."
    item = sample([], [], reference=text, hypothesis=text, reference_lesions=None, hypothesis_lesions=None)
    found = scores([item])
    assert [found[metric] for metric in F1S] == [100] * 4


def test_true_lesions_of_a_sample_have_no_type_but_nodes() -> None:
    node, lung, *rest = of_facts(
        [Fact("mediastinal_node", None, 12, 4), Fact("lung", "left", 9), Fact("lung", "right", 9), Fact("liver", None)]
    )
    assert (node.kind, node.places, node.fdg) == ("node", (("mediastinum", None),), "increased")
    assert (lung.kind, lung.places) == (None, (LUNG_L, LUNG_R)), "alike on both sides: one lesion"
    assert [one.organs for one in rest] == [{"liver"}]


@dataclass(frozen=True)
class FirstWord:
    """An extractor that fails on what it does not know, and remembers what it was asked."""

    asked: list[str] = field(default_factory=list, compare=False)
    version: str = "7"

    def name(self, lang: str) -> str:
        return "first-word"

    def __call__(self, text: str, lang: str) -> Lesions | None:
        self.asked.append(text)
        known = {"node": (lesion("node", NECK_R),), "nothing": ()}
        return known.get(text.split(maxsplit=1)[0])


def test_another_extractor_reads_every_text_once_and_may_fail() -> None:
    texts = [
        ("node one", "node two"),
        ("node one", "???"),
        ("???", "nothing"),
        ("node one", "nothing"),
        ("node one", ""),
    ]
    items = [
        Item(str(number), str(number), "all", None, reference, hypothesis)
        for number, (reference, hypothesis) in enumerate(texts)
    ]
    extractor = FirstWord()
    options = ClinicalOptions(extractor=extractor)
    families = ClinicalF1Family(("f1_tp",), options), ClinicalErrorFamily(("omitted_lesions",), options)
    sums = [family.rows(items, [item.answer for item in items]).sum(0) for family in families]
    assert sorted(extractor.asked) == sorted({text for pair in texts for text in pair} - {""})
    counts = families[0].counts("f1_tp", sums[0])
    assert (counts["tp"], counts["fn"]) == (1, 2), "the failed ones are out, the empty text is not"
    assert (counts["reports"], counts["extraction_failed"], counts["reference_extraction_failed"]) == (3, 1, 1)
    assert float(families[1].value("omitted_lesions", sums[1])) == pytest.approx(200 / 3)
    assert "extractor:first-word-7" in families[0].signature("f1_tp", sums[0])
    assert families[0].detail(items[1], "???") == {"clinical": {"extraction_failed": ["hypothesis"]}}


def test_true_lesions_are_compared_by_site() -> None:
    truth = (Fact("abdominal_node", None, 12.0, 4.0), Fact("lung", "left"))
    said = "Hạch sau phúc mạc 12 mm, tăng chuyển hóa FDG (SUVmax: 4). Khối phổi trái, tăng chuyển hóa FDG."
    found = scores([Item("i", "p", "all", None, None, said, truth=truth)])
    assert (found["f1_tpf"], found["omitted_lesions"], found["hallucinated_lesions"]) == (100, 0, 0)


VIETNAMESE = {
    "Kích thước khối u, tổn thương, bất thường": "13 x 10 mm",
    "Hình dạng của khối u, tổn thương, bất thường": "Hình ảnh nốt mờ bờ đa cung",
    "Vị trí của khối u, tổn thương, bất thường": "thùy dưới phổi trái",
    "Mức độ FDG": {"SUVmax": "5,2", "Tăng chuyển hoá FDG": "Tăng nhẹ"},
    "Xâm lấn": "Không có",
    "Giai đoạn chuyển hoá": "Nghi ngờ ác tính",
}


def test_a_list_in_free_text_gets_the_categories_of_a_text() -> None:
    listed = read_lesions([VIETNAMESE])
    assert listed == (lesion("nodule", LUNG_L, fdg="increased", size_mm=13, suv_max=5.2),)
    (told,) = RuleExtractor()("Nốt mờ thùy dưới phổi trái 13 x 10 mm, tăng nhẹ chuyển hóa FDG (SUVmax: 5,2).")
    assert listed == (replace(told, spans=()),)


@pytest.mark.parametrize(
    ("uptake", "fdg"),
    [
        ("Có tăng", "increased"),
        ("Cao", "increased"),
        ("Nhẹ", "increased"),
        ("Không đều", "increased"),
        ("Tăng nhẹ, không đặc hiệu", "increased"),
        ("Không tăng", "none"),
        ("Không có tăng", "none"),
        ("Không có", None),
        ("không rõ", None),
        ("", None),
        (None, None),
        (3, None),
    ],
)
def test_answers_about_uptake(uptake: Any, fdg: str | None) -> None:
    for key in ("Tăng chuyển hoá FDG", "Tăng chuyển hóa FDG"):
        found = read_lesions([{**VIETNAMESE, "Mức độ FDG": {"SUVmax": 0, key: uptake}}])
        assert found is not None
        assert (found[0].fdg, found[0].suv_max) == (fdg, None)


def test_lists_of_other_forms() -> None:
    found = read_lesions(
        [
            {"site": "lung", "side": "right", "size_mm": 12.0, "suv_max": 3.1, "fdg": "none", "kind": "nodule"},
            {"site": "axillary_node", "side": "bilateral"},
            {"type": "hạch", "position": ["trước khí quản", "rốn phổi phải"], "uptake": "increased", "size": "1,2 cm"},
            {"places": [{"organ": "lung", "side": "left"}, {"organ": "neck", "side": "right"}], "kind": None},
            {"note": "nothing of use"},
        ]
    )
    assert found == (
        lesion("nodule", LUNG_R, fdg="none", size_mm=12, suv_max=3.1),
        lesion("node", ("axilla", "bilateral")),
        lesion("node", ("mediastinum", None), ("lung_hilum", "right"), fdg="increased", size_mm=12),
        lesion(None, LUNG_L, NECK_R),
        lesion(),
    )
    assert read_lesions([]) == ()
    deep: Any = {"suv": 3}
    for key in ("fdg", "place") * 200:
        deep = {key: deep}
    assert read_lesions([deep]) == (lesion(),)
    for broken in (None, "", {}, {"error": "length"}, ["text"], [None], [{}], [{"error": "length"}], 3, True):
        assert read_lesions(broken) is None


@properties
@given(several)
def test_what_is_told_of_a_lesion_is_read_back(some: list[ClinicalLesion]) -> None:
    told = compared(Sides(tuple(some), ()), np.zeros(SHARED_COLUMNS), ClinicalOptions())["reference"]
    assert read_lesions([{name: value for name, value in one.items() if name != "status"} for one in told]) == tuple(
        some
    )


def test_every_organ_of_the_vocabulary_lies_in_a_scope() -> None:
    table, words = organ_table(), load_vocabulary()
    for lang in LANGUAGES:
        terms = load_vocabulary(lang).meanings.values()
        assert {term.organ for term in terms if term.organ} <= set(table.scope_of)
    for site in load_sites().values():
        ((organ, _),) = normal_places([(site.key, None)])
        assert table.scope_of[organ] == site.section
    for organ, site_key in words.sites.items():
        assert table.same.get(site_key, site_key) == organ
    for site_key, organ in table.same.items():
        assert words.node_sites.get(organ, words.sites.get(organ)) == site_key


# Through the command.


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "patient": f"p{number}", **changes}


def run(petct: Any, records: list[dict[str, Any]], *options: str) -> dict[tuple[str, str | None], dict[str, Any]]:
    done = petct("score", "--bootstrap", "0", "--no-controls", *options, stdin=lines(*records))
    assert done.code == 0, done.stderr
    return {(one["metric"], one.get("group")): one for one in done.records if one["type"] == "score"}


def test_failed_extractions_are_counted_and_never_no_lesions(petct: Any) -> None:
    both = {"reference_lesions": [VIETNAMESE], "hypothesis_lesions": [VIETNAMESE]}
    records = [
        record(0, **both),
        record(1, **{**both, "hypothesis_lesions": None}),
        record(2, **{**both, "hypothesis_lesions": {"error": "length"}}),
        record(3, reference_lesions=[VIETNAMESE], hypothesis="Nốt phổi."),
        record(4, **{**both, "reference_lesions": None}),
        record(5, reference="Nốt phổi phải 12 mm.", hypothesis_lesions=[VIETNAMESE]),
    ]
    found = run(petct, records, "--metrics", "f1_tpf,omitted_lesions,hallucinated_per_report")
    assert found["f1_tpf", None]["value"] == 100
    assert found["f1_tpf", None]["n"] == 1
    counts = found["f1_tpf", None]["counts"]
    assert (counts["reports"], counts["extraction_failed"], counts["reference_extraction_failed"]) == (1, 3, 2)
    assert found["omitted_lesions", None]["value"] == found["hallucinated_per_report", None]["value"] == 0
    assert "truth:lesion-list|stated:lesion-list" in found["f1_tpf", None]["signature"]


def test_an_empty_list_is_no_lesions_and_a_failed_generation_says_none(petct: Any) -> None:
    failed = {"error": {"stage": "generate", "code": "x", "message": "x"}}
    records = [
        record(0, reference_lesions=[VIETNAMESE], hypothesis_lesions=[]),
        record(1, reference_lesions=[VIETNAMESE], hypothesis_lesions=[VIETNAMESE]),
        record(2, reference_lesions=[VIETNAMESE], **failed),
    ]
    found = run(petct, records, "--metrics", "f1_t,omitted_lesions")
    assert found["f1_t", None]["counts"]["fn"] == 2
    assert found["f1_t", None]["counts"]["extraction_failed"] == 0
    assert found["f1_t", None]["counts"]["failed"] == 1
    assert found["omitted_lesions", None]["value"] == pytest.approx(100 * 2 / 3, abs=1e-5)


def test_lists_under_other_names_are_exchanged_by_the_controls(petct: Any) -> None:
    other = {**VIETNAMESE, "Vị trí của khối u, tổn thương, bất thường": "gan"}
    records = [record(number, truth=[one], found=[one]) for number, one in enumerate([VIETNAMESE, other] * 2)]
    done = petct("score", "--metrics", "f1_tp", "--lesion-fields", "truth,found", stdin=lines(*records))
    assert done.code == 0, done.stderr
    found = {one.get("control"): one for one in done.records}
    assert found[None]["value"] == found["self"]["value"] == 100
    # The shuffled answers are a mean over several orders.
    assert found["shuffled"]["value"] < 100
    assert found["other_patient"]["value"] < 100


def test_scope_and_organs(petct: Any) -> None:
    report = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG. Nang gan 9 mm, không tăng chuyển hóa FDG."
    said = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG. Khối lách 9 mm, không tăng chuyển hóa FDG."
    records = [record(0, reference=report, hypothesis=said)]
    whole = run(petct, records, "--metrics", "f1_tpf", "--by-organ")
    assert whole["f1_tpf", None]["value"] == 50
    assert {group: one["value"] for (_, group), one in whole.items() if group} == {
        "organ:liver": 0,
        "organ:lung": 100,
        "organ:spleen": None,
    }
    assert whole["f1_tpf", "organ:spleen"]["n"] == 0
    chest = run(petct, records, "--metrics", "f1_tpf,abnormal_accuracy", "--scope", "chest")
    assert chest["f1_tpf", None]["value"] == 100
    assert "scope:chest" in chest["f1_tpf", None]["signature"]
    assert chest["abnormal_accuracy", None]["n"] == 1


def test_per_sample_records_say_which_lesion_is_which(petct: Any) -> None:
    report = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 4). Nang gan 9 mm, không tăng chuyển hóa FDG."
    said = "Nốt phổi trái 12 mm, tăng chuyển hóa FDG. Khối lách 9 mm, không tăng chuyển hóa FDG."
    command = ["score", "--no-controls", "--bootstrap", "0", "--metrics", "f1_t,omitted_lesions", "--per-sample"]
    done = petct(*command, stdin=lines(record(0, reference=report, hypothesis=said)))
    assert done.code == 0, done.stderr
    told = done.records[0]["detail"]["clinical"]
    assert [one["status"] for one in told["reference"]] == ["omitted", "matched"]
    assert [one["status"] for one in told["hypothesis"]] == ["matched", "hallucinated"]
    assert told["pairs"] == [{"reference": 1, "hypothesis": 0, "wrong": ["side"], "unsaid": ["suv"]}]
    start, end = told["reference"][1]["spans"][0]
    assert report[start:end].startswith("Nốt phổi phải")
    assert done.records[0]["detail"]["clinical_f1"]["f1_t"] == {"pairs": [[1, 0]], "tp": 1, "fp": 1, "fn": 1}


def test_tolerance_and_severity_options(petct: Any, tmp_path: Path) -> None:
    records = [
        record(
            0,
            reference="Vài hạch nách hai bên, kích thước 10 mm, tăng chuyển hóa FDG (SUVmax: 5).",
            hypothesis="Vài hạch nách phải, kích thước 10 mm, tăng chuyển hóa FDG (SUVmax: 6,5).",
        )
    ]
    names = ("--metrics", "f1_tp,lesion_suv_within,weighted_errors")
    usual = run(petct, records, *names, "--tolerance", "position=0.5")
    strict = run(petct, records, *names, "--tolerance", "position=1,suv=30%")
    assert (usual["f1_tp", None]["value"], strict["f1_tp", None]["value"]) == (100, 0)
    assert (usual["lesion_suv_within", None]["value"], strict["lesion_suv_within", None]["value"]) == (0, 100)
    assert "jaccard>=1" in strict["f1_tp", None]["signature"]
    own = tmp_path / "weights.toml"
    own.write_text("".join(f'[[rule]]\nerror = "{error}"\nweight = 8\n' for error in ERRORS))
    weighed = run(petct, records, *names, "--tolerance", "position=0.5", "--severity", str(own))
    assert (usual["weighted_errors", None]["value"], weighed["weighted_errors", None]["value"]) == (0.5, 8)
    own_hash, other_hash = (
        one["weighted_errors", None]["provenance"][-1]["options_sha256"] for one in (usual, weighed)
    )
    assert own_hash != other_hash


@pytest.mark.parametrize(
    ("option", "code"),
    [
        (("--scope", "knee"), "bad_option"),
        (("--tolerance", "position=0"), "bad_option"),
        (("--tolerance", "position=2"), "bad_option"),
        (("--tolerance", "size=-1%"), "bad_option"),
        (("--tolerance", "suv=nan"), "bad_option"),
        (("--tolerance", "colour=1"), "bad_option"),
        (("--lesion-fields", "one"), "bad_option"),
        (("--severity", "/nowhere/at/all.toml"), "bad_severity"),
    ],
)
def test_options_that_mean_nothing(petct: Any, option: tuple[str, str], code: str) -> None:
    done = petct("score", *option, stdin=lines(record(0, reference="a", hypothesis="a")))
    assert done.code == 2
    assert done.stderr.strip()
    assert not done.records


# The public outputs.


def public(real_data: Path) -> list[Item]:
    found = [orjson.loads(line) for line in (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()]
    return [Item(one["id"], one["patient_id"], "all", None, one["reference"], one["hypothesis"]) for one in found]


@pytest.mark.real
def test_every_real_reference_against_itself(real_data: Path) -> None:
    items = public(real_data)
    for family in build_families((*F1S, *ERROR_METRICS), "vi", MetricOptions()):
        rows = family.rows(items, [item.reference or "" for item in items])
        for metric in family.metrics():
            values = family.value(metric, rows)
            best = 100 if family.higher_is_better(metric) else 0
            assert np.isfinite(values).sum() > 20
            np.testing.assert_allclose(values[np.isfinite(values)], best, err_msg=metric)
            if metric in F1S:
                scorable = [family.size(metric, row) > 0 for row in rows]
                np.testing.assert_array_equal(np.isfinite(values), scorable)


@pytest.mark.real
def test_the_public_outputs_score_the_same_for_the_next_patient(real_data: Path) -> None:
    """Known: shifted by one patient, they lose nothing; so they do not follow from the images."""
    items = public(real_data)
    own = [item.hypothesis for item in items]
    family = ClinicalF1Family(F1S, ClinicalOptions())
    true, shifted = family.rows(items, own).sum(0), family.rows(items, own[1:] + own[:1]).sum(0)
    for metric in F1S:
        assert abs(float(family.value(metric, true)) - float(family.value(metric, shifted))) < 4, metric
    assert 25 < float(family.value("f1_t", true)) < 60
    assert 0 < float(family.value("f1_tpf", true)) < 15


@pytest.mark.real
def test_lists_of_a_model_and_of_physicians_are_read(real_data: Path) -> None:
    extracted = [orjson.loads(line) for line in (real_data / "vimed" / "gpt_lesions.jsonl").read_bytes().splitlines()]
    written = [orjson.loads(path.read_bytes()) for path in sorted((real_data / "vimed" / "lesions").glob("*.json"))]
    for lists, least in (([one["reference"] for one in extracted], 0.8), (written, 0.9)):
        read: list[Lesions] = [found for one in lists if (found := read_lesions(one)) is not None]
        assert len(read) == len(lists)
        lesions_read = [one for found in read for one in found]
        assert len(lesions_read) == sum(map(len, lists))
        for share in (
            np.mean([one.kind is not None for one in lesions_read]),
            np.mean([bool(one.places) for one in lesions_read]),
        ):
            assert share > least

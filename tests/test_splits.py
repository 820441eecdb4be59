"""Who is on which side: by patient always, with those whose reports say the same, whatever the order of the input."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result, environment_on_a_full_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import lines, study

from petct_cli.core.errors import InputError, RecordError, UsageError
from petct_cli.core.records import Study
from petct_cli.dataset.placement import DuplicateRule
from petct_cli.dataset.split_rules import FileRule, TimeRule, paper_months, parse_split
from petct_cli.dataset.splits import SPLITS, SplitRule, allot
from petct_cli.report.normalise import DEFAULT
from petct_cli.stages.pair import Pair
from petct_cli.stages.pair_plan import Placing

Petct = Callable[..., Result]

WORDS = list(
    dict.fromkeys(
        DEFAULT.tokens(
            "gan phổi hạch lách não xương thận tim dạ dày tụy ruột nốt khối tăng chuyển hóa FDG kích thước trái phải "
            "đốt sống ngực cổ bẹn trung thất thùy trên dưới màng tuyến thượng vú buồng trứng tử cung "
            "bàng quang tiền liệt"
        )
    )
)


def a_study(identity: str, patient: str, text: str, **more: Any) -> Study:
    sections = {"chest": text} if text else {}
    record = study(identity, patient=patient, report={"lang": "vi", "sections": sections}, **more)
    return Study.model_validate_json(orjson.dumps(record))


def placed(studies: Iterable[Study], rule: str = "random:0", mode: str = "move", **how: Any) -> dict[str, Study]:
    placing = Placing(
        parse_split(rule), DuplicateRule.parse(mode, how.pop("near", 0.95), how.pop("template", 50)), **how
    )
    with tempfile.TemporaryDirectory() as folder:
        found = list(placing.place(studies, Pair(), Path(folder)))
    return {one.id: one for one in found}


def splits(found: dict[str, Study]) -> dict[str, str | None]:
    return {name: one.placement.split for name, one in found.items() if one.placement is not None}


TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
STUDIES = st.lists(st.tuples(st.integers(0, 9), st.one_of(st.just(""), TEXTS)), min_size=1, max_size=14)


@pytest.mark.parametrize("rule", ["random:0", "random:1:40/30/30", "stratified:sex", "stratified:sex:3:40/30/30"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STUDIES, st.randoms(use_true_random=False))
def test_no_patient_and_no_duplicate_is_on_two_sides(rule: str, drawn: list[tuple[int, str]], random: Any) -> None:
    studies = [
        a_study(f"s{number}", f"p{patient}", text, sex="MF"[patient % 2])
        for number, (patient, text) in enumerate(drawn)
    ]
    found = splits(placed(studies, rule))
    sides: dict[object, set[str | None]] = {}
    for one, (patient, text) in zip(studies, drawn, strict=True):
        sides.setdefault(patient, set()).add(found[one.id])
        if text:
            sides.setdefault(tuple(DEFAULT.tokens(text)), set()).add(found[one.id])
    assert {len(seen) for seen in sides.values()} == {1}
    random.shuffle(studies)
    assert splits(placed(studies, rule)) == found


def test_a_chain_of_patients_and_reports_is_one_group() -> None:
    # a and b share a report, b has another one that c shares: nobody can be parted from the rest.
    texts = ["gan to lách to", "phổi trái có nốt", "hạch cổ phải tăng chuyển hóa"]
    chain = [("a", 0), ("b", 0), ("b", 1), ("c", 1), ("c", 2), ("d", 2)]
    for seed in range(8):
        studies = [a_study(f"s{n}", f"{who}{seed}", texts[text]) for n, (who, text) in enumerate(chain)]
        found = placed(studies, f"random:{seed}:40/30/30")
        assert len(set(splits(found).values())) == 1
        groups = {one.placement.group for one in found.values() if one.placement}
        assert len(groups) == 1
        assert None not in groups


def test_spelling_makes_no_other_report() -> None:
    import unicodedata

    text = "Tăng chuyển hóa FDG ở phổi trái, SUVmax: 3,2. Hoá trị."
    variants = [text, unicodedata.normalize("NFD", text), text.upper(), text.replace("Hoá", "Hóa").replace(" ", "\n ")]
    found = placed(a_study(f"s{n}", f"p{n}", variant) for n, variant in enumerate(variants))
    assert len({one.placement.group for one in found.values() if one.placement}) == 1


def test_patients_without_company_stay_where_their_hash_puts_them() -> None:
    studies = [a_study(f"s{n}", f"p{n}", f"{WORDS[n]} {WORDS[n + 1]} {n}") for n in range(30)]
    alone = {one.id: SplitRule().own(one) for one in studies}
    assert splits(placed(studies)) == alone
    assert splits(placed(studies, mode="off")) == alone


def test_a_group_goes_where_one_of_its_patients_would_go_and_shares_hold() -> None:
    studies = [a_study(f"s{n}", f"p{n}", f"văn bản số {n // 2} của {n // 2 * 7919}") for n in range(3000)]
    found = splits(placed(studies, near=2))
    assert all(found[f"s{n}"] == found[f"s{n + 1}"] for n in range(0, 3000, 2))
    shares = Counter(found.values())
    assert abs(shares["train"] / 3000 - 0.8) < 0.03
    own = {one.id: SplitRule().own(one) for one in studies}
    assert all(found[f"s{n}"] in {own[f"s{n}"], own[f"s{n + 1}"]} for n in range(0, 3000, 2))


def test_a_text_that_many_share_is_a_template_and_joins_nobody() -> None:
    studies = [a_study(f"s{n}", f"p{n}", "Không thấy tổn thương.") for n in range(60)]
    found = placed(studies)
    assert splits(found) == {one.id: SplitRule().own(one) for one in studies}
    assert {one.placement.group for one in found.values() if one.placement} == {None}
    assert len(set(splits(placed(studies, template=60)).values())) == 1


def near_texts() -> tuple[str, str]:
    long = [" ".join(WORDS[(n + k) % len(WORDS)] for k in range(7)) for n in range(30)]
    return ". ".join(long) + " kích thước 12 mm.", ". ".join(long) + " kích thước 14 mm."


def test_near_duplicates_are_joined_unless_only_exact_ones_are_asked_for() -> None:
    one, other = near_texts()
    fillers = [a_study(f"f{n}", f"q{n}", f"{WORDS[n]} {WORDS[-n - 1]} {n}") for n in range(20)]
    pair_ = [a_study("a", "pa", one), a_study("b", "pb", other)]
    group = lambda near: {k: s.placement.group for k, s in placed([*fillers, *pair_], near=near).items() if s.placement}  # noqa: E731
    assert group(0.95)["a"] == group(0.95)["b"] is not None
    assert group(2)["a"] is None


def torn_pair(rule: SplitRule) -> tuple[Study, Study]:
    """Two patients of one report whose own splits are test and train."""
    patients = {rule.split_of(f"p{n}"): f"p{n}" for n in range(200)}
    return a_study("t", patients["test"], "gan to"), a_study("l", patients["train"], "Gan to!")


def test_drop_leaves_out_the_side_that_is_learned_from() -> None:
    tested, learned = torn_pair(SplitRule())
    assert splits(placed([tested, learned], mode="drop")) == {"t": "test"}
    assert splits(placed([learned, tested], mode="drop")) == {"t": "test"}


def test_drop_keeps_copies_that_stand_on_one_side() -> None:
    patients = [f"p{n}" for n in range(100) if SplitRule().split_of(f"p{n}") == "train"][:2]
    studies = [a_study(f"s{n}", patient, "gan to") for n, patient in enumerate(patients)]
    assert splits(placed(studies, mode="drop")) == {"s0": "train", "s1": "train"}


def test_flag_moves_nobody_and_says_so_in_the_samples(petct: Petct) -> None:
    tested, learned = (one.to_json() for one in torn_pair(SplitRule()))
    result = petct("pair", "--regions", "whole", "--duplicates", "flag", stdin=lines(tested, learned))
    told = [(r["split"], r["duplicate_across"], r["duplicate_group"]) for r in result.records]
    assert [row[:2] for row in told] == [("test", ["train", "test"]), ("train", ["train", "test"])]
    assert told[0][2] == told[1][2]
    assert "1 groups of patients with the same report stood across splits" in result.stderr
    moved = petct("pair", "--regions", "whole", stdin=lines(tested, learned)).records
    assert len({record["split"] for record in moved}) == 1
    assert all("duplicate_across" not in record for record in moved)
    dropped = petct("pair", "--regions", "whole", "--duplicates", "drop", stdin=lines(tested, learned))
    assert [record["study"] for record in dropped.records] == ["t"]
    assert "1 studies left out" in dropped.stderr
    assert dropped.code == 0


def test_shards_and_jobs_agree_with_the_whole(petct: Petct, tmp_path: Path) -> None:
    texts = [f"{WORDS[n % 5]} {WORDS[n % 3]} to" for n in range(24)]
    whole = lines(*(a_study(f"s{n}", f"p{n // 2}", text).to_json() for n, text in enumerate(texts)))
    (tmp_path / "in.jsonl").write_bytes(whole)

    def call(*more: str) -> Result:
        rules = ("--regions", "whole", "--split", "random:0:40/30/30")
        return petct("pair", *rules, *more, tmp_path / "in.jsonl")

    expected = call().stdout
    assert call("--jobs", "2").stdout == expected
    parts = [line for part in (1, 2, 3) for line in call("--shard", f"{part}/3").stdout.splitlines()]
    assert sorted(parts) == sorted(expected.splitlines())


def test_a_failed_study_has_its_patients_split() -> None:
    good, bad = a_study("a", "p1", "gan to"), a_study("b", "p2", "gan to").failed("convert", "no_pet", "x")
    found = placed([good, bad], "random:0:40/30/30")
    assert found["a"].placement and found["b"].placement
    assert found["a"].placement.split == found["b"].placement.split
    samples = list(Pair().fan_out_failed(found["b"]))
    assert {getattr(sample, "split", None) for sample in samples} == {found["b"].placement.split}


# By month


def test_the_papers_months() -> None:
    months = paper_months()
    assert Counter(year for year, _ in months) == {2017: 5, 2018: 10, 2019: 5, 2023: 12}
    expected = {(2017, 8): "train", (2018, 5): None, (2018, 10): "val", (2019, 11): "val", (2023, 12): "test"}
    assert {month: months.get(month) for month in expected} == expected


@pytest.mark.parametrize(
    ("fields", "split"),
    [
        ({"period": "2017-11"}, "val"),
        ({"period": "2019-12", "study_date": "2011-01-03", "dates": "shifted"}, "test"),
        ({"study_date": "2023-01-31", "dates": "full"}, "train"),
        ({"study_date": "2023-01-31", "dates": "shifted"}, "period_unknown"),
        ({"study_date": "2023-01-31"}, "period_unknown"),
        ({"dates": "none", "period": "2023"}, "period_unknown"),
        ({"period": "2018-05"}, "month_unlisted"),
        ({"period": "2024-01"}, "month_unlisted"),
        ({}, "period_unknown"),
    ],
)
def test_a_study_has_the_split_of_its_month(fields: dict[str, str], split: str) -> None:
    one = a_study("s", "p", "gan", **fields)
    if split in SPLITS:
        assert TimeRule().own(one) == split
    else:
        with pytest.raises(RecordError) as caught:
            TimeRule().own(one)
        assert caught.value.code == split


def test_a_month_is_refused_in_the_record_and_by_the_exit_code(petct: Petct) -> None:
    result = petct(
        "pair", "--split", "time", "--regions", "whole",
        stdin=lines(study("a", period="2023-11"), study("b", study_date="2019-12-02", dates="shifted")),
    )  # fmt: skip
    assert result.code == 1
    assert [(record.get("split"), record.get("error", {}).get("code")) for record in result.records] == [
        ("test", None),
        (None, "period_unknown"),
    ]
    assert "2019" not in result.stderr


def test_by_month_a_patient_and_a_duplicate_go_to_the_side_that_is_held_out() -> None:
    studies = [
        a_study("a", "p1", "gan to", period="2023-01"),
        a_study("b", "p1", "lách to", period="2023-12"),
        a_study("c", "p2", "phổi sáng", period="2023-02"),
        a_study("d", "p3", "phổi sáng", period="2023-10"),
        a_study("e", "p4", "tim to", period="2023-03"),
    ]
    for order in list(permutations(studies))[::17]:
        assert splits(placed(order, "time")) == {"a": "test", "b": "test", "c": "val", "d": "val", "e": "train"}


# From a list


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.csv", "patient,split\np1,test\np2,train\n"),
        ("s.csv", "\ufeffSplit;Study;note\ntest;a;x\ntrain;b;y\n"),
        ("s.jsonl", '{"study": "a", "split": "test"}\n{"patient": "p2", "split": "train"}\n'),
        ("s.jsonl", '{"id": "a/chest/report", "study": "a", "patient": "p1", "split": "test", "x": 1}\n'
                    '{"id": "b/chest/report", "study": "b", "patient": "p2", "split": "train"}\n'),
    ],
)  # fmt: skip
def test_a_list_says_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    studies = [a_study("a", "p1", "gan"), a_study("b", "p2", "phổi"), a_study("c", "p3", "tim")]
    found = placed(studies, f"file:{tmp_path / name}")
    assert splits(found) == {"a": "test", "b": "train", "c": None}
    assert found["c"].placement and (found["c"].placement.fault or ("",))[0] == "split_unlisted"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("patient,split\np1,test\np1,train\n", "split_conflict"),
        ("patient,split\np1,sideways\n", "split_file"),
        ("patient,split\n,test\n", "split_file"),
        ("name,side\np1,test\n", "split_file"),
        ("patient,split\n\xff", "split_file"),
    ],
)
def test_a_list_that_cannot_be_meant(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        FileRule.read(tmp_path / "s.csv")
    assert caught.value.code == code
    assert "p1" not in caught.value.message


def test_a_list_by_study_cannot_tear_a_patient(tmp_path: Path, petct: Petct) -> None:
    (tmp_path / "s.csv").write_text("study,split\na,test\nb,train\nc,val\nnobody,val\n")
    stdin = lines(study("a", patient="p1"), study("b", patient="p1"), study("c", patient="p2"))
    command = ["pair", "--split", f"file:{tmp_path / 's.csv'}", "--regions", "whole", "--near", "2"]
    result = petct(*command, stdin=stdin, cwd=tmp_path)
    told = [(record["study"], record.get("split"), record.get("error", {}).get("code")) for record in result.records]
    assert told == [("a", None, "split_conflict"), ("b", None, "split_conflict"), ("c", "val", None)]
    assert "1 names of --split file are of no study" in result.stderr
    assert petct("pair", "--split", "file:gone.csv", stdin=stdin, cwd=tmp_path).code == 2


# In equal shares


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=200), st.integers(0, 3))
def test_each_stratum_has_its_shares(units: list[tuple[str, int]], seed: int) -> None:
    rule = SplitRule(seed, (60.0, 20.0, 20.0))
    names = [f"{number}".encode() for number in range(len(units))]
    found = allot([stratum for stratum, _ in units], [size for _, size in units], names, rule)
    for stratum in "abcd":
        sizes: Counter[str] = Counter()
        for (own, size), split in zip(units, found, strict=True):
            if own == stratum:
                sizes[split] += size
        total = sum(sizes.values())
        assert all(abs(sizes[split] - share * total) <= 7 for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True))


def test_strata_are_told_of(petct: Petct, tmp_path: Path) -> None:
    studies = [study(f"s{n}", sex="M" if n < 40 else "F") for n in range(80)] + [study("x")]
    (tmp_path / "in.jsonl").write_bytes(lines(*studies))
    command = ["pair", "--split", "stratified:sex", "--template", "10", "--regions", "whole", "in.jsonl"]
    result = petct(*command, cwd=tmp_path)
    by_sex = Counter((n < 40, record["split"]) for n, record in enumerate(result.records[:80]))
    assert abs(by_sex[True, "test"] - 4) <= 1
    assert abs(by_sex[False, "test"] - 4) <= 1
    assert "1 studies have no sex" in result.stderr


@pytest.mark.parametrize("rule", ["stratified", "stratified:name", "stratified:sex:x", "file:", "time:0"])
def test_rules_that_cannot_be_meant(rule: str) -> None:
    with pytest.raises(UsageError):
        parse_split(rule)


def test_a_leakage_report_needs_someone_who_looks() -> None:
    with pytest.raises(UsageError):
        Placing(SplitRule(), DuplicateRule("off"), Path("x.json"))
    for wrong in (("away", 0.95, 50), ("move", 0.1, 50), ("move", 0.95, 0)):
        with pytest.raises(UsageError):
            DuplicateRule.parse(*wrong)


def test_the_leakage_report_names_the_groups(tmp_path: Path) -> None:
    tested, learned = torn_pair(SplitRule())
    one, other = near_texts()
    studies = [tested, learned, a_study("n1", "pn1", one), a_study("n2", "pn2", other), a_study("z", "pz", "")]
    placed(studies, leakage=tmp_path / "l.json")
    report = orjson.loads((tmp_path / "l.json").read_bytes())
    kinds = {group["kind"]: group for group in report["groups"]}
    assert [(row["study"], row["before"]) for row in kinds["exact"]["studies"]] == [("l", "train"), ("t", "test")]
    assert len({row["after"] for row in kinds["exact"]["studies"]}) == 1
    assert kinds["exact"]["across"] is True
    assert 0.95 <= kinds["near"]["cosine"] < 1
    assert (report["studies"], report["patients"], report["without_words"]) == (5, 5, 1)
    again = tmp_path / "again.json"
    placed(studies[::-1], leakage=again)
    assert again.read_bytes() == (tmp_path / "l.json").read_bytes()
    placed(studies, mode="drop", leakage=tmp_path / "l.md")
    text = (tmp_path / "l.md").read_text("utf-8")
    assert re.search(r"\| l \| .* \| train \| dropped \|", text)
    assert "gan to" not in text
    flagged = placed(studies, mode="flag", leakage=tmp_path / "f.json")
    assert splits(flagged)["t"] == "test"
    regions = orjson.loads((tmp_path / "f.json").read_bytes())["regions"]
    assert regions["head_neck"] == {"test": 0, "also_in_train": 0}


def test_samples_of_an_earlier_pair_are_a_list_though_some_failed(petct: Petct, tmp_path: Path) -> None:
    months = {"a": "2017-08", "b": "2018-05", "c": "2019-12"}  # the paper's table has no May of 2018
    studies = lines(*(a_study(name, name, name, period=month).to_json() for name, month in months.items()))
    rules = ("--regions", "whole", "--max-failures", "9")
    earlier = petct("pair", *rules, "--split", "time", stdin=studies)
    assert [one.get("split") for one in earlier.records] == ["train", None, "test"]
    (tmp_path / "earlier.jsonl").write_bytes(earlier.stdout)
    again = petct("pair", *rules, "--split", f"file:{tmp_path / 'earlier.jsonl'}", stdin=studies)
    assert [one.get("split") for one in again.records] == ["train", None, "test"]
    assert again.records[1]["error"]["code"] == "split_unlisted"
    (tmp_path / "bad.csv").write_text("patient,split\na,\n", "utf-8")
    assert petct("pair", "--split", f"file:{tmp_path / 'bad.csv'}", stdin=studies).code == 65


def test_a_dry_run_writes_no_list(petct: Petct, tmp_path: Path) -> None:
    studies = lines(a_study("a", "p", "gan to").to_json(), study("b", report=None))
    files = ("--leakage", "leak.json", "--unmatched", "un.jsonl", "--card", "card.md", "--preview", "look")
    done = petct("pair", "--dry-run", *files, stdin=studies, cwd=tmp_path)
    assert (done.code, done.stdout) == (0, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--task", "report,compare"), "compare_with_shard"),
        (("--export", "trl", "--export-dir", "ex"), "export_with_shard"),
    ],
)
def test_what_a_shard_alone_cannot_make(petct: Petct, tmp_path: Path, options: tuple[str, ...], code: str) -> None:
    studies = lines(a_study("a", "p", "gan to").to_json())
    done = petct("pair", "--shard", "1/2", *options, stdin=studies, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert f"[{code}]" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [("--task", "vqa,compare"), ("--card", "card.md")])
def test_a_full_disk_below_tmpdir_is_no_fault_of_petct(tmp_path: Path, options: tuple[str, ...]) -> None:
    studies = lines(*(study(f"s{number}") for number in range(400)))

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-m", "petct_cli", "pair", "--regions", "paper", "--duplicates", "off", *options],
        input=studies, capture_output=True, env={**environment_on_a_full_disk(), "TMPDIR": str(tmp_path)}, cwd=tmp_path,
        preexec_fn=no_room, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert b"[scratch_unwritable]" in done.stderr
    assert list(tmp_path.iterdir()) == []

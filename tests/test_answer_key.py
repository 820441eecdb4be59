"""`petct anonymize` over a corpus of planted identifiers, marked by an answer key that knows nothing of its rules."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import answer_key
import plant_corpus
import pytest
from answer_key import Kind
from conftest import Result
from plant_people import PEOPLE, left_in
from pydicom.uid import DeflatedExplicitVRLittleEndian

Petct = Callable[..., Result]
PRESETS = ("tcia", "basic")
REQUIRED = 0.9993


@pytest.fixture(scope="module")
def corpus(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> plant_corpus.Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    made = petct("phantom", "--studies", "1", "--seed", "7", "--ct-grid", "pet", "-o", "phantom", cwd=folder)
    assert made.code == 0, made.stderr
    return plant_corpus.build(folder / "planted", folder / "phantom/study_0001")


@pytest.fixture(scope="module", params=PRESETS)
def run(petct: Petct, corpus: plant_corpus.Corpus, request: pytest.FixtureRequest) -> tuple[str, Result, Path]:
    preset = str(request.param)
    folder = corpus.studies.parent
    key = folder / "key"
    key.write_bytes(b"a key for tests, the same every time\n")
    key.chmod(0o600)
    result = petct(
        "anonymize", "in", "--reports", "reports", "-o", preset, "--key-file", "key", "--profile", preset,
        "--json-logs", f"{preset}.log", cwd=folder,
    )  # fmt: skip
    return preset, result, folder


def test_every_study_comes_out(run: tuple[str, Result, Path]) -> None:
    _, result, _ = run
    failed = [record["error"] for record in result.records if "error" in record]
    assert failed == []
    assert len(result.records) == len(PEOPLE)


def test_the_answer_key_is_met(run: tuple[str, Result, Path], corpus: plant_corpus.Corpus) -> None:
    preset, _, folder = run
    score = answer_key.check(corpus.key, preset, folder / preset)
    print(score)
    assert all(score.total[kind] for kind in Kind if preset == "tcia" or kind is not Kind.DATE_SHIFTED)
    assert score.share >= REQUIRED


def test_no_planted_string_is_in_any_output(run: tuple[str, Result, Path]) -> None:
    preset, result, folder = run
    said = {"stdout": result.stdout, "stderr": result.stderr.encode(), "log": (folder / f"{preset}.log").read_bytes()}
    own = {}
    for path in sorted((folder / preset).rglob("*")):
        said["names"] = said.get("names", b"") + str(path.relative_to(folder)).encode() + b"\n"
        if path.is_file():
            own[str(path.relative_to(folder))] = readable(path.read_bytes())
    everyone = set().union(*(person.secrets() for person in PEOPLE)) - {person.study_day for person in PEOPLE}
    assert left_in({**said, **own}, everyone) == []


def readable(data: bytes) -> bytes:
    """Return the bytes of a file, a deflated data set inflated behind them."""
    if DeflatedExplicitVRLittleEndian.encode() + b"\0" in data[:400]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        body = data[data.index(b"\x02\x00\x13\x00") + 8 + 6 :]
        data += inflater.decompress(body)
    return data


def test_the_key_and_the_search_find_fault_with_what_was_never_anonymised(corpus: plant_corpus.Corpus) -> None:
    score = answer_key.check(corpus.key, "tcia", corpus.studies)
    for kind in (Kind.DATE_SHIFTED, Kind.UID_CHANGED, Kind.PATID_CONSISTENT):
        assert score.passed[kind] == 0
    assert score.passed[Kind.TEXT_REMOVED] < score.total[Kind.TEXT_REMOVED] / 10
    path = next(corpus.studies.rglob(f"*{PEOPLE[0].patient_id}/*_0.dcm"))
    left = left_in({"": readable(path.read_bytes())}, PEOPLE[0].secrets())
    assert len(left) > len(PEOPLE[0].secrets()) / 2

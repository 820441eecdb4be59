"""De-identification of reports, measured: on generated reports with planted identifiers, and on real clean findings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from report_deid_corpus import Corpus
from report_deid_measure import Measured, measure, verify

from petct_cli.report.deid import clean_text

DATED = re.compile(r"(?:\d{1,2}/)?\d{1,2}/(?:19|20)\d\d")
NUMBER = re.compile(r"\d[\d.,]*")


@pytest.fixture(scope="module", params=["dev", "held"])
def measured(request: pytest.FixtureRequest) -> Measured:
    return measure(Corpus(request.param, 11).reports(8))


@pytest.mark.parametrize("kind", ["name", "id", "date", "phone", "address", "institution"])
def test_all_of_the_studys_own_identifiers_go(measured: Measured, kind: str) -> None:
    assert [context for planted, context in measured.missed if planted.kind == f"known_{kind}"] == []
    assert measured.recall(kind=f"known_{kind}") == 1


def test_other_names_go(measured: Measured) -> None:
    assert measured.recall(kind="name") >= 0.98
    assert measured.recall(kind="given_name") >= 0.95
    assert measured.recall(kind="initials") >= 0.95


def test_what_is_not_replaced_is_listed_for_review(measured: Measured) -> None:
    assert measured.recall(kind="name", listed=True) >= 0.99


@pytest.mark.parametrize("kind", ["phone", "patient_code", "bhyt", "cccd", "email", "date", "institution"])
def test_numbers_dates_and_places_go(measured: Measured, kind: str) -> None:
    assert measured.recall(kind=kind) >= 0.99


def test_addresses_go(measured: Measured) -> None:
    assert measured.recall(kind="address") >= 0.95


def test_the_sentences_round_them_stay(measured: Measured) -> None:
    """Names are planted every few words here: what goes with them is a title or a word of the next sentence."""
    assert len(measured.beside) / measured.tokens <= 0.005
    assert not [token for token in measured.beside if token.endswith("mm") or "SUV" in token]


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *texts_of(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


@pytest.mark.real
@pytest.mark.parametrize("source", ["reports.jsonl", "vqa.jsonl", "gpt_lesions.jsonl", "lesions"])
def test_real_texts_without_identifiers_are_left_alone(real_data: Path, source: str) -> None:
    place = real_data / "vimed" / source
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    values = [
        orjson.loads(line)
        for file in files
        for line in (file.read_bytes().splitlines() if file == place else [file.read_bytes()])
    ]
    tokens = touched = alarms = texts = 0
    for text in texts_of(values):
        cleaned = clean_text(text, lambda _: [], -400)
        verify(text, cleaned)
        tokens += len(text.split())
        texts += 1
        alarms += len(cleaned.doubtful)
        touched += sum(len(text[start:end].split()) for start, end in cleaned.replaced)
        assert NUMBER.findall(DATED.sub("", text)) == NUMBER.findall(DATED.sub("", cleaned.text))
    assert tokens > 1000
    assert touched / tokens <= 0.005
    assert alarms / texts <= 0.25

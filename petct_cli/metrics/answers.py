"""What an answer to a question says: yes or no, how large, how many, where. Rules, and None where they cannot tell.

>>> polarity("Không, không thấy hạch nách.", "Có hạch nách không?")
'no'
>>> polarity("Có thể có hạch nách.", "Có hạch nách không?") is None
True
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal

from petct_cli.report.language import VIETNAMESE
from petct_cli.report.lesions import LANGUAGES
from petct_cli.report.measures import find_measures
from petct_cli.report.normalise import TOKEN, fold
from petct_cli.report.places import find_positions
from petct_cli.report.sections import split_sentences
from petct_cli.report.sites import sides_of
from petct_cli.report.vocabulary import Mention, load_vocabulary

ANSWER_RULES_VERSION = "1"
"""Belongs in the signature of every score that rests on these rules."""

Polarity = Literal["yes", "no"]
Where = frozenset[tuple[str, str | None]]
_ORNAMENT = " \t\r\n*_#>\"'“”«»`•-–—"
_ALTERNATIVES = re.compile(r",|\b(?:hoặc|hay|và)\b")
_ABOUT_SUV, _ABOUT_SIZE = re.compile(r"\bsuv|g/ml"), re.compile(r"\b(?:kích thước|đường kính|size|diameter)\b")
_JOINT = re.compile(r",|\b(?:và|hoặc|hay|and|or)\b")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\d)")


@dataclass(frozen=True)
class _Marks:
    """Patterns of which the first to occur decides."""

    says: tuple[str, ...]
    pattern: re.Pattern[str]

    def first(self, text: str, unless: Sequence[tuple[int, int]] = ()) -> str | None:
        """Return what the first of them says that does not begin within `unless`."""
        for match in self.pattern.finditer(text):
            if not any(start <= match.start() < end for start, end in unless):
                return self.says[int((match.lastgroup or "m0")[1:])]
        return None


@dataclass(frozen=True)
class _Rules:
    kinds: Mapping[str, re.Pattern[str]]
    polarity: Mapping[str, re.Pattern[str]]
    marks: _Marks
    asks_normality: re.Pattern[str]
    normality: _Marks
    units: tuple[tuple[re.Pattern[str], str], ...]
    counts: re.Pattern[str]
    number_words: Mapping[str, int]
    vague: re.Pattern[str]
    zero: re.Pattern[str]
    denied: re.Pattern[str]


def _marks(table: Sequence[Sequence[str]]) -> _Marks:
    joined = "|".join(f"(?P<m{index}>{pattern})" for index, (_, pattern) in enumerate(table))
    return _Marks(tuple(says for says, _ in table), re.compile(joined))


@cache
def load_rules() -> _Rules:
    """Read and compile ``data/answers.toml``."""
    table = tomllib.loads(files("petct_cli.metrics").joinpath("data/answers.toml").read_text("utf-8"))
    numbers = table["numbers"]
    words: dict[str, int] = {fold(word): value for word, value in numbers["words"].items()}
    any_word = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    terms = [found for lang in LANGUAGES for found in load_vocabulary(lang).meanings.items()]
    heads = sorted({" ".join(words) for words, term in terms if term.kind}, key=lambda one: (-len(one), one))
    return _Rules(
        kinds={kind: re.compile(pattern) for kind, pattern in table["kinds"].items()},
        polarity={name: re.compile(value) for name, value in table["polarity"].items() if isinstance(value, str)},
        marks=_marks(table["polarity"]["marks"]),
        asks_normality=re.compile(table["normality"]["question"]),
        normality=_marks(table["normality"]["marks"]),
        units=tuple((re.compile(pattern), unit) for pattern, unit in numbers["units"]),
        counts=re.compile(
            rf"(?<![\w.])(?P<number>\d+|{any_word})(?P<range>\s*(?:-|–|đến|hoặc|hay|to|or)\s*(?:\d+|{any_word}))?\s+"
            rf"(?:{'|'.join(map(re.escape, heads))}|{numbers['counted']})\b"
        ),
        number_words=words,
        vague=re.compile(numbers["vague"]),
        zero=re.compile(numbers["zero"]),
        denied=re.compile(table["places"]["denied"]),
    )


def polarity(text: str, question: str = "") -> Polarity | None:
    """Return whether an answer says yes or no; None where it does not say, or not for sure.

    Read are, in this order: a yes or no that is set off at the head of the answer; then, in its first sentence, the
    clause that speaks of what was asked; then the first clause with a word that affirms or denies. "Có, nhưng ..." is
    yes, "Không thấy ... nhưng có ..." no. A repeated question is skipped.

    Parameters
    ----------
    text
        The answer, Vietnamese or English.
    question
        What was asked, if known.
    """
    return _polarity(text, question)


@lru_cache(maxsize=65536)
def _polarity(text: str, question: str) -> Polarity | None:
    rules = load_rules()
    words = rules.polarity
    asked = fold(question)
    answer = _without_echo(_folded(text), asked)
    while (lead := words["lead_in"].match(answer)) is not None:
        answer = answer[lead.end() :].lstrip(_ORNAMENT)
    says: dict[Polarity, re.Match[str] | None] = {
        "no": words["no_alone"].match(answer),
        "yes": words["yes_alone"].match(answer),
    }
    for polarity_, head in says.items():
        if head is not None:
            rest = answer[head.end() :].strip(_ORNAMENT + ".,;:!…()")
            other = words["yes_alone" if polarity_ == "no" else "no_alone"].match(rest)
            # "Có. Không." is both, and so neither.
            return None if other is not None and not rest[other.end() :].strip(" .!…") else polarity_
    sentence = next(iter(split_sentences(answer)), "")
    found = rules.normality.first(sentence) if _asks_normality(asked) else _of_statement(sentence, asked)
    return "yes" if found == "yes" else "no" if found == "no" else None


def _asks_normality(asked: str) -> bool:
    return load_rules().asks_normality.search(asked) is not None


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", fold(text)).strip(_ORNAMENT)


def _without_echo(answer: str, asked: str) -> str:
    """Cut off a question that the answer repeats, word for word or at least as a question."""
    words = TOKEN.findall(asked)
    matches = list(TOKEN.finditer(answer))
    if words and [match.group() for match in matches[: len(words)]] == words:
        return answer[matches[len(words) - 1].end() :].lstrip(_ORNAMENT + ".,;:!?…")
    while (mark := re.match(r"[^.?!;\n]*\?\s*", answer)) is not None:
        answer = answer[mark.end() :].lstrip(_ORNAMENT)
    return answer


def _of_statement(sentence: str, asked: str) -> str | None:
    """Return what a sentence without a yes or no at its head says about what was asked."""
    rules = load_rules()
    words = rules.polarity
    what = words["asked"].search(asked)
    topic = what["what"] if what else asked
    clauses = [clause for clause in words["clause"].split(sentence) if clause.strip()]
    if words["about_uptake"].search(topic):
        for clause in clauses:
            if words["about_uptake"].search(clause):
                denied = words["bare_uptake"].search(clause)
                if denied is not None:
                    # "No node without uptake" may mean either.
                    before = rules.marks.first(clause[: denied.start()])
                    return "unsure" if before == "no" else "no"
                return rules.marks.first(clause) or _unmarked(clause, topic)
        return _first_mark(clauses, about_uptake=True)
    topic = " ".join(words["qualifiers"].sub(" ", _ALTERNATIVES.split(topic)[0]).split())
    if what and topic and not words["adverbial"].match(topic):
        for clause in clauses:
            if re.search(rf"\b{re.escape(topic)}\b", clause):
                found = rules.marks.first(clause, _bare_uptake(clause))
                return found or _unmarked(clause, topic)
    return _first_mark(clauses, about_uptake=not asked)


def _unmarked(clause: str, topic: str) -> str:
    """Return what a clause says that names what was asked and neither affirms nor denies it: that it is there."""
    words = load_rules().polarity
    other = any(words[name].search(clause) and not words[name].search(topic) for name in ("normal", "about_less"))
    return "unsure" if other else "yes"


def _bare_uptake(clause: str) -> list[tuple[int, int]]:
    return [match.span() for match in load_rules().polarity["bare_uptake"].finditer(clause)]


def _first_mark(clauses: Sequence[str], *, about_uptake: bool) -> str | None:
    rules = load_rules()
    for clause in clauses:
        found = rules.marks.first(clause, [] if about_uptake else _bare_uptake(clause))
        if found is not None:
            return found
    return None


def _measurable(text: str) -> str:
    folded = _folded(text)
    for pattern, unit in load_rules().units:
        folded = pattern.sub(unit, folded)
    return folded


def size_mm(text: str, unit: str | None = None) -> float | None:
    """Return the largest diameter of the first size in an answer, in millimetres.

    Parameters
    ----------
    text
        The answer.
    unit
        mm or cm: of an answer that is a bare number, because the question names the unit.
    """
    folded = _measurable(text)
    measured = find_measures(folded).size_mm
    if measured is not None or unit not in ("mm", "cm") or _ABOUT_SUV.search(folded):
        return measured
    number = _lone_number(folded)
    return None if number is None else number * (10 if unit == "cm" else 1)


def suv_max(text: str) -> float | None:
    """Return the first SUVmax in an answer; a number alone in its first sentence is one."""
    folded = _measurable(text)
    measured = find_measures(folded).suv_max
    return _lone_number(folded) if measured is None and not _ABOUT_SIZE.search(folded) else measured


def _lone_number(folded: str) -> float | None:
    sentence = next(iter(split_sentences(folded)), "")
    numbers = [
        match
        for match in _NUMBER.finditer(sentence)
        if not re.match(r"\s*(?:mm|cm|%|/|[x×*])", sentence[match.end() :])
    ]
    if len(numbers) != 1 or load_rules().vague.search(sentence[: numbers[0].start()]):
        return None
    return float(numbers[0].group())


def count(text: str) -> int | None:
    """Return how many lesions an answer counts, 0 where it says that there is none; ranges and bounds are no count."""
    rules = load_rules()
    folded = _folded(text)
    bare = folded.strip(" .!")
    bare = bare.removeprefix("có ").removeprefix("là ")
    if bare.isdigit() or bare in rules.number_words:
        return int(bare) if bare.isdigit() else rules.number_words[bare]
    sentence = next(iter(split_sentences(folded)), "")
    counted = [match for match in rules.counts.finditer(sentence) if match["number"] not in ("không", "no")]
    if counted and not rules.zero.match(sentence):
        if any(match["range"] or rules.vague.search(sentence[: match.start()]) for match in counted):
            return None
        whole, *parts = [
            int(number) if (number := match["number"]).isdigit() else rules.number_words[number] for match in counted
        ]
        # "3 nốt: 2 nốt ở phổi, 1 nốt ở gan" says three; "2 hạch và 1 nốt" leaves the sum to the reader.
        return whole if not parts or whole == sum(parts) else None
    if rules.zero.match(sentence) or rules.polarity["no_alone"].match(sentence):
        return 0
    lone = _lone_number(folded)
    return int(lone) if lone is not None and lone.is_integer() else None


def places(text: str, lang: str = VIETNAMESE) -> Where:
    """Return the (site or organ, side) pairs that an answer in `lang` names, both sides as two; not what it denies."""
    return _places(text, lang)


@lru_cache(maxsize=65536)
def _places(text: str, lang: str) -> Where:
    rules, words = load_rules(), load_vocabulary(lang)
    found: set[tuple[str, str | None]] = set()
    for sentence in split_sentences(text):
        for clause in re.split(r";|\bnhưng\b|\btuy nhiên\b|\bmà\b|\bchỉ\b|\bbut\b", fold(sentence)):
            if rules.denied.search(clause):
                continue
            mentions = words.mentions(clause)
            heads = [one for one in mentions if one.term.kind]
            with_nodes = _organs_with_nodes(clause, mentions)
            for position in find_positions(clause, words, mentions).of_lesion(heads):
                own = None if position.organ in with_nodes else words.sites.get(position.organ)
                where = own or position.site or position.organ
                found.update((where, side) for side in sides_of(where, position.side))
    return frozenset(found)


def _organs_with_nodes(clause: str, mentions: Sequence[Mention]) -> set[str | None]:
    """Return the organs whose nodes are meant: in a list ("hạch nách và gan") only those that the word stands with."""
    joints = [0, *(match.start() for match in _JOINT.finditer(clause)), len(clause)]
    parts = [[one.term for one in mentions if start <= one.span[0] < end] for start, end in pairwise(joints)]
    return {term.organ for part in parts if any(one.kind == "node" for one in part) for term in part}

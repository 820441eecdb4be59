"""Lesions that a report states, listed by a language model behind an endpoint: an option beside the rules.

    extractor = EndpointExtractor(Endpoint("http://127.0.0.1:8000/v1", "some-model", cache=Path("answers")))
    extractor.lesions("Nốt phổi phải 12 mm.")       # a tuple; None where the extraction failed, which is never "none"

The model only says which words state a lesion and what they say of it. Categories, sites, sides and numbers are read in
those words with the vocabulary of `petct_cli.report.lesions`, so that both extractors speak of the same things.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from petct_cli.core.endpoint import AnswerError, Endpoint, Prompt
from petct_cli.core.hashing import sha256_json
from petct_cli.report.lesions import EXTRACTOR_VERSION, ExtractedLesion, Fdg, Span, extract_lesions
from petct_cli.report.measures import find_measures
from petct_cli.report.normalise import fold

_log = logging.getLogger(__name__)


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    quote: str
    type: str | None
    position: str | None
    size: str | None
    suv_max: str | None
    fdg: Literal["increased", "none", "not_stated"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    lesions: list[_Stated]


@cache
def _prompt() -> Prompt:
    table = tomllib.loads(files("petct_cli.report").joinpath("data/llm_lesions.toml").read_text("utf-8"))
    return Prompt("lesions", table["system"].strip())


@dataclass(frozen=True)
class EndpointExtractor:
    """The extractor; it asks once per text and run, and not at all for what the endpoint's cache holds.

    Attributes
    ----------
    endpoint
        Whom to ask.
    """

    endpoint: Endpoint
    _found: dict[str, tuple[ExtractedLesion, ...] | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What scores call it."""
        return "llm"

    @property
    def version(self) -> str:
        """Model, hash of prompt and parameters, and the rules that read the model's words."""
        prompt = _prompt()
        asked = sha256_json([prompt.sha256, self.endpoint.parameters(prompt, _Answer)])
        model = "".join(char if char.isalnum() or char in "._-/:" else "_" for char in self.endpoint.model)
        return f"{model}-prompt.{asked[:12]}-read.{EXTRACTOR_VERSION}"

    def lesions(self, text: str) -> tuple[ExtractedLesion, ...] | None:
        """Return the lesions that `text` states, None where the extraction failed.

        It fails when the answer is cut off or not of the shape asked for, when none comes in time, and when it quotes
        what the text does not say.

        Raises
        ------
        EndpointError
            When no text would fare better.
        """
        if not any(char.isalnum() for char in text):
            return ()
        if text not in self._found:
            self._found[text] = self._asked(text)
        return self._found[text]

    def _asked(self, text: str) -> tuple[ExtractedLesion, ...] | None:
        try:
            answer = self.endpoint.ask(_prompt(), text, _Answer)
            return tuple(
                lesion
                for finding, stated in enumerate(answer.lesions)
                for lesion in _lesions_of(stated, finding, _span_of(stated.quote, text))
            )
        except AnswerError as error:
            _log.warning("lesions of a text could not be extracted: %s (%s)", error.message, error.code)
            return None


def _span_of(quote: str, text: str) -> Span:
    """Return where `quote` stands; all of the text where it stands there in another spelling."""
    at = text.find(quote)
    if quote and at >= 0:
        return at, at + len(quote)
    words = " ".join(fold(quote).split())
    if not words or words not in " ".join(fold(text).split()):
        raise AnswerError("answer_ungrounded", "the answer quotes what the text does not say")
    return 0, len(text)


def _lesions_of(stated: _Stated, finding: int, span: Span) -> Iterator[ExtractedLesion]:
    """Yield the lesion at each of its places, in the categories of the rules."""
    size = find_measures(fold(f"kích thước {stated.size or ''}"))
    suv_max = find_measures(fold(f"suvmax {stated.suv_max or ''}")).suv_max
    fdg: Fdg | None = None if stated.fdg == "not_stated" else stated.fdg
    for part in _by_rules(stated.type, stated.position):
        yield replace(
            part,
            size_mm=size.size_mm,
            sizes_mm=size.sizes_mm,
            suv_max=suv_max,
            fdg=fdg,
            span=span,
            finding=finding,
            mentions=(),
        )


def _by_rules(kind: str | None, position: str | None) -> Sequence[ExtractedLesion]:
    """Read type and position as words of a report; a measure stands with them, since vague findings need one."""
    named = f"{kind or 'tổn thương'} ở {position}" if position else kind or "tổn thương"
    found = extract_lesions(f"{' '.join(named.split())} 10 mm, tăng chuyển hóa FDG.")
    parts = {(one.site, one.organ, one.side): one for one in found} or {
        (None, None, None): ExtractedLesion(None, None, None, None, None, (), None, None, False, (0, 0), 0)
    }
    return [replace(one, kind=one.kind if kind else None) for one in parts.values()]

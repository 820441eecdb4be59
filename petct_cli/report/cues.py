r"""Patterns that say before they search that they cannot be found: most cues are in few sentences.

`re` tries a pattern that begins with an alternative or a word boundary at each character; whether any of the literal
beginnings of the alternatives is in the text at all is known in a hundredth of the time.

>>> beginnings(r"\b(?:cách|chèn(?: ép)?|(?:gây )?hẹp)\b")
('cách', 'chèn', 'gây ', 'hẹp')
>>> beginnings(r"\d+ mm") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPECIAL = frozenset(".^$*+?{}[]\\|()")
_NONE: tuple[re.Match[str], ...] = ()


class Cue:
    """A compiled pattern with the methods of `re.Pattern` that searching for it needs."""

    __slots__ = ("begins", "fullmatch", "match", "pattern", "sub")

    def __init__(self, written: str) -> None:
        self.pattern = re.compile(written)
        self.begins = beginnings(written)
        self.match = self.pattern.match
        self.fullmatch = self.pattern.fullmatch
        self.sub = self.pattern.sub

    def __reduce__(self) -> tuple[type[Cue], tuple[str]]:
        return Cue, (self.pattern.pattern,)

    def search(self, text: str, start: int = 0, end: int | None = None) -> re.Match[str] | None:
        """Return the first match in `text[start:end]`."""
        if self._may_be_in(text):
            return self.pattern.search(text, start) if end is None else self.pattern.search(text, start, end)
        return None

    def finditer(self, text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
        """Return the matches in `text[start:end]` from left to right."""
        if self._may_be_in(text):
            return self.pattern.finditer(text, start) if end is None else self.pattern.finditer(text, start, end)
        return iter(_NONE)

    def _may_be_in(self, text: str) -> bool:
        if self.begins is None:
            return True
        for one in self.begins:  # noqa: SIM110 (called often)
            if one in text:
                return True
        return False


def beginnings(pattern: str) -> tuple[str, ...] | None:
    """Return literal texts of which every match holds one, None where they cannot be told."""
    found: list[str] = []
    for branch in _branches(pattern):
        begins = _of_branch(branch)
        if begins is None:
            return None
        found += begins
    # One that holds another is in no text without it.
    return tuple(one for one in dict.fromkeys(found) if not any(other in one and other != one for other in found))


def _of_branch(branch: str) -> list[str] | None:
    at = 0
    while branch.startswith((r"\b", "^"), at):
        at += 2 if branch[at] == "\\" else 1
    if branch.startswith("(?:", at):
        end = _closing(branch, at)
        inner = beginnings(branch[at + 3 : end])
        if inner is None:
            return None
        if branch[end + 1 : end + 2] in ("?", "*", "{"):
            after = end + 2
            if branch[end + 1] == "{":
                return None
            rest = _of_branch(branch[after:].removeprefix("+"))
            return None if rest is None else [*inner, *rest]
        return list(inner)
    end = at
    while end < len(branch) and branch[end] not in _SPECIAL:
        end += 1
    if branch[end : end + 1] in ("?", "*", "{"):
        end -= 1  # the last letter may be missing
    return [branch[at:end]] if end > at else None


def _branches(pattern: str) -> list[str]:
    """Cut a pattern at the bars that are in no group and in no set."""
    cuts = [-1]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = pattern.index("]", at + 2)
        elif char == "(":
            at = _closing(pattern, at)
        elif char == "|":
            cuts.append(at)
        at += 1
    return [pattern[a + 1 : b] for a, b in zip(cuts, [*cuts[1:], len(pattern)], strict=True)]


def _closing(pattern: str, opening: int) -> int:
    """Return where the group that opens at `opening` closes."""
    depth = 0
    at = opening
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = pattern.index("]", at + 2)
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise ValueError(f"a group is not closed: {pattern}")

"""Reports that hospital systems keep as HTML, as plain text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

_TAG = re.compile(
    r"</?(?:br|p|div|span|b|i|u|em|strong|font|table|tbody|thead|t[rdh]|ul|ol|li|h[1-6]|html|head|body|style|script|hr)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(
    r"&(?:nbsp|lt|gt|amp|quot|[a-z]{1,6}(?:acute|grave|circ|tilde)|#\d{2,6}|#x[0-9a-f]{2,5});", re.IGNORECASE
)
_LINES = frozenset({"br", "p", "div", "tr", "li", "ul", "ol", "table", "hr", "h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN = frozenset({"style", "script", "head"})


def without_markup(text: str) -> str:
    r"""Return what a browser shows of HTML, line by line; text without tags or entities is as it was.

    >>> without_markup("<p><b>Lồng ngực:</b> nốt &lt; 5&nbsp;mm.</p><p>Gan to.</p>")
    'Lồng ngực: nốt < 5 mm.\nGan to.'
    >>> without_markup("SUV <2,5 và >1"), without_markup("a & b")
    ('SUV <2,5 và >1', 'a & b')
    """
    if _TAG.search(text) is None:
        return html.unescape(text).replace("\u00a0", " ") if _ENTITY.search(text) else text
    reader = _Reader()
    reader.feed(text)
    reader.close()
    lines = (" ".join(line.split(" ")).strip() for line in "".join(reader.parts).replace("\u00a0", " ").split("\n"))
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        self._divide(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0
        self._divide(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._divide(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            # Line breaks of the source are spaces to a browser.
            self.parts.append(re.sub(r"[ \t]*[\r\n]+[ \t]*", " ", data))

    def _divide(self, tag: str) -> None:
        if tag in _LINES:
            self.parts.append("\n")
        elif tag in ("td", "th") and self.parts and not self.parts[-1].endswith(("\n", "\t")):
            self.parts.append("\t")

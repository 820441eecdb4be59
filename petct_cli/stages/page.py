"""The shell of every HTML page that petct writes: one look, nothing fetched, nothing of a record taken as markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files


def html_page(
    title: str, body: Iterable[str], *, styles: Sequence[str] = (), kind: str = "", body_class: str = ""
) -> bytes:
    """Return a self-contained page as UTF-8.

    Parameters
    ----------
    title
        Plain text, for the window; the heading is the body's.
    body
        Pieces of markup, already escaped.
    styles
        Style sheets of ``data/`` that this kind of page needs beside ``page.css``.
    kind
        What made the page, told near its beginning.
    body_class
        Class of the body.

    Notes
    -----
    The policy in the head lets a browser neither fetch nor run nor send anything, whatever a report may hold: Content
    Security Policy Level 3, W3C; the one style sheet is allowed by its hash.
    """
    css = "".join(
        files("petct_cli.stages").joinpath(f"data/{name}").read_text("utf-8") for name in ("page.css", *styles)
    )
    allowed = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'"
    named = f' class="{escape(body_class)}"' if body_class else ""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{made_by(kind)}'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body{named}>\n" + "\n".join(body) + "\n"
        "</body></html>\n"
    )
    # The name of a file may hold bytes that are no text; a page with a mark in their place is better than none.
    return text.encode("utf-8", "replace")


def made_by(kind: str) -> str:
    """Return the mark, within the first 400 bytes of a page, by which petct knows pages of `kind` as its own."""
    return f'<meta name="generator" content="{escape(kind)}">' if kind else ""


def heading(title: str, notes: Iterable[str]) -> str:
    """Return the heading of a page with lines of plain text under it."""
    return f"<h1>{escape(title)}</h1>" + "".join(f"<p>{escape(note)}</p>" for note in notes)


_INVISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    [0x7F, *range(0x80, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
)
_LONGEST_NAME = 120


def visible(text: str) -> str:
    """Return `text`, as long as before, with a mark for what is invisible or turns the direction of a whole line."""
    return text.translate(_INVISIBLE)


def short(name: str) -> str:
    """Return a name or id from outside fit for a heading: visible, and no longer than a line or two."""
    return visible(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")

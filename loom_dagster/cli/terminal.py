"""One output stream, and what it can show.

Everything a pipeline carries is data: whatever a record says, no control character of it reaches
a terminal. And a reader that goes away (``| head``) ends the output, never the run.
"""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

__all__ = ["Sign", "Terminal", "cells", "clean", "shorten"]

Sign = Literal["good", "bad", "warn", "none"]
Style = Literal["bold", "dim", "red", "green", "yellow"]

_SIGNS: Mapping[Sign, str] = {"good": "✅", "bad": "❌", "warn": "⚠", "none": "–"}
_WORDS: Mapping[Sign, str] = {"good": "ok", "bad": "FAIL", "warn": "warn", "none": "-"}
_CODES: Mapping[Style, str] = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}

# C0 and C1 controls, lone surrogates, line separators, and what turns the direction of text around
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FALLBACK_WIDTH = 80


def clean(text: str) -> str:
    r"""``text`` with everything that could steer a terminal written out, as ``\x1b``."""
    return _UNSAFE.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(match[0])
    if short is not None:
        return short
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def cells(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def shorten(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, an ellipsis at the end if some is missing."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[: min(len(text) - 1, width - 1)]
    return text.rstrip() + "…"


class Terminal:
    """Writes lines to ``stream``; ``width`` is None where lines may be of any length."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self.interactive = stream.isatty()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.color = self.interactive and not plain
        self.signs = _SIGNS if not plain and _writes(stream, "".join(_SIGNS.values())) else _WORDS
        self.ellipsis = _writes(stream, "…")
        self.width = _width(stream, environ) if self.interactive else None

    def sign(self, sign: Sign) -> str:
        """A mark of even width: ✅ or, where that cannot be shown, a word."""
        text = self.signs[sign]
        return text + " " * (max(map(cells, self.signs.values())) - cells(text))

    def line(self, text: str = "", style: Style | None = None) -> None:
        """One line. Control characters in ``text``, line ends too, are written out."""
        text = clean(text).rstrip()
        if style is not None and self.color:
            text = f"\x1b[{_CODES[style]}m{text}\x1b[0m"
        self.write(text + "\n")

    def paragraph(self, text: str, *, first: str = "", rest: str = "  ", style: Style | None = None) -> None:
        """``text`` after ``first``; in a terminal it goes on in lines that begin with ``rest``."""
        if self.width is None:
            self.line(first + text, style)
            return
        room = max(self.width - max(cells(first), cells(rest)), 20)
        lines = textwrap.wrap(clean(text), room, break_long_words=False, break_on_hyphens=False) or [""]
        for number, piece in enumerate(lines):
            self.line((rest if number else first) + piece, style)

    def table(self, rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), indent: str = "") -> None:
        """Aligned columns, two spaces apart; the last one is cut where the terminal ends."""
        tidy = [[clean(cell) for cell in row] for row in ([head, *rows] if head else rows)]
        widths = [max(cells(row[i]) for row in tidy) for i in range(len(tidy[0]))] if tidy else []
        for number, row in enumerate(tidy):
            pieces = [cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)]
            text = indent + "  ".join(pieces).rstrip()
            if self.width is not None:
                text = shorten(text, self.width)
            self.line(text, "bold" if head and number == 0 else None)

    def write(self, text: str) -> None:
        """Text as it is, for what is known to be safe. A reader that has gone is no error."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self._stream.fileno())
            os.close(devnull)


def _writes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _width(stream: TextIO, environ: Mapping[str, str]) -> int:
    if environ.get("COLUMNS", "").isdigit():
        return max(int(environ["COLUMNS"]), 20)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _FALLBACK_WIDTH
    except (OSError, ValueError):
        return _FALLBACK_WIDTH

"""Bytes that are no UTF-8, marked so that the rows around them can still be read.

A parser stops at the first of them; with this it goes on, and the rows that have one are found afterwards.
"""

from __future__ import annotations

import codecs
import io
import re

__all__ = ["MARKS", "MarkedStream", "restored"]

_MARK = 0x10FF00  # stands for the byte 0x00 where a byte is no UTF-8; a private use that has no users
_MARKED = "[\U0010ff80-\U0010ffff]"
MARKS = r"[\x{10FF80}-\x{10FFFF}]"  # the same for Arrow


class MarkedStream(io.RawIOBase):
    """A stream of UTF-8 in which each byte that is none is a character nobody uses, so that the parser
    goes on; ``torn`` then says so. ``last`` are the last bytes it gave."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._waiting = b""
        self.torn = False
        self.last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes as asked for, unless it ends: a short block would split a long row."""
        while len(self._waiting) < size:
            data = self._stream.read(size)
            self._waiting += self._checked(data)
            if not data:
                break
        given, self._waiting = self._waiting[:size], self._waiting[size:]
        self.last = (self.last + given[-1024:])[-1024:]
        return given

    def _checked(self, data: bytes) -> bytes:
        if data.isascii() and not self._decoder.getstate()[0]:
            return data
        text = self._decoder.decode(data, final=not data)
        try:
            return text.encode()
        except UnicodeEncodeError:
            self.torn = True
            return re.sub("[\udc80-\udcff]", lambda byte: chr(_MARK + ord(byte[0]) - 0xDC00), text).encode()


def restored(text: str) -> str:
    """The text as it was, with bytes that are no UTF-8 written out."""
    return re.sub(_MARKED, lambda mark: f"\\x{ord(mark[0]) - _MARK:02x}", text)

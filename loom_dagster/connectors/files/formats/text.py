"""Text files in any encoding as streams of clean UTF-8 bytes."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from loom_dagster.connectors.files.locations import File
from loom_dagster.errors import Misconfigured

__all__ = ["open_utf8", "shown"]

_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def open_utf8(file: File, encoding: str) -> io.BufferedReader:
    """The file's text as UTF-8 without a byte order mark.

    Raises Misconfigured for an unknown encoding and for UTF-16 that is not declared; while reading,
    UnicodeDecodeError where a declared encoding other than UTF-8 does not fit.
    """
    try:
        codec = codecs.lookup(encoding)
    except LookupError as error:
        raise Misconfigured(
            f"`{encoding}` is not an encoding", fix="set `extract.encoding`, for example utf-8 or latin-1"
        ) from error
    stream = file.open()
    if codec.name not in ("utf-8", "utf-8-sig", "ascii"):
        return io.BufferedReader(_Recoded(stream, codec), 1 << 20)
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Plain(stream), 1 << 20)
    start = buffered.peek(3)[:3]
    if start == codecs.BOM_UTF8:
        buffered.read(3)
    elif start[:2] in _WIDE:
        buffered.close()
        raise Misconfigured(f"{file.uri} is UTF-16, not {encoding}", fix="set `extract.encoding: utf-16`")
    return buffered


def shown(raw: bytes) -> str:
    """Bytes as text from which no byte is lost."""
    return raw.decode("utf-8", "backslashreplace")


class _Plain(io.RawIOBase):
    """Any file-like object as a raw stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _next(self, size: int) -> bytes:
        return self._stream.read(size)


class _Recoded(_Plain):
    """Another encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, codec: codecs.CodecInfo) -> None:
        super().__init__(stream)
        self._decoder = codec.incrementaldecoder("strict")
        self._waiting = b""

    def _next(self, size: int) -> bytes:
        while not self._waiting:
            data = self._stream.read(1 << 20)
            self._waiting = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        given, self._waiting = self._waiting[:size], self._waiting[size:]
        return given

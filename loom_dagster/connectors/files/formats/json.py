"""JSON: an array of objects, read element by element, or one object.

The standard decoder finds where an element ends; what is in it is then read like a line of JSON Lines.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO, TextIO

import pyarrow as pa

from loom_dagster.connectors.files.formats.contract import CHUNK_BYTES, Chunk, Reading, Writer
from loom_dagster.connectors.files.formats.documents import Document, chunks_of, row_json, schema_of
from loom_dagster.connectors.files.formats.text import open_utf8
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.errors import Misconfigured

__all__ = ["ArrayWriter", "Json"]

_SPACE = " \t\r\n"


class Json:
    """An array of objects, or a single object."""

    name = "json"
    extensions = (".json",)

    def schema(self, files: Sequence[File], reading: Reading) -> pa.Schema:
        return schema_of(self._all(files, reading), reading.exact)

    def chunks(self, files: Sequence[File], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
        return chunks_of(self._all(files, reading), schema, reading)

    def documents(self, file: File, reading: Reading) -> Iterator[Document]:
        """The text of each element, and its number."""
        with accessing(file.uri), open_utf8(file, reading.encoding) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            for number, element in enumerate(_Elements(text, file.uri), 1):
                yield element.encode(), f"element {number}"

    def writer(self, stream: BinaryIO, schema: pa.Schema, *, path: str = "") -> ArrayWriter:
        return ArrayWriter(stream)

    def _all(self, files: Sequence[File], reading: Reading) -> Iterator[Document]:
        for file in files:
            yield from self.documents(file, reading)


class _Elements:
    """Splits a JSON text into its elements with a buffer of about one element."""

    def __init__(self, text: TextIO, uri: str) -> None:
        self._text, self._uri = text, uri
        self._buffer, self._at, self._before, self._ended = "", 0, 0, False
        self._find_end = json.JSONDecoder().raw_decode

    def __iter__(self) -> Iterator[str]:
        first = self._peek()
        if first == "":
            return
        if first == "[":
            yield from self._array()
        else:
            yield self._element()
        if self._peek():
            raise self._broken(
                "there is more after its end",
                fix="if it has one object a line, set `extract.format: jsonl`" if first == "{" else None,
            )

    def _array(self) -> Iterator[str]:
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._element()
            mark = self._peek()
            self._at += 1
            if mark == "]":
                return
            if mark != ",":
                self._at -= 1
                raise self._broken("it ends too early" if mark == "" else f"`{mark}` where a comma should be")
            self._peek()

    def _element(self) -> str:
        while True:
            try:
                _, end = self._find_end(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                self._at = error.pos
                raise self._broken(
                    error.msg if error.pos < len(self._buffer) else "it ends too early"
                ) from error
            except RecursionError as error:
                raise self._broken("it is nested too deeply") from error
            if end < len(self._buffer) or not self._more():  # else a number may go on
                found, self._at = self._buffer[self._at : end], end
                return found

    def _peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, twice as far each time an element does not end. False at the end of the file."""
        if self._ended:
            return False
        held = len(self._buffer) - self._at
        if held > 2 * CHUNK_BYTES:
            raise self._broken(f"an element is larger than {2 * CHUNK_BYTES >> 20} MB, or is not JSON")
        text = self._text.read(max(held, 1 << 18))
        if not text:
            self._ended = True
            return False
        self._buffer = self._buffer[self._at :] + text
        self._before, self._at = self._before + self._at, 0
        return True

    def _broken(self, why: str, fix: str | None = None) -> Misconfigured:
        return Misconfigured(
            f"{self._uri} is not valid JSON", why=f"{why}, at character {self._before + self._at}", fix=fix
        )


class ArrayWriter(Writer):
    """One array, one element a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._between = b"[\n"

    def write(self, batch: pa.RecordBatch) -> None:
        self.put(row_json(batch))

    def put(self, documents: Sequence[bytes]) -> None:
        """Objects that are JSON already."""
        for raw in documents:
            self._stream.write(self._between + raw)
            self._between = b",\n"

    def close(self) -> None:
        self._stream.write(b"\n]\n" if self._between == b",\n" else b"[]\n")

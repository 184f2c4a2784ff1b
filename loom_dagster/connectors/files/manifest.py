"""Which records a destination has got already, so that appending twice adds nothing.

Kept in a hidden file beside it. It is written before the data is put in place and knows the data
by its hash, as it was and as it is going to be: whichever of the two is found there later tells
whether the load that wrote it came to its end. So no crash between the two writes does harm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from loom_dagster.connectors.files.locations import File, Location, accessing
from loom_dagster.connectors.files.replacing import replacing
from loom_dagster.errors import Misconfigured
from loom_dagster.records import digest

__all__ = ["HashingStream", "Manifest", "file_hash", "manifest_of", "mark_of"]

_BEFORE, _AFTER, _BOTH = b"b", b"a", b"="
_SIZE = 17  # one letter for when it is there, 16 bytes for which record it is
_AT_ONCE = 4096


def mark_of(partition: str, record_id: str, fingerprint: str) -> bytes:
    """16 bytes that stand for one record of one way to compute it."""
    return digest(partition, record_id, fingerprint)[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Marks of the records in the data whose hash is ``before``, and in that whose hash is ``after``."""

    file: Location
    exists: bool
    before: str = ""
    after: str = ""

    def known(self, current: str) -> Iterator[list[bytes]]:
        """Marks of what is in the destination, whose hash is ``current`` (empty: it is not there).

        Data that someone else has changed since counts as what was loaded last.
        """
        wanted = {_BOTH, _BEFORE if current == self.before and current != self.after else _AFTER}
        if not self.exists or not current:
            return
        with accessing(self.file.uri), self.file.fs.open(self.file.path, "rb") as stream:
            stream.readline()
            while data := stream.read(_SIZE * _AT_ONCE):
                if len(data) % _SIZE:
                    raise _torn(self.file)
                yield [
                    data[i + 1 : i + _SIZE] for i in range(0, len(data), _SIZE) if data[i : i + 1] in wanted
                ]

    def write(self, *, before: str, after: str, kept: bool, new: Iterable[list[bytes]]) -> None:
        """Writes it anew: what is there now (``before``) stays unless not ``kept``, and ``new`` comes."""
        old = _BOTH if kept else _BEFORE
        with replacing(self.file) as stream:
            stream.write(json.dumps({"loom": 1, "before": before, "after": after}).encode() + b"\n")
            for marks in self.known(before):
                stream.write(b"".join(old + mark for mark in marks))
            for marks in new:
                stream.write(b"".join(_AFTER + mark for mark in marks))


def manifest_of(data: Location) -> Manifest:
    """The manifest of the file ``data``, written or not. Raises Misconfigured if it is broken."""
    folder, _, name = data.path.rpartition("/")
    file = replace(data, path=f"{folder}/.{name}.loom", uri=f"{data.uri}'s manifest .{name}.loom")
    with accessing(file.uri):
        if not file.fs.exists(file.path):
            return Manifest(file=file, exists=False)
        with file.fs.open(file.path, "rb") as stream:
            first = stream.readline()
    try:
        head = json.loads(first)
        return Manifest(file=file, exists=True, before=head["before"], after=head["after"])
    except (ValueError, KeyError, TypeError) as error:
        raise _torn(file) from error


def file_hash(file: File | None) -> str:
    """SHA-256 of a file's bytes, empty if there is no file."""
    if file is None:
        return ""
    total = hashlib.sha256()
    with accessing(file.uri), file.open() as stream:
        while data := stream.read(1 << 20):
            total.update(data)
    return total.hexdigest()


class HashingStream:
    """Hands bytes on and knows the SHA-256 of all of them."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._total = stream, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._total.update(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """The stream is closed by whoever opened it."""

    def hexdigest(self) -> str:
        return self._total.hexdigest()


def _torn(file: Location) -> Misconfigured:
    return Misconfigured(
        f"{file.uri} is broken", fix="remove it; the next append then adds every record again"
    )

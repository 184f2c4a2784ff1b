"""Writing a file whole or not at all: beside its place first, then put there in one step."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from loom_dagster.connectors.files.locations import Location, accessing
from loom_dagster.errors import Misconfigured

__all__ = ["replacing"]


@contextmanager
def replacing(location: Location) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file at ``location`` when the block ends well; until then, and
    for good if it does not, the old file stays as it is.

    Folders on the way are made, symbolic links followed, leftovers of a killed writer removed.
    Elsewhere than on this machine: one upload at the end. Raises Misconfigured if it may not be written.
    """
    if location.web:
        raise Misconfigured(
            f"{location.uri} cannot be written", why="the web is read only", fix="choose another destination"
        )
    with _replacing_here(location) if location.local else _uploading(location) as stream:
        yield stream


@contextmanager
def _replacing_here(location: Location) -> Iterator[BinaryIO]:
    path = os.path.realpath(location.path)
    if os.path.isdir(path):
        raise Misconfigured(f"{location.uri} is a folder", fix="name a file in it, or remove it")
    folder, name = os.path.split(path)
    temp = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.loom-tmp")
    with accessing(location.uri, to="write"):
        os.makedirs(folder, exist_ok=True)
        for leftover in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.loom-tmp")):
            os.unlink(leftover)
        stream = open(temp, "xb")  # noqa: SIM115 - closed below, on every way out
    try:
        yield stream
        with accessing(location.uri, to="write"):
            stream.flush()
            if os.path.exists(path):
                os.chmod(temp, stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(stream.fileno())
            stream.close()
            os.replace(temp, path)
            _sync_folder(folder)
    finally:
        stream.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp)


@contextmanager
def _uploading(location: Location) -> Iterator[BinaryIO]:
    with tempfile.TemporaryDirectory(prefix="loom-") as folder:
        temp = os.path.join(folder, "upload")
        with open(temp, "wb") as stream:
            yield cast("BinaryIO", stream)
        with accessing(location.uri, to="write"):
            parent = location.path.rpartition("/")[0]
            if parent and location.scheme not in ("s3", "gs", "gcs", "s3a", "az", "abfs", "abfss"):
                location.fs.makedirs(parent, exist_ok=True)
            location.fs.put_file(temp, location.path)


def _sync_folder(folder: str) -> None:
    """Makes the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

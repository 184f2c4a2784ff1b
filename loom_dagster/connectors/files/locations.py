"""Where files are: paths of the project, absolute ones, globs, folders and fsspec URLs, in one place.

Light on purpose: asset keys are made from ``normalise_location`` when Dagster loads definitions,
so fsspec and its drivers are imported only when a file is really looked for.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import SplitResult, urlsplit, urlunsplit

from loom_dagster.connectors.files.access import NO_FILES, accessing
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["NO_FILES", "File", "Location", "accessing", "expand", "locate", "normalise_location"]

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://")
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az"}
_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
_WEB = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place, reachable or not. ``uri`` is for messages and holds no credentials; ``path`` is
    as the file system ``fs`` wants it."""

    uri: str
    scheme: str
    fs: AbstractFileSystem
    path: str
    folder: bool  # written with a slash at its end

    @property
    def local(self) -> bool:
        return self.scheme == "file"

    @property
    def web(self) -> bool:
        return self.scheme in _WEB

    @property
    def name(self) -> str:
        """What says the format: the path, on the web without its query."""
        return self.path.partition("?")[0] if self.web else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that exists, and how it looked when it was found."""

    location: Location
    size: int | None
    stamp: tuple[object, ...]

    @property
    def uri(self) -> str:
        return self.location.uri

    @property
    def path(self) -> str:
        return self.location.path

    @property
    def name(self) -> str:
        return self.location.name

    @property
    def etag(self) -> str | None:
        """What a store calls this version of the file; None on this machine."""
        found = None if self.location.local else next((part for part in self.stamp[1:3] if part), None)
        return None if found is None else str(found).strip('"')

    @property
    def modified(self) -> datetime | None:
        """UTC-aware; None where the place does not tell."""
        if self.location.local:
            return datetime.fromtimestamp(cast("float", self.stamp[1]), UTC)
        when = next((part for part in self.stamp[3:] if isinstance(part, datetime)), None)
        return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)

    def open(self) -> BinaryIO:
        """Its bytes; those of a ``.gz`` unpacked."""
        packed = "gzip" if self.name.lower().endswith(".gz") else None
        streamed = {"block_size": 0} if self.location.web else {}  # not every server gives a file in pieces
        return cast("BinaryIO", self.location.fs.open(self.path, "rb", compression=packed, **streamed))

    def assert_unchanged(self) -> None:
        """Raises Misconfigured if the file is not the one that was found."""
        with accessing(self.uri):
            if _stamp(_info(self.location, fresh=True)) != self.stamp:
                raise Misconfigured(
                    f"{self.uri} changed while being read",
                    fix="let what writes it finish first, or have it write beside and rename",
                )


def normalise_location(uri: str, root: Path) -> str:
    """One spelling for each place, without credentials: ``data/x.csv`` inside the project, ``file:///...``
    for local files elsewhere, ``s3://bucket/key`` and the like. Symbolic links are followed."""
    scheme = _scheme(uri)
    if scheme == "file":
        path = os.path.realpath(_local_path(uri, root))
        home = os.path.realpath(root)
        if path == home or path.startswith(home + os.sep):
            return os.path.relpath(path, home)
        return f"file://{path}"
    parts = _split(uri)
    path = posixpath.normpath(parts.path) if parts.path.strip("/") else ""
    host = parts.netloc.rpartition("@")[2]
    if scheme in _WEB:
        host = host.lower().removesuffix(":443" if scheme == "https" else ":80")
    return urlunsplit((_SAME.get(scheme, scheme), host, re.sub("^/+", "/", path), parts.query, ""))


def locate(uri: str, root: Path) -> Location:
    """The place ``uri`` means; relative paths start at ``root``. Nothing is looked up yet.

    Raises Misconfigured for an unknown scheme and for a driver that is not installed.
    """
    import fsspec  # 60 ms: not while definitions load

    scheme = _scheme(uri)
    if scheme == "file":
        path = _local_path(uri, root)
        fs, shown = fsspec.filesystem("file"), _shown_path(path, root)
        return Location(uri=shown, scheme=scheme, fs=fs, path=path, folder=uri.endswith("/"))
    shown = _redacted(uri)
    if scheme == "pipeline":
        raise Misconfigured(f"{shown} is a pipeline's own table, not a file")
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        extra = _EXTRAS.get(_SAME.get(scheme, scheme))
        fix = f"pip install 'loom-dagster[{extra}]'" if extra else f"install the fsspec driver for {scheme}"
        raise Misconfigured(f"{shown} needs a driver that is not installed", fix=fix) from error
    except ValueError as error:
        if scheme in fsspec.available_protocols():  # known, and its driver wants something
            raise Misconfigured(f"{shown} cannot be opened", why=_redacted(str(error))) from error
        known = "known: a path, file://, s3://, gs://, az://, http(s)://, memory://"
        raise Misconfigured(f"{shown}: `{scheme}://` is not a kind of location", fix=known) from error
    fs.invalidate_cache()  # drivers live as long as the process, and others write there meanwhile
    return Location(uri=shown, scheme=scheme, fs=fs, path=path, folder=uri.endswith("/"))


def expand(location: Location) -> list[File]:
    """The files there, sorted by path: one, those of a glob, or those in a folder and below (hidden
    files, and names that begin with ``_``, are left out).

    Raises Misconfigured when there are none, naming why.
    """
    with accessing(location.uri):
        if location.web:
            return [_file(location, _info(location))]
        fs, path = location.fs, location.path
        if re.search(r"[*?\[]", path) and not fs.exists(path):
            matches = fs.glob(path, detail=True).items()
            found = [
                p for p, info in matches if info["type"] == "file" and not _hidden(p, posixpath.dirname(p))
            ]
            nothing = "matches no file"
        elif fs.isdir(path):
            found = [
                p for p in fs.find(path) if not (_hidden(p, path) or p.endswith("/"))
            ]  # S3's mark of a folder
            nothing = "is a folder without files"
        elif location.folder and fs.exists(path):
            raise Misconfigured(
                f"{location.uri} is a file, not a folder", fix="leave out the slash at its end"
            )
        else:
            found, nothing = [path], ""
        if not found:
            raise Misconfigured(
                f"{location.uri} {nothing}",
                fix="check the path; relative ones start at the project",
                kind=NO_FILES,
            )
        return [_file(_inside(location, p), None) for p in sorted(found)]


def _scheme(uri: str) -> str:
    match = _URL.match(uri)
    return match[1].lower() if match else "file"


def _local_path(uri: str, root: Path) -> str:
    bare = re.sub(r"^file://(localhost(?=/))?", "", uri, flags=re.IGNORECASE)
    return os.path.normpath(os.path.join(os.path.abspath(root), bare))


def _shown_path(path: str, root: Path) -> str:
    home = os.path.abspath(root)
    return os.path.relpath(path, home) if path.startswith(home + os.sep) else path


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise Misconfigured("a location is not a valid URL", why=str(error)) from error


def _redacted(uri: str) -> str:
    parts = _split(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _hidden(path: str, folder: str) -> bool:
    inside = path.removeprefix(folder).strip("/")
    return any(part.startswith((".", "_")) for part in inside.split("/"))


def _inside(location: Location, path: str) -> Location:
    if path == location.path:
        return location
    shown = path
    if location.local:
        start = location.path.removesuffix(location.uri)  # uri is relative: what stands before it is the root
        shown = path.removeprefix(start) if start != location.path else path
    else:
        shown = f"{location.scheme}://{path.lstrip('/')}"
    return Location(uri=shown, scheme=location.scheme, fs=location.fs, path=path, folder=False)


def _file(location: Location, info: dict[str, Any] | None) -> File:
    info = _info(location) if info is None else info
    size = info.get("size")
    return File(location=location, size=size if isinstance(size, int) else None, stamp=_stamp(info))


def _info(location: Location, *, fresh: bool = False) -> dict[str, Any]:
    if fresh and not location.local:
        location.fs.invalidate_cache()
    return cast("dict[str, Any]", location.fs.info(location.path))


def _stamp(info: dict[str, Any]) -> tuple[object, ...]:
    names = (
        ("size", "mtime", "ino")
        if "mtime" in info
        else ("size", "ETag", "etag", "LastModified", "Last-Modified", "updated", "created")
    )
    return tuple(info.get(name) for name in names)

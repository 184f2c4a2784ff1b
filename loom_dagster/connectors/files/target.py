"""Which file a load writes, in which format, and whether it can."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from loom_dagster.connectors.contract import Mode
from loom_dagster.connectors.files.formats import FORMATS, Format, format_of
from loom_dagster.connectors.files.locations import File, Location, accessing, expand, locate
from loom_dagster.errors import Misconfigured
from loom_dagster.records import digest
from loom_dagster.spec.models import Load

__all__ = ["Target", "check_target", "target_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The one file a load writes. In a folder it is a part of its own, named by the partition or,
    when appending, by the snapshot; ``siblings`` are the other files there."""

    file: Location
    form: Format
    mode: Mode
    folder: bool
    siblings: tuple[File, ...] = ()

    def existing(self) -> File | None:
        """The file as it is now; None if there is none or it is empty."""
        with accessing(self.file.uri):
            if not self.file.fs.exists(self.file.path):
                return None
        [file] = expand(self.file)
        return file if file.size else None


def target_of(load: Load, *, mode: Mode, root: Path, partition: str, snapshot: str) -> Target:
    """What ``load`` means here and now. Raises Misconfigured."""
    place = locate(load.destination, root)
    _check_name(load, place)
    with accessing(place.uri):
        is_folder = place.fs.isdir(place.path)
        is_file = not is_folder and place.fs.exists(place.path)
    form = FORMATS[load.format] if load.format else format_of(place.name)
    if is_folder and not place.folder and format_of(place.name):
        raise Misconfigured(f"{place.uri} is a folder, not a file", fix="remove it, or end it with a slash")
    if is_file and place.folder:
        raise Misconfigured(f"{place.uri} is a file, not a folder", fix="leave out the slash at its end")
    if not (is_folder or place.folder):
        if form is None:
            raise _unknown_format(place)
        return Target(file=place, form=form, mode=mode, folder=False)
    form = FORMATS[load.format or "parquet"]
    own = partition or (snapshot if mode == "append" else "all")
    path = f"{place.path.rstrip('/')}/loom-{_slug(own)}{form.extensions[0]}"
    file = replace(place, path=path, uri=f"{place.uri.rstrip('/')}/{path.rpartition('/')[2]}", folder=False)
    siblings = tuple(f for f in _files_in(place, is_folder) if f.path != path)
    target = Target(file=file, form=form, mode=mode, folder=True, siblings=siblings)
    _check_siblings(target, place, partition)
    return target


def check_target(load: Load, root: Path, *, reach: bool) -> None:
    """Raises Misconfigured for what is wrong with a destination; nothing is written."""
    place = locate(load.destination, root)
    _check_name(load, place)
    if place.local:
        # what a folder has already is no trouble to a partition, nor to a snapshot that is added
        _check_writable(target_of(load, mode="upsert", root=root, partition="any", snapshot="any"))
    elif reach:
        with accessing(place.uri):
            place.fs.exists(place.path)
    if not place.folder and not place.local and load.format is None and format_of(place.name) is None:
        raise _unknown_format(place)


def _unknown_format(place: Location) -> Misconfigured:
    return Misconfigured(
        f"the format of {place.uri} cannot be told from its name",
        fix=f"end it with a slash for a folder, or set `load.format` to one of {', '.join(FORMATS)}",
    )


def _check_name(load: Load, place: Location) -> None:
    if place.web:
        raise Misconfigured(f"{place.uri} cannot be written", why="the web is read only")
    if re.search(r"[*?]", load.destination):
        raise Misconfigured(f"{place.uri} is a pattern, not a place", fix="name one file or folder")
    if place.path.lower().endswith(".gz"):
        raise Misconfigured(f"{place.uri} would be compressed, which is not supported", fix="leave out `.gz`")


def _files_in(place: Location, exists: bool) -> list[File]:
    if not exists:
        return []
    with accessing(place.uri):
        names = [p for p in place.fs.ls(place.path, detail=False) if not p.rpartition("/")[2].startswith(".")]
    found = [f for p in sorted(names) for f in expand(replace(place, path=p, uri=p, folder=False))]
    return [f for f in found if format_of(f.name)]


def _check_siblings(target: Target, place: Location, partition: str) -> None:
    foreign = [f for f in target.siblings if not f.path.rpartition("/")[2].startswith("loom-")]
    if target.mode == "overwrite" and foreign:
        raise Misconfigured(
            f"{place.uri} has files that were not written by a load, {foreign[0].path.rpartition('/')[2]} among them",
            fix="to overwrite, choose a folder of its own",
        )
    if target.mode == "upsert" and target.siblings and not partition:
        raise Misconfigured(
            f"{place.uri} has other files than the one an upsert keeps its rows in",
            fix="choose a folder of its own, or a single file",
        )


def _check_writable(target: Target) -> None:
    path = os.path.realpath(target.file.path)
    if os.path.isdir(path):
        raise Misconfigured(f"{target.file.uri} is a folder, not a file")
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise Misconfigured(f"{target.file.uri} cannot be written", why=f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Misconfigured(
            f"{target.file.uri} may not be written",
            why="permission denied",
            fix="give this user the right to",
        )


def _slug(name: str) -> str:
    """A file name for a partition or snapshot; where characters had to go, a hash tells it from others."""
    clean = re.sub(r"[^A-Za-z0-9_.=\-]", "-", name)[:100]
    return clean if clean == name else f"{clean}-{digest(name).hex()[:8]}"

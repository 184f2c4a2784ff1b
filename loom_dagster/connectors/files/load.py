"""Loading into files: overwrite, append or upsert, whole or not at all, repeatable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from loom_dagster.connectors.contract import Incoming, Loaded, Place, Shipment
from loom_dagster.connectors.files.formats import Csv, Json, JsonLines, Parquet
from loom_dagster.connectors.files.json_destination import DocumentDestination
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.connectors.files.manifest import HashingStream, Manifest, file_hash, manifest_of, mark_of
from loom_dagster.connectors.files.replacements import Replacements
from loom_dagster.connectors.files.replacing import replacing
from loom_dagster.connectors.files.table_destination import TableDestination
from loom_dagster.connectors.files.target import Target, check_target, target_of
from loom_dagster.connectors.keys import KeyIndex
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Load

__all__ = ["FileDestination"]

Mark = Callable[[str], bytes]


class FileDestination:
    """A file, or a folder in which each partition, or each appended snapshot, has a file of its own that is
    replaced whole. Until the last moment the old file stays in place."""

    def load(self, place: Place, load: Load, shipment: Shipment) -> Loaded:
        incoming, partition, mode = shipment.incoming, shipment.partition, shipment.mode
        target = target_of(load, mode=mode, root=place.root, partition=partition, snapshot=shipment.snapshot)

        def mark(record_id: str) -> bytes:
            return mark_of(partition, record_id, shipment.fingerprint)

        with tempfile.TemporaryDirectory(prefix="loom-load-") as scratch:
            if partition:
                _check_folder(target)
                _overwrite(target, incoming, mark, whole=False)
            elif mode == "upsert":
                _upsert(target, incoming, shipment.key, mark, Path(scratch))
            elif mode == "append":
                _append(target, incoming, mark, Path(scratch))
            else:
                _overwrite(target, incoming, mark, whole=True)
        return Loaded(rows=incoming.rows)

    def check(self, place: Place, load: Load, *, reach: bool) -> None:
        check_target(load, place.root, reach=reach)


def _check_folder(target: Target) -> None:
    if not target.folder:
        raise Misconfigured(
            f"{target.file.uri} is one file, in which a partition's rows cannot be told from others",
            fix="load into a folder, in which each partition has a file of its own: end it with a slash",
        )


def _overwrite(target: Target, incoming: Incoming, mark: Mark, *, whole: bool) -> None:
    destination = _destination(target, None, incoming)
    manifest, before = manifest_of(target.file), ""
    if manifest.exists:
        before = file_hash(target.existing())
    with _writing(target, manifest, before, kept=False, new=_marks(incoming, mark)) as stream:
        destination.write(stream, map(destination.prepared, incoming.batches()))
    if target.folder and whole:
        for file in target.siblings:  # of earlier loads; only those are there
            with accessing(file.uri, to="write"):
                file.location.fs.rm_file(file.path)


def _upsert(target: Target, incoming: Incoming, key: Sequence[str], mark: Mark, scratch: Path) -> None:
    existing = target.existing()
    destination = _destination(target, existing, incoming)
    manifest = manifest_of(target.file)
    before = file_hash(existing) if manifest.exists else ""
    batches = map(destination.prepared, incoming.batches())
    with (
        closing(Replacements(batches, destination.incoming, key, scratch)) as new,
        _writing(target, manifest, before, kept=True, new=_marks(incoming, mark)) as stream,
    ):
        destination.upsert(stream, new, key)


def _append(target: Target, incoming: Incoming, mark: Mark, scratch: Path) -> None:
    manifest = manifest_of(target.file)
    existing = None if target.folder else target.existing()
    destination = _destination(target, existing, incoming)
    before = file_hash(existing)
    if target.folder:  # a part stands or falls as a whole, so what its manifest says last holds
        others = [manifest_of(file.location) for file in target.siblings]
        known: Iterable[list[bytes]] = (marks for other in others for marks in other.known(other.after))
    else:
        known = manifest.known(before)
    missing = _missing(incoming, mark, known, scratch)
    if not any(missing) and (existing or target.folder):
        return

    def marks() -> Iterator[list[bytes]]:
        for at, ids, _ in _numbered(incoming):
            yield [mark(i) for row, i in enumerate(ids, at) if missing[row]]

    def batches() -> Iterator[pa.RecordBatch]:
        for at, ids, batch in _numbered(incoming):
            rows = missing[at : at + len(ids)]
            chosen = batch if all(rows) else batch.filter(pa.array([bool(row) for row in rows]))
            yield destination.prepared(chosen)

    with _writing(target, manifest, before, kept=existing is not None, new=marks()) as stream:
        destination.write(stream, batches())


@contextmanager
def _writing(
    target: Target, manifest: Manifest, before: str, *, kept: bool, new: Iterable[list[bytes]]
) -> Iterator[BinaryIO]:
    """The target's file; its manifest, if there is one, is on disk before the file is in place."""
    with accessing(target.file.uri, to="write"), replacing(target.file) as stream:
        if not manifest.exists and target.mode != "append":
            yield stream
            return
        hashing = HashingStream(stream)
        yield cast("BinaryIO", hashing)
        manifest.write(before=before, after=hashing.hexdigest(), kept=kept, new=new)


def _destination(
    target: Target, existing: File | None, incoming: Incoming
) -> TableDestination | DocumentDestination:
    form = target.form
    if isinstance(form, Json | JsonLines):
        return DocumentDestination(form, existing, incoming.schema, target.file.uri)
    if isinstance(form, Csv | Parquet):
        return TableDestination(form, existing, incoming.schema, target.file.uri)
    raise TypeError(f"no destination for the format {form.name}")


def _numbered(incoming: Incoming) -> Iterator[tuple[int, list[str], pa.RecordBatch]]:
    """Each batch with the ids of its rows, and the number of its first row."""
    at = 0
    for ids, batch in incoming.with_ids():
        yield at, ids, batch
        at += len(ids)


def _marks(incoming: Incoming, mark: Mark) -> Iterator[list[bytes]]:
    for ids, _ in incoming.with_ids():
        yield [mark(i) for i in ids]


def _missing(incoming: Incoming, mark: Mark, known: Iterable[list[bytes]], scratch: Path) -> bytearray:
    """One byte a row of ``incoming``: 0 where its mark is known."""
    rows = 0
    with closing(KeyIndex(scratch)) as index:
        for at, ids, _ in _numbered(incoming):
            index.add((mark(i).hex() for i in ids), at)
            rows = at + len(ids)
        missing = bytearray(b"\1" * rows)
        for marks in known:
            for number in index.find(m.hex() for m in marks):
                if number is not None:
                    missing[number] = 0
    return missing

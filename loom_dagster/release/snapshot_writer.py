"""Writes the tables of a run in the source's order, though its batches come as they are done.

What comes before its turn is spilled to disk, so one slow record holds up nothing and memory stays
bounded. Nothing is at the snapshot's place until all of it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.records import digest
from loom_dagster.release.rows import DIGEST, Rows
from loom_dagster.release.snapshot import BatchResult, Stamp, Written
from loom_dagster.release.table_file import TableFile, sync_folder

__all__ = ["FolderWriter", "SnapshotWriter"]

_ALWAYS = ("transformed", "quarantine", "quarantine_source")


class FolderWriter:
    """Table files that appear in ``directory`` together or not at all.

    Raises Misconfigured (kind ``disk``) for everything the disk refuses.
    """

    def __init__(self, directory: Path, schemas: dict[str, pa.Schema]) -> None:
        self.directory, self._schemas = directory, schemas
        self.temporary = directory.parent / f".{directory.name}.writing"
        self._tally: Counter[str] = Counter()
        with self.told():
            shutil.rmtree(self.temporary, ignore_errors=True)  # a killed run left it
            self.temporary.mkdir(parents=True)
            self._files = {name: self._open(name) for name in _ALWAYS}

    def append(self, name: str, rows: pa.RecordBatch) -> None:
        if name not in self._files:
            self._files[name] = self._open(name)
        self._files[name].append(rows)
        if name == "quarantine":
            self._tally["skipped"] += _equal(rows.column("resolution"), "skipped")
            self._tally["source_errors"] += _equal(rows.column("stage"), "extract")
        elif name == "transformed":
            self._tally["fallbacks"] += _equal(rows.column("_loom_fallback"), "value")

    def publish(self, data_version: str) -> Written:
        """Close the files and move them into place; a folder that is there already is replaced whole."""
        with self.told():
            for file in self._files.values():
                file.finish()
            sync_folder(self.temporary)
            aside = self.directory.parent / f".{self.directory.name}.replaced"
            shutil.rmtree(aside, ignore_errors=True)
            if self.directory.exists():
                self.directory.rename(aside)
            self.temporary.rename(self.directory)
            sync_folder(self.directory.parent)
            shutil.rmtree(aside, ignore_errors=True)
        passed, quarantine, deferred = (self._files.get(n) for n in ("transformed", "quarantine", "deferred"))
        return Written(
            transformed=self.directory / "transformed.parquet",
            quarantine=self.directory / "quarantine.parquet",
            deferred_path=self.directory / "deferred.parquet" if deferred else None,
            data_version=data_version,
            passed=passed.rows if passed else 0,
            quarantined=quarantine.rows if quarantine else 0,
            deferred=deferred.rows if deferred else 0,
            skipped=self._tally["skipped"],
            source_errors=self._tally["source_errors"],
            fallbacks=self._tally["fallbacks"],
            columns=[(f.name, str(f.type)) for f in self._schemas["transformed"]],
            sample=passed.sample() if passed else [],
            quarantine_sample=quarantine.sample() if quarantine else [],
        )

    def discard(self) -> None:
        """Leave nothing behind. Harmless after ``publish``."""
        if self.temporary.exists():
            with self.told():
                for file in self._files.values():
                    file.abandon()
            shutil.rmtree(self.temporary, ignore_errors=True)

    @contextmanager
    def told(self) -> Iterator[None]:
        """The disk's errors in the project's words."""
        try:
            yield
        except OSError as error:
            raise Misconfigured(
                "the snapshot cannot be written",
                where=str(self.directory),
                why=error.strerror or str(error),
                fix="make room or mend the folder and run again; answers already paid for are kept",
                kind="disk",
            ) from error

    def _open(self, name: str) -> TableFile:
        return TableFile(self.temporary / f"{name}.parquet", self._schemas[name])


class SnapshotWriter:
    """Takes the batches of a run from one thread at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        source_schema: pa.Schema,
        output_schema: pa.Schema,
        evaluators: Sequence[str],
        stamp: Stamp,
    ) -> None:
        """``directory`` is where the snapshot will be. Raises Misconfigured when it cannot be made."""
        self._rows = Rows(source_schema, output_schema, evaluators, stamp)
        self._folder = FolderWriter(directory, dict(self._rows.schemas))
        self._spill = self._folder.temporary / "spill"
        self._next = 0
        self._early: dict[int, list[str]] = {}
        versions = (
            stamp.prompt_name,
            stamp.prompt_version,
            dict(stamp.context_versions),
            output_schema.names,
        )
        self._hash = hashlib.sha256(digest("data:1", versions))

    def add(self, result: BatchResult) -> None:
        """Take a finished batch, in any order of ``batch.index``; each index once."""
        self.add_rows(result.batch.index, self._rows.of(result))

    def add_rows(self, index: int, made: Mapping[str, pa.RecordBatch]) -> None:
        """Take what ``Rows`` made of a batch somewhere else, likewise."""
        if index < self._next or index in self._early:
            raise ValueError(f"batch {index} was given twice")
        with self._folder.told():
            if index != self._next:
                self._put_aside(index, made)
                return
            self._write(made)
            while (names := self._early.pop(self._next, None)) is not None:
                self._take_back(self._next, names)

    def commit(self, batches: int) -> Written:
        """Move the finished tables into place, once all of ``batches`` were added.

        Raises LoomError (kind ``conservation``) when some were not.
        """
        if self._next != batches or self._early:
            came = self._next + len(self._early)
            raise LoomError(
                f"{came:,} of {batches:,} batches were settled when the tables were to be written",
                kind="conservation",
            )
        with self._folder.told():
            shutil.rmtree(self._spill, ignore_errors=True)
        return self._folder.publish(self._hash.hexdigest()[:32])

    def discard(self) -> None:
        """Leave nothing behind. Harmless after ``commit``."""
        self._folder.discard()

    def _write(self, made: Mapping[str, pa.RecordBatch]) -> None:
        for name, rows in made.items():
            if name == "transformed":
                at = rows.schema.get_field_index(DIGEST)
                self._hash.update(_bytes(rows.column(at)))
                rows = rows.remove_column(at)  # noqa: PLW2901
            self._folder.append(name, rows)
        self._next += 1

    def _put_aside(self, index: int, made: Mapping[str, pa.RecordBatch]) -> None:
        self._spill.mkdir(exist_ok=True)
        for name, rows in made.items():
            with pa.ipc.new_file(os.fspath(self._spilled(index, name)), rows.schema) as file:
                file.write_batch(rows)
        self._early[index] = list(made)

    def _take_back(self, index: int, names: Sequence[str]) -> None:
        made = {}
        for name in names:
            with pa.ipc.open_file(pa.memory_map(os.fspath(self._spilled(index, name)))) as file:
                made[name] = file.get_batch(0)
        self._write(made)
        for name in names:
            self._spilled(index, name).unlink()

    def _spilled(self, index: int, name: str) -> Path:
        return self._spill / f"{index}.{name}.arrow"


def _equal(column: pa.Array, word: str) -> int:
    return pc.sum(pc.equal(column, word)).as_py() or 0


def _bytes(digests: pa.FixedSizeBinaryArray) -> memoryview:
    """Those of all rows, one after the other."""
    size = digests.type.byte_width
    return memoryview(digests.buffers()[1])[digests.offset * size :][: len(digests) * size]

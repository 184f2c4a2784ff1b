"""Which snapshot may be read: the newest that passed its gate, or that a human let through."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger, SnapshotRow
from loom_dagster.release.folders import TOGETHER, slot
from loom_dagster.release.snapshot import Snapshot
from loom_dagster.release.union import together, union_of

__all__ = ["Releases"]


class Releases:
    """Snapshots by pipeline and partition (``""``: the pipeline has none)."""

    def __init__(self, ledger: Ledger, state_dir: Path) -> None:
        self._ledger, self._state = ledger, state_dir

    def folder(self, pipeline: str, partition: str, run_id: str) -> Path:
        """Where a run that holds its lease writes its snapshot. A run that goes on writes beside the
        snapshot it has left, which stays as it is until the new one is registered."""
        place = slot(self._state, pipeline, partition)
        registered = self._ledger.snapshot(pipeline, run_id)
        if registered is None:
            return place / run_id
        for folder in place.glob(f"{run_id}*"):
            if folder.name != registered.folder:  # of a continuation before the last one, or killed
                shutil.rmtree(folder, ignore_errors=True)
        _, _, number = registered.folder.partition(".")
        return place / f"{run_id}.{int(number or 1) + 1}"

    def latest(self, pipeline: str, partition: str = "") -> Snapshot | None:
        """The newest snapshot, released or held."""
        return self._snapshot(self._ledger.latest_snapshot(pipeline, partition))

    def released(self, pipeline: str, partition: str = "") -> Snapshot | None:
        """The newest released one: the only one that is loaded or read downstream."""
        return self._snapshot(self._ledger.released_snapshot(pipeline, partition))

    def to_load(self, pipeline: str, partition: str = "") -> list[Snapshot]:
        """The released snapshots that the destination does not have, oldest first; always the newest, so that
        loading again is possible. None when nothing is released."""
        newest = self.released(pipeline, partition)
        if newest is None:
            return []
        return [s for s in self._increments(newest) if s.loaded_at is None or s.id == newest.id]

    def _increments(self, newest: Snapshot) -> list[Snapshot]:
        """The released snapshots that ``newest`` is added to, and itself, oldest first."""
        parts = [newest]
        if newest.increment:
            for row in self._ledger.snapshots(newest.pipeline, newest.partition):
                if row.released_at is not None and row.run_id < newest.id:
                    parts.append(self._made(row))
                    if not row.increment:
                        break
        return parts[::-1]

    def snapshot(self, pipeline: str, run_id: str) -> Snapshot | None:
        return self._snapshot(self._ledger.snapshot(pipeline, run_id))

    def snapshots(self, pipeline: str, partition: str | None = None) -> list[Snapshot]:
        """Newest first; of every partition when none is named."""
        return [self._made(row) for row in self._ledger.snapshots(pipeline, partition)]

    def release_held(self, pipeline: str, partition: str = "", *, why: str, who: str) -> Snapshot:
        """Let the newest snapshot through although its verdict held it; who and why are kept.

        Raises Misconfigured without a reason, or when no snapshot is held.
        """
        if not why.strip():
            raise Misconfigured("a release needs a reason", fix="say why with `--why TEXT`")
        return self._made(self._ledger.release(pipeline, partition, who=who, why=why.strip()))

    def read_transformed(self, pipeline: str, partition: str = "") -> Path:
        """The Parquet file of what is released: the newest snapshot; of increments all, each record's latest.

        Raises Misconfigured when nothing is released, saying why, or when the file is gone.
        """
        snapshot = self.released(pipeline, partition)
        if snapshot is None:
            held = self.latest(pipeline, partition)
            raise Misconfigured(
                f"nothing of `{pipeline}` is released yet",
                why="it has not been run"
                if held is None
                else f"its newest batch is held: {held.verdict_reason}",
                fix=f"run it: `loom run {pipeline}`"
                if held is None
                else f"look at `loom quarantine list {pipeline}`, or let it through: "
                f"`loom release {pipeline} --why ...`",
                kind="not_released",
            )
        parts = self._increments(snapshot)
        for part in parts:
            _there(part, part.transformed)
        return union_of(parts)

    def read_together(self, pipeline: str, partitions: Sequence[str], *, keyed: bool) -> Path:
        """The Parquet file of these partitions as one table, each as it was released last. Of ``keyed`` records that
        several partitions have, the last one's. Raises Misconfigured when nothing of any is released."""
        newest: dict[str, SnapshotRow] = {}
        for row in self._ledger.snapshots(pipeline):  # newest first
            if row.released_at is not None:
                newest.setdefault(row.partition, row)
        parts = [self._made(newest[key]) for key in partitions if key in newest]
        if not parts:
            raise Misconfigured(
                f"nothing of `{pipeline}` is released yet",
                why="no partition of it has passed",
                fix=f"run one: `loom run {pipeline} --partition KEY`",
                kind="not_released",
            )
        for part in parts:
            _there(part, part.transformed)
        return together(parts, slot(self._state, pipeline, "").with_name(TOGETHER), keyed=keyed)

    def read_table(
        self, pipeline: str, partition: str = "", *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """What ``read_transformed`` names, in memory."""
        return pq.read_table(self.read_transformed(pipeline, partition), columns=columns)

    def quarantine_table(self, pipeline: str, partition: str = "") -> pa.Table:
        """The newest snapshot's quarantine with what has become of each record since: ``resolved_at``,
        ``resolution``, ``resolved_by``. Raises Misconfigured when there is no snapshot."""
        snapshot = self.latest(pipeline, partition)
        if snapshot is None:
            raise Misconfigured(f"`{pipeline}` has no quarantine", why="it has not been run")
        table = pq.read_table(_there(snapshot, snapshot.quarantine)).drop_columns("resolution")
        known = {e.record_id: e for e in self._ledger.quarantine(pipeline, partition)}
        rows = zip(table.column("record_id").to_pylist(), table.column("run_id").to_pylist(), strict=True)
        # of an earlier run, and not in the index any more: settled so long ago that it was cleaned
        settled = (snapshot.created_at, "settled before", "loom clean")
        nothing = (None, None, None)
        found = [
            (e.resolved_at, e.resolution, e.resolved_by)
            if (e := known.get(record_id))
            else (nothing if run_id == snapshot.id else settled)
            for record_id, run_id in rows
        ]
        kinds = {
            "resolved_at": pa.timestamp("us", tz="UTC"),
            "resolution": pa.string(),
            "resolved_by": pa.string(),
        }
        for at, (name, kind) in enumerate(kinds.items()):
            table = table.append_column(name, pa.array([row[at] for row in found], kind))
        return table

    def _snapshot(self, row: SnapshotRow | None) -> Snapshot | None:
        return None if row is None else self._made(row)

    def _made(self, row: SnapshotRow) -> Snapshot:
        folder = slot(self._state, row.pipeline, row.partition) / row.folder
        return Snapshot(
            id=row.run_id,
            pipeline=row.pipeline,
            partition=row.partition,
            created_at=row.created_at,
            counts=row.counts,
            verdict_passed=row.verdict_passed,
            verdict_reason=row.verdict_reason,
            pass_rate=row.pass_rate,
            threshold=row.threshold,
            released_at=row.released_at,
            released_by=row.released_by,
            why=row.why,
            transformed=folder / "transformed.parquet",
            quarantine=folder / "quarantine.parquet",
            data_version=row.data_version,
            fingerprint=row.fingerprint,
            outcome=row.outcome,
            increment=row.increment,
            loaded_at=row.loaded_at,
            cleaned_at=row.cleaned_at,
        )


def _there(snapshot: Snapshot, path: Path) -> Path:
    if snapshot.cleaned_at is not None or not path.exists():
        raise snapshot.gone(path)
    return path

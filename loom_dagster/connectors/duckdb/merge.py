"""The statements that bring a staged shipment into its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loom_dagster.connectors.contract import Shipment
from loom_dagster.connectors.duckdb.columns import PARTITION, fit
from loom_dagster.connectors.duckdb.database import quoted, spelled
from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.errors import Misconfigured

__all__ = ["ID", "MARK", "ROW", "STAGE", "Merge"]

STAGE = "_loom_stage"
ROW, ID, MARK = "_loom_stage_row", "_loom_stage_id", "_loom_stage_mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One shipment into one table. ``run`` takes the staged rows for which ``which`` holds; it is called
    within a transaction and may be called again after a rollback; ``note`` only when it is to stay."""

    table: Table
    shipment: Shipment

    def run(self, connection: Any, which: str, *, note: bool = True) -> None:
        ship, where = self.shipment, spelled(self.table)
        names = ship.incoming.schema.names
        columns = fit(connection, self.table, STAGE, names, partitioned=bool(ship.partition))
        self._make_manifest(connection)
        rows = f"(SELECT * FROM {STAGE} WHERE {which})"
        if ship.mode == "upsert":
            rows = self._update(connection, rows, columns)
        elif ship.partition:
            self._clear(connection, f"{quoted(PARTITION)} = $partition", partition=ship.partition)
        elif ship.mode == "overwrite":
            self._clear(connection, "true")
        else:
            known = f"SELECT mark FROM {self._marks} WHERE target = $target"
            rows = f"(SELECT * FROM {rows} AS _loom_new WHERE {MARK} NOT IN ({known}))"
        targets, values = [quoted(name) for name in columns], [quoted(name) for name in names]
        if ship.partition:
            targets, values = [*targets, quoted(PARTITION)], [*values, "$partition"]
        text = f"INSERT INTO {where} ({', '.join(targets)}) SELECT {', '.join(values)} FROM {rows} AS _loom_new ORDER BY {ROW}"
        given = {"partition": ship.partition, "target": self.table.name}
        connection.execute(text, {name: value for name, value in given.items() if f"${name}" in text})
        if note:
            self._note(connection, which)

    def _update(self, connection: Any, rows: str, columns: Sequence[str]) -> str:
        """Rows that are there get the new values. Returns those that are not there."""
        names, where = self.shipment.incoming.schema.names, spelled(self.table)
        spelling = dict(zip(names, columns, strict=True))
        key = self.shipment.key
        same = " AND ".join(f"_loom_old.{quoted(spelling[name])} = _loom_new.{quoted(name)}" for name in key)
        self._assert_distinct(connection, rows, same)
        changed = [f"{quoted(spelling[n])} = _loom_new.{quoted(n)}" for n in names if n not in key]
        given = {"partition": self.shipment.partition} if self.shipment.partition else None
        if given:  # what came with the partition before and is not in it any more goes
            changed.append(f"{quoted(PARTITION)} = $partition")
            there = f"EXISTS (SELECT 1 FROM {rows} AS _loom_new WHERE {same})"
            gone = f"_loom_old.{quoted(PARTITION)} = $partition AND NOT {there}"
            connection.execute(f"DELETE FROM {where} AS _loom_old WHERE {gone}", given)
        if changed:
            values = ", ".join(changed)
            statement = f"UPDATE {where} AS _loom_old SET {values} FROM {rows} AS _loom_new WHERE {same}"
            connection.execute(statement, given)
        return f"(SELECT * FROM {rows} AS _loom_new WHERE NOT EXISTS (SELECT 1 FROM {where} AS _loom_old WHERE {same}))"

    def _assert_distinct(self, connection: Any, rows: str, same: str) -> None:
        key = "+".join(self.shipment.key)
        grouped = ", ".join(f"_loom_new.{quoted(name)}" for name in self.shipment.key)
        twice = f"SELECT 1 FROM {rows} AS _loom_new GROUP BY {grouped} HAVING count(*) > 1 LIMIT 1"
        if connection.execute(twice).fetchall():
            raise Misconfigured(f"the snapshot has two rows with one key ({key})")
        twice = (
            f"SELECT 1 FROM {spelled(self.table)} AS _loom_old JOIN {rows} AS _loom_new ON {same} "
            f"GROUP BY _loom_new.{ROW} HAVING count(*) > 1 LIMIT 1"
        )
        if connection.execute(twice).fetchall():
            raise Misconfigured(
                f"{self.table.uri} has two rows with one key ({key}); which to replace is unclear",
                fix="remove one of them",
            )

    def _clear(self, connection: Any, rows: str, **values: str) -> None:
        connection.execute(f"DELETE FROM {spelled(self.table)} WHERE {rows}", values or None)
        if not values:
            connection.execute(f"DELETE FROM {self._marks} WHERE target = ?", [self.table.name])

    @property
    def _marks(self) -> str:
        return spelled(self.table, "_loom_marks")

    def _make_manifest(self, connection: Any) -> None:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {self._marks} (target VARCHAR, mark BLOB)")
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {spelled(self.table, '_loom_loads')} (target VARCHAR, pipeline VARCHAR, "
            '"partition" VARCHAR, snapshot VARCHAR, fingerprint VARCHAR, mode VARCHAR, "rows" BIGINT, loaded_at TIMESTAMPTZ)'
        )

    def _note(self, connection: Any, which: str) -> None:
        """What was loaded, so that the next append knows."""
        ship, loads = self.shipment, spelled(self.table, "_loom_loads")
        connection.execute(
            f"INSERT INTO {self._marks} SELECT $target, {MARK} FROM {STAGE} WHERE ({which}) AND {MARK} NOT IN "
            f"(SELECT mark FROM {self._marks} WHERE target = $target)",
            {"target": self.table.name},
        )
        connection.execute(
            f"DELETE FROM {loads} WHERE target = ? AND snapshot = ?", [self.table.name, ship.snapshot]
        )
        connection.execute(
            f"INSERT INTO {loads} SELECT ?, ?, ?, ?, ?, ?, count(*), now() FROM {STAGE} WHERE {which}",
            [self.table.name, ship.pipeline, ship.partition, ship.snapshot, ship.fingerprint, ship.mode],
        )

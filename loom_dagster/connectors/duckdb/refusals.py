"""Rows that a table does not take: found, left out and told, so that the rest is loaded.

DuckDB has no savepoints: one bad row ends the transaction. So a merge that fails is tried on halves, and
taken back, until the bad rows are known; then all others go in at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loom_dagster.connectors.contract import Refused
from loom_dagster.connectors.duckdb.merge import ID, ROW, STAGE, Merge
from loom_dagster.errors import Misconfigured

__all__ = ["settled"]

_MOST = 10_000  # refused rows of one load; more are no accident


def settled(connection: Any, merge: Merge) -> list[Refused]:
    """Merges all rows that the table takes, in one transaction, and returns the others.

    Raises Misconfigured if it takes none at all of a shipment that has some, or refuses too many.
    """
    refused: dict[int, str] = {}
    connection.execute("CREATE TEMP TABLE _loom_refused (row BIGINT PRIMARY KEY)")
    while (words := _merged(connection, merge, _left(0, None), keep=True)) is not None:
        if (always := _merged(connection, merge, "false", keep=False)) is not None:
            raise Misconfigured(f"{merge.table.uri} cannot be loaded", why=always, kind="database")
        rows = merge.shipment.incoming.rows
        found = dict(_bad(connection, merge, 0, rows)) or _first(connection, merge, rows, words)
        refused |= found
        if len(refused) > _MOST or not found:
            raise Misconfigured(
                f"{merge.table.uri} refuses more than {_MOST} rows", why=words, kind="database"
            )
        connection.executemany("INSERT INTO _loom_refused VALUES (?)", [[row] for row in found])
    ids = dict(
        connection.execute(
            f"SELECT {ROW}, {ID} FROM {STAGE} WHERE {ROW} IN (SELECT row FROM _loom_refused)"
        ).fetchall()
    )
    return [Refused(record_id=ids[row], reason=refused[row]) for row in sorted(refused)]


def _bad(connection: Any, merge: Merge, start: int, end: int) -> Iterator[tuple[int, str]]:
    """The rows from ``start`` to ``end`` that are refused whatever the others are."""
    found = 0
    waiting = [(start, end)]
    while waiting and found <= _MOST:
        low, high = waiting.pop()
        words = _merged(connection, merge, _left(low, high), keep=False)
        if words is not None and high - low == 1:
            found += 1
            yield low, words
        elif words is not None:
            middle = (low + high) // 2
            waiting += [(middle, high), (low, middle)]


def _first(connection: Any, merge: Merge, rows: int, words: str) -> dict[int, str]:
    """The first row that is refused because of those before it, such as a second one with a unique value."""
    low, high = 0, rows
    while high - low > 1:
        middle = (low + high) // 2
        told = _merged(connection, merge, _left(0, middle), keep=False)
        low, high, words = (middle, high, words) if told is None else (low, middle, told)
    return {low: words}


def _left(start: int, end: int | None) -> str:
    upper = "" if end is None else f" AND {ROW} < {end}"
    return f"{ROW} >= {start}{upper} AND {ROW} NOT IN (SELECT row FROM _loom_refused)"


def _merged(connection: Any, merge: Merge, which: str, *, keep: bool) -> str | None:
    """Merges those rows and keeps or takes that back. Returns DuckDB's words if it refuses them."""
    import duckdb

    connection.execute("BEGIN TRANSACTION")
    try:
        merge.run(connection, which, note=keep)
        connection.execute("COMMIT" if keep else "ROLLBACK")
    except (duckdb.IntegrityError, duckdb.DataError) as error:
        _roll_back(connection)
        return " ".join(str(error).partition("\nLINE ")[0].split())[:500]
    except BaseException:
        _roll_back(connection)
        raise
    return None


def _roll_back(connection: Any) -> None:
    import duckdb

    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:  # a failed COMMIT has done it
        return

"""Rows that a database refuses: which of its errors are about a row, and which row it is.

Nothing is done row by row while nothing is refused: what fails as a whole is halved until the rows stand alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from loom_dagster.errors import Misconfigured

__all__ = ["MOST", "halving", "words_about_a_row"]

MOST = 10_000  # refused rows of one load; more are no accident

# data, constraint, WITH CHECK OPTION, a key too long for its index, a trigger's RAISE
_STATES = ("22", "23", "44", "54000", "P0001")
_NUMBERS = frozenset(
    {
        1048, 1062, 1169, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1441, 1451, 1452, 1525,
        1526, 1557, 1586, 1644, 1690, 3140, 3156, 3819, 3903, 3988, 4025, 4161,
    }
)  # fmt: skip
_NOT_A_ROW = frozenset({"22023", "22P06"})  # parameters and escapes of a statement


def words_about_a_row(error: Exception) -> str | None:
    """The database's words if it refuses a row, in one line; None if something else is wrong."""
    if isinstance(error, OverflowError):  # sqlite3: an integer beyond 64 bits
        return str(error)
    if not isinstance(error, DBAPIError) or error.connection_invalidated or error.orig is None:
        return None
    original = error.orig
    state = getattr(original, "pgcode", None)
    first = original.args[0] if original.args else None
    if isinstance(state, str):
        words = original.diag.message_primary or str(original)  # type: ignore[attr-defined]
        refused = state.startswith(_STATES) and state not in _NOT_A_ROW
    elif isinstance(first, int):  # MySQL's number
        words, refused = str(original.args[-1]), first in _NUMBERS
    else:
        words = str(original)
        integrity = isinstance(original, sqlite3.IntegrityError | sqlite3.DataError)
        refused = integrity or "can not be used with MySQL" in words  # NaN, says its driver
    return (words.splitlines() or ["refused"])[0][:500] if refused else None


def halving(
    connection: Connection,
    start: int,
    end: int,
    put: Callable[[int, int], None],
    first: Callable[[], None] | None = None,
) -> dict[int, str]:
    """Does ``put(start, end)``, or as many parts of it as the database takes; ``first`` is called before it does
    parts. Gives the rows that the database refuses, with its words; any other error is raised, and Misconfigured
    when it refuses more than ``MOST``."""
    refused: dict[int, str] = {}
    parts = [(start, end)]
    while parts:
        low, high = parts.pop()
        connection.exec_driver_sql("SAVEPOINT loom")
        try:
            put(low, high)
        except (DBAPIError, OverflowError) as error:
            words = words_about_a_row(error)
            if words is None:  # the whole transaction is over
                raise
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT loom")
            if first is not None:
                first()
            if high - low > 1:
                middle = (low + high) // 2
                parts += [(middle, high), (low, middle)]
                continue
            refused[low] = words
            if len(refused) > MOST:
                raise Misconfigured(
                    f"the database refuses more than {MOST} rows", why=words, fix="nothing was loaded"
                ) from error
        else:
            connection.exec_driver_sql("RELEASE SAVEPOINT loom")
    return refused

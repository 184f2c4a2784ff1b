"""What was spent, and what is reserved for calls in flight: the tables, and the sums that budgets look at.

Money is counted in whole picodollars (1e-12 USD), so that a million small prices add up exactly. Days and
months are UTC's. One row of ``spend`` a run, day and account (what it was spent for); one row of ``reservations``
a run that is going on, which holds every call whose outcome is not known yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from loom_dagster.ledger.batch_tables import batches
from loom_dagster.ledger.entries import UNIT, Entry
from loom_dagster.ledger.process import Process, is_gone, this_process
from loom_dagster.ledger.rows import Budgets, RunHandle
from loom_dagster.ledger.tables import reservations, spend
from loom_dagster.records import Account, Usage, to_json

__all__ = [
    "SILENT",
    "UNIT",
    "Call",
    "Entry",
    "Stored",
    "Sums",
    "add",
    "come_of",
    "hold",
    "is_owed",
    "limits",
    "recover",
    "sums",
]

SILENT = timedelta(minutes=15)  # no call lasts as long: a run on another host that says nothing has died
Stored = Callable[[bytes, float], float | None]
"""What was paid for the answer with this key, if it was stored at or after this moment (UNIX seconds)."""


class Call(NamedTuple):
    """One call in flight: its worst-case price, and as JSON the key of its answer, its price, when it
    was reserved (UNIX seconds) and its account. Written once, since it is kept with every change until it ends."""

    amount: int
    text: str
    account: Account

    @classmethod
    def of(cls, key: bytes, amount: int, at: float, account: Account) -> Call:
        return cls(amount, to_json([key.hex(), amount, at, *account]).decode(), account)


@dataclass(slots=True, kw_only=True)
class Sums:
    """Of one budget, in picodollars: paid for, paid for perhaps, reserved by other runs, and reserved for batches,
    of which nothing comes back as long as a run lasts."""

    spent: int = 0
    unconfirmed: int = 0
    elsewhere: int = 0
    ordered: int = 0

    @property
    def used(self) -> int:
        return self.spent + self.unconfirmed + self.ordered


def _sum_where(which: ColumnElement[bool], column: Column[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((which, column), else_=0)), 0)


def _of_run(table: Table) -> ColumnElement[bool]:
    return and_(table.c.run_id == bindparam("run"), table.c.allowance == bindparam("nth"))


# Built once: these run for every few calls, and putting a statement together takes longer than running it.
_THIS_MONTH = spend.c.day.between(bindparam("first"), bindparam("last"))
_SCOPES = (
    _of_run(spend),
    and_(spend.c.pipeline == bindparam("of"), spend.c.day == bindparam("today")),
    _THIS_MONTH,
)
_PAID = select(
    *[_sum_where(scope, column) for scope in _SCOPES for column in (spend.c.spent, spend.c.unconfirmed)]
).where(or_(_SCOPES[0], _THIS_MONTH))
_ELSEWHERE = select(
    _sum_where(_of_run(reservations), reservations.c.amount),
    _sum_where(reservations.c.pipeline == bindparam("of"), reservations.c.amount),
    func.coalesce(func.sum(reservations.c.amount), 0),
).where(~reservations.c.token.between(bindparam("own"), bindparam("own_end")))
_ORDERED = select(
    _sum_where(_of_run(batches), batches.c.reserved),
    _sum_where(batches.c.pipeline == bindparam("of"), batches.c.reserved),
    func.coalesce(func.sum(batches.c.reserved), 0),
).where(batches.c.reserved > 0)
_GATHERED = select(batches).where(batches.c.state == "spooling")
_NUMBERS = tuple(f.name for f in fields(Entry))
_KEYS = ("run_id", "allowance", "day", *Account._fields)
_COLUMNS = (*_KEYS, "pipeline", *_NUMBERS)
_ADD = text(  # SQLAlchemy has this for each database apart; both understand this
    f"INSERT INTO spend ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "  # noqa: S608 - our own names
    f"ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET "
    + ", ".join(f"{name} = spend.{name} + excluded.{name}" for name in _NUMBERS)
)
_HOLD = (
    update(reservations)
    .where(reservations.c.token == bindparam("own"))
    .values(amount=bindparam("sum"), calls=bindparam("all"), beat_at=bindparam("now"))
)
_OWNER = [reservations.c[name] for name in ("host", "pid", "process_start", "beat_at")]
_FORGET = delete(reservations).where(reservations.c.token == bindparam("own"))


def limits(budgets: Budgets) -> dict[str, int]:
    """In whole picodollars, by the budget's name."""
    return {name: math.floor(usd / UNIT) for name, usd in budgets.limits().items()}


def sums(
    connection: Connection, run: RunHandle, day: str, token: str, token_end: str | None = None
) -> dict[str, Sums]:
    """By budget (``run``, ``day``, ``month``). ``token`` is the asking run's own row of reservations, or, up to
    ``token_end``, its rows. What others have reserved counts for every day: where in doubt, less is spent."""
    given = {"run": run.run_id, "nth": run.allowance, "of": run.pipeline, "today": day}
    month = {"first": f"{day[:7]}-01", "last": f"{day[:7]}-31"}
    paid = connection.execute(_PAID, given | month).one()
    own = {"own": token, "own_end": token_end or token}
    elsewhere = connection.execute(_ELSEWHERE, given | own).one()
    ordered = connection.execute(_ORDERED, given).one()
    return {
        name: Sums(
            spent=int(paid[2 * i]),
            unconfirmed=int(paid[2 * i + 1]),
            elsewhere=int(elsewhere[i]),
            ordered=int(ordered[i]),
        )
        for i, name in enumerate(("run", "day", "month"))
    }


def add(
    connection: Connection,
    run_id: str,
    allowance: int,
    pipeline: str,
    day: str,
    entries: Mapping[Account, Entry],
) -> None:
    """Count what a run paid, or may have paid, on a day."""
    run = {"run_id": run_id, "allowance": allowance, "pipeline": pipeline, "day": day}
    rows = [
        run | account._asdict() | dict(zip(_NUMBERS, astuple(entry), strict=True))
        for account, entry in entries.items()
    ]
    if rows:
        connection.execute(_ADD, rows)


def hold(
    connection: Connection, run: RunHandle, token: str, calls: Mapping[int, Call], now: datetime
) -> None:
    """Keep ``calls`` as all that the run has in flight; what it held before is forgotten."""
    if not calls:
        connection.execute(_FORGET, {"own": token})
        return
    given = {
        "own": token,
        "sum": sum([call.amount for call in calls.values()]),
        "all": f"[{','.join([call.text for call in calls.values()])}]",
        "now": now,
    }
    if connection.execute(_HOLD, given).rowcount == 0:
        me = this_process()
        connection.execute(
            insert(reservations).values(
                token=token,
                run_id=run.run_id,
                allowance=run.allowance,
                pipeline=run.pipeline,
                host=me.host,
                pid=me.pid,
                process_start=me.start,
                amount=given["sum"],
                calls=given["all"],
                beat_at=now,
            )
        )


def is_owed(connection: Connection, now: datetime) -> bool:
    """Whether a killed run had calls in flight that nobody has settled yet, or had gathered for a batch."""
    rows = [*connection.execute(select(*_OWNER)), *connection.execute(_GATHERED)]
    return any(_is_left(row, now) for row in rows)


def recover(connection: Connection, now: datetime, stored: Stored) -> None:
    """Settle what killed runs had in flight: at its price where the answer is in the store, else at
    the worst case, as unconfirmed. What they had gathered for a batch, and not sent, is forgotten."""
    for row in connection.execute(_GATHERED).all():
        if _is_left(row, now):
            connection.execute(delete(batches).where(batches.c.batch_id == row.batch_id))
    for row in connection.execute(select(reservations)).all():
        if not _is_left(row, now):
            continue
        for day, entries in come_of(orjson.loads(row.calls), stored).items():
            add(connection, row.run_id, row.allowance, row.pipeline, day, entries)
        connection.execute(delete(reservations).where(reservations.c.token == row.token))


def come_of(calls: Iterable[Sequence[Any]], stored: Stored) -> dict[str, dict[Account, Entry]]:
    """What calls in flight of which nobody will hear come to, by the day they were made: each its price where the
    answer is in the store, else its worst case, as unconfirmed. ``calls`` as kept in reservations."""
    days: dict[str, dict[Account, Entry]] = {}
    for key, amount, at, purpose, model, prompt, *_ in calls:
        cost = stored(bytes.fromhex(key), at)
        day = days.setdefault(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}", {})
        entry = day.setdefault(Account(purpose, model, prompt), Entry())
        if cost is None:
            entry.lose(amount)
        else:
            entry.pay(cost, Usage())
    return days


def _is_left(row: Any, now: datetime) -> bool:
    owner = Process(host=row.host, pid=row.pid, start=row.process_start)
    return is_gone(owner, silent=now - row.beat_at >= SILENT)

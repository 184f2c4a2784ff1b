"""What a worker and the till say to each other: plain tuples, cheap to send.

A worker has one exchange at a time, and everything that gathered meanwhile goes with the next. Each has a number,
one more than the last; one that is sent again, because nobody knows whether it arrived, has the number it had.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from loom_dagster.errors import LoomError, Misconfigured, OverBudget

__all__ = ["Fault", "Message", "Reply", "Want", "fault_of", "raised"]

Fault = tuple[str, str | None, str | None, str | None, str, str]
"""An error: what, where, why, fix, kind, and the budget if it is OverBudget (else empty)."""

AnswerRow = tuple[Any, ...]
"""Columns of the answer store: all of them, or those from ``key`` to ``created_at``."""


class Want(NamedTuple):
    """A reservation of ``amount`` picodollars that is wanted, and as JSON what is kept of the call: a list that begins
    with ``head`` and ends with ``tail``, between them the moment at which it was granted. ``ticket`` is the worker's
    own number for it, never used twice."""

    ticket: int
    amount: int
    head: str
    tail: str


class Message(NamedTuple):
    """From a worker. All of it may be empty. ``till``: of the last reply.

    ``finds``: keys to look up, each with its ``not_before``. ``asked``: claims that are given up, or not waited for
    any more. ``claimed``: all
    claims it has, told to a till that has begun anew. ``puts``: answers to be stored. ``ended``: tickets of calls that
    have ended, or that nobody waits for any more. ``counted``: what that came to, see ``entries.counted``.
    ``wants``: see ``Want``. ``demands``: of a limit its name, most, held and wanted.
    """

    number: int
    till: str = ""
    finds: tuple[tuple[bytes, float | None], ...] = ()
    asked: tuple[bytes, ...] = ()
    claimed: tuple[bytes, ...] = ()
    puts: tuple[AnswerRow, ...] = ()
    ended: tuple[int, ...] = ()
    counted: tuple[tuple[str | int, ...], ...] = ()
    wants: tuple[tuple[int, int, str, str], ...] = ()
    demands: tuple[tuple[str, int, int, int], ...] = ()


class Reply(NamedTuple):
    """From the till. What was wanted and is not in it comes with a later reply: ask now and then, with an empty
    message if need be.

    ``till`` is another one each time the till begins anew: what waits is to be told again then, in the next message.
    ``pause``: seconds to leave between two messages. ``found``: what is stored, as
    ``answer_of`` takes it. ``claimed``: keys of which nothing is stored and that nobody else asks until they are ``asked``.
    ``granted``: tickets. ``refused``: tickets, and why. ``grants``: of a limit its name, the slots, and of how many.
    ``answers``: why nothing was stored, or looked up, of this message. ``gone``: why the worker is not served any more.
    """

    till: str
    pause: float = 0.0
    found: tuple[AnswerRow, ...] = ()
    claimed: tuple[bytes, ...] = ()
    granted: tuple[int, ...] = ()
    refused: tuple[tuple[int, Fault], ...] = ()
    grants: tuple[tuple[str, int, int], ...] = ()
    answers: Fault | None = None
    gone: Fault | None = None


def fault_of(error: LoomError) -> Fault:
    """``error`` to be sent."""
    budget = error.budget if isinstance(error, OverBudget) else ""
    return error.what, error.where, error.why, error.fix, error.kind, budget


def raised(fault: Fault) -> Misconfigured | OverBudget:
    """The error that was sent."""
    what, where, why, fix, kind, budget = fault
    if not budget:
        return Misconfigured(what, where=where, why=why, fix=fix, kind=kind)
    error = OverBudget(what, where=where, why=why, fix=fix)
    error.budget = budget
    return error

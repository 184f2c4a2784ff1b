"""Whether a pipeline is to be run now: a decision from what is there, what was read, and how earlier tries ended.

It looks at levels, never at edges: what is there now against what the newest run read. So nothing depends on
having seen the moment at which something came, and a tick that failed or a daemon that was away loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from loom_dagster.ledger import RunRow

__all__ = ["Attempt", "Due", "News", "due"]

_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_CANCELED = "the last run was canceled; the next one is for what comes now, or a person starts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A run that a trigger started, newest first in a sequence. ``state`` is the one it was started for, ``code`` the
    pipeline's code version then; ``canceled``: because a person wanted that."""

    id: str
    state: str
    code: str
    succeeded: bool
    ended_at: datetime
    partition: str = ""
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is there: ``state`` stands for all of it; ``what`` is new, in words, nothing if nothing is; ``nothing``
    says why in that case. ``unloaded``: the released batch that its destination does not have."""

    state: str
    code: str
    what: Sequence[str] = ()
    nothing: str = "nothing new"
    unloaded: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """``run``: start it, with ``why`` and a ``key`` that is this request's alone; else why not. ``load_only``: the
    records are there, only their load is not. ``versions``: of what was looked at: `source`, `prompt`, paths of texts."""

    run: bool
    why: str
    state: str = ""
    code: str = ""
    key: str = ""
    load_only: bool = False
    partition: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def due(
    news: News, last: RunRow | None, attempts: Sequence[Attempt], now: datetime, *, canceled: bool = False
) -> Due:
    """``last``: the newest run that noted what it read; it is not going on any more. ``canceled``: a person wanted
    that."""

    def no(why: str) -> Due:
        return Due(run=False, why=why, state=news.state, code=news.code)

    what = list(news.what)
    if (canceled and not what) or _canceled_before_it_read(news, last, attempts):
        return no(_CANCELED)
    unfinished = _unfinished(last, now)
    load_only = bool(news.unloaded) and not what and not unfinished
    if load_only:
        what.append("a released batch is not loaded")
        news = replace(news, state=f"load-{news.unloaded}")
        attempts = [attempt for attempt in attempts if attempt.state == news.state]
    if unfinished and not what:
        if unfinished.waits:
            return no(unfinished.why)
        what.append(unfinished.why)
    if not what:
        return no(news.nothing)
    if (wait := _wait(news, attempts)) and attempts[0].ended_at + wait > now:
        again = (attempts[0].ended_at + wait).strftime("%H:%M:%S")
        return no(f"{', '.join(what)}; the last run did not end well, the next try is at {again} UTC")
    key = f"{news.state}-{attempts[0].id[:8] if attempts else 'first'}"
    return Due(run=True, why=", ".join(what), state=news.state, code=news.code, key=key, load_only=load_only)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    why: str
    waits: bool = False


def _unfinished(last: RunRow | None, now: datetime) -> _Unfinished | None:
    """What the newest run left to be done. A held batch is a result: a person decides."""
    if last is None or last.status in ("succeeded", "held", "superseded"):
        return None
    if last.status == "deferred" and (last.outcome or {}).get("stopped_kind") == "budget":
        if last.finished_at is not None and last.finished_at.date() == now.date():
            return _Unfinished("the budget is used up; what is deferred is tried tomorrow (UTC)", waits=True)
        return _Unfinished("records were deferred by the budget")
    if last.status == "deferred" and (last.outcome or {}).get("waits"):
        return _Unfinished("its answers come with a batch, and another sensor looks after that", waits=True)
    return _Unfinished(
        {"deferred": "records were deferred", "failed": "the last run failed"}.get(
            last.status, "the last run did not end"
        )
    )


def _canceled_before_it_read(news: News, last: RunRow | None, attempts: Sequence[Attempt]) -> bool:
    """Whether the newest try for this very state was canceled, and no run has read the source since."""
    if not attempts or not attempts[0].canceled or attempts[0].state != news.state:
        return False
    return last is None or last.started_at <= attempts[0].ended_at


def _wait(news: News, attempts: Sequence[Attempt]) -> timedelta:
    """How long after the newest of the attempts that came to nothing: twice as long after each. A change of the
    pipeline begins anew."""
    vain = 0
    for attempt in attempts:
        if attempt.code != news.code or attempt.canceled:
            break
        if attempt.succeeded and attempt.state != news.state:
            break
        vain += 1
    return min(_FIRST_WAIT * 2 ** min(vain - 1, 10), _LONGEST_WAIT) if vain else timedelta(0)

"""The errors of loom_dagster, and what is done about each.

    LoomError
    ├── Transient        try again; after the last try the record is quarantined
    │   └── Outage       the provider is down: the record is deferred, never quarantined
    │       ├── OverBudget   there is no money left to ask: likewise
    │       └── Waits        its answer comes in a batch: likewise
    ├── Permanent        this record will not succeed: it is quarantined
    └── Misconfigured    nothing will succeed: stop, before anything is spent if possible

Decisions are made by class, never by reading a message. A message says what happened, where,
why, and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["LoomError", "Misconfigured", "Outage", "OverBudget", "Permanent", "Problem", "Transient", "Waits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in what a user wrote.

    ``where`` is ``file:line`` relative to the project (or just the file). ``fix`` is the next
    thing to do. ``said``: a database's own words, which may quote rows. A ``warning`` does not stop a run.
    """

    what: str
    where: str | None = None
    fix: str | None = None
    level: Literal["error", "warning"] = "error"
    said: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        said = f": {self.said}" if self.said else ""
        advice = f" ({self.fix})" if self.fix else ""
        return f"{place}{self.what}{said}{advice}"


class LoomError(Exception):
    """Base of all errors raised on purpose.

    ``kind`` is a short stable word (``timeout``, ``refused``) that is kept with a quarantined
    record and can be filtered on. ``answers`` are the paid ones that were had before it.
    ``maybe_paid``: the provider got the request and may charge for it, though no answer came.
    ``told``: people are alerted of it.
    """

    kind: str = "error"
    answers: tuple[Any, ...] = ()
    maybe_paid: bool = False
    told: bool = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        kind: str | None = None,
    ) -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        if kind is not None:
            self.kind = kind
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The whole message in one line: where, what, why, what to do."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            parts.append(f": {self.why}")
        if self.fix:
            parts.append(f" ({self.fix})")
        return "".join(parts)

    def __str__(self) -> str:
        return self.sentence()


class Transient(LoomError):
    """Worth another try. ``retry_after`` is in seconds when the other side named a time."""

    kind = "transient"

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix, kind=kind)
        self.retry_after = retry_after


class Outage(Transient):
    """The other side has been down for longer than we wait; nothing is wrong with the record."""

    kind = "outage"


class OverBudget(Outage):
    """A budget has no room for the call and will have none: nothing is wrong with the record. ``budget``
    says which: run, day or month."""

    kind = "over_budget"
    budget: str = "run"


class Waits(Outage):
    """The question is in a batch, whose answers come later: nothing is wrong with the record."""

    kind = "waits_for_batch"


class Permanent(LoomError):
    """Another try would end the same way. ``raw`` is the answer as it came, if one came."""

    kind = "permanent"

    def __init__(
        self,
        what: str,
        *,
        raw: str | None = None,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix, kind=kind)
        self.raw = raw


class Misconfigured(LoomError):
    """The user has to change something. ``problems`` holds every one that was found."""

    kind = "misconfigured"

    def __init__(
        self,
        what: str,
        *,
        problems: tuple[Problem, ...] = (),
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix, kind=kind)
        self.problems = problems

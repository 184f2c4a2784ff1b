"""Alerts of an opened project: of what fails before a run can say so itself, and their delivery."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from loom_dagster.errors import LoomError, Misconfigured

if TYPE_CHECKING:
    from loom_dagster.alerts import Delivered
    from loom_dagster.clock import Clock
    from loom_dagster.ledger import Ledger
    from loom_dagster.settings import Settings
    from loom_dagster.spec import Pipeline, Project

__all__ = ["alerting", "deliver_alerts", "tell_fault"]

_SECONDS = 25.0  # of delivering at once; a sensor's tick has 60


class Home(Protocol):
    """What is needed of the project."""

    settings: Settings
    project: Project

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...


@contextlib.contextmanager
def alerting(
    home: Home,
    name: str,
    check: str,
    *,
    partition: str = "",
    trial: bool = False,
    by: str | None = None,
    of: str | None = None,
    once: bool = False,
) -> Iterator[None]:
    """What ends in an error in here is told as ``check``, unless it is told already. ``of``: the run that it is about,
    if it has ended. ``once``: see Fault. A run that would go on is told of once; one that finds another going on, and a trial, not at all."""
    try:
        yield
    except LoomError as error:
        silent = trial or error.told or error.kind in ("lease", "ledger") or name not in home.project.names
        if not silent:
            # the error itself goes before one of telling it
            with contextlib.suppress(LoomError):
                going_on = None if of else home.ledger.open_run(name, partition)
                run_id = of or (going_on.run_id if going_on else by or f"{home.clock.now():%Y%m%dT%H%M%S}")
                facts = {"summary": _words(error)}
                tell_fault(home, name, check, run_id, facts, partition=partition, by=by, once=once)
                error.told = True
        raise


def _words(error: LoomError) -> str:
    """With the first of several things that are wrong. A database's own words are left out: they may quote rows."""
    found = error.problems if isinstance(error, Misconfigured) else ()
    wrong = [str(replace(problem, said=None)) for problem in found if problem.level == "error"]
    if wrong:
        return f"{error.what}: {wrong[0]}"
    return error.what if error.kind == "database" else error.sentence()


def tell_fault(
    home: Home,
    name: str,
    check: str,
    run_id: str,
    facts: Mapping[str, Any],
    *,
    partition: str = "",
    by: str | None = None,
    once: bool = False,
) -> None:
    """Write an alert, once for a run, for the channels that it is for. ``by``: the run of Dagster, if there is one."""
    from loom_dagster.alerts import channels_for
    from loom_dagster.ledger import Fault, Findings

    channels = channels_for(home.settings, spec_of(home, name), check)
    fault = Fault(check=check, run_id=run_id, facts=facts, channels=channels, dagster_run_id=by, once=once)
    home.ledger.outbox.tell(name, partition, Findings(failed=[fault]), run_id=run_id, dagster_run_id=by)


def spec_of(home: Home, name: str) -> Pipeline | None:
    file = home.project.files.get(name)
    return None if file is None else file.spec


def deliver_alerts(home: Home, seconds: float = _SECONDS) -> Delivered:
    """Send what waits, for ``seconds`` at most."""
    from loom_dagster.alerts import deliver

    settings = home.settings
    return deliver(
        home.ledger.outbox.deliveries,
        settings.channels,
        ui_url=settings.ui_url,
        clock=home.clock,
        seconds=seconds,
    )

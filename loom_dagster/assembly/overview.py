"""How every pipeline of a project stands: what ran, what waits for people, what was spent, what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from loom_dagster.reports import pass_rate_of, state_of
from loom_dagster.spec import PipelineFile
from loom_dagster.spec.cron import next_time

if TYPE_CHECKING:
    from loom_dagster.clock import Clock
    from loom_dagster.ledger import Ledger, RunNumbers, Standing
    from loom_dagster.settings import Settings
    from loom_dagster.spec import Project

__all__ = ["Overview", "PipelineStatus", "overview"]

_RUNS = 20


class Home(Protocol):
    """What is needed of the project."""

    settings: Settings
    project: Project

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatus:
    """``state``: released, held, deferred, running, open, failed, succeeded, superseded, `never run` or `broken file`
    (``problems`` says why). ``pass_rates``: of the newest runs, oldest first. ``held``: the partitions whose newest batch
    is. ``trigger`` in words; ``next_due`` where a schedule says so. ``today`` and ``month`` in USD, by day and month of UTC."""

    name: str
    state: str
    problems: Sequence[str] = ()
    run_id: str | None = None
    partition: str = ""
    last_run: datetime | None = None
    pass_rate: float | None = None
    pass_rates: Sequence[float | None] = ()
    quarantined: int = 0
    held: Sequence[str] = ()
    alerts: int = 0
    trigger: str = ""
    next_due: datetime | None = None
    today: float = 0.0
    day_budget: float | None = None
    month: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A whole project. ``today`` and ``month`` also count pipelines whose files are gone."""

    pipelines: Sequence[PipelineStatus]
    today: float
    month: float
    monthly_budget: float | None


def overview(home: Home) -> Overview:
    """Of every pipeline that has a file. Takes the same few queries however many there are."""
    newest = home.ledger.history.newest(_RUNS)
    standing, now = home.ledger.history.standing(), home.clock.now()
    return Overview(
        pipelines=[_status(home, name, newest.get(name, ()), standing, now) for name in home.project.names],
        today=sum(standing.today.values()),
        month=sum(standing.month.values()),
        monthly_budget=home.settings.monthly_budget,
    )


def _status(
    home: Home, name: str, runs: Sequence[RunNumbers], standing: Standing, now: datetime
) -> PipelineStatus:
    file = home.project.files.get(name)
    newest = runs[0] if runs else None
    held = _held(file, name, standing.held)
    trigger, due = ("", None) if file is None else _trigger(file, now)
    return PipelineStatus(
        name=name,
        state="broken file" if file is None else _state(name, newest, held, standing),
        problems=[] if file is not None else [str(p) for p in home.project.problems_of(name)],
        run_id=None if newest is None else newest.run_id,
        partition=newest.partition if newest else "",
        last_run=None if newest is None else newest.finished_at or newest.started_at,
        pass_rate=None if newest is None else pass_rate_of(newest),
        pass_rates=[pass_rate_of(run) for run in reversed(runs)],
        quarantined=standing.quarantined.get(name, 0),
        held=held,
        alerts=standing.alerts.get(name, 0),
        trigger=trigger,
        next_due=due,
        today=standing.today.get(name, 0.0),
        day_budget=None if file is None else file.spec.monitoring.cost_budget.day,
        month=standing.month.get(name, 0.0),
    )


def _state(name: str, newest: RunNumbers | None, held: Sequence[str], standing: Standing) -> str:
    if any(pipeline == name and not partition.startswith("~") for pipeline, partition in standing.running):
        return "running"
    if newest is None:
        return "never run"
    return "held" if held else state_of(newest, alive=False)


def _held(file: PipelineFile | None, name: str, held: Mapping[str, Sequence[str]]) -> list[str]:
    """What a pipeline left when it had partitions, or had none, does not wait any more."""
    if file is None:
        return list(held.get(name, ()))
    return [key for key in held.get(name, ()) if bool(key) == (file.spec.extract.partitions is not None)]


def _trigger(file: PipelineFile, now: datetime) -> tuple[str, datetime | None]:
    trigger = file.spec.trigger
    if trigger is None:
        return "", None
    if trigger.cron is None:
        return f"on {', '.join(trigger.on)}", None
    zone = f" {trigger.timezone}" if trigger.timezone else ""
    return f"{trigger.cron}{zone}", next_time(trigger.cron, trigger.timezone, now)

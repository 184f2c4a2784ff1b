"""What is known of alerts, as plain rows: what is wrong, who is to be told, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from loom_dagster.records import digest

__all__ = [
    "AlertRow",
    "ChannelRow",
    "Delivery",
    "Event",
    "Fault",
    "Findings",
    "MuteRow",
    "alert_id_of",
    "incident_of",
]

Event = Literal["failed", "recovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with one run: told once per (pipeline, partition, ``check``, ``run_id``), to ``channels``.

    ``facts`` is what a message is made of: summary, value, threshold, worst, cost, counts. Never what a record holds.
    ``once``: nothing new while an earlier alert of the same check is open.
    """

    check: str
    run_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[str] = ()
    dagster_run_id: str | None = None
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run says of its checks: those that failed, and the names of those that passed."""

    failed: Sequence[Fault] = ()
    passed: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert as kept. ``incident`` is the same for every alert of one check of a pipeline and partition;
    ``alert_id`` the same however often it is delivered."""

    alert_id: str
    incident: str
    event: Event
    pipeline: str
    partition: str
    check_name: str
    run_id: str
    dagster_run_id: str | None
    created_at: datetime
    facts: Mapping[str, Any]
    resolved_at: datetime | None = None
    resolution: str | None = None
    acked_at: datetime | None = None
    acked_by: str | None = None
    ack_why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One alert to one channel. ``state``: waiting, delivered, muted, or refused: the channel answers, but does not take
    this one, and the others go on without it."""

    alert_id: str
    channel: str
    state: str
    queued_at: datetime
    attempts: int
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """How a channel is: what waits for it, and since when it fails."""

    channel: str
    waiting: int = 0
    refused: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    next_try_at: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteRow:
    """Silence for a pipeline, or for one check of it (``check_name``; empty: all)."""

    pipeline: str
    check_name: str
    until: datetime
    why: str
    who: str
    muted_at: datetime


def incident_of(pipeline: str, partition: str, check: str) -> str:
    """What a check's failures and its recovery have in common."""
    return digest("incident:1", pipeline, partition, check).hex()[:16]


def alert_id_of(incident: str, event: Event, run_id: str, again: int = 0) -> str:
    """Made of what happened, so that whoever tells of it says the same. ``again``: how often it was over in between."""
    return digest("alert:1", incident, event, run_id, *([str(again)] if again else [])).hex()[:12]

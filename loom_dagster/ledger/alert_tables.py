"""The ledger's tables of alerts: what is wrong, where it was told, how the channels are."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table

from loom_dagster.ledger.tables import Json, Moment, metadata

__all__ = ["alert_channels", "alert_deliveries", "alert_feeds", "alert_mutes", "alerts"]

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("incident", String, nullable=False),
    Column("event", String, nullable=False),
    Column("pipeline", String, nullable=False),
    Column("partition", String, nullable=False),
    Column("check_name", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("dagster_run_id", String),
    Column("created_at", Moment, nullable=False),
    Column("facts", Json, nullable=False),
    Column("resolved_at", Moment),
    Column("resolution", String),
    Column("acked_at", Moment),
    Column("acked_by", String),
    Column("ack_why", String),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("channel", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("queued_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("delivered_at", Moment),
    Column("last_error", String),
)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("channel", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failing_since", Moment),
    Column("next_try_at", Moment),
    Column("last_error", String),
    Column("token", String),
    Column("host", String),
    Column("pid", Integer),
    Column("process_start", String),
    Column("beat_at", Moment),
)

alert_mutes = Table(
    "alert_mutes",
    metadata,
    Column("pipeline", String, primary_key=True),
    Column("check_name", String, primary_key=True),
    Column("until", Moment, nullable=False),
    Column("why", String, nullable=False),
    Column("who", String, nullable=False),
    Column("muted_at", Moment, nullable=False),
)

alert_feeds = Table(
    "alert_feeds",
    metadata,
    Column("feed", String, primary_key=True),
    Column("position", Json, nullable=False),
)

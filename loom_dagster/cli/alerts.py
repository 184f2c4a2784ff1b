"""``loom alerts``: what went wrong, whether people were told, and what they say to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import FAILED, OK
from loom_dagster.cli.figures import counted, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.release import said, who
from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.times import duration
from loom_dagster.errors import LoomError, Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.channels import Channel
    from loom_dagster.ledger import AlertRow, ChannelRow, Delivery

__all__ = ["app"]

_LONGEST = timedelta(days=3650)

app = typer.Typer(name="alerts", rich_markup_mode=None, invoke_without_command=True)

Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The alert, or how its id begins.")]
Pipeline = Annotated[str, typer.Argument(help="The pipeline.")]
Check = Annotated[str, typer.Argument(help="A check of it; default: all.")]


@app.callback()
def alerts(context: typer.Context, project: ProjectDir = None, as_json: AsJson = False) -> int:
    """What went wrong, and who was told."""
    if context.invoked_subcommand is not None:
        return OK
    return list_(None, only_open=False, limit=20, project=project, as_json=as_json)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[PIPELINE]", help="Of one pipeline.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only what is not over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """List alerts, newest first, and the channels that do not work."""
    loom = open_loom(project)
    outbox = loom.ledger.outbox
    found = outbox.list(pipeline=name, only_open=only_open, limit=limit)
    if name is not None and not found:
        loom.watermark(name)  # raises for an unknown name, with the nearest one
    channels, mutes = outbox.deliveries.channels(), outbox.mutes()
    if as_json:
        alerts = [{**asdict(row), "deliveries": deliveries} for row, deliveries in found]
        emit({"alerts": alerts, "channels": channels, "mutes": mutes})
        return OK
    terminal = Terminal(sys.stdout)
    if not found:
        terminal.line(f"{terminal.sign('good')} No alerts")
    terminal.table([_row(terminal, *alert) for alert in found])
    _show_channels(terminal, channels)
    for mute in mutes:
        of = f"{mute.pipeline} {mute.check_name}".strip()
        terminal.line(
            f"{terminal.sign('none')} {of} is muted until {moment(mute.until)} by {mute.who}: {mute.why}"
        )
    return OK


@app.command()
def deliver(project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Send what waits; Dagster's daemon does so by itself."""
    loom = open_loom(project)
    done = loom.deliver_alerts()
    if as_json:
        emit({"sent": done.sent, "failing": done.failing})
    else:
        terminal = Terminal(sys.stdout)
        terminal.line(f"{terminal.sign('good')} {counted(done.sent, 'alert')} sent")
        _show_channels(terminal, done.failing)
    return FAILED if done.failing else OK


@app.command()
def ack(alert: Id, why: Why, project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Say that someone looks after an alert."""
    loom = open_loom(project)
    row = _one(loom, alert)
    loom.ledger.outbox.acknowledge(row.alert_id, who=who(), why=said(why))
    return _done(as_json, f"{row.alert_id} acknowledged by {who()}", {"alert_id": row.alert_id})


@app.command()
def mute(
    name: Pipeline,
    why: Why,
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="30m, 2h, 1d.")],
    check: Check = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Deliver nothing of a pipeline for a while; what goes wrong meanwhile is recorded."""
    loom = open_loom(project)
    loom.watermark(name)  # raises for an unknown name, with the nearest one
    until = loom.clock.now() + _duration(for_)
    loom.ledger.outbox.mute(name, check, until=until, why=said(why), who=who())
    return _done(
        as_json,
        f"{name}{f' {check}' if check else ''} is muted until {moment(until)}",
        {"pipeline": name, "check": check, "until": until},
    )


@app.command()
def unmute(
    name: Pipeline,
    check: Check = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept.")] = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """End a silence."""
    loom = open_loom(project)
    was = loom.ledger.outbox.unmute(name, check, who=who(), why=why.strip())
    if not was:
        loom.watermark(name)
    words = f"{name} is heard again" if was else f"{name}{f' {check}' if check else ''} was not muted"
    return _done(as_json, words, {"pipeline": name, "check": check, "unmuted": was})


@app.command()
def resend(
    alert: Annotated[str | None, typer.Argument(metavar="[ID]", help="The alert.")] = None,
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Only to this channel.")] = None,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Queue an alert again, or everything that a channel refused or has not taken yet; it is asked at once."""
    if alert is None and channel is None:
        raise Misconfigured("nothing to send again", fix="name an alert, or a channel with --channel")
    loom = open_loom(project)
    alert_id = None if alert is None else _one(loom, alert).alert_id
    number = loom.ledger.outbox.resend(alert_id=alert_id, channel=channel)
    if not number and channel is not None:
        _known(loom, channel)
    return _done(
        as_json,
        f"{counted(number, 'delivery', 'deliveries')} queued; `loom alerts deliver` sends",
        {"queued": number},
    )


@app.command("test")
def try_(
    channel: Annotated[str, typer.Argument(help="The channel.")],
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Send a test message to a channel, now."""
    from loom_dagster.alerts import message_of, send
    from loom_dagster.ledger import AlertRow

    loom = open_loom(project)
    known = _known(loom, channel)
    now = loom.clock.now()
    row = AlertRow(
        alert_id=f"test{now:%H%M%S%f}",
        incident=f"test-{channel}",
        event="failed",
        pipeline="test",
        partition="",
        check_name="test",
        run_id="",
        dagster_run_id=None,
        created_at=now,
        facts={"summary": f"a test by {who()}; nothing is wrong"},
    )
    try:
        send(known, message_of(row, loom.settings.ui_url, now))
    except LoomError as error:
        if as_json:
            raise
        Terminal(sys.stderr).line(f"{Terminal(sys.stderr).sign('bad')} {channel}: {error.what}")
        return FAILED
    return _done(as_json, f"{channel} took a test message", {"channel": channel, "sent": True})


def _one(loom: Loom, beginning: str) -> AlertRow:
    found = loom.ledger.outbox.find(beginning)
    if len(found) != 1:
        what = "several alerts begin" if found else "no alert begins"
        raise Misconfigured(f"{what} with `{beginning}`", fix="`loom alerts list` shows them")
    return found[0]


def _duration(text: str) -> timedelta:
    found = duration(text)
    if not timedelta(0) < found <= _LONGEST:
        raise Misconfigured(f"--for {text} is no silence", fix="from a second to ten years: 30m, 2h, 1d")
    return found


def _known(loom: Loom, channel: str) -> Channel:
    known = loom.settings.channels
    if channel not in known:
        raise Misconfigured(f"there is no channel `{channel}`", fix=f"known: {', '.join(sorted(known))}")
    return known[channel]


def _row(terminal: Terminal, row: AlertRow, deliveries: Sequence[Delivery]) -> tuple[str, ...]:
    over = row.event == "recovered" or row.resolved_at is not None
    state = (
        row.event
        if row.event == "recovered"
        else "resolved"
        if over
        else "acknowledged"
        if row.acked_at
        else "open"
    )
    of = f"{row.pipeline} ({row.partition})" if row.partition else row.pipeline
    sent = ", ".join(f"{d.channel}: {d.state}" for d in deliveries) or "told nobody"
    sign = terminal.sign("good" if over else "bad")
    return (
        sign,
        row.alert_id,
        moment(row.created_at),
        of,
        row.check_name,
        state,
        sent,
        str(row.facts.get("summary", "")),
    )


def _show_channels(terminal: Terminal, channels: Sequence[ChannelRow]) -> None:
    for row in channels:
        if not row.failures and not row.refused:
            terminal.line(
                f"{terminal.sign('none')} {row.channel}: {counted(row.waiting, 'alert')} to be sent"
            )
            continue
        words = f"{row.channel} does not work: {row.last_error}" if row.failures else f"{row.channel}"
        if row.failing_since:
            words += f", since {moment(row.failing_since)}"
        words += f"; {counted(row.waiting, 'alert')} waiting"
        words += f", {row.refused:,} refused" if row.refused else ""
        terminal.line(f"{terminal.sign('bad')} {words}")


def _done(as_json: bool, words: str, document: object) -> int:
    if as_json:
        emit(document)
    else:
        terminal = Terminal(sys.stdout)
        terminal.line(f"{terminal.sign('good')} {words}")
    return OK

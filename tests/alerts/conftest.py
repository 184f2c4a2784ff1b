"""An outbox with alerts in it, places they go to, and short ways to deliver."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loom_dagster.alerts import deliver
from loom_dagster.channels import read_channels
from loom_dagster.clock import SystemClock
from loom_dagster.ledger import Fault, Findings, Ledger
from tests.servers.inbox import inbox, mail_box


class AheadClock(SystemClock):
    """The real clock, some time ahead."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead

    def move(self, **time):
        self.ahead += timedelta(**time)


@pytest.fixture
def clock():
    return AheadClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path, clock):
    with Ledger(path, clock=clock) as opened:
        yield opened


@pytest.fixture
def outbox(ledger):
    return ledger.outbox


@pytest.fixture
def web():
    with inbox() as opened:
        yield opened


@pytest.fixture
def mail():
    with mail_box() as opened:
        yield opened


@pytest.fixture
def channels(web, mail):
    """One of each kind; the pagers are at /pager, the hook at /hook, Slack at /slack."""
    table = {
        "chat": {"type": "slack"},
        "pager": {"type": "pagerduty", "url": f"{web.url}/pager"},
        "hook": {"type": "webhook"},
        "post": {
            "type": "email",
            "host": "127.0.0.1",
            "port": mail.port,
            "security": "none",
            "user": "loom",
            "sender": "loom@example.com",
            "to": ["ops@example.com"],
        },
    }
    environ = {
        "LOOM_CHANNEL_CHAT": f"{web.url}/slack/T0/chat-secret",
        "LOOM_CHANNEL_PAGER": "routing-secret",
        "LOOM_CHANNEL_HOOK": f"{web.url}/hook/hook-secret",
        "LOOM_CHANNEL_HOOK_SECRET": "signing-secret",
        "LOOM_CHANNEL_POST": "mail-secret",
    }
    return read_channels(table, environ)


@pytest.fixture
def fail(outbox):
    """``fail("run-1", "hook")`` writes an alert of the gate; gives its id."""

    def write(run_id, *names, check="quality_gate", pipeline="reviews", partition="", **facts):
        given = {"summary": "5 of 10 records passed", "value": 0.5, "threshold": 0.9, "cost": 1.25, **facts}
        fault = Fault(check=check, run_id=run_id, facts=given, channels=names)
        told = outbox.tell(pipeline, partition, Findings(failed=[fault]), run_id=run_id)
        return told[0] if told else None

    return write


@pytest.fixture
def recover(outbox):
    def write(run_id, check="quality_gate", pipeline="reviews", partition=""):
        return outbox.tell(pipeline, partition, Findings(passed=[check]), run_id=run_id)

    return write


@pytest.fixture
def go(outbox, channels, clock):
    """Deliver what waits."""

    def serve(seconds=30.0, ui_url=None):
        return deliver(outbox.deliveries, channels, ui_url=ui_url, clock=clock, seconds=seconds)

    return serve

"""What waits is delivered: channel by channel, in order, and for a bounded time.

At least once: an alert counts as delivered when its channel has said so. Killed between the two it is sent
again, with the same id. A channel that fails keeps its alerts and is asked again later and later, whoever asks;
the others do not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from loom_dagster.alerts.message import message_of
from loom_dagster.alerts.sending import send
from loom_dagster.channels import Channel
from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, Permanent, Transient
from loom_dagster.ledger import AlertRow, ChannelRow, Claim, Deliveries, Delivery

__all__ = ["Delivered", "deliver"]

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0  # seconds
_TRIES = 5  # of a message that a channel does not want, before the next one has its turn
_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What was sent, and the channels that do not work as they are now."""

    sent: int
    failing: tuple[ChannelRow, ...]


def deliver(
    deliveries: Deliveries,
    channels: Mapping[str, Channel],
    *,
    ui_url: str | None,
    clock: Clock,
    seconds: float,
) -> Delivered:
    """Serve every channel, healthy ones first, for ``seconds`` at most; what is left waits for the next call."""
    until, sent = clock.monotonic() + seconds, 0
    for row in deliveries.channels():
        if row.waiting and clock.monotonic() < until and (claim := deliveries.claim(row.channel)):
            round_ = _Round(deliveries, channels.get(row.channel), ui_url, clock, until)
            try:
                sent += round_.serve(claim)
            finally:
                deliveries.let_go(claim)
    failing = [row for row in deliveries.channels() if row.failures or row.refused]
    return Delivered(sent=sent, failing=tuple(failing))


@dataclass(frozen=True, slots=True)
class _Round:
    deliveries: Deliveries
    channel: Channel | None
    ui_url: str | None
    clock: Clock
    until: float

    def serve(self, claim: Claim) -> int:
        sent = 0
        while rows := self.deliveries.waiting(claim.channel, _AT_ONCE):
            for alert, delivery in rows:
                if self.clock.monotonic() >= self.until or not self.deliveries.keep(claim):
                    return sent
                try:
                    self._send(claim, alert)
                except LoomError as error:
                    self._failed(claim, delivery, error)
                    return sent
                sent += 1
                if not self.deliveries.delivered(claim, alert.alert_id):
                    return sent
        return sent

    def _send(self, claim: Claim, alert: AlertRow) -> None:
        if self.channel is None:
            raise Transient(f"there is no [tool.loom.channels.{claim.channel}] any more", kind="unknown")
        if alert.event == "failed" or self.channel.recovered:
            send(self.channel, message_of(alert, self.ui_url, self.clock.now()))

    def _failed(self, claim: Claim, delivery: Delivery, error: LoomError) -> None:
        pause = min(_FIRST_PAUSE * 2.0 ** min(claim.failures, 16), _LONGEST_PAUSE)
        pause *= 0.5 + self.clock.random() / 2
        if isinstance(error, Transient) and error.retry_after is not None:
            pause = max(error.retry_after, 1.0)
        self.deliveries.failed(
            claim,
            delivery.alert_id,
            error.what,
            next_try_at=self.clock.now() + timedelta(seconds=pause),
            refused=isinstance(error, Permanent) and delivery.attempts + 1 >= _TRIES,
        )

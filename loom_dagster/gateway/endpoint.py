"""One model at one place, shared by all who ask it: slots, breaker, retries, and what stops it for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured, Outage, Permanent, Transient
from loom_dagster.gateway.breaker import Breaker
from loom_dagster.gateway.charge import Charge
from loom_dagster.gateway.failures import Rejected, Throttled
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.probation import Probation
from loom_dagster.gateway.retry import Effort, pause

__all__ = ["Endpoint"]

T = TypeVar("T")


class Endpoint:
    """Makes calls until one is answered, or it is clear that none will be. ``join`` is called before each."""

    def __init__(
        self,
        name: str,
        limiter: Limiter,
        *,
        clock: Clock,
        patience: float,
        note: Callable[[str], None],
        join: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._limiter, self._join = limiter, join
        self._breaker = Breaker(name, clock=clock, patience=patience, note=note)
        self._probation = Probation(name)
        self._stopped: Misconfigured | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a call sends."""
        return self._limiter.counts_tokens

    async def call(
        self,
        send: Callable[[], Awaitable[Reply]],
        keep: Callable[[Reply], Awaitable[T]],
        charge: Charge,
        *,
        max_attempts: int,
        tokens: int,
    ) -> T:
        """What ``keep`` makes of the reply to ``send``, which is tried up to ``max_attempts`` times; ``keep``
        settles the ``charge``. ``tokens``: about how many are sent.

        A call counts towards what may be in flight until its reply is kept: killed at any moment, no more
        answers are lost than that.

        Raises OverBudget, Transient (tries used up, though others succeed), Outage, Permanent, Misconfigured.
        """
        self._join()
        effort = Effort(max_attempts)
        while True:
            try:
                return await self._attempt(send, keep, charge, effort, tokens)
            except Outage:
                raise
            except Rejected as error:
                raise await self._judged(error) from None
            except Transient as error:
                if not effort.used_up:
                    wait = pause(effort, error, self._clock)
                elif self._breaker.suspects_outage(effort, error):
                    self._breaker.trip()
                    wait = 0.0  # the breaker makes it wait
                else:
                    raise
            await self._clock.sleep(wait)

    async def _attempt(
        self,
        send: Callable[[], Awaitable[Reply]],
        keep: Callable[[Reply], Awaitable[T]],
        charge: Charge,
        effort: Effort,
        tokens: int,
    ) -> T:
        await charge.hold()  # before the slot, so that no slot is idle while it is written
        try:
            return await self._with_slot(send, keep, charge, effort, tokens)
        except BaseException as error:
            charge.failed(error)
            raise

    async def _with_slot(
        self,
        send: Callable[[], Awaitable[Reply]],
        keep: Callable[[Reply], Awaitable[T]],
        charge: Charge,
        effort: Effort,
        tokens: int,
    ) -> T:
        limiter, breaker = self._limiter, self._breaker
        ticket, answered = await limiter.acquire(tokens), False
        try:
            probe = await breaker.admit() if breaker.is_open else False
            try:
                if self._stopped is not None:
                    raise self._stopped
                charge.sent()
                started = self._clock.monotonic()
                reply = await send()
            except Transient as error:
                effort.count(error)
                breaker.failed(effort, error, probe)
                if isinstance(error, Throttled):
                    limiter.told(ticket, error.headers)
                    limiter.throttled(ticket, error.retry_after)
                raise
            except Permanent:
                breaker.succeeded(probe)
                raise
            except BaseException as error:
                if isinstance(error, Misconfigured):
                    self._stopped = error
                breaker.abandoned(probe)
                raise
            reply.latency = self._clock.monotonic() - started
            breaker.succeeded(probe)
            self._probation.succeeded()
            used = reply.usage.input_tokens + reply.usage.output_tokens
            limiter.told(ticket, reply.headers)
            limiter.succeeded(ticket, tokens=used, beyond=used - tokens)
            limiter.answered()
            answered = True
            return await keep(reply)
        finally:
            limiter.saved() if answered else limiter.release()
            if limiter.in_flight == 0:
                self._probation.settle()

    async def _judged(self, rejection: Rejected) -> Permanent | Misconfigured:
        verdict = await self._probation.rejected(rejection, others_in_flight=self._limiter.in_flight > 0)
        if isinstance(verdict, Misconfigured):
            self._stopped = verdict
        return verdict

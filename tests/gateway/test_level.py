"""The limit on calls in flight finds what a provider takes: whole endpoints against a simulated one.

Time is the event loop's own and virtual: minutes of traffic take a second, and always the same way.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.gateway.charge import Charge, Unlimited
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.failures import Throttled
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.level import Level
from loom_dagster.gateway.limiter import Limiter


class VirtualTime(asyncio.SelectorEventLoop):
    """Whoever waits for a time has it at once."""

    def __init__(self):
        super().__init__()
        self._passed, select = 0.0, self._selector.select

        def select_at_once(timeout):
            self._passed += timeout or 0.0
            return select(0)

        self._selector.select = select_at_once

    def time(self):
        return self._passed


class LoopClock:
    """The loop's time; luck that repeats itself."""

    def __init__(self):
        self._luck = random.Random(7)

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self):
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def random(self):
        return self._luck.random()


class Provider:
    """Answers after 160 to 240 ms; ``cap(seconds)`` calls in flight, ``rate`` calls a second, a share of ``noise``.

    ``slow``: a refusal takes as long as an answer, and counts as in flight until then.
    """

    def __init__(self, *, cap=None, rate=None, noise=0.0, slow=False, retry_after=None):
        self.cap = cap or (lambda seconds: 10**6)
        self.rate, self.noise, self.slow, self.retry_after = rate, noise, slow, retry_after
        self.luck = random.Random(1)
        self.working = self.busy = 0
        self.bucket, self.filled_at = rate or 0, 0.0
        self.log: list[tuple[float, float]] = []  # when answered, after how long; 0.0: refused

    async def send(self):
        loop = asyncio.get_running_loop()
        now, takes = loop.time(), 0.16 + 0.08 * self.luck.random()
        refused = (self.busy if self.slow else self.working) >= self.cap(
            now
        ) or self.luck.random() < self.noise
        if self.rate is not None:
            self.bucket = min(self.rate, self.bucket + (now - self.filled_at) * self.rate)
            self.filled_at, refused = now, refused or self.bucket < 1
            self.bucket -= not refused
        self.busy += 1
        self.working += not refused
        await asyncio.sleep(takes if self.slow or not refused else 0.005)
        self.busy -= 1
        self.working -= not refused
        self.log.append((loop.time(), 0.0 if refused else takes))
        if refused:
            raise Throttled("429", retry_after=self.retry_after)
        return Reply(text="ok")

    def between(self, start, end):
        """(calls in flight that were answered, on average; share that was refused)."""
        log = [takes for at, takes in self.log if start <= at < end]
        return sum(log) / (end - start), sum(not takes for takes in log) / len(log)


def traffic(provider, *, in_flight, seconds):
    """Everybody asks all the time; what became of the calls that failed for good."""

    async def kept(reply):
        return reply

    async def run():
        clock = LoopClock()
        limiter = Limiter(in_flight=in_flight, clock=clock)
        endpoint = Endpoint("x", limiter, clock=clock, patience=60.0, note=lambda text: None)
        lost = []

        async def work():
            while clock.monotonic() < seconds:
                try:
                    await endpoint.call(
                        provider.send, kept, Charge(Unlimited(), b"", 0.0), max_attempts=5, tokens=0
                    )
                except Throttled as error:
                    lost.append(error)

        await asyncio.gather(*(work() for _ in range(in_flight + in_flight // 2)))
        return lost

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(run())


@pytest.mark.parametrize("slow", [False, True], ids=["refused at once", "refused slowly"])
@pytest.mark.parametrize(("cap", "in_flight"), [(32, 256), (5, 64), (60, 64), (1, 16)])
def test_a_cap_is_used_and_hardly_ever_exceeded(cap, in_flight, slow):
    provider = Provider(cap=lambda seconds: cap, slow=slow)
    assert traffic(provider, in_flight=in_flight, seconds=50) == []
    used, refused = provider.between(10, 50)
    assert used >= 0.9 * cap
    assert refused < 0.02


def test_without_a_cap_everything_is_used_from_the_first_moment():
    provider = Provider()
    assert traffic(provider, in_flight=256, seconds=10) == []
    assert provider.between(1, 10)[0] >= 0.97 * 256


@pytest.mark.slow
def test_refusals_that_have_nothing_to_do_with_speed_do_not_slow_it_down():
    provider = Provider(noise=0.02)
    assert traffic(provider, in_flight=256, seconds=60) == []
    for start in range(1, 60, 10):
        assert provider.between(start, start + 9)[0] >= 0.95 * 256


def test_a_cap_is_found_among_refusals_that_have_nothing_to_do_with_it():
    provider = Provider(noise=0.02, cap=lambda seconds: 32)
    assert traffic(provider, in_flight=256, seconds=60) == []
    used, refused = provider.between(10, 60)
    assert used >= 0.9 * 32
    assert refused < 0.02 + 0.02


@pytest.mark.slow
def test_refusals_that_have_nothing_to_do_with_speed_do_not_keep_it_down():
    provider = Provider(noise=0.02, cap=lambda seconds: 64 if 10 < seconds < 20 else 10**6)
    assert traffic(provider, in_flight=256, seconds=50) == []
    assert provider.between(15, 20)[0] >= 0.85 * 64
    assert provider.between(40, 50)[0] >= 0.95 * 256


@pytest.mark.parametrize("slow", [False, True], ids=["refused at once", "refused slowly"])
def test_a_cap_that_changes_is_followed_within_seconds(slow):
    provider = Provider(cap=lambda seconds: 32 if seconds < 20 else 16 if seconds < 40 else 64, slow=slow)
    assert traffic(provider, in_flight=256, seconds=80) == []
    for start, end, cap in ((10, 20, 32), (25, 40, 16), (60, 80, 64)):
        used, refused = provider.between(start, end)
        assert used >= 0.9 * cap
        assert refused < 0.03


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(
    ("rate", "share"), [(10, 0.5), (100, 0.9)]
)  # 10 a second are 2 in flight: 1 is half of it
def test_a_rate_that_nobody_told_us_is_found(rate, share, retry_after):
    provider = Provider(rate=rate, retry_after=retry_after)
    assert traffic(provider, in_flight=64, seconds=90) == []
    used, refused = provider.between(30, 90)
    assert used >= share * rate * 0.2
    assert refused < 0.08


def test_a_few_more_than_a_rate_allows_are_not_sent_for_ever():
    provider = Provider(rate=100, slow=True)
    assert traffic(provider, in_flight=64, seconds=90) == []
    used, refused = provider.between(30, 90)
    assert used >= 0.9 * 100 * 0.2
    assert refused < 0.06


def test_a_burst_into_a_cap_does_not_cut_below_it():
    level = Level(256)
    tickets = [level.ticket() for _ in range(256)]
    while level.now > 32:
        refused, tickets = tickets[32:], tickets[:32]
        for ticket in refused:
            level.refused(ticket)
        assert level.now >= 32
        tickets += [level.ticket() for _ in range(level.now - 32)]
    assert level.now == 32


def test_a_share_of_a_limit_is_taken_up_and_given_back_at_once():
    level = Level(64)
    for most in (0, 16, 64, 7, 128):
        level.resize(most)
        assert level.now == most

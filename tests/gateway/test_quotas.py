"""What providers say is left of their limits is minded, in each one's words, nonsense excepted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.gateway.failures import retry_after
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.pace import Wall
from loom_dagster.gateway.quota import Quota, quotas

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def now():
    return NOW


def openai(remaining, reset, what="requests"):
    return {f"x-ratelimit-remaining-{what}": remaining, f"x-ratelimit-reset-{what}": reset}


def anthropic(remaining, reset, what="requests"):
    return {f"anthropic-ratelimit-{what}-remaining": remaining, f"anthropic-ratelimit-{what}-reset": reset}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("120ms", 0.12),
        ("1m30s", 90),
        ("6m0s", 120),
        ("7.66s", 7.66),
        ("12", 12),
        ("1h", 120),
        ("0s", 0),
    ],
)
def test_openais_resets_are_durations(text, seconds):
    assert quotas(openai("9", text), now) == [Quota(remaining=9, reset=pytest.approx(seconds), tokens=False)]


@pytest.mark.parametrize("what", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_anthropics_resets_are_times(what):
    headers = anthropic("0", "2026-11-21T12:00:30Z", what)
    assert quotas(headers, now) == [Quota(remaining=0, reset=30, tokens=what != "requests")]


def test_a_time_is_read_by_the_clock_it_was_written_by():
    ours_is_slow = {**anthropic("0", "2026-11-21T13:00:30Z"), "date": "Sat, 21 Nov 2026 13:00:00 GMT"}
    assert quotas(ours_is_slow, now)[0].reset == 30


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("-5", 0), ("1e300", 120), ("inf", 120), ("2031-01-01T00:00:00Z", 120), ("2001-01-01T00:00:00Z", 0)],
)
def test_a_reset_is_never_before_now_or_far_away(reset, seconds):
    assert quotas(anthropic("0", reset), now)[0].reset == seconds


@pytest.mark.parametrize(
    "headers",
    [
        {},
        openai("nan", "1s"),
        openai("many", "1s"),
        openai("0", "nan"),
        openai("0", "soon"),
        openai("0", ""),
        {"x-ratelimit-remaining-requests": "0"},
        {**anthropic("0", "2026-11-21T12:00:30Z"), "anthropic-ratelimit-requests-reset": "tomorrow"},
    ],
)
def test_what_makes_no_sense_is_left_out(headers):
    assert quotas(headers, now) == []


def test_retry_after_in_milliseconds_is_the_finer_word():
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert retry_after({"retry-after-ms": "-1"}) == 0
    assert retry_after({"retry-after-ms": "1e9"}) == 120
    assert retry_after({"retry-after-ms": "nan", "retry-after": "3"}) == 3
    assert retry_after({"retry-after-ms": "soon"}) is None


@pytest.mark.parametrize("years", [-30, 30])
def test_retry_after_as_a_date_is_bounded(years):
    when = NOW + timedelta(days=365 * years)
    text = when.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after({"Retry-After": text}, NOW) == (120 if years > 0 else 0)


async def test_nothing_left_and_nobody_is_sent_before_the_reset(clock):
    wall, started = Wall(clock), clock.time
    wall.told(1, openai("0", "20s"), slots=8, share=1.0)
    await asyncio.gather(*(wall.passed() for _ in range(5)))
    assert clock.time - started == pytest.approx(20)


async def test_little_left_is_spread_over_the_time_to_the_reset(clock):
    wall, started, passed = Wall(clock), clock.time, []
    wall.told(1, openai("10", "30s"), slots=8, share=1.0)

    async def one():
        await wall.passed()
        passed.append(clock.time - started)

    await asyncio.gather(*(one() for _ in range(10)))
    assert passed == [pytest.approx(3 * n) for n in range(10)]


async def test_much_left_holds_nobody_up(clock):
    wall, started = Wall(clock), clock.time
    wall.told(1, openai("500", "30s"), slots=8, share=1.0)
    await asyncio.gather(*(wall.passed() for _ in range(100)))
    assert clock.time == started


async def test_tokens_left_are_counted_in_calls(clock):
    wall, started = Wall(clock), clock.time
    wall.used(1000)
    wall.told(1, openai("5000", "10s", "tokens"), slots=8, share=1.0)  # five calls more
    for _ in range(5):
        await wall.passed()
    assert clock.time - started == pytest.approx(8)


async def test_an_older_word_does_not_undo_a_newer_one(clock):
    wall, started = Wall(clock), clock.time
    wall.told(7, openai("500", "30s"), slots=8, share=1.0)
    wall.told(3, openai("0", "30s"), slots=8, share=1.0)
    await wall.passed()
    assert clock.time == started


async def test_better_news_is_heard_by_those_who_wait(clock):
    wall, started = Wall(clock), clock.time
    wall.told(1, openai("0", "100s"), slots=8, share=1.0)
    waiting = asyncio.ensure_future(wall.passed())
    await asyncio.sleep(0)
    wall.told(2, openai("500", "100s"), slots=8, share=1.0)
    await waiting
    assert clock.time - started < 5


async def test_of_what_is_left_only_our_share_is_used(clock):
    wall, started = Wall(clock), clock.time
    wall.told(1, openai("20", "30s"), slots=8, share=0.5)
    for _ in range(10):
        await wall.passed()
    assert clock.time - started == pytest.approx(27)


async def test_a_provider_is_heard_through_the_whole_gateway(asking):
    asking.server.change(headers=openai("0", "45s"))
    started = asking.clock.time
    await asking.ask("one")
    assert asking.clock.time == started
    await asking.ask("two")
    assert asking.clock.time - started == pytest.approx(45)


async def test_a_refusal_says_as_much_as_an_answer(asking):
    asking.server.change(script=["429"], headers=openai("0", "90s"))
    started = asking.clock.time
    await asking.ask("one")
    assert asking.clock.time - started >= 90


async def test_a_call_passes_its_models_limit_and_its_providers(clock):
    provider = Limiter(in_flight=3, clock=clock)
    one, other = (Limiter(in_flight=2, clock=clock, within=provider) for _ in range(2))
    calls = [asyncio.ensure_future(limiter.acquire(0)) for limiter in (one, one, one, other, other)]
    await asyncio.sleep(0)
    assert [call.done() for call in calls] == [
        True,
        True,
        False,
        True,
        False,
    ]  # its model's, and the provider's
    one.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert provider.in_flight == 3
    calls[2].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (one.in_flight, provider.in_flight) == (1, 3)

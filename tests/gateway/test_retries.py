from __future__ import annotations

from datetime import UTC, datetime

import pytest

from loom_dagster.errors import Transient
from loom_dagster.gateway.failures import retry_after
from loom_dagster.gateway.retry import Effort, pause
from tests.gateway.conftest import FastClock

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_pauses_double_with_full_jitter_and_are_capped():
    clock, effort = FastClock(), Effort(20)
    pauses = []
    for _ in range(9):
        effort.count(Transient("x"))
        pauses.append(pause(effort, Transient("x"), clock))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    clock.chance = 0.0
    assert pause(effort, Transient("x"), clock) == 0.0


def test_a_named_time_is_waited_out_up_to_two_minutes():
    clock, effort = FastClock(), Effort(5, failures=1)
    assert 7.0 <= pause(effort, Transient("x", retry_after=7.0), clock) <= 8.0
    assert 120.0 <= pause(effort, Transient("x", retry_after=9999.0), clock) <= 121.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("100000", 120.0),
        ("Thu, 01 Jan 2026 12:00:10 GMT", 10.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert retry_after({"Retry-After": header}, NOW) == seconds


def test_no_header_no_time():
    assert retry_after({}, NOW) is None


async def test_retry_after_is_honoured(asking):
    asking.server.change(script=["429", "ok"], retry_after="17")
    await asking.ask("hello")
    assert any(17.0 <= slept <= 18.0 for slept in asking.clock.sleeps)


async def test_tries_are_bounded(asking):
    asking.server.change(poison={"bad one": "500"})
    outcomes = await asking.outcomes(["bad one", *map(str, range(5))], model=asking.model(max_attempts=3))
    assert isinstance(outcomes[0], Transient)
    assert outcomes[0].kind == "server_error"
    assert asking.server.stats()["by_fault"] == {"500": 3}


async def test_too_many_requests_are_tried_more_often_but_not_for_ever(asking):
    asking.server.change(poison={"bad one": "429"})
    outcomes = await asking.outcomes(["bad one", *map(str, range(5))], model=asking.model(max_attempts=3))
    assert outcomes[0].kind == "rate_limit"
    assert asking.server.stats()["by_fault"] == {"429": 12}

"""What holds in a simulated cluster, and that the formula of the capacity model is right about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import capacity
from benchmarks.capacity import Measured
from benchmarks.scaling import formula
from benchmarks.simulated import simulate
from benchmarks.stand_ins import Scene
from benchmarks.virtual_time import VirtualClock, run
from loom_dagster.ledger import till

USUAL = Scene(workers=8, in_flight=64, seconds=10.0, warm=4.0)
PRICE = 0.0005


def test_time_passes_without_waiting() -> None:
    async def an_hour() -> float:
        clock = VirtualClock()
        began = clock.monotonic()
        await clock.sleep(3600.0)
        return clock.monotonic() - began

    assert run(an_hour()) == 3600.0


def test_a_wait_for_nothing_is_no_endless_one() -> None:
    async def nothing() -> None:
        import asyncio

        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="never happen"):
        run(nothing())


@pytest.mark.parametrize(
    ("scene", "full"),
    [
        (USUAL, "calls in flight"),
        (replace(USUAL, in_flight=256, requests_per_minute=3000), "requests a minute"),
        (
            replace(USUAL, measured=Measured(worker_record=200.0), in_flight=32, latency=0.3, block=8),
            "CPU of the workers",
        ),
        (replace(USUAL, measured=Measured(driver_record=20.0), block=8), "the driver"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_formula_tells_the_rate_and_what_is_full(scene: Scene, full: str) -> None:
    wanted, said = formula(scene)
    seen = simulate(scene)
    assert said == full
    assert seen.rate == pytest.approx(wanted, rel=0.1)
    assert seen.most <= scene.in_flight


def test_no_more_calls_are_in_flight_than_allowed_also_when_a_worker_dies_and_another_starts() -> None:
    seen = simulate(replace(USUAL, dies=(5.0, 1.0, 1.0)))
    assert seen.most <= 64
    assert seen.rate == pytest.approx(64.0, rel=0.1)


def test_a_budget_is_used_and_never_exceeded_and_the_run_ends_with_it() -> None:
    scene = replace(USUAL, records=10**6, budget=PRICE * 300)
    seen = simulate(scene)
    assert 0.95 * scene.budget <= seen.paid <= scene.budget
    assert seen.booked == pytest.approx(seen.paid)
    assert seen.deferred > 0
    assert seen.stall < 1.0


def test_neither_a_till_that_is_away_nor_a_dead_worker_lead_to_overspend() -> None:
    scene = replace(USUAL, records=10**6, budget=PRICE * 600, down=(3.0, 8.0), dies=(2.0, 1.0, 1.0))
    seen = simulate(scene)
    assert (
        0.6 * scene.budget <= seen.paid <= scene.budget
    )  # what the dead one had in flight counts at the worst case
    assert seen.most <= 64


def test_a_till_that_is_away_holds_up_new_calls_no_longer_than_it_is_away() -> None:
    seen = simulate(replace(USUAL, down=(5.0, 9.0), seconds=14.0))
    assert 1.0 <= seen.gap <= 4.5
    assert seen.done > 64 * 8


def test_the_pauses_that_are_reckoned_with_are_those_of_the_till() -> None:
    assert (capacity.PAUSE, capacity.EACH) == (till._PAUSE, till._EACH)


def test_the_same_seed_gives_the_same_run() -> None:
    short = replace(USUAL, seconds=3.0, warm=1.0)
    assert simulate(short) == simulate(short) != simulate(replace(short, seed=1))

"""The arithmetic of the capacity model, and what its command says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.capacity import USE, Job, Measured, Quota, Tokens, answer, main, rates, workers_for

MEASURED = Measured(
    worker_record=0.5,
    worker_call=1.5,
    driver_record=0.2,
    till_exchange=0.16,
    till_call=0.09,
    local_record=0.5,
    local_call=0.5,
)
MILLION = Job(records=1_000_000, latency=2.0)


def test_the_smallest_rate_is_that_of_the_whole() -> None:
    found = answer(MILLION, Quota(in_flight=100, requests_per_minute=60_000), MEASURED, hours=1)
    assert found.rates["calls in flight"] == 50
    assert found.rates["requests a minute"] == 1000
    assert (found.full, found.rate, found.in_time) == ("calls in flight", 50, False)
    assert found.hours == pytest.approx(1_000_000 / 50 / 3600)
    assert found.needs["calls in flight"] == pytest.approx(1_000_000 / 3600 * 2)


def test_calls_that_are_made_again_use_the_quota_and_cost_nothing() -> None:
    tokens = Tokens(input=400, output=100, input_price=0.5, output_price=2.0)
    job = Job(records=1000, calls=2, latency=1.0, again=0.25, tokens=tokens)
    found = rates(
        job, Quota(in_flight=100, requests_per_minute=6000, tokens_per_minute=600_000), MEASURED, workers=1
    )
    assert found["calls in flight"] == pytest.approx(100 / (2.5 * 1.011))  # half of 22 ms to the till
    assert found["requests a minute"] == 40
    assert found["tokens a minute"] == 8
    assert job.cost == pytest.approx(1000 * 2 * 0.0004)


def test_workers_are_as_many_as_the_rate_needs_and_none_where_one_process_does() -> None:
    one = USE * 1000  # records a second of one process: a millisecond each
    assert workers_for(MILLION, MEASURED, one) == 0
    assert workers_for(MILLION, MEASURED, one + 1) == 3  # two milliseconds each
    found = answer(MILLION, Quota(), MEASURED, hours=1_000_000 / 4000 / 3600)
    assert (found.workers, found.full, found.in_time) == (10, "CPU of the workers", True)
    assert found.rates["the driver"] == one / 0.2
    assert found.rates["the till"] == pytest.approx(one / 0.1)


def test_no_more_workers_are_told_than_the_rest_can_use() -> None:
    found = answer(MILLION, Quota(requests_per_minute=600 * 60), MEASURED, hours=0.01)
    assert (found.workers, found.full, found.in_time) == (0, "requests a minute", False)
    found = answer(MILLION, Quota(), replace(MEASURED, driver_record=0.22), hours=0.01)
    assert (found.workers, found.full, found.in_time) == (10, "the driver", False)


def test_the_command_says_how_many_how_long_what_it_costs_and_what_is_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(
        [
            "--records",
            "10_000_000",
            "--hours",
            "6",
            "--latency",
            "2",
            "--in-flight",
            "500",
            "--price",
            "0.15",
            "0.6",
        ]
    )
    said = capsys.readouterr().out
    assert "250.0 a second, 11.1 h: not in time. Full first: calls in flight." in said
    assert "Calls cost 1,350.00 USD." in said
    assert "926 calls in flight" in said


@pytest.mark.parametrize(
    "wrong", ["--records ten --hours 1", "--records 0 --hours 1", "--records 1 --hours nan", "--records 1"]
)
def test_bad_numbers_are_told_without_a_traceback(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong.split())
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err

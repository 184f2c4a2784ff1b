"""Whether a pipeline is to be run now, decided from levels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loom_dagster.assembly.due import Attempt, News, due
from loom_dagster.ledger import RunRow

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
NEW = News(state="s", code="c", what=["new data"])


def last(status: str, *, stopped: str | None = None, finished: datetime = NOW) -> RunRow:
    return RunRow(
        run_id="r",
        pipeline="p",
        partition="",
        fingerprint="f",
        version=None,
        status=status,
        started_at=NOW,
        finished_at=finished,
        resumes=0,
        dagster_run_id=None,
        outcome={"stopped_kind": stopped},
    )


def tried(*minutes_ago: float, **over: Any) -> list[Attempt]:
    said = {"state": "s", "code": "c", "succeeded": False} | over
    return [Attempt(id=f"run{m}", ended_at=NOW - timedelta(minutes=m), **said) for m in minutes_ago]


@pytest.mark.parametrize("status", ["succeeded", "held"])
def test_what_a_run_took_is_done(status: str) -> None:
    assert due(News(state="s", code="c"), last(status), [], NOW).why == "nothing new"
    assert due(NEW, last(status), [], NOW).run


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "deferred"])
def test_what_a_run_left_is_asked_for_again(status: str) -> None:
    assert due(News(state="s", code="c"), last(status), [], NOW).run


@pytest.mark.parametrize(
    ("ago", "wait"),
    [((0.9,), True), ((1.1,), False), ((1.9, 3), True), ((2.1, 3), False), ((59, *range(60, 80)), True), ((61, *range(62, 80)), False)],
)  # fmt: skip
def test_each_try_in_vain_makes_the_next_wait_longer_up_to_an_hour(
    ago: tuple[float, ...], wait: bool
) -> None:
    found = due(NEW, None, tried(*ago), NOW)
    assert found.run is not wait
    assert ("next try is at" in found.why) is wait


def test_what_a_person_canceled_does_not_come_back_until_something_comes() -> None:
    nothing, cut_short = News(state="s", code="c"), last("interrupted")
    assert "was canceled" in due(nothing, cut_short, [], NOW, canceled=True).why
    assert due(NEW, cut_short, [], NOW, canceled=True).run
    unloaded = News(state="s", code="c", unloaded="snapshot")
    assert "was canceled" in due(unloaded, last("succeeded"), [], NOW, canceled=True).why


def test_a_run_canceled_before_it_read_anything_waits_for_another_state() -> None:
    assert "was canceled" in due(NEW, None, tried(100, canceled=True), NOW).why
    assert due(NEW, None, tried(0.1, canceled=True, state="before"), NOW).run
    assert due(NEW, last("failed"), tried(100, canceled=True), NOW).run  # someone has run it since


def test_a_change_of_the_pipeline_is_tried_at_once() -> None:
    assert due(NEW, None, tried(0.1, code="before"), NOW).run


def test_a_run_that_went_well_for_something_else_makes_nothing_wait() -> None:
    assert due(NEW, None, tried(0.1, state="other", succeeded=True), NOW).run
    assert not due(
        NEW, None, tried(0.1, succeeded=True), NOW
    ).run  # for the same: something is wrong, and not in a loop


def test_a_budget_that_is_used_up_waits_for_the_next_day_or_for_something_new() -> None:
    nothing, held_up = News(state="s", code="c"), last("deferred", stopped="budget")
    assert "tomorrow" in due(nothing, held_up, [], NOW).why
    assert due(nothing, held_up, [], NOW + timedelta(hours=13)).run
    assert due(NEW, held_up, [], NOW).run


def test_a_run_that_waits_for_a_batch_is_no_reason_to_start_it_and_something_new_is() -> None:
    waits = replace(last("deferred"), outcome={"waits": True, "stopped_kind": None})
    idle = due(News(state="s", code="c"), waits, tried(600, succeeded=True), NOW)
    assert not idle.run and "come with a batch" in idle.why
    assert due(NEW, waits, [], NOW).run


def test_only_a_load_that_is_missing_is_asked_for_alone() -> None:
    unloaded = News(state="s", code="c", unloaded="snapshot")
    found = due(unloaded, last("held"), tried(0.1), NOW)
    assert found.run and found.load_only
    assert not due(unloaded, last("held"), tried(0.1, state=found.state), NOW).run
    assert not due(News(state="s", code="c", what=["new data"], unloaded="x"), None, [], NOW).load_only


def test_each_request_has_a_key_of_its_own() -> None:
    keys = {due(NEW, None, tried(*ago), NOW).key for ago in ((), (90,), (91, 200))}
    assert len(keys) == 3
    assert due(NEW, None, tried(90), NOW).key == due(NEW, None, tried(90), NOW).key

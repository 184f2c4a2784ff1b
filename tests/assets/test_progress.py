"""What is told of a run that is still going on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets.progress import Teller
from loom_dagster.events import Event, Progress


@dataclass
class HandClock:
    at: float = 0.0

    def monotonic(self) -> float:
        return self.at


def progress(transformed: int) -> Progress:
    return Progress(
        pipeline="p", extracted=3000, transformed=transformed, passed=transformed, quarantined=0, deferred=0,
        cost=0.25, exhausted=False,
    )  # fmt: skip


def test_how_far_a_run_has_come_is_logged_now_and_then_and_is_no_event_of_the_asset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock, heard = HandClock(), list[Event]()
    context: Any = dg.build_op_context()
    tell = Teller(context, dg.AssetKey(["p", "transformed"]), heard.append, clock)  # type: ignore[arg-type]
    for clock.at, transformed in ((1.0, 10), (16.0, 1200), (17.0, 1300), (32.0, 2500)):
        tell(progress(transformed))
    said = [line for line in capsys.readouterr().err.splitlines() if "p/transformed: " in line]
    assert len(said) == 2
    assert "3,000 extracted, 1,200 transformed, 1,200 passed" in said[0]
    assert "2,500 transformed" in said[1] and "$0.2500 so far" in said[1]
    assert list(context.get_events()) == []
    assert len(heard) == 4

"""The domain's calendar and Dagster's: one set of names and windows."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from loom_dagster.assets.partitions import partitions_definition
from loom_dagster.partitions import Calendar, Listed

CASES = [
    ("hourly", "2025-03-29", "Europe/Berlin"),
    ("hourly", "2025-10-25", "Europe/Berlin"),
    ("hourly", "2025-10-25", "Asia/Kolkata"),
    ("hourly", "2025-11-01", "America/Havana"),
    ("daily", "2025-01-01", "Europe/Berlin"),
    ("daily", "2025-01-01", "Africa/Cairo"),  # where a day may begin at one o'clock
    ("daily", "2025-01-01", "America/Havana"),
    ("daily", "2018-01-01", "America/Sao_Paulo"),
    ("weekly", "2025-01-06", "Europe/Berlin"),
    ("weekly", "2025-01-05", "UTC"),
    ("monthly", "2024-11-01", "America/New_York"),
]


@pytest.mark.parametrize(("every", "start", "zone"), CASES)
def test_names_and_windows_are_the_same(every: str, start: str, zone: str) -> None:
    begin = datetime.fromisoformat(start)
    calendar = Calendar(every=every, start=begin, timezone=zone)  # type: ignore[arg-type]
    definition = partitions_definition(calendar)
    now = (begin + timedelta(days=10 if every == "hourly" else 400, hours=5)).replace(tzinfo=UTC)
    keys = calendar.keys(now)
    assert keys == list(definition.get_partition_keys(current_time=now))
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    for key in keys:
        window, span = definition.time_window_for_partition_key(key), calendar.span(key)
        assert (window.start.timestamp(), window.end.timestamp()) == (
            span.start.timestamp(),
            span.end.timestamp(),
        )


def test_the_end_is_outside_for_both() -> None:
    start, end = map(datetime.fromisoformat, ("2025-01-01", "2025-01-04"))
    calendar = Calendar(every="daily", start=start, end=end)
    found = partitions_definition(calendar).get_partition_keys()
    assert found == calendar.keys(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_list_is_a_list() -> None:
    assert partitions_definition(Listed(values=("b", "a"))).get_partition_keys() == ["b", "a"]

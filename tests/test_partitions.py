"""A calendar that knows what clocks do, and says what is wrong with a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.partitions import Calendar, Listed

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def calendar(every="daily", start="2024-01-01", zone="UTC", end=None):
    return Calendar(
        every=every,
        start=datetime.fromisoformat(start),
        timezone=zone,
        end=None if end is None else datetime.fromisoformat(end),
    )


def test_a_partition_is_there_once_it_is_over():
    days = calendar()
    assert days.keys(datetime(2024, 1, 1, 23, 59, tzinfo=UTC)) == []
    assert days.keys(datetime(2024, 1, 2, tzinfo=UTC)) == ["2024-01-01"]
    assert (days.newest(NOW), days.count(NOW), days.first) == ("2024-05-31", 152, "2024-01-01")
    ended = calendar(end="2024-01-03")
    assert ended.keys(NOW) == ["2024-01-01", "2024-01-02"]


def test_the_end_of_one_is_the_beginning_of_the_next():
    for every, start in (
        ("hourly", "2024-03-30"),
        ("daily", "2024-03-01"),
        ("weekly", "2024-03-04"),
        ("monthly", "2024-01-01"),
    ):
        parts = calendar(every, start, "Europe/Berlin")
        keys = parts.keys(datetime(2024, 4, 2, tzinfo=UTC))
        for one, two in pairwise(keys):
            assert parts.span(one).end == parts.span(two).start
            assert parts.key_at(parts.span(one).end) == two
            assert parts.key_at(parts.span(one).end - timedelta(microseconds=1)) == one


def test_days_follow_the_clocks():
    days = calendar(zone="Europe/Berlin")
    for key, hours in (("2024-03-31", 23), ("2024-04-01", 24), ("2024-10-27", 25)):
        span = days.span(key)
        assert span.end - span.start == timedelta(hours=hours)
    assert days.span("2024-01-01").start == datetime(2023, 12, 31, 23, tzinfo=UTC)


def test_an_hour_that_clocks_show_twice_has_two_names():
    hours = calendar("hourly", "2024-10-27", "Europe/Berlin")
    keys = hours.keys(datetime(2024, 10, 27, 4, tzinfo=UTC))
    assert keys[2:4] == ["2024-10-27-02:00", "2024-10-27-02:00+0100"]


def test_a_moment_outside_is_in_no_partition():
    days = calendar(end="2024-02-01")
    assert days.key_at(datetime(2023, 12, 31, tzinfo=UTC)) is None
    assert days.key_at(datetime(2024, 2, 1, tzinfo=UTC)) is None
    assert days.key_at(datetime(2024, 1, 31, 23, tzinfo=UTC)) == "2024-01-31"


@pytest.mark.parametrize(
    ("parts", "key", "said"),
    [
        (calendar(), "2024-1-5", "did you mean `2024-01-05`"),
        (calendar(), "2023-12-31", "they are daily, from 2024-01-01 to 2024-05-31"),
        (calendar(), "yesterday", "the newest one that is complete: 2024-05-31"),
        (calendar(), "2024-06-01", "is not complete.*it ends at 2024-06-02 00:00 UTC"),
        (calendar(end="2024-02-01"), "2024-02-01", "behind `extract.partitions.end`"),
        (calendar(start="2030-01-01"), "2030-01-01", "no complete partition yet.*2030-01-02"),
        (calendar("weekly", "2024-01-01"), "2024-01-10", "did you mean `2024-01-08`"),
        (calendar("monthly"), "2024-03", "did you mean `2024-03-01`"),
        (Listed(values=("DE", "FR")), "DEU", "there are DE, FR.*did you mean `DE`"),
    ],
)
def test_a_key_that_is_none_is_told_with_the_nearest(parts, key, said):
    with pytest.raises(Misconfigured, match=said):
        parts.check(key, NOW, of="reviews")


def test_partitions_are_those_of_another_only_where_every_one_is():
    assert calendar(start="2024-02-01").within(calendar()) is None
    assert "they start at 2023-01-01 here" in (calendar(start="2023-01-01").within(calendar()) or "")
    for other in (calendar("hourly"), calendar(zone="Europe/Berlin"), Listed(values=("a",))):
        assert calendar().within(other)
    assert calendar("weekly", "2024-01-01").within(calendar("weekly", "2023-12-31"))
    assert Listed(values=("a",)).within(Listed(values=("b", "a"))) is None
    assert "there is no c there" in (Listed(values=("a", "c")).within(Listed(values=("a",))) or "")

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from loom_dagster.watermark import Watermark, typed

MOMENT = datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    "cursor", [None, MOMENT, MOMENT.replace(tzinfo=None), date(2026, 3, 1), 7, 7.5, Decimal("7.50"), "b7"]
)
def test_a_watermark_survives_being_kept(cursor):
    watermark = Watermark(cursor=cursor, files={"a.csv": ("1", "x")})
    kept = Watermark.from_dict(json.loads(json.dumps(watermark.as_dict())))
    assert kept == watermark
    assert type(kept.cursor) is type(cursor)


@pytest.mark.parametrize(
    ("cursor", "lag", "start"),
    [
        (MOMENT, HOUR, datetime(2026, 2, 28, 23, 5, tzinfo=UTC)),
        (date(2026, 3, 1), HOUR, date(2026, 2, 28)),
        (100, timedelta(seconds=10), 90),
        (Decimal("1.5"), timedelta(seconds=1), Decimal("0.5")),
        ("2026-03-01T00:05:00Z", HOUR, "2026-02-28T23:05:00Z"),
        ("2026-03-01 00:05:00+02:00", HOUR, "2026-02-28 23:05:00+02:00"),
        ("2026-03-01 00:05:00", HOUR, "2026-02-28 23:05:00"),
        ("b7", timedelta(0), "b7"),
        (None, HOUR, None),
    ],
)
def test_a_lag_goes_back_in_the_cursors_own_kind(cursor, lag, start):
    assert Watermark(cursor=cursor).start(lag) == start


def test_a_lag_of_a_text_that_is_no_time_is_refused():
    with pytest.raises(TypeError, match="'b7' is neither"):
        Watermark(cursor="b7").start(HOUR)


def test_the_further_one_counts_and_files_add_up():
    joined = Watermark(cursor=5, files={"a": ("1",)}).joined(
        Watermark(cursor=3, files={"a": ("2",), "b": ("1",)})
    )
    assert joined == Watermark(cursor=5, files={"a": ("2",), "b": ("1",)})
    assert Watermark().joined(Watermark(cursor=3)).cursor == 3
    assert Watermark(cursor=3).joined(Watermark()).cursor == 3
    assert Watermark(cursor="x").joined(Watermark(cursor=3)).cursor == 3
    naive = MOMENT.replace(tzinfo=None) + HOUR
    assert Watermark(cursor=MOMENT).joined(Watermark(cursor=naive)).cursor == naive


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-03-01T00:05:00Z", MOMENT),
        ("2026-03-01 00:05", MOMENT),
        ("2026-03-01T02:05:00+02:00", MOMENT),
        ("2026-03-01", date(2026, 3, 1)),
        ("42", 42),
        ("-1", -1),
        ("0123", "0123"),
        ("x", "x"),
    ],
)
def test_what_a_person_writes_is_what_it_looks_like(text, value):
    assert typed(text) == value

"""What people are told of single records stays readable, however many records there are."""

from __future__ import annotations

from loom_dagster.events import Note
from loom_dagster.pipeline.run import _Telling


def test_each_note_is_told_once_and_there_is_an_end_to_them():
    told: list[str] = []
    telling = _Telling(
        pipeline="p",
        notes={},
        listen=lambda event: told.append(event.text) if isinstance(event, Note) else None,
    )
    for i in range(10_000):
        telling.note(f"record {i // 2}: prompt cut")
    assert told[:2] == ["record 0: prompt cut", "record 1: prompt cut"]
    assert len(told) == 201 and "more to note" in told[-1]
    assert list(telling.notes) == told

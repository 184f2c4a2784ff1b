"""Who asks anew finds nothing that was stored before, wherever the store is, and what was stored since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loom_dagster.assembly.asking import since_now
from loom_dagster.gateway import Origin
from loom_dagster.gateway.question import FarStore
from loom_dagster.ledger.answer_file import AnswerFile
from loom_dagster.ledger.answer_schema import AnswerSchema
from loom_dagster.records import Answer, digest

ORIGIN = Origin(pipeline="pipe", record_id="r", purpose="transform")


@pytest.mark.parametrize("where", ["file", pytest.param("postgres", marks=pytest.mark.service)])
async def test_what_was_stored_before_is_asked_anew(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    far = where == "postgres"
    server: Any = request.getfixturevalue("postgres") if far else None
    store = AnswerSchema(server.database()).open() if far else AnswerFile(tmp_path / "a.sqlite").open()
    await store.put(Answer(key=digest("a"), model="m", text="old"), ORIGIN)
    anew = since_now(store, 4e9)
    assert anew.get(digest("a")) is None
    assert isinstance(anew, FarStore) == far
    if isinstance(anew, FarStore):
        assert await anew.find(digest("a")) is None
        anew.asked(digest("a"))
    since = since_now(store, 1.0)
    await since.put(Answer(key=digest("a"), model="m", text="new"), ORIGIN)
    found = since.get(digest("a"), not_before=0.5)
    assert found is not None and found.text == "new"
    store.close()

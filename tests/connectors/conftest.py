"""Files as a user has them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from loom_dagster.connectors.files import File, expand, locate
from loom_dagster.connectors.files.formats import FORMATS, Reading, Unreadable, format_of

Rows = tuple[pa.Schema, list[dict[str, Any]], list[Unreadable]]


@pytest.fixture(autouse=True)
def no_cloud_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain installation has it, whatever is installed here."""
    for driver in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, driver, None)


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[File]]:
    """Writes files of these contents and finds them again."""

    def write(**contents: bytes) -> list[File]:
        found = []
        for name, data in contents.items():
            path = tmp_path / name.replace("__", ".")
            path.write_bytes(data)
            found += expand(locate(path.name, tmp_path))
        return found

    return write


@pytest.fixture
def read() -> Callable[..., Rows]:
    """Both passes over files: the schema, all rows, all unreadable ones with positions in the whole source."""

    def run(found: list[File], **reading: Any) -> Rows:
        form = format_of(found[0].path) or FORMATS["csv"]
        how = Reading(**{k: frozenset(v) if k == "exact" else v for k, v in reading.items()})
        schema = form.schema(found, how)
        rows: list[dict[str, Any]] = []
        bad: list[Unreadable] = []
        start = 0
        for chunk in form.chunks(found, schema, how):
            assert chunk.table.schema == schema
            rows += chunk.table.to_pylist()
            bad += [Unreadable(offset=b.offset + start, raw=b.raw, reason=b.reason) for b in chunk.unreadable]
            start += chunk.rows
        return schema, rows, bad

    return run

"""Opens sources as a run does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loom_dagster.connectors import place_of
from loom_dagster.extract import Source, open_source
from loom_dagster.spec.models import Extract


@pytest.fixture(autouse=True)
def no_cloud_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain installation has it, whatever is installed here."""
    for driver in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, driver, None)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Source]:
    def run(source: str, *, batch_size: int = 1000, resolved: str | None = None, **extract: Any) -> Source:
        return open_source(
            Extract(source=source, **extract),
            place_of(resolved or source, tmp_path),
            batch_size=batch_size,
            scratch=tmp_path / "scratch",
            from_pipeline=source.startswith("pipeline://"),
        )

    return run

"""Every test begins in an environment that says nothing: no CI, no keys, no settings of a project."""

from __future__ import annotations

import os

import pytest

_SPEAKS = ("LOOM_", "DAGSTER_", "OPENAI_", "ANTHROPIC_")


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name == "CI" or (name.startswith(_SPEAKS) and name != "LOOM_DATA_DIR"):
            monkeypatch.delenv(name)

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {".venv", ".loom", ".git", "build", "dist", "__pycache__", "out"}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Path]:
    """Every module of the package."""
    found = sorted((ROOT / "loom_dagster").rglob("*.py"))
    assert found
    return found


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """What a checkout holds, by path, as far as it is text: tracked and new files, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / os.fsdecode(p) for p in listed.stdout.split(b"\0") if p]
    else:  # an unpacked archive
        paths = [p for p in ROOT.rglob("*") if not GENERATED & set(p.relative_to(ROOT).parts)]
    found = {}
    for path in paths:
        if path.is_file() and path.suffix not in {".png", ".parquet", ".pyc"}:
            found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8", errors="replace")
    return found


@pytest.fixture(scope="session")
def run_python() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs code in a new interpreter, at the top of the project."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )

    return run

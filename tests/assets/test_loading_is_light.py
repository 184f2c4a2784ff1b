"""A code location is loaded again and again: it must not bring what only a run needs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import json, sys
from pathlib import Path
from loom_dagster.assets import build_definitions
build_definitions(Path(sys.argv[1])).get_repository_def()
print(json.dumps(sorted(sys.modules)))
"""


def test_definitions_load_without_what_only_a_run_needs(desk: Any) -> None:
    desk.write("p")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(desk.root)], capture_output=True, text=True, check=True
    )
    heavy = {
        "aiohttp",
        "arbiter_ai",
        "fsspec",
        "litellm",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic_ai",
        "sqlalchemy",
    }
    assert heavy & set(json.loads(done.stdout)) == set()

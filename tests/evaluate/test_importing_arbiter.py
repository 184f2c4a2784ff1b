"""Importing arbiter_ai does nothing on the side, and happens only when a judge is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

REPORT = """
import os, sys, socket, logging
def refuse(*a, **k): raise AssertionError("no network")
socket.socket.connect = refuse
before = dict(os.environ)
from loom_dagster.evaluate.arbiter_import import import_arbiter
assert "arbiter_ai" not in sys.modules
import_arbiter()
changed = {k for k in before.keys() | os.environ.keys() if before.get(k) != os.environ.get(k)}
ours = {"FROM_DOTENV", "LITELLM_LOCAL_MODEL_COST_MAP", "PYTHON_DOTENV_DISABLED", "LOGFIRE_TOKEN"}
assert not changed & ours, changed
assert not logging.getLogger("arbiter.evaluators").isEnabledFor(logging.CRITICAL)
print("fine")
"""


@pytest.mark.slow
def test_no_network_no_dotenv_no_tracing_and_the_environment_as_it_was(tmp_path):
    (tmp_path / ".env").write_text("FROM_DOTENV=1\n")
    environ = {**os.environ, "LOGFIRE_TOKEN": "not-to-be-used", "LITELLM_LOCAL_MODEL_COST_MAP": "False"}
    done = subprocess.run(
        [sys.executable, "-c", REPORT], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr
    assert "logfire" not in done.stderr.lower()


def test_a_pipeline_without_judges_imports_no_heavy_library():
    script = (
        "import sys, loom_dagster.transform, loom_dagster.evaluate\n"
        "heavy = {'arbiter_ai', 'litellm', 'pydantic_ai', 'pandas', 'pyarrow', 'jsonschema_rs', 'json_repair', 'dagster'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

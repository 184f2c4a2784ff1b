"""A real daemon that is killed with everything it started: each file that comes is run for, none is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loom_dagster.assembly import Loom

PIPELINE = """
name: moods
trigger: {on: new_data, every: 5s}
extract: {source: "data/in/*.jsonl", key: id, incremental: true}
transform: {prompt: prompts/mood.txt, model: offline/demo}
load: {destination: data/out/moods.jsonl, mode: append, columns: all, schema: {mood: {type: string}}}
"""
PROMPT = """---
examples: [{input: good, output: '{"mood": "up"}'}]
---
{{ input.text }}
"""
DEFINITIONS = """
from pathlib import Path
from loom_dagster.assets import build_definitions
defs = build_definitions(Path(__file__).parent)
"""
PATIENCE = 240.0


class Daemon:
    """Dagster's daemon with its code server and their runs: one process group."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "dagster._daemon", "run", "-f", "definitions.py", "-d", str(self.root)]
        environ = {**os.environ, "DAGSTER_HOME": str(self.home), "DAGSTER_DISABLE_TELEMETRY": "1"}
        with (self.root / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, cwd=self.root, env=environ, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for folder in ("pipelines", "prompts", "data/in", "context"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.loom]\n")
    (root / "pipelines" / "moods.yaml").write_text(PIPELINE)
    (root / "prompts" / "mood.txt").write_text(PROMPT)
    (root / "definitions.py").write_text(DEFINITIONS)
    return root


@pytest.fixture
def daemon(root: Path, tmp_path: Path) -> Iterator[Daemon]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    found = Daemon(root, home)
    yield found
    found.kill()


def drop(root: Path, number: int) -> set[str]:
    ids = {f"{number}-{row}" for row in range(3)}
    beside = root / "data" / f".{number}"
    beside.write_text("".join(json.dumps({"id": i, "text": "good"}) + "\n" for i in sorted(ids)))
    beside.replace(root / "data" / "in" / f"{number}.jsonl")
    return ids


def loaded(root: Path) -> list[str]:
    path = root / "data" / "out" / "moods.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(ids: set[str], root: Path) -> None:
    wait_until(lambda _: ids <= set(loaded(root)), root)


def wait_until(condition: Callable[[str], bool], root: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition("moods"):
        assert time.monotonic() < deadline, (root / "daemon.log").read_text()[-5000:]
        threading.Event().wait(0.02)


@pytest.mark.slow
@pytest.mark.service
def test_every_record_is_loaded_once_through_kills_and_restarts(daemon: Daemon, root: Path) -> None:
    dropped = drop(root, 0)
    daemon.start()
    wait_for(dropped, root)  # it works
    for number in (1, 2):
        dropped |= drop(root, 10 * number)
        wait_until(Loom.open(root).triggers.is_running, root)
        daemon.kill()  # in the middle of a run, and files come while nobody looks
        dropped |= drop(root, 10 * number + 1)
        daemon.start()
    wait_for(dropped, root)
    assert sorted(loaded(root)) == sorted(dropped)
    answers = Loom.open(root).answers()
    assert answers.count() == 1  # one text, one question, paid once
    answers.close()

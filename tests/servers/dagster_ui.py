"""`loom ui` on a project: Dagster's webserver, daemon and code server, on 127.0.0.1 and in a process group of their own.

``stop`` is orderly; ``kill`` is the machine going down, with the runs that are going on; after either, ``start`` goes on
with what is on disk, at the same address. ``ask`` speaks GraphQL, as the pages of the UI do.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

__all__ = ["ENDED", "DagsterUI", "free_port"]

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_PATIENCE = 180.0
_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
  __typename ... on PythonError { message } } } } } }"""
_RUNS = "query R($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId status } } } }"
_PID = """query P($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { ... on EngineEvent
  { message } } } } }"""
_TERMINATE = """mutation T($id: String!, $how: TerminateRunPolicy!) { terminateRun(runId: $id, terminatePolicy: $how)
  { __typename ... on TerminateRunFailure { message } } }"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _by_itself() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it does not outlive the tests
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # behind `&` it is ignored, and Dagster then ignores SIGTERM too


class DagsterUI:
    """A context manager. ``environ``: the whole environment of its processes."""

    def __init__(self, root: Path, environ: Mapping[str, str], *, log: Path | None = None) -> None:
        self.root, self.environ = root, dict(environ)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log or root / "ui.log"
        self.location = ""  # what Dagster calls the project, once it is loaded
        self._leader: subprocess.Popen[bytes] | None = None
        self._gone: list[subprocess.Popen[bytes]] = []

    def start(self) -> Self:
        command = [sys.executable, "-m", "loom_dagster.cli.main", "ui", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._leader = subprocess.Popen(
                [*command, "--project", str(self.root)],
                cwd=self.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_by_itself,
            )
        end = time.monotonic() + _PATIENCE
        try:
            while not self._serves():
                if self._until_it_ended(0.0) or time.monotonic() > end:
                    raise RuntimeError(self.log.read_text(errors="replace")[-4000:])
                time.sleep(0.2)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """As Ctrl-C, and then no patience with what is left."""
        if self._leader is not None:
            self._leader.send_signal(signal.SIGINT)
            self._until_it_ended(30)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to every process of it at once: webserver, daemon, code server, runs."""
        for leader in [*self._gone, *([self._leader] if self._leader else [])]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, signal.SIGKILL)
            leader.wait(30)  # not before: until it is waited for, nobody else has the number of its group
        self._leader, self._gone = None, []

    def lose_daemon(self) -> None:
        """SIGKILL to the daemon alone. The other services then end by themselves; a run that is going on may go on."""
        for pid in self.processes("dagster._daemon"):
            os.kill(pid, signal.SIGKILL)
        if not self._until_it_ended(90):
            self.kill()
        elif self._leader is not None:
            self._gone.append(self._leader)
            self._leader = None

    def _until_it_ended(self, seconds: float) -> bool:
        """Whether the first process ended in that time; it is not waited for, so that its number stays taken."""
        assert self._leader is not None
        how, end = os.WEXITED | os.WNOWAIT | os.WNOHANG, time.monotonic() + seconds
        while (ended := os.waitid(os.P_PID, self._leader.pid, how)) is None and time.monotonic() < end:
            time.sleep(0.1)
        return ended is not None

    def processes(self, word: str) -> list[int]:
        """Those of its process group whose command line holds ``word``."""
        if self._leader is None:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ProcessLookupError):
                if entry.name.isdigit() and os.getpgid(int(entry.name)) == self._leader.pid:
                    said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if word in said:
                        found.append(int(entry.name))
        return found

    def ask(self, query: str, **variables: Any) -> Any:
        """The `data` of GraphQL's answer. Raises RuntimeError for an error of the query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.loads(reply.read())
        if answer.get("errors"):
            raise RuntimeError(json.dumps(answer["errors"])[:2000])
        return answer["data"]

    def statuses(self, **wanted: Any) -> dict[str, str]:
        """{run id: status}, the newest first; ``wanted`` as GraphQL's RunsFilter."""
        found = self.ask(_RUNS, f=wanted)["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found}

    def wait_for(self, run_id: str, *statuses: str, seconds: float = _PATIENCE) -> str:
        """Until the run has one of ``statuses``; without any, until it has ended."""
        wanted, end = frozenset(statuses) or ENDED, time.monotonic() + seconds
        while (status := self.statuses(runIds=[run_id]).get(run_id, "")) not in wanted:
            assert time.monotonic() < end, f"run {run_id} is still {status}, not {sorted(wanted)}"
            assert status not in ENDED, f"run {run_id} is {status}, not {sorted(wanted)}"
            time.sleep(0.2)
        return status

    def worker(self, run_id: str) -> int:
        """The process of a run, as Dagster noted it."""
        events = self.ask(_PID, id=run_id)["logsForRun"]["events"]
        said = [
            re.search(r"Started process for run \(pid: (\d+)\)", event.get("message", "")) for event in events
        ]
        return next(int(found[1]) for found in said if found)

    def terminate(self, run_id: str, *, force: bool = False) -> None:
        """What the button does; ``force``: with its box ticked."""
        how = "MARK_AS_CANCELED_IMMEDIATELY" if force else "SAFE_TERMINATE"
        said = self.ask(_TERMINATE, id=run_id, how=how)["terminateRun"]
        assert said["__typename"] == "TerminateRunSuccess", said

    def _serves(self) -> bool:
        """The pages are there, and the project is loaded."""
        try:
            entries = self.ask(_LOADED)["workspaceOrError"].get("locationEntries", [])
        except (OSError, urllib.error.URLError):
            return False
        if any(e["loadStatus"] != "LOADED" for e in entries) or not entries:
            return False
        place = entries[0]["locationOrLoadError"]
        if place["__typename"] != "RepositoryLocation":
            raise RuntimeError(place.get("message", place))
        self.location = entries[0]["name"]
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

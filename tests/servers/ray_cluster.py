"""A Ray cluster of several nodes on this machine: each is a `ray start` in a folder and with ports of its own.

It touches no other cluster, says nothing to anybody, and is gone with the process that made it, whatever ends that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.databases import _IN_CI, _die_with_the_tests, _free_port

__all__ = ["Node", "RayCluster", "below", "named"]

_PATIENCE = 120.0
_STORE = 80_000_000  # bytes; the least that Ray takes is 78,643,200
_HEAD = "127.0.0.1"
_ITS_OWN = (
    "ray::IDLE",
    "ray::DashboardAgent",
    "ray::RuntimeEnvAgent",
    "ray::IDLE_SpillWorker",
    "ray::IDLE_RestoreWorker",
)


@dataclass
class Node:
    """``host``: a loopback address, which is all that tells nodes on one machine apart."""

    host: str
    process: subprocess.Popen[bytes]

    @property
    def raylet(self) -> int:
        [pid] = [pid for pid in below(self.process.pid) if _program(pid) == "raylet"]
        return pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def actors(self) -> dict[int, str]:
        """What the processes that have an actor call themselves: `ray::CLASS`, or `ray::CLASS.method`."""
        names = {pid: named(pid) for pid in below(self.process.pid)}
        return {pid: name for pid, name in names.items() if name.startswith("ray::") and name not in _ITS_OWN}

    def kill(self) -> None:
        """As when the power fails: every process of it at once."""
        for pid in (self.process.pid, *below(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class RayCluster:
    """``start`` begins with a head; ``add`` starts another node. ``environ`` lets a process find it, and no other."""

    def __init__(self, **environ: str) -> None:
        if _cannot():
            told = pytest.fail if _IN_CI else pytest.skip
            told("ray is not installed")
        # short: the sockets in it have paths of at most 107 characters, of which Ray takes 70
        self.folder = Path(tempfile.mkdtemp(prefix="lr-", dir="/tmp"))
        self.nodes: list[Node] = []
        self.port, self.client_port = _free_port(), _free_port()
        self._token = secrets.token_hex(32)
        self._environ = environ

    @property
    def address(self) -> str:
        return f"{_HEAD}:{self.port}"

    @property
    def client_address(self) -> str:
        return f"ray://{_HEAD}:{self.client_port}"

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def environ(self) -> dict[str, str]:
        """For processes that use it: where `auto` looks, the word that its ports ask for, and nothing that goes out."""
        return {
            "RAY_AUTH_MODE": "token",  # said, or what lies in a user's home decides
            "RAY_AUTH_TOKEN": self._token,
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }

    def start(self, nodes: int = 2, cpus: int = 2) -> RayCluster:
        self.add(cpus, "--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}",
                 "--include-dashboard=false")  # fmt: skip
        for _ in range(nodes - 1):
            self.add(cpus)
        return self

    def add(self, cpus: int = 2, *options: str, python: str = sys.executable, **environ: str) -> Node:
        """A node more, ready to work."""
        host = f"127.0.0.{len(self.nodes) + 1}"
        joins = () if "--head" in options else (f"--address={self.address}",)
        log = self.folder / f"node-{len(self.nodes) + 1}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *(python, "-m", "ray.scripts.scripts", "start", "--block", *joins, *options),
                    *(f"--node-ip-address={host}", f"--num-cpus={cpus}", f"--temp-dir={self.folder}"),
                    *(f"--object-store-memory={_STORE}", "--min-worker-port=0", "--max-worker-port=0"),
                    *("--disable-usage-stats", "--include-log-monitor=false", "--log-style=record"),
                ],
                env=self._env(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                preexec_fn=_die_with_the_tests,
            )
        node = Node(host, process)
        self.nodes.append(node)
        end = time.monotonic() + _PATIENCE
        while "Ray runtime started" not in (said := log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(said[-4000:])
            time.sleep(0.1)
        return node

    def mend(self, nodes: int = 2, cpus: int = 2) -> None:
        """As many nodes as there were, after some were killed. A cluster that lost its head begins anew."""
        if not self.head.alive:
            self.close()
            self.__init__(**self._environ)  # type: ignore[misc]
            self.start(nodes, cpus)
        for _ in range(nodes - sum(node.alive for node in self.nodes)):
            self.add(cpus)

    def close(self) -> None:
        """Every process of every node, the workers too."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _env(self, more: dict[str, str]) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "LOOM_", "OPENAI_", "DAGSTER_"))
        }
        quick = {
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_memory_monitor_refresh_ms": "0",  # a machine that is full of others is none of its business
            "RAY_enable_worker_prestart": "0",
        }
        return {**kept, **self.environ, **quick, **self._environ, **more}


def below(pid: int) -> list[int]:
    """Processes that ``pid`` started, and those that they started."""
    children: dict[int, list[int]] = {}
    for each, parent in _parents():
        children.setdefault(parent, []).append(each)
    found, left = [], [pid]
    while left:
        found += (more := children.get(left.pop(), []))
        left += more
    return found


def named(pid: int) -> str:
    """What a process calls itself; Ray's workers are `ray::CLASS.method`."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _program(pid: int) -> str:
    return Path(named(pid).partition(" ")[0]).name


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                # the name in parentheses may hold anything
                yield int(path.name), int((path / "stat").read_text().rpartition(")")[2].split()[1])


def _cannot() -> bool:
    from importlib.util import find_spec

    return find_spec("ray") is None

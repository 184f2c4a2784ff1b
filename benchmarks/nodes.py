"""A Ray cluster of several nodes on this machine, with ports and a folder of its own, so that it meets no other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import ROOT, Unavailable
from benchmarks.processes import MARK, marked

__all__ = ["ray_cluster"]

_SHARED = 200_000_000  # bytes of object store for each node
_PATIENCE = 180.0  # seconds for a node to start


@contextlib.contextmanager
def ray_cluster(nodes: int = 2, cpus: int = 2) -> Iterator[tuple[str, str]]:
    """Its address, and the mark that its processes have. Raises Unavailable when it does not start.

    All that is in it ends with it, by the mark: ``ray stop`` would end other clusters too.
    """
    ray = Path(sys.executable).with_name("ray")
    if not ray.exists():
        raise Unavailable("Ray is not installed: pip install 'loom-dagster[ray]'")
    folder, mark = Path(tempfile.mkdtemp(prefix="ray-")), uuid.uuid4().hex  # short: sockets lie in it
    address = f"127.0.0.1:{_free_port()}"
    head = [
        "--head",
        "--port",
        address.partition(":")[2],
        "--temp-dir",
        str(folder),
        "--include-dashboard=false",
    ]
    head += ["--ray-client-server-port", str(_free_port()), "--dashboard-port", str(_free_port())]
    try:
        for n in range(nodes):
            where = head if n == 0 else ["--address", address]
            _start(
                [str(ray), "start", "--node-ip-address", "127.0.0.1", *where, "--num-cpus", str(cpus)], mark
            )
        yield address, mark
    finally:
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str], mark: str) -> None:
    """One node; the processes that it consists of go on by themselves."""
    environ = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "LOOM_", "DAGSTER_", "OPENAI_"))
    }
    done = subprocess.run(
        [*command, "--object-store-memory", str(_SHARED), "--disable-usage-stats"],
        env={**environ, MARK: mark, "PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"no Ray node: {(done.stderr or done.stdout).strip()[-300:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

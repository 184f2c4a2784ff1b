"""`loom` without the second that its imports take: each command forks from a process that has made them.

A command is a process of its own all the same, with its own environment, folder and output, and it ends as
processes end. What is said of imports and first starts is tested with fresh ones.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_LARGEST = 150_000  # bytes of a request; a socket takes about 200,000 at once
_IMPORTED = (
    "loom_dagster.cli.main",
    "loom_dagster.assembly",
    "loom_dagster.assembly.loading",
    "loom_dagster.assembly.plan",
    "loom_dagster.assembly.prepare",
    "loom_dagster.assembly.replay",
    "loom_dagster.assembly.run_report",
    "loom_dagster.gateway.connection",
    "loom_dagster.gateway.openai_wire",
    "loom_dagster.ledger.postgres",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
)
_AT_START = ("PYTHON", "LANG", "LC_", "ARROW_", "PYDANTIC_")  # what a process looks at only when it begins


class Warm:
    """Runs commands one after the other or side by side, from any thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        self._environ = {name: value for name, value in os.environ.items() if name.startswith(_AT_START)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.warm"],
                cwd=Path(__file__).parents[2],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
            )

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether a process with this environment would have begun as ours did."""
        return {k: v for k, v in env.items() if k.startswith(_AT_START)} == self._environ

    def run(
        self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
    ) -> tuple[int, str, str]:
        """`loom ARGS`: exit code, standard output, standard error. Raises TimeoutExpired when it was killed for it."""
        request = json.dumps({"args": list(args), "env": dict(env), "cwd": str(cwd)}).encode()
        assert len(request) < _LARGEST
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            mine, report = socket.socketpair()
            with mine:
                with report:
                    fds = [out.fileno(), err.fileno(), report.fileno()]
                    socket.send_fds(self._socket, [request], fds)
                mine.settimeout(timeout)
                said = mine.makefile("r")
                pid = int(said.readline())
                try:
                    code = int(said.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(list(args), timeout) from None
            return code, _text(out.fileno()), _text(err.fileno())

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def warm() -> Warm:
    """The one of this process; it ends with it."""
    return Warm()


def _text(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), encoding="utf-8", errors="replace", newline=None) as file:
        return file.read()


def _serve() -> None:
    """Until the other end is closed. Comes back in each command's process, which goes on to be it."""
    control = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, fds, _, _ = socket.recv_fds(control, _LARGEST, 3)
        if not request:
            sys.exit()
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            break
        for fd in fds:
            os.close(fd)
    out, err, report = fds
    if (pid := os.fork()) != 0:  # waits, and says how it ended
        os.write(report, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(report)
    given = json.loads(request)
    for fd, name in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(fd, name)
        os.close(fd)
    os.environ.clear()
    os.environ.update(given["env"])
    os.chdir(given["cwd"])
    sys.argv = ["loom", *given["args"]]


if __name__ == "__main__":
    from loom_dagster.cli.main import _LIGHT, main

    for _name, _value in _LIGHT.items():
        os.environ.setdefault(_name, _value)
    for _module in _IMPORTED:
        importlib.import_module(_module)
    gc.freeze()  # so that children copy no pages only to count
    _serve()
    main()

"""Who holds a lease: telling a process that has died from one that is only slow."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "is_dead", "this_process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """``start`` tells a process from a later one with the same pid; empty where the system does not say."""

    host: str
    pid: int
    start: str


def this_process() -> Process:
    pid = os.getpid()
    return Process(host=_host(), pid=pid, start=_start(pid) or "")


def is_dead(process: Process) -> bool:
    """True only when it is certain: the process lived on this host and is no more."""
    if process.host != _host():
        return False
    if Path("/proc/self/stat").exists():
        start = _start(process.pid)
        return start is None or start != process.start
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    try:  # containers that share a host name do not share their pids
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _start(pid: int) -> str | None:
    """Clock ticks since boot at which ``pid`` began; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else fields[19]

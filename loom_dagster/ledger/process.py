"""Who holds a lease: telling a process that has died from one that is only slow."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "is_gone", "kernel_of", "this_process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """``start`` tells a process from a later one with the same pid; empty where the system does not say."""

    host: str
    pid: int
    start: str


def this_process() -> Process:
    pid = os.getpid()
    return Process(host=_host(), pid=pid, start=_start(pid) or "")


def kernel_of(process: Process) -> str:
    """The same for all containers of a machine, until it is booted again; empty where the system does not say."""
    words = process.host.split()
    return words[1] if len(words) == 3 else ""


def is_gone(process: Process, *, silent: bool) -> bool:
    """Whether the process is no more. One of this host is looked up; of another, only its silence tells.

    Silence alone says little: a clock that is set forward, or a laptop that slept, makes it of nothing.
    """
    if process.host != _host():
        return silent
    if Path("/proc/self/stat").exists():
        return _start(process.pid) != process.start
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return silent
    return silent  # alive, but perhaps a later process with the same pid


def _host() -> str:
    """Host name, kernel and pid namespace: cloned machines share their name, containers also their kernel,
    and neither share their pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
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

"""Joining a Ray cluster, and what is wrong with it in the project's words."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

from loom_dagster.errors import Misconfigured

__all__ = ["connected", "look", "place_of", "silent"]

# how two who speak gRPC begin: RFC 9113, 3.4; a frame's type stands after its length, which has three bytes
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0\0\0\0\0"
_PATIENCE = 5.0  # seconds for a cluster's address to answer
_JOIN = 45.0  # seconds for it to let us in
_JOINED = threading.Lock()
_members = 0  # runs of this process that use the connection, which is one per process


def look(address: str, where: str | None = None) -> None:
    """Whether there is anybody at ``address``, which stands ``where``, before a run begins. Raises Misconfigured (kind
    ``cluster``)."""
    if importlib.util.find_spec("ray") is None:
        raise Misconfigured(
            "`engine: ray` needs Ray, which is not installed",
            fix="pip install 'loom-dagster[ray]'",
            kind="cluster",
        )
    place = place_of(address)
    if place is not None and (why := silent(*place)) is not None:
        found = f" (RAY_ADDRESS, {':'.join(map(str, place))})" if address == "auto" else ""
        raise _away(address, f"{why}{found}", where)


def place_of(address: str) -> tuple[str, int] | None:
    """Host and port; None where ``auto`` leaves it to Ray to find them."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ``ray``, connected. Several runs of a process share the connection; the last one ends it.

    Raises Misconfigured (kind ``cluster``) when nobody answers, and when the cluster's versions are other ones.
    """
    global _members  # noqa: PLW0603 - as Ray's connection is
    import ray

    with _JOINED:
        ours = _members > 0 or not ray.is_initialized()
        if _members == 0 and ours:
            _join(ray, address)
        _members += ours
    try:
        yield ray
    finally:
        with _JOINED:
            _members -= ours
            if ours and _members == 0:
                _leave(ray)


def _join(ray: Any, address: str) -> None:
    look(address)
    from ray._private import auto_init_hook, worker

    # who has lost a cluster must not get one of his own, with the next call, that nobody wanted
    auto_init_hook.enable_auto_connect = False
    # what became of workers is told by the run, in its own words and not amid what a command prints
    worker.print_to_stdstream = lambda *_said, **_how: None
    for name in ("ray", "ray.util.client.logsclient"):  # the latter has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("ray.util.client").addHandler(logging.NullHandler())
    logging.getLogger("ray.util.client").propagate = False

    def join() -> None:
        try:
            # what workers print is in the cluster's logs
            ray.init(address=address, namespace="loom", log_to_driver=False, configure_logging=False)
        except BaseException as error:  # noqa: BLE001 - Ray raises many kinds, and each is the user's to know
            failed.append(error)

    failed: list[BaseException] = []
    joining = threading.Thread(target=join, name="loom-join-ray", daemon=True)  # what lets nobody in may hang
    joining.start()
    joining.join(_JOIN)
    if joining.is_alive():
        raise _refused(address, TimeoutError(f"it did not in {_JOIN:.0f} seconds"))
    if failed:
        raise _refused(address, failed[0]) from failed[0]


def _leave(ray: Any) -> None:
    """In a thread of its own: a cluster that is gone must not keep us."""
    thread = threading.Thread(target=ray.shutdown, name="loom-leave-ray", daemon=True)
    thread.start()
    thread.join(10.0)


def silent(host: str, port: int) -> str | None:
    """Why no cluster answers there; None when one does, or something as alike. Blocks for ten seconds at most."""
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return None  # it would wait for a greeting of another kind
            connection.sendall(_GREETING)
            reply = connection.recv(4)
            return None if reply[3:] == _SETTINGS else "what listens there is no Ray cluster"
    except OSError as error:
        return "no answer in 5 seconds" if isinstance(error, TimeoutError) else error.strerror or str(error)


def _away(address: str, why: str, where: str | None = None) -> Misconfigured:
    return Misconfigured(
        f"no Ray cluster answers at `{address}`",
        where=where,
        why=why,
        fix="start one (`ray start --head`), or write `engine: local`",
        kind="cluster",
    )


def _refused(address: str, error: BaseException) -> Misconfigured:
    lines = str(error).strip().splitlines() or [""]
    said = " ".join(" ".join(lines[-1:] if "Traceback" in lines[0] else lines).split())
    versions = re.search(r"Version mismatch: (.*)", said) or re.search(
        r"(.*version.*differ.*)", said, re.IGNORECASE
    )
    if versions:
        return Misconfigured(
            f"the cluster at `{address}` has other versions than this process",
            why=versions[1].strip(),
            fix="install the same Python and Ray on both sides",
            kind="cluster",
        )
    if isinstance(error, ConnectionError) and place_of(address) is None:
        return _away(address, "none is known on this machine, and RAY_ADDRESS names none")
    return Misconfigured(
        f"the Ray cluster at `{address}` did not let this process in",
        why=f"{type(error).__name__}: {said[:300]}",
        fix="is it a Ray cluster's address? One that wants a token needs RAY_AUTH_MODE=token and the token here, too",
        kind="cluster",
    )

"""The channel that alerts go to: it keeps the books, and is down for a third of the time, in every way there is."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any, ClassVar, Self

__all__ = ["Channel", "Received"]

WAYS = ("away", "refusing", "dying")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message. ``answered``: whether the sender was told that it arrived; ``at``: time.time()."""

    id: str
    at: float
    answered: bool
    signed: bool
    said: dict[str, Any]


class Channel:
    """A webhook on 127.0.0.1. ``down``: None, or how: ``away`` (nobody listens), ``refusing`` (503) or ``dying`` (it
    takes the message and is gone before it answers)."""

    def __init__(self, secret: str) -> None:
        self.received: list[Received] = []
        self.turned_away = 0
        self.seconds_down = 0.0
        self._secret, self._way = secret.encode(), None
        self._server: ThreadingHTTPServer | None = None
        self._listen(0)
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/alerts"

    def fail_a_third_of_the_time(self, period: float) -> threading.Thread:
        """Until ``close`` or ``heal``; the ways take turns."""

        def outages() -> None:
            for way in cycle(WAYS):
                if self._stopped.wait(period * 2 / 3):
                    return
                began = time.monotonic()
                self.fail(way)
                over = self._stopped.wait(period / 3)
                self.fail(None)
                self.seconds_down += time.monotonic() - began
                if over:
                    return

        thread = threading.Thread(target=outages, name="outages", daemon=True)
        thread.start()
        return thread

    def heal(self) -> None:
        """No more outages."""
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._close()

    def fail(self, way: str | None) -> None:
        self._way = way
        if way == "away":
            self._close()
        elif self._server is None:
            self._listen(self._port)

    def _listen(self, port: int) -> None:
        class Handler(_Handler):
            channel = self

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def _close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, body: bytes, headers: Any) -> str | None:
        """Note a message; gives how the channel is down."""
        way = self._way
        if way == "refusing":
            self.turned_away += 1
            return way
        signed = f"{headers.get('X-Loom-Timestamp', '')}.".encode() + body
        right = "sha256=" + hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
        self.received.append(
            Received(
                id=headers.get("X-Loom-Id", ""),
                at=time.time(),
                answered=way != "dying",
                signed=hmac.compare_digest(right, headers.get("X-Loom-Signature", "")),
                said=json.loads(body),
            )
        )
        return way


class _Handler(BaseHTTPRequestHandler):
    channel: ClassVar[Channel]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        way = self.channel.take(body, self.headers)
        if way == "dying":
            with contextlib.suppress(OSError):
                self.connection.close()
            self.close_connection = True
            return
        self.send_response(503 if way == "refusing" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: the books are kept elsewhere."""

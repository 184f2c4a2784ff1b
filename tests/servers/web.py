"""A web server for tests: answers what it is told for each path, and remembers what it was asked."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Asked", "Reply", "WebServer", "web_server"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """``cut``: so many bytes of the body are sent, then the connection ends."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class WebServer:
    """``answer`` gives the reply to a request, or None to hang up without one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply | None] = lambda asked: Reply(status=404)


@contextmanager
def web_server() -> Iterator[WebServer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(path=parts.path, query=dict(parse_qsl(parts.query)), headers=dict(self.headers))
            ours.asked.append(asked)
            endless = len(ours.asked) > 50  # then the test fails instead of going on for ever
            reply = Reply(status=410) if endless else ours.answer(asked)
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ours = WebServer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ours
        finally:
            server.shutdown()
            thread.join()

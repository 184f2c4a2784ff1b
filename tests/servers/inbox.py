"""What alerts are sent to: a web server that takes posts as Slack, PagerDuty and webhooks do, and a mail server.

Both remember what they took, and can be down, slow to say so, or deadly for who asks.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Inbox", "MailBox", "Posted", "inbox", "mail_box"]


@dataclass(frozen=True, kw_only=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Inbox:
    """``answer`` gives (status, headers) for a post, or None to hang up. ``took`` are those answered with 2xx."""

    url: str
    posted: list[Posted] = field(default_factory=list)
    took: list[Posted] = field(default_factory=list)
    answer: Callable[[Posted], tuple[int, dict[str, str]] | None] = lambda posted: (200, {})


@contextmanager
def inbox() -> Iterator[Inbox]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            posted = Posted(path=self.path, headers=dict(self.headers), body=body)
            ours.posted.append(posted)
            answer = ours.answer(posted)
            if answer is None:
                self.close_connection = True
                return
            status, headers = answer
            if 200 <= status < 300:
                ours.took.append(posted)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ours = Inbox(url=f"http://127.0.0.1:{server.server_port}")
        with _served(server):
            yield ours


@dataclass
class MailBox:
    """``answer``: what the server says to a letter."""

    port: int
    letters: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answer: str = "250 taken"


@contextmanager
def mail_box() -> Iterator[MailBox]:
    """As much of SMTP as a letter needs."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 mail.test")
            for line in self.rfile:
                word = line.decode().strip()
                verb = word.split(" ")[0].upper()
                if verb == "EHLO":
                    self.say("250-mail.test\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    ours.logins.append(word.split(" ")[-1])
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    letter = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        letter.append(part.decode())
                    if ours.answer.startswith("250"):
                        ours.letters.append("".join(letter))
                    self.say(ours.answer)
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        ours = MailBox(port=server.server_address[1])
        with _served(server):
            yield ours


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()

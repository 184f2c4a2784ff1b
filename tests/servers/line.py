"""A line to a server that breaks at a chosen word."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Line"]


class Line:
    """Passes on what goes to the server of ``url`` and back; ``self.url`` is the same through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self._word: bytes | None = None
        self._arrives = False
        self.broken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def break_at(self, word: bytes, *, arrives: bool) -> None:
        """Break once, when the client says ``word``: the server hears it and the client never gets its answer,
        or it does not arrive."""
        self._arrives, self._word = arrives, word

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            while data := client.recv(65536):
                if self._word is not None and self._word in data:
                    self._word = None
                    self.broken += 1
                    client.shutdown(socket.SHUT_RDWR)  # first, so that no answer comes through
                    if self._arrives:
                        server.sendall(data)
                    break
                server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

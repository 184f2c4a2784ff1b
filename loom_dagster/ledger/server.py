"""What a ledger and an answer store on a database server have in common: a URL with a secret in it, and a server that
may go away and come back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from loom_dagster.errors import Misconfigured

__all__ = ["Away", "Busy", "Patience", "Secrets", "away", "read_url", "shown"]

_T = TypeVar("_T")

_PATIENCE = 30.0  # seconds that a server may be away
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
# a connection that is refused has no code, only words
_FULL = ("too many clients", "too many connections", "remaining connection slots", "no more connections")
_NOT_YET = ("is starting up", "is shutting down", "not yet accepting connections", "in recovery mode")


class Away(Misconfigured):
    """The server cannot be reached, or the connection was lost."""


class Busy(Away):
    """The server is there, so its address is right: it has no connection free, or is starting."""


def away(error: BaseException) -> type[Away]:
    """Which of them ``error`` is, of a connection that could not be made or was lost."""
    said = str(error)
    return Busy if any(words in said for words in _FULL + _NOT_YET) else Away


class Patience:
    """Waits for a server that is away, half a minute. When that was in vain, nobody waits again before it is back."""

    def __init__(self) -> None:
        self._given_up = False

    def __call__(self, attempt: Callable[[], _T], of: type[Away] = Away) -> _T:
        """What ``attempt`` gives, tried again as long as it raises ``of``. Raises what it raises in the end."""
        patience = 0.0 if self._given_up else _PATIENCE
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                done = attempt()
            except of:
                if time.monotonic() - began + pause > patience:
                    self._given_up = True
                    raise
            else:
                self._given_up = False
                return done
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class Secrets:
    """The words of a URL that must never be shown."""

    def __init__(self, url: URL) -> None:
        words = {str(url.password or ""), str(url.query.get("password", ""))}
        self._words = (words | {quote(word, safe="") for word in words}) - {""}

    def out_of(self, error: BaseException) -> str:
        """What ``error`` says, in one line and without them."""
        said = " ".join(str(error).split())
        for word in self._words:
            said = said.replace(word, "***")
        return said


def read_url(text: str, of: str) -> URL:
    """Raises Misconfigured (kind ``ledger``), which does not show it."""
    with contextlib.suppress(ArgumentError, ValueError):
        # with two @ a part of the password would be taken for the host, and shown
        if text.startswith("sqlite:") or text.count("@") < 2:
            return make_url(text)
    raise Misconfigured(
        f"the {of}'s URL cannot be read",
        fix="write postgresql://USER:PASSWORD@HOST/DATABASE, with special characters of the password as %40",
        kind="ledger",
    )


def shown(url: URL) -> str:
    """Without password and parameters."""
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()

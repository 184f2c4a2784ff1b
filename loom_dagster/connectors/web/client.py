"""Asking a web server: tries again, follows redirects, and gives secrets to the source's own host only."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from loom_dagster.errors import Misconfigured, Transient

__all__ = ["Client"]

_TRIES = 5
_LONGEST_WAIT = 60.0  # seconds between two tries; a server that asks for more is left for later
_HOPS = 10
_CONNECT = 10.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Client:
    """One session with the server of ``source``. ``headers_env`` names the environment variables of headers;
    an answer may stall for ``stall`` seconds. Raises Misconfigured for a variable that is not set."""

    def __init__(self, source: str, *, headers_env: Mapping[str, str], stall: float) -> None:
        import requests  # 60 ms: not before something is asked

        self._home, self._stall = _origin(source), stall
        if "@" in urlsplit(source).netloc:
            raise Misconfigured(
                f"{self.shown(source)} holds a user or a password",
                why="files are committed and shared",
                fix="give it as a header in `extract.web.headers_env`",
            )
        self._headers = {header: _secret(header, variable) for header, variable in headers_env.items()}
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "loom_dagster"
        self._session.auth = lambda request: request  # a .netrc on this machine is not meant

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @staticmethod
    def shown(url: str) -> str:
        """The address as people may see it: without user and parameters, which may hold secrets."""
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def get(self, url: str) -> Any:
        """The answer, its body not read yet. Raises Transient while the server is away, after a few tries,
        and Misconfigured for what will not change by itself."""
        import requests

        failed = Transient(f"{self.shown(url)} does not answer")
        for number in range(_TRIES):
            if number:
                wait = failed.retry_after if failed.retry_after is not None else 0.5 * 2 ** (number - 1)
                if wait > _LONGEST_WAIT:
                    break
                time.sleep(wait)
            try:
                answer = self._follow(url)
            except (requests.ConnectionError, requests.Timeout) as error:
                failed = self._away(url, type(error).__name__)
                continue
            except requests.RequestException as error:
                raise Misconfigured(f"{self.shown(url)} cannot be asked", why=type(error).__name__) from error
            if answer.status_code not in _AGAIN:
                return self._accepted(url, answer)
            answer.close()
            failed = self._away(url, f"HTTP {answer.status_code}", answer.headers.get("Retry-After"))
        raise failed

    def body(self, url: str, answer: Any, most: int) -> bytes:
        """All bytes of an answer; Transient where it breaks off."""
        import requests

        found = bytearray()
        try:
            with answer:
                for piece in answer.iter_content(1 << 18):
                    found += piece
                    if len(found) > most:
                        raise Misconfigured(
                            f"an answer of {self.shown(url)} is larger than {most >> 20} MB",
                            fix="ask for smaller pages",
                        )
        except requests.RequestException as error:
            raise self._away(url, f"the answer breaks off ({type(error).__name__})") from error
        return bytes(found)

    def _follow(self, url: str) -> Any:
        for _ in range(_HOPS):
            answer = self._session.get(
                url,
                headers=self._headers if _origin(url) == self._home else {},
                timeout=(_CONNECT, self._stall),
                allow_redirects=False,
                stream=True,
            )
            if not answer.is_redirect:
                return answer
            answer.close()
            url = urljoin(url, answer.headers["Location"])
            self.assert_web(url)
        raise Misconfigured(f"{self.shown(url)} redirects in a circle")

    def assert_web(self, url: str) -> None:
        """Raises Misconfigured for what a server must not send us to: a file, or the open web from https."""
        scheme = urlsplit(url).scheme
        if scheme not in ("http", "https") or (scheme == "http" and self._home[0] == "https"):
            raise Misconfigured(f"the server sends us to a {scheme}:// address", why="that is not followed")

    def _accepted(self, url: str, answer: Any) -> Any:
        if answer.ok:
            return answer
        answer.close()
        status = answer.status_code
        fix = {
            401: "set what it wants in `extract.web.headers_env`",
            403: "this token may not read it",
            404: "check the address",
        }
        raise Misconfigured(
            f"{self.shown(url)} is refused", why=f"HTTP {status}", fix=fix.get(status), kind="refused"
        )

    def _away(self, url: str, why: str, retry_after: str | None = None) -> Transient:
        return Transient(
            f"{self.shown(url)} does not answer",
            why=why,
            fix="it is tried again with the next run",
            retry_after=_seconds(retry_after),
            kind="server_away",
        )


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or (443 if scheme == "https" else 80)


def _secret(header: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise Misconfigured(
            f"`extract.web.headers_env` takes `{header}` from {variable}, which is not in the environment",
            fix=f"set {variable}",
        )
    if not value.isprintable() or not value.isascii():
        raise Misconfigured(
            f"what is in {variable} cannot be a header", fix="see that it is one line of ASCII"
        )
    return value


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` as seconds from now; None if it does not say."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())

"""Posts to one provider over the session of the run, and says by class what went wrong.

A connection is kept for the next call; one that the other side had closed is tried once more. Redirects
are not followed: they would carry the key to somewhere else.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.gateway.failures import Place, from_status, maybe_paid, unreachable
from loom_dagster.gateway.question import Model

__all__ = ["Connection", "make_session", "parsed"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def make_session() -> aiohttp.ClientSession:
    """One for all models. It bounds no connections: the limiters of the endpoints do."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "loom-dagster"},
    )


class Connection:
    """One model at one address. ``headers`` hold the key; it goes there and nowhere else."""

    def __init__(
        self,
        model: Model,
        session: aiohttp.ClientSession,
        *,
        url: str,
        headers: Mapping[str, str],
        key: str | None,
        key_env: str | None,
    ) -> None:
        """``key`` and ``key_env`` are what messages must not and should name. Raises Misconfigured."""
        try:
            self._url = URL(url)
            host = self._url.host_port_subcomponent
        except ValueError:
            raise Misconfigured(f"the address of {model.name} is none", fix="check `api_base`") from None
        self.place = Place(model=model.name, host=host or url, key_env=key_env, key=key)
        self._session, self._proxy = session, _proxy_for(self._url)
        self._headers = {"Content-Type": "application/json", **headers}
        timeouts = model.timeouts
        self._timeout = aiohttp.ClientTimeout(
            total=timeouts.total, sock_connect=timeouts.connect, sock_read=timeouts.read
        )

    @property
    def url(self) -> str:
        """Where it posts to."""
        return str(self._url)

    async def post(self, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Content and headers of an answer with status 200. Raises by class, see failures.py."""
        try:
            status, headers, content = await self._post(body)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failed(error) from None  # the chain would hold the request with its key
        if status != 200:
            raise from_status(self.place, status, content, headers)
        return content, headers

    def senseless(self, content: bytes) -> LoomError:
        """200, but no completion: a web page, half a body, or an error in disguise (OpenRouter's way)."""
        try:
            code = orjson.loads(content)["error"]["code"]
        except (ValueError, LookupError, TypeError):
            code = None
        if isinstance(code, int) and 400 <= code < 600:
            return from_status(self.place, code, content, {})
        return maybe_paid(
            Transient(
                f"{self.place} answered 200 with something that is no completion",
                why=self.place.scrub(content[:80].decode("utf-8", "replace")) or "an empty body",
                kind="bad_body",
            )
        )

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        for again in (True, False):
            try:
                async with self._session.post(
                    self._url,
                    data=body,
                    headers=self._headers,
                    timeout=self._timeout,
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response:
                    return response.status, response.headers, await response.read()
            except aiohttp.ClientConnectionResetError:
                if not again:  # once: a kept connection that the other side had closed, nothing was sent
                    raise
        raise AssertionError("unreachable")

    def _failed(self, error: Exception) -> LoomError:
        place = self.place
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return unreachable(place, error, kind="timeout")
        if isinstance(error, TimeoutError):
            return maybe_paid(Transient(f"{place} did not answer in time", kind="timeout"))
        if isinstance(error, aiohttp.ClientPayloadError):
            return maybe_paid(Transient(f"{place} cut its answer short", kind="bad_body"))
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL | ValueError):
            why = place.scrub(str(error))
            return Misconfigured(f"{place} cannot be asked", why=why, fix="check `api_base`")
        lost = unreachable(place, error)
        return lost if isinstance(error, aiohttp.ClientConnectorError) else maybe_paid(lost)


def parsed(content: bytes) -> Any:
    """The JSON of an answer. Raises ValueError."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # half a surrogate pair is legal in JSON's escapes and no text: it becomes a question mark
        document = json.loads(content)
        return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def _proxy_for(url: URL) -> str | None:
    """The environment's proxy for ``url``, looked up once instead of with every call."""
    host = url.host or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)

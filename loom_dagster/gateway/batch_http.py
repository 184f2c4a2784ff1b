"""Requests of a batch API over the session of the run: small ones whole, files as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from yarl import URL

from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.gateway.connection import parsed
from loom_dagster.gateway.failures import Place, from_status, maybe_paid, unreachable
from loom_dagster.gateway.question import Timeouts

__all__ = ["BatchHttp"]

_TRANSFER = 3600.0  # seconds for a file of hundreds of megabytes
_LONGEST_LINE = 64 * 1024 * 1024
_GONE = frozenset({404, 410})


class BatchHttp:
    """``headers`` hold the key; redirects are not followed, as they would carry it to somewhere else."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        place: Place,
        headers: Mapping[str, str],
        timeouts: Timeouts,
    ) -> None:
        self._session, self.place, self._headers = session, place, headers
        self._timeouts = timeouts

    async def json(self, method: str, url: str, *, gone: bool = False, **given: Any) -> Any:
        """The JSON that comes back; with ``gone`` None where the provider knows of no such thing."""
        status, headers, content = await self._whole(method, url, **given)
        if gone and status in _GONE:
            return None
        if status != 200:
            raise from_status(self.place, status, content, headers)
        try:
            return parsed(content)
        except ValueError:
            said = Transient(f"{self.place} answered 200 with something that is no JSON", kind="bad_body")
            raise maybe_paid(said) from None

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """The lines of a file, as they come."""
        rest = bytearray()
        try:
            async with self._session.get(
                self._url(url), headers=self._headers, timeout=self._timeout(), allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise from_status(self.place, response.status, await response.read(), response.headers)
                async for chunk in response.content.iter_chunked(1 << 16):
                    rest += chunk
                    if b"\n" in chunk:
                        *lines, last = rest.split(b"\n")
                        rest = bytearray(last)
                        for line in lines:
                            if line.strip():
                                yield bytes(line)
                    elif len(rest) > _LONGEST_LINE:
                        raise Transient(f"{self.place} sent a line that does not end", kind="bad_body")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._failed(error) from None
        if rest.strip():
            yield bytes(rest)

    async def _whole(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **given: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with self._session.request(
                method,
                self._url(url),
                headers={**self._headers, **(headers or {})},
                timeout=self._timeout(),
                allow_redirects=False,
                **given,
            ) as response:
                return response.status, response.headers, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._failed(error) from None  # the chain would hold the request with its key

    def _url(self, url: str) -> URL:
        try:
            return URL(url)
        except ValueError:
            raise Misconfigured(f"the address of {self.place} is none", fix="check `api_base`") from None

    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=_TRANSFER, sock_connect=self._timeouts.connect, sock_read=self._timeouts.total
        )

    def _failed(self, error: Exception) -> LoomError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
            return Misconfigured(f"{self.place} cannot be asked", why=self.place.scrub(str(error)))
        lost = unreachable(self.place, error)
        return lost if isinstance(error, aiohttp.ClientConnectorError) else maybe_paid(lost)

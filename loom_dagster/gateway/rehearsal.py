"""litellm's own completion without its connection: what it would send, and what it makes of an answer.

A stand-in for its HTTP client writes the request down and gives back an answer that is there already.
Nothing is sent. These are blocking calls of some milliseconds (the first imports litellm, 4 s): for threads.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from loom_dagster.gateway.litellm_lane import import_litellm

__all__ = ["Request", "answer_to", "request_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``body`` is what its JSON says."""

    url: str
    headers: Mapping[str, str]
    body: Any


def request_of(arguments: Mapping[str, Any]) -> Request | None:
    """What litellm would send for ``arguments``; None when it would send nothing, or not this way."""
    client = _stand_in()(None)
    try:
        import_litellm().completion(**arguments, client=client)
    except Exception:  # noqa: BLE001 - there was no answer, so every way ends in some error
        request: Request | None = client.request
        return request
    return None


def answer_to(arguments: Mapping[str, Any], content: bytes) -> Any:
    """The ``ModelResponse`` when the provider's answer has status 200 and ``content``.

    Raises whatever litellm raises.
    """
    return import_litellm().completion(**arguments, client=_stand_in()(content))


@functools.cache
def _stand_in() -> Any:
    import httpx  # what litellm speaks; both are imported when first needed

    import_litellm()
    http: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")

    class StandIn(http.HTTPHandler):  # type: ignore[misc]
        """In place of a connection. Without ``content`` it hangs up."""

        def __init__(self, content: bytes | None) -> None:
            self.content = content
            self.request: Request | None = None

        def post(self, url: Any, data: Any = None, json: Any = None, headers: Any = None, **_: Any) -> Any:
            body = orjson.loads(data) if isinstance(data, str | bytes) else data if json is None else json
            self.request = Request(url=str(url), headers=dict(headers or {}), body=body)
            if self.content is None:
                raise ConnectionError("a rehearsal sends nothing")
            sent = httpx.Request("POST", str(url))
            return httpx.Response(200, content=self.content, request=sent)

        def __del__(self) -> None:
            """There is nothing to close."""

    return StandIn

"""What a provider's failure means: which class of error a status, a code or a broken body becomes.

    401, 403, 404, 405, 410, exhausted quota      Misconfigured   stop the run
    400, 413, 422 and other 4xx                   Permanent       too_long, content_filter
                                                  Rejected        any other; if all are, stop the run
    429                                           Throttled       slow down, try again
    502, 503, 504, no connection                  Unreachable     says nothing about the record
    408, 409, other 5xx, cut or senseless bodies  Transient       try again

Everything above decides by class; only this page reads what providers write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import orjson

from loom_dagster.errors import LoomError, Misconfigured, Permanent, Transient

__all__ = [
    "Place",
    "Rejected",
    "Throttled",
    "Unreachable",
    "from_status",
    "maybe_paid",
    "retry_after",
    "unreachable",
]

E = TypeVar("E", bound=LoomError)

_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_FILTER = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_TOO_LONG = re.compile(
    r"context[ _](?:length|window)|too many (?:input )?tokens|(?:prompt|input|request) (?:is )?too (?:long|large)"
    r"|maximum (?:input|prompt) length|exceeds the maximum (?:size|number of tokens)",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content (?:filtering|management) policy|our safety system")
_NO_MONEY = re.compile(r"credit balance is too low", re.IGNORECASE)
_BAD_KEY = re.compile(r"invalid_api_key|API_KEY_INVALID|api key not valid", re.IGNORECASE)
_KEYLIKE = re.compile(r"\b(?:sk|gsk|pk|key|xai|pplx|AIza)[-_][\w*.-]{6,}|(?<=Bearer )\S+")
_GAVE_UP = {408, 504, 524}  # somebody on the way waited no longer; the model may have gone on
_LONGEST_WAIT = 120.0


class Throttled(Transient):
    """429: too many requests, which is nothing the record did. ``headers`` as they came, for quota.py."""

    kind = "rate_limit"
    headers: Mapping[str, str] | None = None


class Rejected(Permanent):
    """The request itself is wrong: because of this record, or because of what all requests share."""

    kind = "bad_request"


class Unreachable(Transient):
    """Nobody there, or only a gateway that says so: nothing the record did."""

    kind = "connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Who is asked, for messages: model, host, and the name of the variable that holds the key."""

    model: str
    host: str
    key_env: str | None
    key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.model} at {self.host}"

    def scrub(self, text: str) -> str:
        """``text`` in one short line, without the key or anything that looks like one."""
        if self.key:
            text = text.replace(self.key, "***")
        return " ".join(_KEYLIKE.sub("***", text).split())[:500]


def from_status(place: Place, status: int, body: bytes | str, headers: Mapping[str, str]) -> LoomError:
    """The error that an HTTP status other than 200 means."""
    code, said = _said(body)
    why = f"{status} {place.scrub(said)}".strip()
    if status == 402 or code in _QUOTA or _NO_MONEY.search(said):
        return Misconfigured(f"the quota of {place} is used up", why=why, fix=_key_fix(place), kind="quota")
    if status in {401, 403} or (status == 400 and _BAD_KEY.search(code + said)):
        return Misconfigured(
            f"{place} does not accept the key", why=why, fix=_key_fix(place), kind="unauthorized"
        )
    if status in {404, 405, 410} or 300 <= status < 400:
        return Misconfigured(
            f"there is no {place}", why=why, fix="check `model` and `api_base`", kind="not_found"
        )
    if status == 429:
        throttled = Throttled(f"{place} is asked too often", why=why, retry_after=retry_after(headers))
        throttled.headers = headers
        return throttled
    if status in {502, 503, 504}:
        away = Unreachable(
            f"{place} is not available", why=why, retry_after=retry_after(headers), kind="server_error"
        )
        return maybe_paid(away) if status in _GAVE_UP else away
    if status in {408, 409, 425} or status >= 500:
        kind = "timeout" if status == 408 else "server_error"
        failed = Transient(f"{place} failed", why=why, retry_after=retry_after(headers), kind=kind)
        return maybe_paid(failed) if status in _GAVE_UP else failed
    if status == 413 or code == "context_length_exceeded" or _TOO_LONG.search(said):
        return Permanent(f"the prompt is too long for {place}", why=why, kind="too_long")
    if code in _FILTER or _FILTERED.search(said):
        return Permanent(f"{place} filtered the prompt", why=why, kind="content_filter")
    return Rejected(f"{place} does not take this request", why=why)


def unreachable(place: Place, error: BaseException, kind: str = "connection") -> Unreachable:
    """No connection, no answer."""
    return Unreachable(
        f"{place} cannot be reached", why=place.scrub(str(error) or type(error).__name__), kind=kind
    )


def maybe_paid(error: E) -> E:
    """``error``, marked: the provider got the request and may charge for it."""
    error.maybe_paid = True
    return error


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the other side asks us to wait (a number or an HTTP date), at most 120; None if it does not.

    ``retry-after-ms``, milliseconds, is what OpenAI and Azure send besides; it is the finer one.
    """
    fine = _milliseconds(headers.get("retry-after-ms"))
    if fine is not None:
        return min(max(fine / 1000, 0.0), _LONGEST_WAIT)
    value = headers.get("Retry-After") or headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT)


def _milliseconds(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _key_fix(place: Place) -> str:
    return (
        f"check {place.key_env} in the environment"
        if place.key_env
        else "name its key's variable in `api_key_env`"
    )


def _said(body: bytes | str) -> tuple[str, str]:
    """(code, message) of an error body in any of the usual shapes."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "", text
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", str(error)
    codes = [str(error.get(name) or "") for name in ("code", "type")]
    inner = error.get("innererror")
    if isinstance(inner, dict):
        codes.append(str(inner.get("code") or ""))
    known = next(
        (c for c in codes if c in _QUOTA | _FILTER | {"context_length_exceeded", "invalid_api_key"}), codes[0]
    )
    return known, str(error.get("message") or error.get("detail") or text)

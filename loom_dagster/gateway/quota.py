"""What providers say with every answer of how much of their limits is left.

    OpenAI, Azure, Groq and others   x-ratelimit-{remaining,reset}-{requests,tokens}    reset: 6m0s, 120ms, 1
    Anthropic   anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{remaining,reset}   reset: RFC 3339

Sources: https://platform.openai.com/docs/guides/rate-limits, https://docs.claude.com/en/api/rate-limits
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST", "Quota", "quotas"]

LONGEST = 120.0  # seconds; a reset further away is looked at again before

_HEADERS = (  # remaining, reset, whether tokens are counted
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", False),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", True),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", False),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", True),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset", True),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset", True),
)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """``remaining`` requests (or ``tokens``) for the next ``reset`` seconds, 0 to 120."""

    remaining: float
    reset: float
    tokens: bool


def quotas(headers: Mapping[str, str], now: Callable[[], datetime]) -> list[Quota]:
    """Those that ``headers`` tell in full; what makes no sense is left out."""
    found = []
    for remaining_name, reset_name, tokens in _HEADERS:
        said = headers.get(remaining_name)
        if said is None:
            continue
        remaining, reset = _number(said), _reset(headers.get(reset_name, ""), headers, now)
        if remaining is not None and reset is not None:
            found.append(
                Quota(remaining=max(0.0, remaining), reset=min(max(reset, 0.0), LONGEST), tokens=tokens)
            )
    return found


def _reset(text: str, headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Seconds from now, not yet bounded."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - (_their_time(headers) or now())).total_seconds()


def _their_time(headers: Mapping[str, str]) -> datetime | None:
    """The time by the clock that the reset is named by: ours may be minutes off."""
    try:
        when = parsedate_to_datetime(headers.get("date") or headers.get("Date") or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number

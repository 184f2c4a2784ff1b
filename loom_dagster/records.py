"""The nouns every room shares: record, answer, score, and what became of a record.

Plain frozen dataclasses without behaviour of their own, so that no stage needs to import another
one to hand its work on.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Account",
    "Answer",
    "Batch",
    "Decision",
    "Passed",
    "Quarantined",
    "Record",
    "Score",
    "Stage",
    "Usage",
    "digest",
    "dollars",
    "seconds",
    "share",
    "to_json",
    "utf8",
]

_MINUTE, _HOUR = 60.0, 3600.0


class Stage(StrEnum):
    """Where in a pipeline something happened."""

    EXTRACT = "extract"
    TRANSFORM = "transform"
    EVALUATE = "evaluate"
    LOAD = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the source. ``position`` is its 0-based place in the source, ``row`` its place
    in its batch's table; neither is its identity, ``id`` is."""

    id: str
    position: int
    row: int
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; ``cached_tokens`` are those of the input the provider had cached."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Account(NamedTuple):
    """What a call is for, in the books: ``purpose`` (as Origin has it), the model, the prompt with its version. Empty:
    nobody knows any more."""

    purpose: str = ""
    model: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One paid answer of a model. ``cost`` is in USD (None: price unknown), ``latency`` in
    seconds. ``reused`` is true when it came from the answer store and cost nothing now;
    ``cost`` and ``latency`` then still are what was paid and waited at the time."""

    key: bytes
    model: str
    text: str
    finish: str = "stop"
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    latency: float = 0.0
    simulated: bool = False
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one evaluator says of one output, 0..1. ``value`` None means it could not be had and
    never counts as a pass; ``error`` then says why."""

    name: str
    value: float | None
    threshold: float
    explanation: str = ""
    error: str | None = None
    weight: float = 1.0

    @property
    def passed(self) -> bool:
        return self.value is not None and self.value >= self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's word on one record; ``reason`` is empty when it passed."""

    passed: bool
    reason: str
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A record that passed: its output and where that came from. ``fallback`` names how the
    output came about when the first one failed (``model`` or ``value``)."""

    record: Record
    output: Mapping[str, Any]
    scores: tuple[Score, ...]
    answers: tuple[Answer, ...]
    model: str
    attempts: int = 1
    fallback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A record that did not pass, kept whole. ``source`` holds the source columns (or the raw
    text under the key ``_raw`` if the row could not be read)."""

    id: str
    position: int
    stage: Stage
    reason: str
    kind: str
    source: Mapping[str, Any]
    scores: tuple[Score, ...] = ()
    output: Mapping[str, Any] | None = None
    raw_answer: str | None = None
    model: str | None = None
    answers: tuple[Answer, ...] = ()
    attempts: int = 0
    resolution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A piece of the source, in its order. ``table`` holds the rows of ``records`` exactly as
    they were read, one row each; ``rejected`` are rows that cannot become records (null or
    repeated key, unreadable)."""

    index: int
    table: pa.RecordBatch
    records: Sequence[Record]
    rejected: Sequence[Quarantined] = ()


def dollars(amount: float) -> str:
    """``$2.34``; small amounts keep two digits that say something: ``$0.00042``."""
    if amount == 0 or round(abs(amount), 4) >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if abs(amount) >= 0.001 else f"${amount:.2g}"


def seconds(value: float | None) -> str:
    """``1.2s``, ``3m 05s``, ``2h 10m``; ``-`` when it is not known."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 2 * _MINUTE:
        return f"{value:.1f}s"
    if value < 2 * _HOUR:
        return f"{int(value // _MINUTE)}m {int(value % _MINUTE):02d}s"
    return f"{int(value // _HOUR)}h {int(value % _HOUR // _MINUTE):02d}m"


def share(part: float, whole: float) -> str:
    """``98.5%``. Never rounded up to 100% or down to 0% when it is not."""
    if whole <= 0:
        return "-"
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f}%" if 0 < part < whole else f"{percent:.0f}%"


def to_json(value: object) -> bytes:
    """Canonical JSON: sorted keys, no spaces; decimals and times as text, bytes as base64,
    NaN and infinities as text (plain JSON has none), lone surrogates written out."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    plain = _plain(value)
    try:
        return orjson.dumps(plain, option=option, default=_default)
    except TypeError:
        return orjson.dumps(_within_json(utf8(plain)), option=option, default=_default)


def utf8(value: object) -> object:
    r"""``value`` with lone surrogates, which no file can hold, written out as ``\udc80``."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {utf8(k): utf8(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [utf8(v) for v in value]
    return value


def digest(*parts: object) -> bytes:
    """SHA-256 (32 bytes) over the canonical JSON of ``parts``."""
    return hashlib.sha256(to_json(parts)).digest()


def _plain(value: object) -> object:
    # orjson writes NaN as null, which would make a row with NaN and one with null the same record
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _within_json(value: object) -> object:
    """Integers beyond 64 bits as text: orjson refuses them without asking ``_default``."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, dict):
        return {_within_json(k): _within_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_within_json(v) for v in value]
    return value


def _default(value: object) -> object:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return str(value)

"""What the till has at hand of each worker while it works on a round."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from loom_dagster.ledger.exchange import Fault, Message, Reply

__all__ = ["Desk", "Out", "Visit"]


@dataclass(slots=True)
class Out:
    """What a worker is told next."""

    found: list[tuple[Any, ...]] = field(default_factory=list)
    claimed: list[bytes] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)
    refused: list[tuple[int, Fault]] = field(default_factory=list)


@dataclass(slots=True)
class Desk:
    """A worker, and its exchange."""

    name: str
    number: int
    reply: asyncio.Future[Reply]
    out: Out = field(default_factory=Out)


@dataclass(slots=True, eq=False)
class Visit:
    """An exchange to be worked on."""

    desk: Desk
    message: Message
    answers: Fault | None = None

"""What ``loom stream`` needs of a stream: messages that stay until they are acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Message", "Messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """``id`` is the same whenever the message comes, and no other message's. ``value`` should be a JSON object."""

    id: str
    value: bytes


class Messages(Protocol):
    """One consumer of a group. What it took and did not acknowledge comes again: to itself when it is opened
    anew, to another one of the group when it is gone.

    Every method raises Transient while the server is away and Misconfigured for what will not mend itself.
    """

    @property
    def at_end(self) -> bool:
        """Whether the last ``take`` came to the end of what there is for this consumer."""

    def take(self, most: int, wait: float) -> Sequence[Message]:
        """Up to ``most`` messages, as soon as there are any; none after ``wait`` seconds without one.
        What was taken before and not acknowledged (by a process that is gone) comes first."""

    def keep(self, messages: Sequence[Message]) -> None:
        """Says that ``messages`` are still being worked on. Called now and then while they are, from another
        thread, never at the same time as another method."""

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """These are done, and all that came before them."""

    def behind(self) -> int | None:
        """How many messages of the group wait to be acknowledged; None when the server does not say."""

    def again(self) -> None:
        """After a Transient error: what was taken and not acknowledged comes again."""

    def close(self) -> None:
        """Leaves the group. Closing twice is fine."""

"""The money of one call: its worst case is reserved before each attempt, and settled by what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loom_dagster.errors import LoomError
from loom_dagster.gateway.question import AnswerSchema, Message, Price
from loom_dagster.records import Account, Usage

__all__ = ["Charge", "Spend", "Unlimited", "worst_case"]

_FRAME_TOKENS = 64  # what a provider's template puts around a conversation,
_MESSAGE_TOKENS = 16  # around each message,
_SCHEMA_TOKENS = 600  # and around an answer's schema (Anthropic: up to 530 where it becomes a tool)


class Spend(Protocol):
    """Keeps the budgets and the books. Amounts in USD; a ticket stands for what is reserved, an account says what
    a call is for."""

    @property
    def limited(self) -> bool:
        """Whether there is a budget to keep: every price has to be known then."""

    async def reserve(self, key: bytes, worst: float, account: Account = ...) -> int:
        """A ticket for a call that costs ``worst`` at most and whose answer will have ``key``, once that is
        on disk. Waits while calls in flight may give something back. Raises OverBudget when nothing will."""

    def settle(self, ticket: int, cost: float | None, account: Account = ..., usage: Usage = ...) -> None:
        """The call was paid for, and its answer is on disk. None: nobody knows its price."""

    def release(self, ticket: int) -> None:
        """The call cost nothing."""

    def lose(self, ticket: int, account: Account = ...) -> None:
        """Nobody knows whether the call was paid for: it counts at its worst case."""


_NONE, _NOTHING = Account(), Usage()


class Unlimited:
    """No budget, and nobody who counts."""

    limited = False

    async def reserve(self, key: bytes, worst: float, account: Account = _NONE) -> int:
        return 0

    def settle(
        self, ticket: int, cost: float | None, account: Account = _NONE, usage: Usage = _NOTHING
    ) -> None: ...

    def release(self, ticket: int) -> None: ...

    def lose(self, ticket: int, account: Account = _NONE) -> None: ...


class Charge:
    """What the attempts of one call have reserved; one at a time."""

    __slots__ = ("_account", "_key", "_sent", "_settled", "_spend", "_ticket", "_worst")

    def __init__(self, spend: Spend, key: bytes, worst: float, account: Account = _NONE) -> None:
        self._spend, self._key, self._worst, self._account = spend, key, worst, account
        self._ticket, self._sent, self._settled = 0, False, False

    async def hold(self) -> None:
        """Reserve the worst case of an attempt. Raises OverBudget."""
        self._ticket, self._sent = await self._spend.reserve(self._key, self._worst, self._account), False

    def sent(self) -> None:
        """From now on the provider may charge for the attempt."""
        self._sent = True

    def failed(self, error: BaseException) -> None:
        """No answer came. Only an error that says so leaves no doubt that nothing was paid."""
        if self._settled:  # an answer came, and could not be kept
            return
        if self._sent and (error.maybe_paid if isinstance(error, LoomError) else True):
            self._spend.lose(self._ticket, self._account)
        else:
            self._spend.release(self._ticket)

    def paid(self, cost: float | None, usage: Usage = _NOTHING) -> None:
        """The answer is in the store."""
        self._settled = True
        self._spend.settle(self._ticket, cost, self._account, usage)


def worst_case(
    price: Price | None, messages: Sequence[Message], schema: AnswerSchema | None, max_tokens: int
) -> float:
    """The most a call can cost, in USD; 0 when the price is not known.

    No tokenizer makes more tokens of a text than it has bytes in UTF-8, and no answer has more than
    ``max_tokens``, in which a model's reasoning counts.
    """
    if price is None:
        return 0.0
    tokens = _FRAME_TOKENS + sum(len(m["content"].encode()) + _MESSAGE_TOKENS for m in messages)
    if schema is not None:
        tokens += schema.size + _SCHEMA_TOKENS
    within = [price, *(dearer for above, dearer in price.tiers if tokens > above)]
    dearest = max(max(each.input, each.cached or 0.0) for each in within)
    return tokens * dearest + max_tokens * max(each.output for each in within)

"""Where answers are kept: a file, or a schema of a Postgres database. Both are asked in the SQL that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loom_dagster.ledger.address import answers_address

if TYPE_CHECKING:
    from loom_dagster.clock import Clock
    from loom_dagster.ledger.answers import Origin
    from loom_dagster.records import Answer
    from loom_dagster.settings import Settings

__all__ = ["AnswerPlace", "Answers", "place_of_answers"]


class Answers(Protocol):
    """A store that is open: AnswerLog or AnswerTable."""

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer (``reused`` set), unless it was stored before ``not_before`` (UNIX seconds)."""

    async def put(self, answer: Answer, origin: Origin) -> None:
        """Returns once it outlives this machine or process. An answer for a key that exists replaces it."""

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """As ``put``, all of them at once. ``rows`` as ``row_of`` makes them."""

    async def get_many(self, keys: Iterable[bytes]) -> Mapping[bytes, Sequence[Any]]:
        """What is stored of ``keys``, as ``answer_of`` takes it."""

    def count(self) -> int:
        """How many answers there are."""

    def close(self) -> None:
        """Write what is queued. Closing twice is fine."""


class AnswerPlace(Protocol):
    """``name`` is for people. ``newest``: what sorts the newest answers first. Raises Misconfigured."""

    name: str
    table: str
    newest: str

    def open(self, *, clock: Clock | None = None) -> Answers:
        """The store, made when it is missing; the caller closes it."""

    def exists(self) -> bool:
        """Whether answers were ever stored there; nothing is made."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; its values stand for question marks. Nothing where there is no store."""

    def size(self) -> int:
        """Bytes on disk."""

    def delete(self, condition: str, values: Sequence[Any]) -> int:
        """Take those away for which it holds, in small transactions; gives how many there were."""

    def shrink(self, *, alone: bool) -> bool:
        """Give free room back; whether that was possible. ``alone``: no run is going on."""


def place_of_answers(settings: Settings) -> AnswerPlace:
    """As the setting ``answers`` says; nothing is opened. Raises Misconfigured for one that cannot be read."""
    address = answers_address(settings)
    if isinstance(address, Path):
        from loom_dagster.ledger.answer_file import AnswerFile

        return AnswerFile(address)
    from loom_dagster.ledger.answer_schema import AnswerSchema

    return AnswerSchema(address)

"""An answer as a row of the answer store, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loom_dagster.errors import Misconfigured
from loom_dagster.records import Answer, Usage

if TYPE_CHECKING:
    from typing import Protocol

    class Origin(Protocol):  # gateway.Origin fits; the ledger does not import the gateway
        @property
        def pipeline(self) -> str: ...
        @property
        def record_id(self) -> str: ...
        @property
        def purpose(self) -> str: ...
        @property
        def prompt(self) -> str: ...


__all__ = ["answer_of", "row_of"]


def row_of(answer: Answer, origin: Origin, created_at: float) -> tuple[Any, ...]:
    """All columns, in the table's order. Raises Misconfigured for what is no text, so that it fails alone."""
    usage = answer.usage
    try:
        f"{answer.text}{origin.record_id}".encode()
    except UnicodeEncodeError as error:
        what = f"the answer for record {origin.record_id!r} is no text and cannot be stored"
        raise Misconfigured(what, why=str(error)) from error
    return (
        answer.key,
        answer.model,
        answer.text,
        answer.finish,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        answer.cost,
        answer.latency,
        answer.simulated,
        created_at,
        origin.pipeline,
        origin.record_id,
        origin.purpose,
        origin.prompt,
    )


def answer_of(row: Sequence[Any], not_before: float | None = None) -> Answer | None:
    """The answer of the columns from ``key`` to ``created_at``, ``reused``; None when it is older than ``not_before``
    (UNIX seconds)."""
    key, model, text, finish, tokens, made, cached, cost, latency, simulated, created_at = row
    if not_before is not None and created_at < not_before:
        return None
    return Answer(
        key=key,
        model=model,
        text=text,
        finish=finish,
        usage=Usage(input_tokens=tokens, output_tokens=made, cached_tokens=cached),
        cost=cost,
        latency=latency,
        simulated=bool(simulated),
        reused=True,
    )

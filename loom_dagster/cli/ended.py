"""How one pipeline of a command ended, or one partition of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loom_dagster.cli.exits import INTERRUPTED, OK, error_document, exit_code_of

if TYPE_CHECKING:
    from loom_dagster.errors import LoomError
    from loom_dagster.pipeline import Outcome

__all__ = ["Ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one pipeline of the command, or one ``partition`` of it, ended; ``waits_for`` are those it reads from that
    failed, or, with ``for_batches``, that wait for batches and are no worse. ``stopped``: nobody waits any more."""

    name: str
    partition: str = ""
    outcome: Outcome | None = None
    error: LoomError | None = None
    waits_for: tuple[str, ...] = ()
    for_batches: bool = False
    stopped: bool = False

    @property
    def waits(self) -> bool:
        """Whether its answers come with a batch, and nothing is wrong."""
        return self.outcome is not None and self.outcome.waits and self.error is None

    @property
    def not_begun(self) -> bool:
        """Whether there is more to do for it once batches have ended."""
        return self.waits or self.for_batches

    @property
    def exit_code(self) -> int:
        if self.stopped:
            return INTERRUPTED
        from_outcome = self.outcome.exit_code if self.outcome is not None else OK
        from_error = exit_code_of(self.error) if self.error is not None else OK
        return max(from_outcome, from_error, int(bool(self.waits_for) and not self.for_batches))

    @property
    def blocks(self) -> bool:
        """Whether what reads from it must not run: a monitor that holds nothing does not."""
        held = self.outcome is not None and self.outcome.released_code != OK
        return held or self.error is not None or bool(self.waits_for)

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        document: dict[str, Any] = {"pipeline": self.name, "exit_code": self.exit_code}
        if self.partition:
            document["partition"] = self.partition
        if self.outcome is not None:
            document |= self.outcome.as_dict() | {"exit_code": self.exit_code}
        if self.error is not None:
            document["error"] = error_document(self.error)
        if self.waits_for:
            document["not_run_because_of"] = list(self.waits_for)
        return document

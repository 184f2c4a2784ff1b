"""What this room asks of the loom. assembly.Loom fits it; a test may bring something smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from loom_dagster.events import Listener, ignore
from loom_dagster.settings import RunOptions, Settings

if TYPE_CHECKING:
    from loom_dagster.alerts import Delivered
    from loom_dagster.assembly.batching import Batching
    from loom_dagster.assembly.triggers import Triggers
    from loom_dagster.ledger import Ledger, QuarantineEntry
    from loom_dagster.pipeline import LoadResult, Outcome, Stop
    from loom_dagster.prompts import TextFile
    from loom_dagster.release import Snapshot
    from loom_dagster.spec import Project

__all__ = ["Runs"]


class Runs(Protocol):
    """A project that can be run. See assembly.Loom for what each method promises."""

    settings: Settings
    project: Project

    @property
    def ledger(self) -> Ledger: ...

    @property
    def triggers(self) -> Triggers: ...

    @property
    def batching(self) -> Batching: ...

    def identity(self, name: str) -> tuple[str, Sequence[TextFile]]: ...

    def texts(self, name: str) -> Sequence[TextFile]: ...

    def run(
        self,
        name: str,
        options: RunOptions | None = None,
        *,
        partition: str = "",
        listen: Listener = ignore,
        stop: Stop | None = None,
        dagster_run_id: str | None = None,
    ) -> Outcome: ...

    def load(
        self,
        name: str,
        options: RunOptions | None = None,
        *,
        partition: str = "",
        dagster_run_id: str | None = None,
    ) -> LoadResult: ...

    def verdict(self, name: str, partition: str = "") -> Snapshot | None: ...

    def verdicts(self, name: str) -> Mapping[str, Snapshot]: ...

    def released(self, name: str, partition: str = "") -> Snapshot | None: ...

    def deliver_alerts(self) -> Delivered: ...

    def quarantine(
        self, name: str, *, resolved: bool = False, partition: str | None = None
    ) -> Sequence[QuarantineEntry]: ...

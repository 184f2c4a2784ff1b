"""A pipeline's run: records stream through the stages, each ends in exactly one place."""

from loom_dagster.pipeline.batches import BatchDone, Consumed, Terms
from loom_dagster.pipeline.conclude import Ended, conclude
from loom_dagster.pipeline.consume import consume
from loom_dagster.pipeline.intake import Room
from loom_dagster.pipeline.outcome import Counts, LoadResult, Outcome, ScoreSummary, Spending, Status, Verdict
from loom_dagster.pipeline.plan import Base, Engine, Plan, Work
from loom_dagster.pipeline.route import Deferred, Fate, OnFailure, Route
from loom_dagster.pipeline.run import run
from loom_dagster.pipeline.stop import Stop
from loom_dagster.pipeline.stream import Pace, Streamed, stream
from loom_dagster.pipeline.tally import Tally

__all__ = [
    "Base",
    "BatchDone",
    "Consumed",
    "Counts",
    "Deferred",
    "Ended",
    "Engine",
    "Fate",
    "LoadResult",
    "OnFailure",
    "Outcome",
    "Pace",
    "Plan",
    "Room",
    "Route",
    "ScoreSummary",
    "Spending",
    "Status",
    "Stop",
    "Streamed",
    "Tally",
    "Terms",
    "Verdict",
    "Work",
    "conclude",
    "consume",
    "run",
    "stream",
]

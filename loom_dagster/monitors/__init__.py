"""Whether a run is as it should be, by its own numbers and by those of the runs before it. Nothing is read here: who
runs a pipeline brings the facts."""

from loom_dagster.monitors.facts import Budget, Facts, Scores, failed_metric
from loom_dagster.monitors.judge import HISTORY_WINDOW, judge
from loom_dagster.monitors.result import MonitorResult
from loom_dagster.monitors.words import rule

__all__ = ["HISTORY_WINDOW", "Budget", "Facts", "MonitorResult", "Scores", "failed_metric", "judge", "rule"]

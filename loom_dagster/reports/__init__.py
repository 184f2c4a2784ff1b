"""What runs came to, for people and for Prometheus: pure functions of what is kept of them."""

from loom_dagster.reports.prometheus import exposition
from loom_dagster.reports.sparkline import sparkline
from loom_dagster.reports.standing import state_of
from loom_dagster.reports.trends import (
    EvaluatorTrend,
    Trend,
    evaluator_trends,
    figure,
    pass_rate_of,
    run_trends,
    whole,
)

__all__ = [
    "EvaluatorTrend",
    "Trend",
    "evaluator_trends",
    "exposition",
    "figure",
    "pass_rate_of",
    "run_trends",
    "sparkline",
    "state_of",
    "whole",
]

"""The evaluate stage: outputs are judged, scores pass through the gate, reasons are in words."""

from loom_dagster.evaluate.case import Case
from loom_dagster.evaluate.check import check_evaluators
from loom_dagster.evaluate.gate import Gate
from loom_dagster.evaluate.judgements import Judgement, Judgements
from loom_dagster.evaluate.panel import Evaluation, Evaluator, Panel, build_panel

__all__ = [
    "Case",
    "Evaluation",
    "Evaluator",
    "Gate",
    "Judgement",
    "Judgements",
    "Panel",
    "build_panel",
    "check_evaluators",
]

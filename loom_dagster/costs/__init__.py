"""What a run will cost, and what runs have cost, as pure functions of prices and counts."""

from loom_dagster.costs.estimate import Asked, Correction, Estimate, Line, Terms, estimate
from loom_dagster.costs.forecast import BudgetForecast, Forecast
from loom_dagster.costs.history import Again, History, purpose_of
from loom_dagster.costs.lengths import Length, of_examples, of_schema, of_text, typical
from loom_dagster.costs.sample import Sample
from loom_dagster.costs.spent import BY, NOT_KNOWN, Spent, fields_for, spent_by

__all__ = [
    "BY",
    "NOT_KNOWN",
    "Again",
    "Asked",
    "BudgetForecast",
    "Correction",
    "Estimate",
    "Forecast",
    "History",
    "Length",
    "Line",
    "Sample",
    "Spent",
    "Terms",
    "estimate",
    "fields_for",
    "of_examples",
    "of_schema",
    "of_text",
    "purpose_of",
    "spent_by",
    "typical",
]

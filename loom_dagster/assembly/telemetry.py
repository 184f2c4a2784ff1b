"""Spans of runs and model calls, where ``[tool.loom] telemetry`` asks for them. Where it does not, a run is the run of
pipeline/, and OpenTelemetry is not even imported."""

from __future__ import annotations

from collections.abc import Callable

from loom_dagster.errors import Misconfigured
from loom_dagster.pipeline import Outcome, run
from loom_dagster.settings import Settings

__all__ = ["watched"]


def watched(settings: Settings) -> Callable[..., Outcome]:
    """``pipeline.run``, or the same with a span around it and around each model call. Raises Misconfigured when what that
    needs is not installed, or the environment (OTEL_...) says what cannot be."""
    if settings.telemetry is None:
        return run
    try:
        from loom_dagster.assembly.spans import traced
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise Misconfigured(
            f'`telemetry = "{settings.telemetry}"` needs OpenTelemetry, which is not installed',
            where="[tool.loom]",
            fix="pip install 'loom-dagster[otel]'",
        ) from error
    return traced(run)

"""Who is told: what the project says of every pipeline, and what a pipeline says of itself."""

from __future__ import annotations

from loom_dagster.channels import Route
from loom_dagster.settings import Settings
from loom_dagster.spec.models import Pipeline

__all__ = ["channels_for", "routes_of"]


def routes_of(settings: Settings, spec: Pipeline | None) -> list[Route]:
    """The project's, then the pipeline's own; ``spec`` is None where its file cannot be read."""
    own = () if spec is None else spec.monitoring.alerts
    return [*settings.alerts, *(Route(type=a.type, channels=tuple(a.channel)) for a in own)]


def channels_for(settings: Settings, spec: Pipeline | None, check: str) -> tuple[str, ...]:
    """The channels that hear of a check that fails, each once."""
    routes = routes_of(settings, spec)
    return tuple(dict.fromkeys(name for route in routes if route.takes(check) for name in route.channels))

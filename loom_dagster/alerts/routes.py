"""Who is told: what the project says of every pipeline, and what a pipeline says of itself."""

from __future__ import annotations

from loom_dagster.channels import Route
from loom_dagster.settings import Settings
from loom_dagster.spec.models import Pipeline

__all__ = ["channels_for"]


def channels_for(settings: Settings, spec: Pipeline | None, check: str) -> tuple[str, ...]:
    """The channels that hear of a check that fails, each once; ``spec``: of its pipeline, as far as it is one."""
    own = () if spec is None else spec.monitoring.alerts
    routes = [*settings.alerts, *(Route(type=a.type, channels=tuple(a.channel)) for a in own)]
    return tuple(dict.fromkeys(name for route in routes if route.takes(check) for name in route.channels))

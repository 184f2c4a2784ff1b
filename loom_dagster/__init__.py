"""The dbt for AI(E)TL on Dagster: YAML pipelines whose outputs are judged before they are loaded."""

from typing import Any

# what people who write Python or defs.yaml need of Dagster's side; imported when asked for, since it brings Dagster
__all__ = [
    "LoomIOManager",
    "LoomOptions",
    "LoomProjectComponent",
    "LoomResource",
    "LoomTranslator",
    "build_definitions",
    "loom_assets",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `loom_dagster` has no attribute `{name}`")
    from importlib import import_module

    if name == "LoomProjectComponent":  # components cost half a second that the other names need not pay
        return import_module("loom_dagster.assets.component").LoomProjectComponent
    return getattr(import_module("loom_dagster.assets"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

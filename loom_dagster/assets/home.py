"""Where Dagster keeps what it knows of this project: `.loom/dagster`, unless DAGSTER_HOME says otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["dagster_home", "instance_of"]

_YAML = """\
# Dagster's settings for this project; made once, yours to edit.
telemetry:
  enabled: false
nux:
  enabled: false
"""


def dagster_home(settings: Settings, environ: Mapping[str, str]) -> Path:
    """The folder, made if need be. Raises Misconfigured when it cannot be."""
    own = settings.state_dir / "dagster"
    home = Path(environ.get("DAGSTER_HOME") or own).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if home == own.absolute() and not (home / "dagster.yaml").exists():
            (home / "dagster.yaml").write_text(_YAML, encoding="utf-8")
    except OSError as error:
        raise Misconfigured(
            "Dagster's home cannot be written",
            where=str(home),
            why=error.strerror or str(error),
            fix="set DAGSTER_HOME to a folder that can",
        ) from error
    return home


@contextmanager
def instance_of(settings: Settings, environ: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of this project, closed at the end."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(dagster_home(settings, environ))) as instance:
        yield instance

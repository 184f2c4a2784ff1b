"""Where Dagster keeps what it knows of this project: `.loom/dagster`, unless DAGSTER_HOME says otherwise; its
tables there too, or on Postgres."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.assets.storage import STORAGE_VARIABLE, STORAGE_YAML, storage_url
from loom_dagster.connections import redacted
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["dagster_environ", "dagster_home", "instance_of"]

_YAML = """\
# Dagster's settings for this project; made once, yours to edit.
telemetry:
  enabled: false
nux:
  enabled: false
"""


def dagster_home(settings: Settings, environ: Mapping[str, str]) -> Path:
    """The folder, made if need be. Raises Misconfigured when it cannot be."""
    shared = storage_url(settings) is not None
    own = settings.state_dir / ("dagster-postgres" if shared else "dagster")
    home = Path(environ.get("DAGSTER_HOME") or own).expanduser().absolute()
    written = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not written.exists():
            if home == own.absolute() or shared:
                written.write_text(_YAML + (STORAGE_YAML if shared else ""), encoding="utf-8")
        elif shared and STORAGE_VARIABLE not in written.read_text(encoding="utf-8"):
            raise Misconfigured(
                "DAGSTER_HOME has a dagster.yaml of its own, which does not take this project's storage",
                where=str(written),
                fix=f"unset DAGSTER_HOME or dagster_storage, or write into it:\n{STORAGE_YAML}",
            )
    except OSError as error:
        raise Misconfigured(
            "Dagster's home cannot be written",
            where=str(home),
            why=error.strerror or str(error),
            fix="set DAGSTER_HOME to a folder that can",
        ) from error
    return home


def dagster_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What a process of Dagster's needs in its environment. Holds a password where the storage has one."""
    found = {"DAGSTER_HOME": str(dagster_home(settings, environ))}
    url = storage_url(settings)
    return found if url is None else found | {STORAGE_VARIABLE: url}


@contextmanager
def instance_of(settings: Settings, environ: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of this project, closed at the end. Raises Misconfigured when its server cannot be reached."""
    import dagster as dg

    needed = dagster_environ(settings, environ)
    if url := needed.get(STORAGE_VARIABLE):
        _reach(url)
    with _set(needed), dg.DagsterInstance.from_config(needed["DAGSTER_HOME"]) as instance:
        yield instance


@contextmanager
def _set(needed: Mapping[str, str]) -> Iterator[None]:
    """dagster.yaml names a variable, and Dagster looks for it in the environment of this process."""
    url, before = needed.get(STORAGE_VARIABLE), os.environ.get(STORAGE_VARIABLE)
    if url is not None:
        os.environ[STORAGE_VARIABLE] = url
    try:
        yield
    finally:
        if url is not None:
            os.environ.pop(STORAGE_VARIABLE)
            if before is not None:
                os.environ[STORAGE_VARIABLE] = before


def _reach(url: str) -> None:
    """Dagster itself would try for a while, and end with a traceback."""
    from sqlalchemy import create_engine  # heavy, and only where there is a server
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10}).connect().close()
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or type(error).__name__).strip()
        raise Misconfigured(
            "Dagster's tables cannot be reached", where=redacted(url), why=why, kind="connection"
        ) from None

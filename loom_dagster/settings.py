"""The project's settings: ``[tool.loom]`` in pyproject.toml, each value overridable by the environment."""

from __future__ import annotations

import difflib
import getpass
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loom_dagster.channels import Channel, Route, read_channels, read_routes
from loom_dagster.connections import Connection, read_connections
from loom_dagster.errors import Misconfigured
from loom_dagster.execution import Execution, read_execution

__all__ = [
    "OFFLINE_MODEL",
    "ModelLimits",
    "ModelPrice",
    "RunOptions",
    "Settings",
    "find_project",
    "load_settings",
    "whoami",
]

OFFLINE_MODEL = "offline/demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """USD per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """How hard a model, or all models of a provider together, may be used."""

    in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``[tool.loom]`` may hold. Folders are relative to ``root``; durations in seconds.

    ``model`` is used by pipelines that name none. ``outage_patience``: how long a provider may
    be down before the rest of a run is deferred. ``monthly_budget``: the most that all pipelines
    together may spend in a month (UTC), in USD. ``prices``: of models that the price file does not know.
    ``limits``: of all pipelines together, by the name of a model (`openai/gpt-4o-mini`) or a provider (`openai`).
    ``connections``: databases by name. ``dagster_storage``: the connection that keeps Dagster's own tables; None: files
    in ``state``. ``ledger``: a schema of one of them, ``postgres://CONNECTION/SCHEMA``, or from
    the environment a whole URL; None: a file in ``state``. ``answers``: likewise, of the answers that were paid for. ``channels``: where alerts can go, by name; ``alerts``:
    what every pipeline tells them. ``ui_url``: where people see Dagster's UI, for links. ``batch_poll``:
    the longest between two looks at a batch that is waited for; ``batch_requests``: the most questions in one.
    ``partitions_per_run``: the most partitions that one run of a backfill in Dagster goes through; None: all of them. ``telemetry``: `otlp`,
    spans of runs and calls; where to is said by the environment, as OpenTelemetry has it. ``execution``: where the records
    of pipelines are settled that do not say it.
    """

    root: Path
    model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    pipelines: str = "pipelines"
    prompts: str = "prompts"
    context: str = "context"
    state: str = ".loom"
    outage_patience: float = 120.0
    monthly_budget: float | None = None
    prices: Mapping[str, ModelPrice] = field(default_factory=dict)
    limits: Mapping[str, ModelLimits] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    ledger: str | None = field(default=None, repr=False)  # may hold a password
    answers: str | None = field(default=None, repr=False)  # likewise
    dagster_storage: str | None = field(default=None, repr=False)  # likewise
    channels: Mapping[str, Channel] = field(default_factory=dict)
    alerts: tuple[Route, ...] = ()
    ui_url: str | None = None
    batch_poll: float = 60.0
    batch_requests: int | None = None
    partitions_per_run: int | None = None
    telemetry: str | None = None
    execution: Execution = field(default_factory=Execution)

    @property
    def state_dir(self) -> Path:
        """Where everything is written that is not a destination; git-ignored."""
        return self.root / self.state

    @property
    def in_files(self) -> list[str]:
        """Which of `ledger` and `answers` are files there, and on no server."""
        places = {"ledger": self.ledger, "answers": self.answers}
        return [name for name, server in places.items() if server is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one run differs from what the YAML says.

    ``limit``, ``model`` and ``offline`` make it a trial: it is not loaded or published unless
    ``load`` is set. ``fresh`` does not continue an open run; ``full_refresh`` reads an incremental
    source from its beginning. ``strict`` turns warnings about
    unlocked prompts into errors.
    """

    limit: int | None = None
    model: str | None = None
    offline: bool = False
    fresh: bool = False
    full_refresh: bool = False
    load: bool = False
    strict: bool = False
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def trial(self) -> bool:
        return (self.limit is not None or self.model is not None or self.offline) and not self.load


def find_project(start: Path) -> Path:
    """The nearest folder at or above ``start`` whose pyproject.toml has ``[tool.loom]``.

    Raises Misconfigured when there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if _table(folder) is not None:
            return folder
    raise Misconfigured(
        "no loom project here",
        where=str(start),
        why="no pyproject.toml with a [tool.loom] table in this folder or above it",
        fix="run `loom init` to make one, or pass --project DIR",
    )


def whoami(environ: Mapping[str, str] = os.environ) -> str:
    """The person at the keyboard, as far as the machine knows: LOOM_USER, else the user of the system."""
    try:
        return environ.get("LOOM_USER", "").strip() or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return f"uid {os.getuid()}"


def load_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the project at ``root``; ``LOOM_<NAME>`` in the environment goes before the file.

    Raises Misconfigured for unknown names and wrong types, naming the nearest right one.
    """
    root = root.resolve()
    table = dict(_table(root) or {})
    known = {f.name: f for f in fields(Settings) if f.name != "root"}
    _check_names(table, known, "[tool.loom]")
    for name in ("ledger", "answers", "dagster_storage"):
        _refuse_password(name, table.get(name))
    for name in known.keys() - {"channels", "connections", "execution", "limits", "prices"}:
        if value := environ.get(f"LOOM_{name.upper()}"):
            table[name] = value
    connections = read_connections(table.pop("connections", {}), environ)
    channels = read_channels(table.pop("channels", {}), environ)
    alerts = read_routes(table.pop("alerts", []), channels)
    execution = read_execution(table.pop("execution", {}), environ)
    values = {name: _typed(name, value) for name, value in table.items()}
    return Settings(
        root=root,
        connections=connections,
        channels=channels,
        alerts=alerts,
        execution=execution,
        **values,
    )


def _refuse_password(name: str, url: Any) -> None:
    if isinstance(url, str) and (Connection(name="", url=url).secrets or "password=" in url):
        raise Misconfigured(
            "a password stands in pyproject.toml",
            where=f"[tool.loom] {name}",
            why="files are committed and shared",
            fix=f"name a connection, postgres://CONNECTION, or set LOOM_{name.upper()} to the whole URL",
        )


def _check_names(table: Iterable[str], known: Iterable[str], where: str) -> None:
    known = sorted(known)
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise Misconfigured(
                f"unknown setting `{name}` in {where}",
                where="pyproject.toml",
                fix=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}",
            )


def _typed(name: str, value: Any) -> Any:
    match name:
        case "outage_patience":
            return _number(value, f"setting `{name}`", "a number of seconds", least=0.0)
        case "batch_poll":
            return _number(value, f"setting `{name}`", "a number of seconds", least=0.01)
        case "batch_requests" | "partitions_per_run":
            number = _number(value, f"setting `{name}`", "a whole number of at least 1", least=1.0)
            if number != int(number):
                raise _not(f"setting `{name}`", value, "a whole number of at least 1")
            return int(number)
        case "monthly_budget":
            budget = _number(value, f"setting `{name}`", "an amount in USD above zero", least=0.0)
            if budget == 0:
                raise _not(f"setting `{name}`", value, "an amount in USD above zero")
            return budget
        case "telemetry":
            if value != "otlp":
                raise _not(f"setting `{name}`", value, '"otlp", the one there is')
            return value
        case "prices":
            if not isinstance(value, Mapping):
                raise _not(f"setting `{name}`", value, "a table of models")
            return {model: _price(model, price) for model, price in value.items()}
        case "limits":
            if not isinstance(value, Mapping):
                raise _not(f"setting `{name}`", value, "a table of models and providers")
            return {of: _limits(of, limits) for of, limits in value.items()}
    if not isinstance(value, str):
        raise _not(f"setting `{name}`", value, "a text")
    return value


def _price(model: str, value: Any) -> ModelPrice:
    what = f"the price of `{model}`"
    if not isinstance(value, Mapping) or set(value) != {"input", "output"}:
        raise _not(what, value, "{input = ..., output = ...} in USD per million tokens")
    return ModelPrice(
        **{
            side: _number(usd, f"{what} ({side})", "an amount in USD", least=0.0)
            for side, usd in value.items()
        }
    )


def _limits(of: str, value: Any) -> ModelLimits:
    where = f'[tool.loom.limits."{of}"]'
    if not isinstance(value, Mapping):
        raise _not(f"the limit of `{of}`", value, "a table such as {in_flight = 64}")
    _check_names(value, (f.name for f in fields(ModelLimits)), where)
    for name, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise Misconfigured(
                f"`{name}` is `{number}`, not a whole number of at least 1",
                where=where,
                fix="leave it out for no limit",
            )
    return ModelLimits(**value)


def _number(value: Any, what: str, kind: str, *, least: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number < math.inf:
        raise _not(what, value, kind)
    return number


def _not(what: str, value: Any, kind: str) -> Misconfigured:
    return Misconfigured(f"{what} is `{value}`, not {kind}", where="[tool.loom]")


def _table(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured("pyproject.toml cannot be read", where=str(path), why=str(error)) from error
    table = document.get("tool", {}).get("loom")
    return table if isinstance(table, Mapping) else None

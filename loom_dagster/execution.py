"""Which engine settles a run's records: this process, or workers on a Ray cluster."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loom_dagster.errors import Misconfigured

__all__ = ["Engine", "Execution", "checked_address", "read_execution"]

Engine = Literal["local", "ray"]

_ENGINES = ("local", "ray")
_ADDRESS = re.compile(r"(ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):(?P<port>\d{1,5})")
_FORMS = "auto, HOST:PORT or ray://HOST:PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """``address``: of the Ray cluster; ``auto`` is the one of this machine, or what RAY_ADDRESS says. ``workers``: how
    many processes settle records there, each with a CPU."""

    engine: Engine = "local"
    address: str = "auto"
    workers: int = 2

    @property
    def by_ray(self) -> bool:
        return self.engine == "ray"

    @property
    def outside(self) -> bool:
        """Whether the run itself is no part of the cluster: it speaks to it as Ray's client."""
        return self.address.startswith("ray://")

    def __str__(self) -> str:
        if not self.by_ray:
            return "local: in one process"
        many = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"ray: {many}, address {self.address}"


def checked_address(address: str) -> str:
    """``address`` as Ray takes it. Raises ValueError with what is wrong with it."""
    found = _ADDRESS.fullmatch(address)
    if address == "auto" or (found is not None and 0 < int(found["port"]) < 65536):
        return address
    if "@" in address:  # nothing of it may be shown
        raise ValueError(f"an address of a Ray cluster has no login; write {_FORMS}")
    scheme, has_scheme, rest = address.partition("://")
    if has_scheme and scheme != "ray":
        raise ValueError(f"`{address}` is no address of a Ray cluster; write {_FORMS}")
    if address.strip().lower() in ("auto", "local", ""):
        raise ValueError(f"`{address}` is no address of a Ray cluster; write {_FORMS}, or `engine: local`")
    if rest and ":" not in rest:
        raise ValueError(f"`{address}` has no port: Ray's clients are answered at 10001, ray://{rest}:10001")
    if not has_scheme and re.fullmatch(r"[^\s:/]+", address):
        raise ValueError(f"`{address}` has no port: a cluster's head answers at 6379, {address}:6379")
    raise ValueError(f"`{address}` is no address of a Ray cluster; write {_FORMS}")


def read_execution(table: Any, environ: Mapping[str, str]) -> Execution:
    """``[tool.loom.execution]``; LOOM_EXECUTION_ENGINE, _ADDRESS and _WORKERS in the environment go before it.

    Raises Misconfigured for unknown names and values, naming the nearest right one.
    """
    if not isinstance(table, Mapping):
        raise Misconfigured(
            f'`execution` is `{table}`, not a table such as {{engine = "ray"}}', where="[tool.loom]"
        )
    where = "[tool.loom.execution]"
    names = ("engine", "address", "workers")
    for name in table:
        if name not in names:
            raise Misconfigured(
                f"unknown setting `{name}` in {where}", where="pyproject.toml", fix=_near(str(name), names)
            )
    known: dict[str, Any] = {}
    for name in names:
        variable = f"LOOM_EXECUTION_{name.upper()}"
        if value := environ.get(variable):
            known[name] = _checked(name, value, variable)
        elif name in table:
            known[name] = _checked(name, table[name], where)
    return Execution(**known)


def _checked(name: str, value: Any, where: str) -> Any:
    if name == "workers":
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise Misconfigured(f"`workers` is `{value}`, not a whole number of at least 1", where=where)
        return number
    if not isinstance(value, str):
        raise Misconfigured(f"`{name}` is `{value}`, not a text", where=where)
    if name == "engine":
        if value not in _ENGINES:
            raise Misconfigured(f"`engine` is `{value}`", where=where, fix=_near(value, _ENGINES))
        return value
    try:
        return checked_address(value)
    except ValueError as error:
        raise Misconfigured("`address`", where=where, why=str(error)) from error


def _near(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"

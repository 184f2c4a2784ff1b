"""Named connections to databases: where they are, and how long they are waited for.

A secret comes from the environment only, and ``repr`` and ``str`` of a connection never show one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from loom_dagster.errors import Misconfigured

__all__ = ["Connection", "connection_of", "read_connections", "redacted", "variable_of"]

# to the last @: a password with signs that a URL should spell otherwise is one all the same
_PASSWORD = re.compile(r"^([A-Za-z][\w+.-]*://[^:/?#@]*):(.*)@", re.DOTALL)
_KNOWN = ("url", "password_env", "connect_timeout", "query_timeout")
_PREFIX = "LOOM_CONNECTION_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A database. ``url`` as SQLAlchemy writes it, with its password; timeouts in seconds."""

    name: str
    url: str = field(repr=False)
    connect_timeout: float = 10.0
    query_timeout: float = 3600.0

    @property
    def shown(self) -> str:
        """The URL as people may see it."""
        return redacted(self.url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, however it is spelled."""
        match = _PASSWORD.match(self.url)
        if match is None:
            return ()
        words = {match[2], match[2].partition("@")[0]}
        return tuple((words | {unquote(word) for word in words}) - {""})

    def __str__(self) -> str:
        return self.shown


def redacted(url: str) -> str:
    """Without password and without what follows a question mark."""
    return _PASSWORD.sub(r"\1@", url).partition("?")[0]


def connection_of(name: str, known: Mapping[str, Connection]) -> Connection:
    """The connection called ``name``. Raises Misconfigured, saying how to declare it."""
    found = known.get(name) or known.get(variable_of(name).removeprefix(_PREFIX).lower())
    if found is None:
        near = difflib.get_close_matches(name, known, n=1)
        raise Misconfigured(
            f"there is no connection `{name}`",
            fix=f"did you mean `{near[0]}`?"
            if near
            else f"declare [tool.loom.connections.{name}] with its `url`, or set {variable_of(name)}",
        )
    return found


def variable_of(name: str) -> str:
    """The environment variable that gives a connection its URL: ``LOOM_CONNECTION_CUSTOMERS``."""
    return _PREFIX + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def read_connections(table: Any, environ: Mapping[str, str]) -> dict[str, Connection]:
    """``[tool.loom.connections]``: a URL or a table by name, with what the environment says of each.

    Raises Misconfigured for a password in the file, an unknown key, and a password that is not set.
    """
    if not isinstance(table, Mapping):
        raise Misconfigured(
            "`connections` is not a table", where="[tool.loom]", fix="[tool.loom.connections]"
        )
    found = {name: _connection(name, value, environ) for name, value in table.items()}
    known = {variable_of(name) for name in found}
    for variable, url in environ.items():
        if variable.startswith(_PREFIX) and variable not in known and url:
            name = variable.removeprefix(_PREFIX).lower()
            found[name] = Connection(name=name, url=_checked(url, variable))
    return found


def _connection(name: str, value: Any, environ: Mapping[str, str]) -> Connection:
    where = f"[tool.loom.connections.{name}]"
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise Misconfigured("a connection is a URL or a table with `url`", where=where)
    for key in given:
        if key not in _KNOWN:
            raise Misconfigured(f"unknown setting `{key}`", where=where, fix=f"known: {', '.join(_KNOWN)}")
    variable = variable_of(name)
    url = environ.get(variable) or _of_file(given.get("url"), where, variable)
    return Connection(
        name=name,
        url=_with_password(_checked(url, where), given.get("password_env"), where, environ),
        **{key: _seconds(given[key], key, where) for key in _KNOWN[2:] if key in given},
    )


def _of_file(url: Any, where: str, variable: str) -> str:
    if not isinstance(url, str) or not url:
        raise Misconfigured("a connection needs a `url`", where=where, fix=f"write one, or set {variable}")
    if _PASSWORD.match(url):
        raise Misconfigured(
            "a password stands in pyproject.toml",
            where=where,
            why="files are committed and shared",
            fix=f"take it out and name its environment variable in `password_env`, or set {variable} to the whole URL",
        )
    return url


def _checked(url: str, where: str) -> str:
    if not re.match(r"^[A-Za-z][\w+.-]*://", url):  # the URL itself is not shown: it may be a secret
        raise Misconfigured(
            "a connection's URL cannot be read",
            where=where,
            fix="such as postgresql://user@host:5432/database",
        )
    return url


def _with_password(url: str, variable: Any, where: str, environ: Mapping[str, str]) -> str:
    if variable is None or _PASSWORD.match(url):
        return url
    password = environ.get(str(variable))
    if not password:
        raise Misconfigured(
            f"the password of a connection is not set: {variable} is not in the environment", where=where
        )
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not at:
        raise Misconfigured(
            "a connection with a password needs a user", where=where, fix="user@host in its `url`"
        )
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


def _seconds(value: Any, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise Misconfigured(f"`{key}` is `{value}`, not a number of seconds above zero", where=where)
    return float(value)

"""Where a project's ledger and its answers are: in its state folder unless the settings say otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from loom_dagster.connections import connection_of
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings

__all__ = ["answers_address", "ledger_address"]

_SETTING = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?P<server>[^/?#]*)(?P<rest>.*)", re.DOTALL)


def ledger_address(settings: Settings) -> Path | str:
    """A path or a URL, for ``Ledger``; a secret, as it may hold a password.

    The setting is ``postgres://CONNECTION[/SCHEMA]``, or a whole URL, which has an ``@``. Raises Misconfigured.
    """
    return _address(settings, "ledger", settings.ledger, "the ledger needs")


def answers_address(settings: Settings) -> Path | str:
    """Likewise, of the setting ``answers``."""
    return _address(settings, "answers", settings.answers, "the answer store needs")


def _address(settings: Settings, name: str, given: str | None, needs: str) -> Path | str:
    if given is None:
        return settings.state_dir / f"{name}.sqlite"
    match = _SETTING.fullmatch(given)
    if match is None:
        raise _unreadable(name)
    if "@" in match["server"] or not match["server"]:
        return given
    _, _, schema = match["rest"].partition("/")
    if match["rest"].strip("/") != schema or "/" in schema or "?" in schema:
        raise _unreadable(name)
    connection = connection_of(match["server"], settings.connections)
    if not _SETTING.fullmatch(connection.url):
        raise Misconfigured(f"connection `{connection.name}` is no Postgres, which {needs}", kind="ledger")
    query = {"schema": schema} if schema else {}
    if "connect_timeout=" not in connection.url:
        query["connect_timeout"] = str(
            max(2, round(connection.connect_timeout))
        )  # libpq takes one second for two
    more = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    return f"{connection.url}{'&' if '?' in connection.url else '?'}{more}" if more else connection.url


def _unreadable(name: str) -> Misconfigured:  # the setting itself is not shown: it may be a secret
    return Misconfigured(
        f"the setting `{name}` cannot be read",
        where=f"[tool.loom] {name} or LOOM_{name.upper()}",
        fix="write postgres://CONNECTION or postgres://CONNECTION/SCHEMA, "
        f"or set LOOM_{name.upper()} to postgresql://USER:PASSWORD@HOST/DATABASE",
        kind="ledger",
    )

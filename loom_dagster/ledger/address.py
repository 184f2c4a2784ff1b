"""Where a project's ledger is: in its state folder unless the setting ``ledger`` says otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from loom_dagster.connections import connection_of
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings

__all__ = ["ledger_address"]

_SETTING = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?P<server>[^/?#]*)(?P<rest>.*)", re.DOTALL)


def ledger_address(settings: Settings) -> Path | str:
    """A path or a URL, for ``Ledger``; a secret, as it may hold a password.

    The setting is ``postgres://CONNECTION[/SCHEMA]``, or a whole URL, which has an ``@``. Raises Misconfigured.
    """
    if settings.ledger is None:
        return settings.state_dir / "ledger.sqlite"
    match = _SETTING.fullmatch(settings.ledger)
    if match is None:
        raise _unreadable()
    if "@" in match["server"] or not match["server"]:
        return settings.ledger
    _, _, schema = match["rest"].partition("/")
    if match["rest"].strip("/") != schema or "/" in schema or "?" in schema:
        raise _unreadable()
    connection = connection_of(match["server"], settings.connections)
    if not _SETTING.fullmatch(connection.url):
        raise Misconfigured(
            f"connection `{connection.name}` is no Postgres, which the ledger needs", kind="ledger"
        )
    given = {"schema": schema} if schema else {}
    if "connect_timeout=" not in connection.url:
        given["connect_timeout"] = str(
            max(2, round(connection.connect_timeout))
        )  # libpq takes one second for two
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
    return f"{connection.url}{'&' if '?' in connection.url else '?'}{query}" if query else connection.url


def _unreadable() -> Misconfigured:  # the setting itself is not shown: it may be a secret
    return Misconfigured(
        "the setting `ledger` cannot be read",
        where="[tool.loom] ledger or LOOM_LEDGER",
        fix="write postgres://CONNECTION or postgres://CONNECTION/SCHEMA, "
        "or set LOOM_LEDGER to postgresql://USER:PASSWORD@HOST/DATABASE",
        kind="ledger",
    )

"""Dagster's own tables on a Postgres server, where several daemons, webservers and machines share them.

The URL is never in a file: dagster.yaml names an environment variable, and `loom ui` and `loom run` set it.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from urllib.parse import quote, unquote

from loom_dagster.connections import connection_of
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings

__all__ = ["STORAGE_VARIABLE", "STORAGE_YAML", "storage_url"]

STORAGE_VARIABLE = "LOOM_DAGSTER_URL"
STORAGE_YAML = f"""\
storage:
  postgres:
    postgres_url:
      env: {STORAGE_VARIABLE}
"""
_URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?P<rest>.+)", re.DOTALL)
_LOGIN = re.compile(r"(?P<user>[^:@/?#]*):(?P<word>.*)@(?P<place>[^@]*)", re.DOTALL)


def storage_url(settings: Settings) -> str | None:
    """The URL as dagster-postgres takes it, with its password; None where there is no such setting.

    The setting is the name of a connection, ``postgres://CONNECTION``, or a whole URL. Raises Misconfigured.
    """
    given = settings.dagster_storage
    if given is None:
        return None
    match = _URL.fullmatch(given)
    name = given if "://" not in given else match["rest"].rstrip("/") if match else None
    if name is None or (match is None and not re.fullmatch(r"[\w.-]+", given)):
        raise Misconfigured(  # the setting itself is not shown: it may be a secret
            "the place for Dagster's tables cannot be read",
            where="[tool.loom] dagster_storage, LOOM_DAGSTER_STORAGE or --postgres",
            fix="the name of a connection, or in the environment postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    if not re.search(r"[@/?]", name):
        given = connection_of(name, settings.connections).url
        match = _URL.fullmatch(given)
        if match is None:
            raise Misconfigured(f"connection `{name}` is no Postgres", where="dagster_storage")
    _refuse_one_schema_for_both(settings, given)
    if find_spec("dagster_postgres") is None:
        raise Misconfigured(
            "Dagster needs a package for Postgres that is not installed",
            fix="pip install 'loom-dagster[postgres]'",
            kind="missing_extra",
        )
    url = _spelled(match["rest"] if match else name)
    if "options=" not in url:
        # a schema called like the user, such as the ledger's, would go before it
        url += f"{'&' if '?' in url else '?'}options=-csearch_path%3Dpublic"
    # Dagster listens for events by psycopg2, which is not what SQLAlchemy takes by default
    return f"postgresql+psycopg2://{url}"


def _spelled(rest: str) -> str:
    """A password with signs that a URL spells otherwise is one all the same."""
    login = _LOGIN.fullmatch(rest)
    if login is None:
        return rest
    return f"{login['user']}:{quote(unquote(login['word']), safe='')}@{login['place']}"


def _refuse_one_schema_for_both(settings: Settings, url: str) -> None:
    """Dagster and the ledger both have a table called `runs`."""
    ledger = settings.ledger
    if ledger is None:
        return
    match = _URL.fullmatch(ledger)
    rest = match["rest"] if match else ""
    if "@" not in rest and rest:
        name, _, schema = rest.partition("/")
        same = not schema and connection_of(name, settings.connections).url == url
    else:
        same = "schema=" not in rest and ledger == url
    if same:
        raise Misconfigured(
            "the ledger and Dagster would keep their tables in one schema",
            where="[tool.loom] ledger and dagster_storage",
            fix='give the ledger a schema of its own: ledger = "postgres://CONNECTION/loom"',
        )

"""In the state folder, or where the setting says, and an address that is wrong is told without its secret."""

from __future__ import annotations

import uuid

import psycopg2
import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger, answers_address, ledger_address
from loom_dagster.settings import load_settings

SECRET = "hush-hush"


@pytest.fixture
def settings(tmp_path):
    def load(ledger=None, connection=None, answers=None, **environ):
        lines = ["[tool.loom]"]
        lines += [f'answers = "{answers}"'] if answers else []
        lines += [f'ledger = "{ledger}"'] if ledger else []
        lines += [f'connections.analytics = "{connection}"'] if connection else []
        (tmp_path / "pyproject.toml").write_text("\n".join(lines))
        return load_settings(tmp_path, environ)

    return load


def test_it_is_a_file_in_the_state_folder_by_default(settings, tmp_path):
    assert ledger_address(settings()) == tmp_path.resolve() / ".loom" / "ledger.sqlite"


@pytest.mark.parametrize(
    ("ledger", "url"),
    [
        ("postgres://analytics", f"postgresql://me:{SECRET}@db/x?connect_timeout=10"),
        ("postgres://analytics/", f"postgresql://me:{SECRET}@db/x?connect_timeout=10"),
        ("postgresql://analytics/loom", f"postgresql://me:{SECRET}@db/x?schema=loom&connect_timeout=10"),
    ],
)
def test_it_is_in_a_schema_of_a_named_connection(settings, ledger, url):
    secret = f"postgresql://me:{SECRET}@db/x"
    assert ledger_address(settings(ledger, LOOM_CONNECTION_ANALYTICS=secret)) == url


def test_the_environment_gives_a_whole_url_and_goes_before_the_file(settings):
    url = f"postgresql://me:{SECRET}@db/x?schema=loom"
    found = settings("postgres://analytics", LOOM_LEDGER=url)
    assert ledger_address(found) == url
    assert SECRET not in repr(found)


@pytest.mark.parametrize("url", [f"postgresql://me:{SECRET}@db/x", f"postgresql://me@db/x?password={SECRET}"])
def test_a_password_in_the_file_is_refused(settings, url):
    with pytest.raises(Misconfigured, match="a password stands in") as told:
        settings(url)
    assert SECRET not in str(told.value) and "LOOM_LEDGER" in str(told.value)


@pytest.mark.parametrize(
    ("ledger", "match"),
    [
        ("somewhere", "cannot be read"),
        ("mysql://analytics", "cannot be read"),
        ("postgres://analytics/a/b", "cannot be read"),
        ("postgres://analytics?schema=x", "cannot be read"),
        ("postgres://analytic", "did you mean `analytics`"),
        ("postgres://analytics", "connection `analytics` is no Postgres"),
    ],
)
def test_what_is_no_address_is_told(settings, ledger, match):
    with pytest.raises(Misconfigured, match=match):
        ledger_address(settings(ledger, connection="mysql://db/x"))


def test_answers_are_found_likewise(settings, tmp_path):
    secret = f"postgresql://me:{SECRET}@db/x"
    assert answers_address(settings()) == tmp_path.resolve() / ".loom" / "answers.sqlite"
    named = settings(answers="postgres://analytics/paid", LOOM_CONNECTION_ANALYTICS=secret)
    assert answers_address(named) == f"{secret}?schema=paid&connect_timeout=10"
    given = settings(answers="postgres://analytics", LOOM_ANSWERS=secret)
    assert answers_address(given) == secret
    assert SECRET not in repr(given)
    with pytest.raises(Misconfigured, match="LOOM_ANSWERS"):
        answers_address(settings(answers="answers.sqlite"))
    with pytest.raises(Misconfigured, match="which the answer store needs"):
        answers_address(settings(answers="postgres://analytics", connection="mysql://db/x"))
    with pytest.raises(Misconfigured, match="a password stands in") as told:
        settings(answers=secret)
    assert SECRET not in str(told.value) and "LOOM_ANSWERS" in str(told.value)


@pytest.mark.parametrize("schema", ["a b", 'a"; DROP SCHEMA public; --', "a" * 64, "x%s"])
def test_a_schema_has_a_plain_name(schema):
    with pytest.raises(Misconfigured, match="no plain name"):
        Ledger(f"postgresql://me@127.0.0.1/x?schema={schema}")


@pytest.mark.service
def test_two_schemas_are_two_ledgers(ledger_database):
    mine, other = (f"{ledger_database}?schema={name}_{uuid.uuid4().hex[:8]}" for name in ("Mine", "other"))
    with Ledger(mine) as one, Ledger(other) as two, Ledger(mine) as again:
        run = one.begin_run("reviews", "", "f")
        assert two.runs() == []
        two.begin_run("reviews", "", "f")
        assert [r.run_id for r in again.runs()] == [run.run_id]


@pytest.mark.service
def test_it_is_in_public_unless_a_schema_is_named(postgres):
    url = postgres.database()
    with Ledger(url.replace("postgresql:", "postgres:")) as ledger, Ledger(f"{url}?schema=public") as same:
        ledger.begin_run("reviews", "", "f")
        assert len(same.runs()) == 1


@pytest.mark.service
def test_a_server_that_refuses_us_is_told_in_one_sentence_without_the_secret(postgres, ledger_database):
    role = f"r{uuid.uuid4().hex[:8]}"
    connection = psycopg2.connect(ledger_database)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    connection.close()
    _, _, place = ledger_database.partition("@")
    for url, why in (
        (f"postgresql://{role}:wrong-{SECRET}@{place}", "password authentication failed"),
        (f"postgresql://{role}:{SECRET}@{place}x", "does not exist"),
        (f"postgresql://{role}:{SECRET}@{place}", "permission denied for schema public"),
        (f"postgresql://{role}:{SECRET}@{place}?schema=new", "permission denied for database"),
        (f"postgresql://{role}:{SECRET}@127.0.0.1:1/x", "refused"),
        (f"postgresql://{role}:{SECRET}@{place}?no_such={SECRET}", "invalid"),
    ):
        with pytest.raises(Misconfigured, match=why) as told:
            Ledger(url)
        assert told.value.kind == "ledger"
        assert SECRET not in str(told.value) and "\n" not in str(told.value)
        assert role in str(told.value)


@pytest.mark.service
def test_a_password_of_any_characters_is_never_shown(ledger_database):
    _, _, place = ledger_database.partition("@")
    for word in ("hu%40sh%3A1", "hu@sh/1", "hu/sh?1", "hu:sh#1", "hu%zz"):
        with pytest.raises(Misconfigured) as told:
            Ledger(f"postgresql://me:{word}@{place}")
        assert "hu" not in str(told.value) and "sh" not in str(told.value)

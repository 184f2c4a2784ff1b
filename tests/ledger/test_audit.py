"""What people did is written beside it, in a chain that the database keeps and anyone can check."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Deed, Findings, IndexRow, Ledger
from loom_dagster.ledger.alert_rows import Fault
from loom_dagster.watermark import Watermark


def actions(ledger):
    return [(row.action, row.who, row.why) for row in reversed(ledger.audit.entries())]


def change(ledger, statement):
    with ledger._database.writing() as connection:
        connection.exec_driver_sql(statement)


@pytest.fixture
def unguarded(ledger):
    """Someone who may change tables took the triggers away."""
    postgres = ledger._database.schema is not None
    names = ["no_change"] if postgres else ["no_update", "no_delete", "no_replace"]
    for name in names:
        change(ledger, f"DROP TRIGGER audit_{name}" + (" ON audit" if postgres else ""))
    return ledger


@pytest.fixture
def three(ledger):
    for number in (1, 2, 3):
        ledger.audit.note(Deed(action="clean", who="ada", why=f"number {number}", detail={"bytes": number}))
    return ledger


def test_a_release_is_kept_with_its_run_and_its_numbers(ledger, finished, clock):
    run = finished("held", released=False)
    ledger.release("reviews", who="ada", why="checked by hand")
    [row] = ledger.audit.entries()
    assert (row.action, row.who, row.why, row.subject) == ("release", "ada", "checked by hand", run.run_id)
    assert (row.pipeline, row.partition, row.at, row.number) == ("reviews", "", clock.now(), 1)
    assert row.detail["counts"] == {"extracted": 3, "passed": 2, "quarantined": 1}


def test_what_a_gate_releases_and_a_run_resolves_is_nobodys_deed(ledger, finished):
    finished(quarantine_rows=[IndexRow(record_id="r1", stage="evaluate", kind="gate", reason="poor")])
    finished(passed=["r1"])
    assert ledger.audit.entries() == []


def test_every_word_of_a_person_is_kept(ledger, finished, clock):
    rows = [IndexRow(record_id=f"r{i}", stage="evaluate", kind="gate", reason="poor") for i in range(150)]
    fault = Fault(check="quality_gate", run_id="x", facts={"summary": "poor"}, channels=())
    finished(quarantine_rows=rows)
    ledger.resolve("reviews", [row.record_id for row in rows], resolution="mended", who="bo")
    ledger.watermarks.set("reviews", Watermark(cursor=5), who="cy", why="a late file")
    ledger.watermarks.set("reviews", Watermark(cursor=9), who="cy")
    ledger.watermarks.reset("reviews", who="di", why="all anew")
    [alert] = ledger.outbox.tell("reviews", "", Findings(failed=[fault]), run_id="x")
    ledger.outbox.acknowledge(alert, who="ed", why="on it")
    ledger.outbox.mute("reviews", "", until=clock.now() + timedelta(hours=1), why="known", who="flo")
    ledger.outbox.unmute("reviews", "", who="gus")
    assert actions(ledger) == [
        ("resolve", "bo", "mended"),
        ("state_set", "cy", "a late file"),
        ("state_set", "cy", ""),
        ("state_reset", "di", "all anew"),
        ("alert_ack", "ed", "on it"),
        ("alert_mute", "flo", "known"),
        ("alert_unmute", "gus", ""),
    ]
    resolved, _, moved, *_ = reversed(ledger.audit.entries())
    assert (resolved.detail["resolved"], resolved.detail["records"]) == (150, 150)
    assert len(resolved.detail["ids"]) == 100
    assert (moved.detail["from"]["cursor"], moved.detail["to"]["cursor"]) == (5, 9)


def test_what_did_not_happen_is_not_kept(ledger, finished):
    finished()
    with pytest.raises(Misconfigured):
        ledger.release("reviews", who="ada", why="late")
    assert ledger.resolve("reviews", ["nobody"], resolution="mended", who="bo") == 0
    assert not ledger.watermarks.reset("reviews", who="di")
    assert not ledger.outbox.unmute("reviews", "", who="gus")
    assert ledger.audit.entries() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'eve'",
        "UPDATE audit SET why = why WHERE number = 2",
        "DELETE FROM audit WHERE number = 3",
        "DELETE FROM audit",
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(three, statement):
    with pytest.raises(Misconfigured, match="the audit is append-only"):
        change(three, statement)
    assert len(three.audit.entries()) == 3


def test_an_entry_cannot_be_replaced_either(three):
    verb = "INSERT" if three._database.schema else "INSERT OR REPLACE"
    entry = f"{verb} INTO audit SELECT 2, at, 'eve', action, '', '', '', '', '{{}}', '', '' FROM audit WHERE number = 1"
    with pytest.raises((Misconfigured, DBAPIError)):
        change(three, entry)
    assert {row.who for row in three.audit.entries()} == {"ada"}


@pytest.mark.service
def test_a_server_refuses_to_empty_it(on_postgres):
    with Ledger(on_postgres) as ledger, pytest.raises(Misconfigured, match="append-only"):
        change(ledger, "TRUNCATE audit")


def test_an_untouched_chain_is_as_it_was_written(three):
    number, head, wrong = three.audit.verify()
    assert (number, wrong) == (3, None)
    assert head == three.audit.entries()[0].hash


@pytest.mark.parametrize(
    ("statement", "number", "why"),
    [
        ("UPDATE audit SET who = 'eve' WHERE number = 2", 2, "changed"),
        ("UPDATE audit SET detail = '{}' WHERE number = 1", 1, "changed"),
        ("DELETE FROM audit WHERE number = 2", 2, "missing"),
        ("DELETE FROM audit WHERE number = 1", 1, "missing"),
        ("UPDATE audit SET previous = '' WHERE number = 3", 3, "does not follow"),
    ],
)
def test_who_goes_around_the_database_is_found(three, unguarded, statement, number, why):
    change(unguarded, statement)
    *_, wrong = unguarded.audit.verify()
    assert wrong.number == number
    assert why in wrong.why


def test_what_several_do_at_once_is_one_chain(path, clock):
    ledgers = [Ledger(path, clock=clock) for _ in range(4)]

    def work(who, ledger):
        for n in range(10):
            ledger.audit.note(Deed(action="clean", who=f"p{who}", detail={"n": n}))

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledgers[0].audit.verify()[::2] == (40, None)
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize("text", ["nul \0 in it", "half \ud83d a pair", "🙂 ' \" %s :x", "0.1"])
def test_any_text_stays_what_it_was_and_keeps_the_chain(ledger, text):
    ledger.audit.note(Deed(action="clean", who="ada", why=text, detail={"text": text, "n": 0.1}))
    assert ledger.audit.verify()[2] is None


def test_entries_are_found_by_pipeline_action_and_time(three, clock):
    clock.move(3600)
    three.audit.note(Deed(action="release", who="bo", pipeline="reviews"))
    assert [r.number for r in three.audit.entries(pipeline="reviews")] == [4]
    assert [r.number for r in three.audit.entries(action="clean", limit=2)] == [3, 2]
    assert [r.number for r in three.audit.entries(since=clock.now())] == [4]
    assert three.audit.actions() == ["clean", "release"]

"""Every alert gets to its channels: in order, in spite of outages, kills and other deliverers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from loom_dagster.alerts import deliver
from loom_dagster.ledger import Fault, Findings, Ledger


def ids(posted):
    return [p.json["id"] for p in posted]


def test_an_alert_is_delivered_once(fail, go, web):
    alert = fail("run-1", "hook")
    assert fail("run-1", "hook") is None
    assert go().sent == 1
    assert go().sent == 0
    assert ids(web.took) == [alert]


def test_a_channel_that_is_down_keeps_its_alerts_and_the_others_do_not_wait(fail, go, web, clock):
    fail("run-1", "hook", "chat")
    web.answer = lambda posted: (503, {}) if "hook" in posted.path else (200, {})
    done = go()
    assert done.sent == 1
    assert [(c.channel, c.waiting, c.last_error) for c in done.failing] == [
        ("hook", 1, "127.0.0.1 answered 503")
    ]
    web.answer = lambda posted: (200, {})
    assert go().sent == 0  # not yet
    clock.move(seconds=10)
    assert go() == type(done)(sent=1, failing=())


def test_a_channel_is_asked_more_and_more_seldom(fail, go, web, clock):
    fail("run-1", "hook")
    web.answer = lambda posted: None  # hangs up
    for _ in range(600):
        go()
        clock.move(seconds=10)
    assert 10 < len(web.posted) < 40
    web.answer = lambda posted: (200, {})
    clock.move(minutes=10)
    assert go().sent == 1


@pytest.mark.parametrize("said", ["120", "Thu, 01 Jan 2099 00:00:00 GMT"])
def test_a_channel_that_names_a_time_is_not_asked_before(fail, go, web, clock, said):
    fail("run-1", "hook")
    web.answer = lambda posted: (429, {"Retry-After": said})
    go()
    clock.move(seconds=100)
    go()
    assert len(web.posted) == 1
    clock.move(hours=1)
    go()
    assert len(web.posted) == 2


def test_a_message_that_is_refused_does_not_hold_up_the_others_for_ever(fail, go, web, clock, outbox):
    bad, good = fail("run-1", "hook"), fail("run-2", "hook")
    web.answer = lambda posted: (400 if posted.json["id"] == bad else 200, {})
    for _ in range(5):
        done = go()
        clock.move(minutes=11)
    assert done.failing[0].refused == 1
    assert go().sent == 1
    assert ids(web.took) == [good]
    web.answer = lambda posted: (200, {})
    assert go().failing[0].refused == 1  # still to be seen
    assert outbox.resend(channel="hook") == 1
    assert go().failing == ()
    assert ids(web.took) == [good, bad]


def test_a_recovery_never_overtakes_its_alert(fail, recover, go, web, clock):
    web.answer = lambda posted: (500, {})
    fail("run-1", "pager")
    clock.move(seconds=-3600)  # the clock is set back
    recover("run-2")
    go()
    web.answer = lambda posted: (202, {})
    clock.move(hours=2)
    assert go().sent == 2
    assert [p.json["event_action"] for p in web.took] == ["trigger", "resolve"]
    assert len({p.json["dedup_key"] for p in web.took}) == 1


def test_only_who_was_told_hears_of_the_recovery(fail, recover, go, web, outbox, clock):
    outbox.mute(
        "reviews", "quality_gate", until=clock.now() + clock.ahead.resolution * 10**9, why="x", who="ann"
    )
    fail("run-1", "hook")
    recover("run-2")
    assert go().sent == 0
    assert recover("run-3") == []  # nothing is open


def test_what_is_muted_is_recorded_and_not_delivered_until_the_time_is_over(fail, go, web, outbox, clock):
    outbox.mute("reviews", "", until=clock.now() + clock.ahead.resolution * 10**9, why="known", who="ann")
    fail("run-1", "hook")
    fail("run-1", "hook", pipeline="others")
    assert go().sent == 1
    clock.move(seconds=1001)
    fail("run-2", "hook")
    assert go().sent == 1
    states = {row.run_id: [d.state for d in sent] for row, sent in outbox.list(pipeline="reviews")}
    assert states == {"run-1": ["muted"], "run-2": ["delivered"]}


def test_a_channel_that_was_taken_out_of_the_settings_is_shown_as_one_that_fails(fail, go):
    fail("run-1", "gone")
    assert "no [tool.loom.channels.gone]" in go().failing[0].last_error


def test_two_who_deliver_at_once_send_each_alert_once_and_in_order(fail, go, web, path, channels, clock):
    sent = [fail(f"run-{n:03}", "hook") for n in range(40)]
    others = [Ledger(path, clock=clock) for _ in range(3)]
    go_on = {"ui_url": None, "clock": clock, "seconds": 60.0}
    threads = [
        threading.Thread(target=deliver, args=(o.outbox.deliveries, channels), kwargs=go_on) for o in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    go()
    assert ids(web.took) == sent
    for other in others:
        other.close()


def test_while_one_is_sending_nobody_else_serves_the_channel(fail, go, web):
    fail("run-1", "hook")
    meanwhile = []

    def answer(posted):
        if not meanwhile:
            meanwhile.append(None)
            meanwhile[:] = [go().sent]
        return 200, {}

    web.answer = answer
    assert go().sent == 1
    assert meanwhile == [0]
    assert len(web.posted) == 1


DELIVER = """
import os, sys
from loom_dagster.alerts import deliver
from loom_dagster.channels import read_channels
from loom_dagster.clock import SystemClock
from loom_dagster.ledger import Ledger
channels = read_channels({"hook": {"type": "webhook"}}, os.environ)
with Ledger(sys.argv[1]) as ledger:
    deliver(ledger.outbox.deliveries, channels, ui_url=None, clock=SystemClock(), seconds=60)
"""


def test_killed_between_sending_and_marking_it_is_sent_again_with_the_same_id(fail, go, web, path):
    alerts = [fail("run-1", "hook"), fail("run-2", "hook")]
    environ = {**os.environ, "LOOM_CHANNEL_HOOK": f"{web.url}/hook", "LOOM_CHANNEL_HOOK_SECRET": "s"}
    child = subprocess.Popen([sys.executable, "-c", DELIVER, str(path)], env=environ)

    def kill(posted):
        child.send_signal(signal.SIGKILL)
        child.wait()
        return 200, {}

    web.answer = kill
    child.wait()
    assert child.returncode == -signal.SIGKILL
    web.answer = lambda posted: (200, {})
    assert go().sent == 2  # its claim is free at once
    assert ids(web.posted) == [alerts[0], *alerts]


def test_ten_thousand_that_wait_cost_a_dead_channel_one_question_and_are_sent_in_bounded_rounds(
    outbox, go, web, clock
):
    many = [
        Fault(check="c", run_id=f"{n:05}", channels=["hook"], facts={"summary": "x"}) for n in range(10_000)
    ]
    outbox.tell("reviews", "", Findings(failed=many), run_id="r")
    web.answer = lambda posted: (503, {})
    assert go().failing[0].waiting == 10_000
    assert len(web.posted) == 1
    clock.move(minutes=11)
    web.answer = lambda posted: (200, {})
    assert go(seconds=0.5).sent < 10_000
    done = go(seconds=0.5)
    assert not done.failing
    assert [row.waiting for row in outbox.deliveries.channels()] == [10_000 - len(web.took)]
    assert len(set(ids(web.took))) == len(web.took) > 0

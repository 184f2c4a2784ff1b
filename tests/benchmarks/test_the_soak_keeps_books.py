"""What the soak holds against a run: each way in which a promise can be broken is seen, and nothing else."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from http.client import RemoteDisconnected

import pytest

from benchmarks.soak.books import Line, alerts, paid, processed, show
from benchmarks.soak.channel import Channel, Received
from benchmarks.soak.project import Record, records

GOOD = Record(id="a", text="a", answer="positive", expected="positive")
BAD = Record(id="b", text="b", answer="positive", expected="negative")
CAME = {"a": GOOD, "b": BAD}


def broken(lines: list[Line]) -> list[str]:
    return [line.what.partition(": ")[2] or line.what for line in lines if line.wrong]


def test_every_record_once_with_its_answer_is_what_holds() -> None:
    assert broken(processed("p", CAME, [("a", "positive")], ["b"])) == []


@pytest.mark.parametrize(
    ("rows", "quarantined", "said"),
    [
        ([], ["b"], ["in the destination"]),
        ([("a", "positive")] * 2, ["b"], ["in it more than once"]),
        ([("a", "negative")], ["b"], ["with a wrong answer"]),
        ([("a", "positive"), ("b", "positive")], ["b"], ["in it and should not be"]),
        ([("a", "positive"), ("z", "positive")], ["b"], ["in it and should not be"]),
        ([("a", "positive")], [], ["in quarantine"]),
        ([("a", "positive")], ["a", "b"], ["in quarantine"]),
    ],
)
def test_a_lost_double_wrong_or_misplaced_record_is_named(rows, quarantined, said) -> None:
    assert broken(processed("p", CAME, rows, quarantined)) == said


def test_only_answers_that_a_kill_cost_may_be_paid_again() -> None:
    stats = {"paid": 9, "unknown": 0}
    assert broken(paid(stats, [99.0, 98.0], [100.0], in_flight=2)) == []
    assert broken(paid(stats, [99.0, 98.0, 97.0], [100.0], in_flight=2)) == [
        "paid again, in flight at a kill"
    ]
    assert broken(paid(stats, [50.0], [100.0], in_flight=2)) == ["paid again, in flight at a kill"]
    assert broken(paid(stats, [99.0], [], in_flight=2)) == ["paid again, in flight at a kill"]


def told(state: str = "delivered", check: str = "quality_gate") -> dict:
    delivery = {"channel": "ops", "state": state, "last_error": None}
    return {
        "alert_id": "1", "pipeline": "p", "run_id": "r", "check_name": check, "event": "failed", "deliveries": [delivery],
    }  # fmt: skip


def got(at: float, *, answered: bool = True, identity: str = "1", incident: str = "i") -> Received:
    return Received(id=identity, at=at, answered=answered, signed=True, said={"incident": incident})


def test_an_alert_that_came_twice_because_nobody_heard_the_answer_holds() -> None:
    held = [("p", "r")]
    assert broken(alerts([told()], held, [got(1)], [], "ops")) == []
    assert broken(alerts([told()], held, [got(1, answered=False), got(2)], [], "ops")) == []
    assert broken(alerts([told()], held, [got(1), got(9)], [2.0], "ops")) == []


@pytest.mark.parametrize(
    ("ledger", "received", "said"),
    [
        ([told()], [], ["alerts that never arrived"]),
        ([told()], [got(1, answered=False)], ["alerts that never arrived"]),
        ([told("waiting")], [got(1)], ["alerts"]),
        ([told(check="agrees")], [got(1)], ["batches held, each told of"]),
        ([told()], [got(1), got(2, identity="2")], ["messages received"]),
        ([told()], [got(1), got(2)], ["of them sent again, same dedup key"]),
        ([told()], [got(1, answered=False), got(2, incident="j")], ["of them sent again, same dedup key"]),
    ],
)
def test_a_lost_double_or_unknown_alert_is_named(ledger, received, said) -> None:
    assert broken(alerts(ledger, [("p", "r")], received, [], "ops")) == said


def test_what_does_not_hold_is_shown_by_name() -> None:
    text = show([Line(what="all well", count=3), Line(what="lost", count=1, wrong=["r7"])])
    assert "all well |      3 | holds" in text and "WRONG" in text and "  r7" in text


def test_what_comes_is_decided_beforehand_and_some_batches_are_bad() -> None:
    batches = records("notes", 60, seed=1)
    assert batches == records("notes", 60, seed=1) != records("notes", 60, seed=2)
    shares = [sum(r.good for r in batch) / len(batch) for batch in batches]
    assert min(shares) < 0.75 < max(shares)
    assert len({r.text for batch in batches for r in batch}) == sum(map(len, batches))


def post(channel: Channel) -> int:
    request = urllib.request.Request(
        channel.url, data=json.dumps({"incident": "i"}).encode(), headers={"X-Loom-Id": "1"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.service
def test_the_channel_is_down_in_every_way_and_comes_back() -> None:
    with Channel("secret") as channel:
        assert post(channel) == 200
        channel.fail("refusing")
        assert post(channel) == 503
        channel.fail("dying")
        with pytest.raises((RemoteDisconnected, ConnectionResetError, urllib.error.URLError)):
            post(channel)
        channel.fail("away")
        with pytest.raises(urllib.error.URLError):
            post(channel)
        channel.fail(None)
        assert post(channel) == 200
    assert [message.answered for message in channel.received] == [True, False, True]
    assert (channel.turned_away, channel.received[0].signed) == (1, False)
    assert not [t for t in threading.enumerate() if t.name == "outages"]

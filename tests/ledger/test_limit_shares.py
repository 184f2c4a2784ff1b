"""Runs share a limit through the ledger: all of it is used, and never more."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger
from loom_dagster.ledger.process import Process
from loom_dagster.ledger.shares import LimitShares, divide
from loom_dagster.ledger.tables import limit_shares

LIMIT = 16


class Member:
    """A run as the ledger sees it: what it may use and what it uses."""

    def __init__(self, ledger, wanted=1000, most=LIMIT):
        self.shares, self.wanted, self.most = ledger.limit_shares(), wanted, most
        self.allowed = self.used = 0

    def beat(self):
        demand = SimpleNamespace(
            most=self.most, held=max(self.allowed, self.used), wanted=max(1, self.wanted)
        )
        self.allowed = self.shares.beat({"m": demand})["m"].slots
        return self.allowed


def held(ledger):
    with ledger._database.reading() as connection:
        return connection.scalar(select(func.sum(limit_shares.c.held))) or 0


@pytest.fixture
def others(path, ledger, clock):
    """The ledger as another process has it."""
    with Ledger(path, clock=clock) as opened:
        yield opened


def test_who_is_alone_has_everything_at_once(ledger):
    grant = ledger.limit_shares().beat({"m": SimpleNamespace(most=16, held=0, wanted=1)})["m"]
    assert (grant.slots, grant.share) == (16, 1.0)


def test_a_second_run_gets_half_once_the_first_has_given_it_back(ledger, others):
    first, second = Member(ledger), Member(others)
    assert first.beat() == 16
    first.used = 16
    assert second.beat() == 0
    assert first.beat() == 8  # it is told, and sixteen are in flight still
    assert second.beat() == 0
    first.used = 11
    first.beat()
    assert second.beat() == 5
    first.used = 8
    first.beat()
    assert (first.allowed, second.beat()) == (8, 8)
    assert held(ledger) == 16


def test_what_one_does_not_want_the_other_has(ledger, others):
    first, second = Member(ledger), Member(others, wanted=3)
    for _ in range(4):
        first.beat(), second.beat()
    assert (first.allowed, second.allowed) == (13, 3)


def test_who_leaves_leaves_everything_to_the_others(ledger, others):
    first, second = Member(ledger), Member(others)
    for _ in range(4):
        first.beat(), second.beat()
    first.shares.leave()
    assert second.beat() == 16
    assert (
        first.shares.beat({"m": SimpleNamespace(most=16, held=0, wanted=9)}) == {}
    )  # a beat that was on its way
    assert second.beat() == 16
    first.shares.leave()


def test_who_comes_back_with_its_token_has_what_it_had(ledger, others):
    """As the till of a run does for its process, when it begins anew."""
    owner = Process(host="elsewhere", pid=1, start="")
    first = LimitShares(ledger.database, ledger._clock, owner=owner, token="t")
    assert first.beat({"m": SimpleNamespace(most=16, held=0, wanted=99)})["m"].slots == 16
    again = LimitShares(others.database, others._clock, owner=owner, token="t")
    assert again.held() == {"m": 16}
    assert Member(others).beat() == 0
    assert again.beat({"m": SimpleNamespace(most=16, held=16, wanted=99)})["m"].slots == 8
    again.leave()
    assert first.held() == {}


def test_who_is_silent_is_forgotten_and_may_come_back(ledger, others, clock):
    first, second = Member(ledger), Member(others)
    first.beat()
    with ledger._database.writing() as connection:
        connection.execute(update(limit_shares).values(host="elsewhere"))  # nothing is known of its process
    clock.move(29)
    assert second.beat() == 0
    clock.move(2)
    assert second.beat() == 16
    for _ in range(4):
        first.beat(), second.beat()
    assert (first.allowed, second.allowed) == (8, 8)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
def test_a_clock_that_jumps_takes_nothing_from_a_living_process(ledger, others, clock):
    first, second = Member(ledger), Member(others)
    first.beat()
    clock.move(86_400)
    assert second.beat() == 0


JOIN = """
import sys
from types import SimpleNamespace
from loom_dagster.ledger import Ledger
with Ledger(sys.argv[1]) as ledger:
    print(ledger.limit_shares().beat({"m": SimpleNamespace(most=16, held=0, wanted=99)})["m"].slots, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_held_is_free_at_once(path):
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", JOIN, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert child.stdout.readline() == "16\n"
    with Ledger(path) as ledger:
        member = Member(ledger)
        assert member.beat() == 0
        child.kill()
        child.communicate()
        assert member.beat() == 16


def test_limits_of_different_names_have_nothing_to_do_with_each_other(ledger):
    demand = SimpleNamespace(most=4, held=0, wanted=9)
    one, other = ledger.limit_shares(), ledger.limit_shares()
    assert [g.slots for g in one.beat({"a": demand, "b": demand}).values()] == [4, 4]
    assert [g.slots for g in other.beat({"b": demand, "c": demand}).values()] == [0, 4]


def test_each_keeps_to_its_own_word_where_they_differ(ledger, others):
    wide, narrow = Member(ledger, most=64), Member(others, most=16)
    for _ in range(4):
        wide.beat(), narrow.beat()
    assert (wide.allowed, narrow.allowed) == (48, 16)


@pytest.mark.parametrize("seed", range(5))
def test_never_is_more_in_use_than_the_limit_whatever_happens(ledger, seed):
    luck, members = random.Random(seed), []
    for _ in range(400):
        what = luck.random()
        if what < 0.05 and len(members) < 6:
            members.append(Member(ledger, wanted=luck.randrange(40)))
        elif what < 0.07 and members:
            members.pop(luck.randrange(len(members))).shares.leave()
        elif members:
            member = luck.choice(members)
            # calls end at any time, and begin while they are allowed
            member.used = (
                luck.randint(0, max(member.used, member.allowed)) if luck.random() < 0.7 else member.used
            )
            member.wanted = luck.randrange(40) if luck.random() < 0.1 else member.wanted
            member.beat()
        assert sum(max(m.used, m.allowed) for m in members) <= held(ledger) <= LIMIT


@pytest.mark.parametrize(
    ("limit", "bounds", "shares"),
    [
        (16, [(16, 99)], [16]),
        (16, [(16, 1)], [16]),
        (16, [(16, 99), (16, 99)], [8, 8]),
        (16, [(16, 99), (16, 2), (16, 99)], [7, 2, 7]),
        (16, [(16, 1), (16, 1)], [8, 8]),
        (2, [(2, 9), (2, 9), (2, 9)], [0, 1, 1]),
        (64, [(64, 99), (8, 99)], [56, 8]),
        (5, [(5, 9), (5, 9)], [2, 3]),
    ],
)
def test_shares_are_fair(limit, bounds, shares):
    assert divide(limit, bounds) == shares


def test_a_ledger_that_cannot_be_written_is_said_to_be_so(ledger, path):
    shares = ledger.limit_shares()
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE limit_shares")
    with pytest.raises(Misconfigured) as told:
        shares.beat({"m": SimpleNamespace(most=16, held=0, wanted=9)})
    assert told.value.kind == "ledger"

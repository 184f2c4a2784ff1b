"""One run per pipeline and partition at a time, and nobody waits for the dead."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import update

from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.ledger import Ledger
from loom_dagster.ledger.process import Process, is_gone, this_process
from loom_dagster.ledger.tables import leases

BEGIN = """
import sys
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger
with Ledger(sys.argv[1]) as ledger:
    try:
        print(ledger.begin_run("reviews", "", "f").run_id, flush=True)
        sys.stdin.read()
    except Misconfigured as error:
        print(error.kind, flush=True)
"""

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")


def start(path):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def pretend(ledger, **owner):
    """Let the lease belong to someone else."""
    with ledger._database.writing() as connection:
        connection.execute(update(leases).values(**owner))


def test_a_second_run_is_refused_while_the_first_is_alive(ledger, clock):
    run = ledger.begin_run("reviews", "", "f")
    clock.move(59)
    with pytest.raises(Misconfigured) as told:
        ledger.begin_run("reviews", "", "f", fresh=True)
    assert told.value.kind == "lease"
    for word in ("another run of reviews is going on since 2026-11-21 03:15:00", run.run_id, "wait for it"):
        assert word in str(told.value)
    ledger.begin_run("reviews", "2026-01-01", "f")


def test_a_heartbeat_keeps_the_lease_and_silence_loses_it(ledger, clock):
    first = ledger.begin_run("reviews", "", "f")
    pretend(ledger, host="elsewhere")  # nothing is known of its process
    for _ in range(3):
        clock.move(50)
        ledger.heartbeat(first)
    with pytest.raises(Misconfigured):
        ledger.begin_run("reviews", "", "f")
    clock.move(61)
    second = ledger.begin_run("reviews", "", "f")
    assert second.run_id == first.run_id
    for lost in (lambda: ledger.heartbeat(first), lambda: ledger.finish_run(first, "held", outcome={})):
        with pytest.raises(Misconfigured, match="lost its lease") as told:
            lost()
        assert told.value.kind == "lease"
    ledger.leave_run(first)  # harmless
    ledger.finish_run(second, "succeeded", outcome={})
    assert ledger.run(second.run_id).status == "succeeded"


@linux
def test_a_clock_that_jumps_takes_nothing_from_a_living_process(ledger, clock):
    ledger.begin_run("reviews", "", "f")
    clock.move(86_400)
    with pytest.raises(Misconfigured, match="another run of reviews is going on"):
        ledger.begin_run("reviews", "", "f")


@linux
def test_a_dead_owner_on_this_host_is_replaced_at_once(ledger):
    ledger.begin_run("reviews", "", "f")
    me = this_process()
    pretend(ledger, process_start="another start of this pid")
    assert ledger.begin_run("reviews", "", "f").resumed
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    pretend(ledger, pid=gone.pid, process_start=me.start)
    assert ledger.begin_run("reviews", "", "f").resumed


def test_an_owner_on_another_host_is_waited_for(ledger, clock):
    ledger.begin_run("reviews", "", "f")
    pretend(ledger, host="elsewhere 4026531836", pid=1)
    with pytest.raises(Misconfigured, match="process 1 on elsewhere"):
        ledger.begin_run("reviews", "", "f")
    clock.move(61)
    assert ledger.begin_run("reviews", "", "f").resumed


@linux
def test_a_file_that_another_machine_uses_at_this_moment_is_refused_and_a_server_is_not(ledger, clock):
    ledger.begin_run("reviews", "2026-01-01", "f")
    me = this_process().host.split()
    pretend(ledger, host=f"elsewhere {me[1]} pid:[1]")  # a container of this machine
    ledger.begin_run("reviews", "2026-01-02", "f")
    pretend(ledger, host="elsewhere 0f9c5b1e-another-kernel pid:[1]")
    if ledger._database.schema is None:
        with pytest.raises(
            Misconfigured, match="another machine, elsewhere, is using this ledger, which is a file"
        ):
            ledger.begin_run("reviews", "2026-01-03", "f")
        clock.move(21)  # silent by now: this machine may have been booted again
    ledger.begin_run("reviews", "2026-01-03", "f")


@linux
def test_a_zombie_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    alive = Process(host=me.host, pid=child.pid, start=_start(child.pid))
    assert not is_gone(alive, silent=True)
    child.kill()
    _until_zombie(child.pid)
    assert is_gone(alive, silent=False)
    child.stdin.close()
    child.wait()


def test_of_four_processes_that_start_at_once_one_runs(path):
    Ledger(path).close()
    children = [start(path) for _ in range(4)]
    try:
        said = [child.stdout.readline().strip() for child in children]
    finally:
        for child in children:
            child.communicate("")
    assert sorted(s == "lease" for s in said) == [False, True, True, True]


def test_a_killed_process_leaves_a_run_that_goes_on_at_once(path):
    child = start(path)
    run_id = child.stdout.readline().strip()
    with Ledger(path) as ledger:
        with pytest.raises(Misconfigured, match=f"process {child.pid}"):
            ledger.begin_run("reviews", "", "f")
        child.kill()
        child.communicate()
        again = ledger.begin_run("reviews", "", "f")
        assert (again.run_id, again.resumed) == (run_id, True)


def test_threads_may_share_a_ledger(path):
    errors = []

    def work(ledger, n):
        try:
            for i in range(5):
                run = ledger.begin_run(f"p{n}", "", f"f{i}")
                ledger.heartbeat(run)
                ledger.finish_run(run, "succeeded", outcome={"n": i})
                ledger.runs(f"p{n}")
        except LoomError as error:
            errors.append(error)

    with Ledger(path) as ledger:
        threads = [threading.Thread(target=work, args=(ledger, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(ledger.runs(limit=None)) == 20


def _start(pid):
    from loom_dagster.ledger.process import _start as start_of

    return start_of(pid)


def _until_zombie(pid):
    while True:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return

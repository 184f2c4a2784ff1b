import os
import signal
import threading

import pytest

from loom_dagster.cli.exits import Abandoned
from loom_dagster.cli.interrupts import interruptible
from loom_dagster.errors import Permanent
from loom_dagster.pipeline.stop import Stop


def press(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_what_is_in_flight_finish(number):
    stop, said, drained = Stop(), [], threading.Event()
    stop.when_requested(drained.set)

    def work():
        press(number)
        assert drained.wait(10)
        return "drained"

    assert interruptible(work, stop, said.append) == "drained"
    assert stop.requested
    assert said == ["Finishing what is in flight; press again to stop at once."]


def test_the_second_one_does_not_wait():
    stop, never = Stop(), threading.Event()

    def work():
        press(signal.SIGINT)
        never.wait(10)

    with pytest.raises(Abandoned):
        interruptible(work, stop, lambda _: press(signal.SIGINT))
    never.set()


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    interruptible(lambda: None, Stop(), print)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_error_of_the_work_is_raised_as_it_is():
    def work():
        raise Permanent("no")

    with pytest.raises(Permanent):
        interruptible(work, Stop(), print)

"""Several evaluators and one gate; what goes wrong with one never hides what the others did."""

from __future__ import annotations

import asyncio

import pytest

from loom_dagster.errors import Misconfigured, Outage
from loom_dagster.evaluate import Gate, Panel
from loom_dagster.records import Answer, Score
from loom_dagster.spec.models import GateSpec

PASS = {"type": "contains", "substrings": ["negative"], "name": "has"}
FAIL = {"type": "contains", "substrings": ["unicorn"], "name": "lacks"}


class Paid:
    """An evaluator that pays for one answer, then scores, fails, or waits for ``until``."""

    waits = True

    def __init__(self, name, error=None, until=None):
        self.name, self.error, self.until = name, error, until
        self.finished = False

    async def score(self, case, answers):
        if self.until is not None:
            await self.until.wait()
        answers.append(Answer(key=self.name.encode(), model="m", text=self.name))
        self.finished = True
        if self.error is not None:
            raise self.error
        return Score(name=self.name, value=1.0, threshold=0.5)


def panel_of(*evaluators):
    return Panel(evaluators, Gate(GateSpec()))


async def test_without_evaluators_a_record_passes(panel, case):
    evaluation = await panel().judge(case())
    assert (evaluation.decision.passed, evaluation.decision.scores, evaluation.answers) == (True, (), ())


async def test_scores_come_in_the_configured_order(panel, case):
    evaluation = await panel(PASS, FAIL).judge(case())
    assert [s.name for s in evaluation.decision.scores] == ["has", "lacks"]
    assert evaluation.decision.reason == "lacks 0.00 < 1.00"


async def test_the_configured_gate_decides(panel, case):
    assert (await panel(PASS, FAIL, gate="any_pass").judge(case())).decision.passed
    weighted = {"type": "weighted", "threshold": 0.5}
    assert (await panel(PASS, FAIL, gate=weighted).judge(case())).decision.passed
    assert not (await panel(PASS, {**FAIL, "weight": 2}, gate=weighted).judge(case())).decision.passed


async def test_evaluators_that_wait_run_at_once(case):
    gate = asyncio.Event()

    class Opens(Paid):
        async def score(self, case, answers):
            gate.set()
            return await super().score(case, answers)

    evaluation = await panel_of(Paid("a", until=gate), Opens("b")).judge(case())
    assert [a.text for a in evaluation.answers] == ["a", "b"]


@pytest.mark.parametrize("error", [Outage("down"), Misconfigured("no key")])
async def test_when_one_cannot_go_on_the_others_are_still_heard(case, error):
    gate = asyncio.Event()
    slow = Paid("slow", until=gate)
    judging = asyncio.ensure_future(panel_of(Paid("a", error), slow).judge(case()))
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(type(error)) as caught:
        await judging
    assert slow.finished
    assert [a.text for a in caught.value.answers] == ["a", "slow"]


async def test_what_stops_the_run_goes_before_what_defers_a_record(case):
    with pytest.raises(Misconfigured):
        await panel_of(Paid("a", Outage("down")), Paid("b", Misconfigured("no key"))).judge(case())


async def test_an_interrupt_is_never_swallowed(case):
    class Interrupted(BaseException):
        pass

    with pytest.raises(Interrupted):
        await panel_of(Paid("a", Outage("down")), Paid("b", Interrupted())).judge(case())


async def test_cancelling_cancels(case):
    never = asyncio.Event()
    judging = asyncio.ensure_future(panel_of(Paid("a", until=never), Paid("b", until=never)).judge(case()))
    await asyncio.sleep(0)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging


@pytest.mark.parametrize(
    "evaluator",
    [
        {"type": "regex", "pattern": "["},
        {"type": "json_schema", "schema": {"type": "nope"}},
        {"type": "python", "function": "no_such_module_at_all:f"},
    ],
)
def test_what_cannot_be_built_is_told_by_name(panel, evaluator):
    with pytest.raises(Misconfigured, match="`broken`"):
        panel({**evaluator, "name": "broken"})

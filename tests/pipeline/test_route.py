"""What becomes of one record, whatever its model and its judges do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from loom_dagster.errors import Misconfigured, Outage, Permanent, Transient
from loom_dagster.evaluate import Case, Evaluation
from loom_dagster.pipeline import Deferred, OnFailure, Route
from loom_dagster.records import Answer, Decision, Passed, Quarantined, Record, Score, Stage
from loom_dagster.transform import Transformed


def record(name: str = "a") -> Record:
    return Record(id=name, position=3, row=0, columns={"review": "good"})


def answer(text: str) -> Answer:
    return Answer(key=text.encode(), model="m", text=text, cost=0.5, latency=1.0)


class Scripted:
    """A transform that gives the next of ``script`` and keeps what it was asked."""

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.asked: list[tuple[int, tuple[str, ...], str | None]] = []

    async def transform(
        self, record: Record, *, sample: int = 0, feedback: Sequence[str] = (), previous: str | None = None
    ) -> Transformed:
        self.asked.append((sample, tuple(feedback), previous))
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return Transformed(
            output={"sentiment": said}, answers=(answer(said),), model="m", rendered_input="good", raw=said
        )


class Likes:
    """Passes outputs that are in ``good``."""

    def __init__(self, *good: str, error: Exception | None = None) -> None:
        self.good, self.error = good, error

    async def judge(self, case: Case) -> Evaluation:
        if self.error is not None:
            raise self.error
        value = 1.0 if case.output["sentiment"] in self.good else 0.2
        score = Score(name="taste", value=value, threshold=0.8, explanation=f"{value} it is")
        decision = Decision(
            passed=score.passed, reason="" if score.passed else "taste 0.20 < 0.80", scores=(score,)
        )
        return Evaluation(decision=decision, answers=(answer("judged"),))


async def test_a_record_that_passes_keeps_its_scores_and_every_answer_paid_for() -> None:
    fate = await Route(transform=Scripted("positive"), judges=Likes("positive")).settle(record())
    assert isinstance(fate, Passed)
    assert fate.output == {"sentiment": "positive"}
    assert [a.text for a in fate.answers] == ["positive", "judged"]
    assert [s.value for s in fate.scores] == [1.0]


async def test_a_record_below_the_gate_is_quarantined_with_everything_known_of_it() -> None:
    fate = await Route(transform=Scripted("meh"), judges=Likes("positive")).settle(record())
    assert isinstance(fate, Quarantined)
    assert (fate.stage, fate.kind, fate.reason) == (Stage.EVALUATE, "gate_failed", "taste 0.20 < 0.80")
    assert fate.raw_answer == "meh" and fate.source == {"review": "good"} and fate.position == 3


@pytest.mark.parametrize(
    "error", [Permanent("no", kind="refused", raw="I can't"), Transient("five tries", kind="timeout")]
)
async def test_an_error_about_the_record_quarantines_it_by_its_kind(error: Permanent | Transient) -> None:
    fate = await Route(transform=Scripted(error), judges=Likes()).settle(record())
    assert isinstance(fate, Quarantined)
    assert (fate.stage, fate.kind) == (Stage.TRANSFORM, error.kind)


async def test_a_bug_in_an_evaluator_costs_one_record_and_not_the_run() -> None:
    fate = await Route(transform=Scripted("x"), judges=Likes(error=ZeroDivisionError("oops"))).settle(
        record()
    )
    assert isinstance(fate, Quarantined)
    assert fate.kind == "unexpected" and "ZeroDivisionError: oops" in fate.reason
    assert fate.stage is Stage.EVALUATE and fate.raw_answer == "x"


async def test_an_outage_defers_and_never_quarantines() -> None:
    route = Route(transform=Scripted(Outage("down"), "positive"), judges=Likes("positive"))
    assert isinstance(await route.settle(record("a")), Deferred)
    assert isinstance(await route.settle(record("b")), Passed)


async def test_a_judge_that_is_out_defers_too() -> None:
    route = Route(transform=Scripted("positive"), judges=Likes(error=Outage("down")))
    assert isinstance(await route.settle(record()), Deferred)


async def test_a_wrong_key_stops_the_run_and_the_rest_is_deferred_unasked() -> None:
    asked = Scripted(Misconfigured("401"), "positive")
    route = Route(transform=asked, judges=Likes("positive"))
    fates = [await route.settle(record(i)) for i in ("a", "b", "c")]
    assert all(isinstance(f, Deferred) for f in fates)
    assert len(asked.asked) == 1
    assert route.stopped_by is not None and route.stopped_by.what == "401"


async def test_skip_keeps_the_record_in_quarantine_marked_as_skipped() -> None:
    route = Route(transform=Scripted("meh"), judges=Likes("positive"), on_failure=OnFailure(policy="skip"))
    fate = await route.settle(record())
    assert isinstance(fate, Quarantined) and fate.resolution == "skipped"


async def test_retry_asks_again_with_the_reasons_and_a_new_sample() -> None:
    asked = Scripted("meh", "positive")
    route = Route(transform=asked, judges=Likes("positive"), on_failure=OnFailure(policy="retry", retries=2))
    fate = await route.settle(record())
    assert isinstance(fate, Passed)
    assert fate.attempts == 2
    assert asked.asked == [(0, (), None), (1, ("taste: 0.2 it is",), "meh")]
    assert [a.text for a in fate.answers] == ["meh", "judged", "positive", "judged"]


async def test_retry_is_bounded_and_does_not_ask_again_after_a_refusal() -> None:
    policy = OnFailure(policy="retry", retries=2)
    three = Scripted("meh", "meh", "meh", "positive")
    assert isinstance(
        await Route(transform=three, judges=Likes("positive"), on_failure=policy).settle(record()),
        Quarantined,
    )
    assert len(three.asked) == 3
    one = Scripted(Permanent("no", kind="refused"), "positive")
    assert isinstance(
        await Route(transform=one, judges=Likes("positive"), on_failure=policy).settle(record()), Quarantined
    )
    assert len(one.asked) == 1


async def test_a_record_tried_again_from_quarantine_never_gets_its_old_sample() -> None:
    asked = Scripted("positive")
    await Route(transform=asked, judges=Likes("positive"), samples={"a": 3}).settle(record())
    assert asked.asked[0][0] == 3


async def test_a_fallback_model_is_judged_like_the_first() -> None:
    def route(second: str) -> Route:
        return Route(
            transform=Scripted("meh"),
            judges=Likes("positive"),
            on_failure=OnFailure(policy="fallback", model=Scripted(second)),
        )

    good = await route("positive").settle(record())
    assert isinstance(good, Passed) and good.fallback == "model" and len(good.answers) == 4
    bad = await route("worse").settle(record())
    assert isinstance(bad, Quarantined) and "then the fallback model: taste 0.20 < 0.80" in bad.reason


async def test_fallback_values_pass_unjudged_and_say_so() -> None:
    def values(columns: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"sentiment": f"unknown: {columns['review']}"}

    route = Route(
        transform=Scripted("meh"), judges=Likes(), on_failure=OnFailure(policy="fallback", values=values)
    )
    fate = await route.settle(record())
    assert isinstance(fate, Passed)
    assert fate.fallback == "value" and fate.scores == () and fate.output == {"sentiment": "unknown: good"}


async def test_fallback_values_that_do_not_fit_leave_the_record_in_quarantine() -> None:
    def values(columns: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Permanent("`sentiment` is not one of positive, negative", kind="wrong_schema")

    route = Route(
        transform=Scripted("meh"), judges=Likes(), on_failure=OnFailure(policy="fallback", values=values)
    )
    fate = await route.settle(record())
    assert isinstance(fate, Quarantined) and "then the fallback values" in fate.reason

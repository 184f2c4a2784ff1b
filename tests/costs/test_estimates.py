"""From counted prompts to money, and how sure that is: by simulation."""

from __future__ import annotations

import itertools
import random

import pytest

from loom_dagster.costs import Asked, Correction, History, Length, Terms, estimate, of_examples, of_schema
from loom_dagster.gateway import Price
from loom_dagster.ledger.past_answers import PastAnswer

NUMBERS = itertools.count()
PRICE = Price(input=1e-6, output=4e-6, cached=5e-7)


def asked(purpose, tokens, stored, question=None, invented=None):
    return Asked(purpose, tokens, stored, question or next(NUMBERS).to_bytes(8, "big"), invented)


def exactly(tokens):
    return Length(mean=tokens, deviation=0.0, seen=50, low=tokens, high=tokens, source="")


def terms(purpose="transform", **changes):
    given = {"model": "m", "price": PRICE, "batch": Price(input=5e-7, output=2e-6), "length": exactly(10)}
    return Terms(purpose=purpose, **{**given, **changes})


def answers(tokens, **changes):
    given = {"model": "m", "purpose": "transform", "prompt": "p@v1", "input_tokens": 100, "cached_tokens": 0}
    return [
        PastAnswer(record_id=f"r{i}", output_tokens=t, **{**given, **changes}) for i, t in enumerate(tokens)
    ]


def history(found, *, retries=False, prompt="p@v1"):
    return History(found, prompt=prompt, retries=retries)


def test_every_call_that_is_not_answered_yet_costs_its_prompt_and_its_answer():
    sample = [
        [asked("transform", 100, False)],
        [asked("transform", 300, False)],
        [asked("transform", 200, True)],
    ]
    found = estimate("m", sample, 3, {"transform": terms()})
    (line,) = found.lines
    assert (line.calls, line.free, line.input_tokens, line.output_tokens) == (2, 1, 400, 20)
    assert found.cost == pytest.approx(400e-6 + 20 * 4e-6)
    assert found.low == found.high == pytest.approx(found.cost), (
        "everything was counted and nothing is guessed"
    )
    assert found.in_batches == pytest.approx(found.cost / 2)


def test_the_same_question_is_paid_for_once_and_of_a_made_up_output_only_when_others_lead_to_it():
    def calls(*sample):
        by = {"transform": terms(), "evaluate:tone": terms("evaluate:tone")}
        return [line.calls for line in estimate("m", [[each] for each in sample], len(sample), by).lines]

    assert calls(*[asked("transform", 9, False, b"same")] * 3, asked("transform", 9, False)) == [2, 0]
    alike = [asked("evaluate:tone", 9, True, b"same", output) for output in (0, 0, 1, 0)]
    assert calls(*alike) == [0, 2], "a judge that sees the label alone"
    unlike = [asked("evaluate:tone", 9, True, b"whole text", 0)] * 3
    assert calls(*unlike) == [0, 3], "that verdict is in the store, and of another record"


def test_cached_prompts_dear_tiers_and_corrections_count():
    tiered = Price(input=1e-6, output=4e-6, tiers=((150, Price(input=2e-6, output=8e-6)),))
    (line,) = estimate(
        "m",
        [[asked("transform", 100, False)]],
        1,
        {"transform": terms(price=tiered, correction=Correction(ratio=1.6))},
    ).lines
    assert line.cost == pytest.approx(160 * 2e-6 + 10 * 8e-6)
    past = history(answers([10] * 50, cached_tokens=50))
    cached = terms(cached=past.cached("transform", "m"))
    (line,) = estimate("m", [[asked("transform", 100, False)]], 1, {"transform": cached}).lines
    assert line.cost == pytest.approx(50e-6 + 50 * 5e-7 + 10 * 4e-6)


def test_a_model_of_unknown_price_is_named_and_its_tokens_counted():
    by = {
        "transform": terms(),
        "evaluate:tone": terms("evaluate:tone", model="mystery", price=None, batch=None),
    }
    found = estimate("m", [[asked("transform", 100, False), asked("evaluate:tone", 50, False)]], 1, by)
    assert found.unpriced == ["mystery"]
    assert found.cost == pytest.approx(100e-6 + 40e-6)
    assert [(line.cost is None, line.input_tokens) for line in found.lines] == [(False, 100), (True, 50)]
    assert [line.stage for line in found.lines] == ["transform", "evaluate"]


def test_answers_as_long_as_earlier_ones_of_this_version_before_those_of_others():
    old, new = answers([99] * 20, prompt="p@v0"), answers([10, 20] * 5)
    assert history([*old, *new]).length("transform", "m").mean == 15
    before = history(old).length("transform", "m")
    assert (before.mean, before.source) == (99, "as 20 answers to earlier versions of this prompt")
    other = history(new).length("transform", "n")
    assert (other.mean, other.guessed, other.source) == (15, True, "as 10 answers of m")
    assert history(answers([1] * 20, prompt="q@v1")).length("transform", "m") is None
    assert history(answers([1] * 3)).length("transform", "m") is None, "three say nothing"


def test_repairs_and_records_that_are_asked_again_come_as_often_as_before():
    first = answers([10] * 100)
    repairs = answers([12] * 10, purpose="repair", input_tokens=300)
    (repaired,) = history([*first, *repairs]).again("transform", "m")
    assert (repaired.times, repaired.seen, repaired.input_tokens, repaired.output_tokens) == (
        10,
        100,
        300,
        12,
    )
    assert repaired.rate == pytest.approx(0.104, abs=1e-3)
    twice = [*first, *answers([10] * 20)]  # twenty records have a second answer
    _, again = history(twice, retries=True).again("transform", "m")
    assert (again.times, again.seen) == (20, 100)
    with_them = estimate("m", [[asked("transform", 100, False)]], 1, {"transform": terms(again=[repaired])})
    assert with_them.cost == pytest.approx(140e-6 + repaired.rate * (300e-6 + 48e-6))


def test_without_earlier_answers_the_examples_say_how_long_they_are_and_then_the_schema():
    assert of_examples([20, 30], most=40) == Length(
        mean=25, deviation=0.0, seen=0, low=10, high=40, source="guessed from the prompt's 2 examples"
    )
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["a", "a b c"]}, "why": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    }  # fmt: skip
    guessed = of_schema(schema, lambda text: len(text.split()), most=10_000)
    assert guessed.low < guessed.mean < guessed.high
    assert of_schema(schema, lambda text: len(text.split()), most=30).high == 30


def cost_of(records, rng):
    """What a run came to: prompts of many lengths, answers of many lengths, some repaired."""
    total = 0.0
    for tokens in records:
        total += tokens * PRICE.input + answer(rng) * PRICE.output
        if rng.random() < 0.03:
            total += 2 * tokens * PRICE.input + answer(rng) * PRICE.output
    return total


def answer(rng):
    return 10 + int(60 * rng.random() ** 2)


def test_nineteen_of_twenty_intervals_hold_what_is_settled():
    rng, held, wide = random.Random(20261121), 0, 0
    runs = 300
    for _ in range(runs):
        records = [50 + int(rng.expovariate(1 / 80)) for _ in range(2000)]
        past = answers([answer(rng) for _ in range(120)], input_tokens=130)
        past += answers(
            [answer(rng) for _ in range(sum(rng.random() < 0.03 for _ in range(120)))],
            purpose="repair",
            input_tokens=260,
        )
        known = history(past)
        found = estimate(
            "m",
            [[asked("transform", tokens, False)] for tokens in rng.sample(records, 300)],
            len(records),
            {"transform": terms(length=known.length("transform", "m"), again=known.again("transform", "m"))},
        )
        settled = cost_of(records, rng)
        held += found.low <= settled <= found.high
        wide += found.high > 1.35 * found.low
    assert held >= 0.92 * runs
    assert wide == 0

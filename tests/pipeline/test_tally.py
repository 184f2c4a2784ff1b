"""What several count apart is what one counts of all."""

import random
import statistics

import pytest

from loom_dagster.pipeline import Deferred, Tally
from loom_dagster.records import Answer, Passed, Quarantined, Record, Score, Stage, Usage

EVALUATORS = [("tone", "llm_judge", 0.5), ("length", "python", 0.8)]


def fates(chance: random.Random, number: int) -> list[Passed | Quarantined | Deferred]:
    found: list[Passed | Quarantined | Deferred] = []
    for n in range(number):
        scores = tuple(
            Score(name=name, value=None if chance.random() < 0.1 else chance.random(), threshold=threshold)
            for name, _, threshold in EVALUATORS
        )
        answer = Answer(key=bytes([n % 256]), model="m", text="", cost=0.25, usage=Usage(input_tokens=3))
        record = Record(id=str(n), position=n, row=n, columns={})
        match chance.randrange(3):
            case 0:
                found.append(
                    Passed(record=record, output={}, scores=scores, answers=(answer,), model=f"m{n % 2}")
                )
            case 1:
                found.append(
                    Quarantined(
                        id=record.id,
                        position=n,
                        stage=Stage.EVALUATE,
                        reason="",
                        kind="gate_failed",
                        source={},
                        scores=scores,
                        answers=(answer,),
                        resolution="skipped" if n % 2 else None,
                    )
                )
            case _:
                found.append(Deferred(id=record.id, position=n, reason="outage: away"))
    return found


def tally_of(some: list[Passed | Quarantined | Deferred]) -> Tally:
    tally = Tally(EVALUATORS, lambda: 0.0)
    tally.take(len(some), ())
    for fate in some:
        tally.settle(fate)
        if not isinstance(fate, Deferred):
            tally._latencies.add(1 + fate.scores[0].threshold * len(fate.answers) + tally.passed / 7)
    return tally


@pytest.mark.parametrize("seed", range(5))
def test_parts_that_are_merged_come_to_what_one_tally_of_all_has(seed: int) -> None:
    chance = random.Random(seed)
    parts = [fates(chance, chance.choice([0, 1, 7, 256])) for _ in range(6)]
    whole = tally_of([fate for part in parts for fate in part])
    merged = Tally(EVALUATORS, lambda: 0.0)
    for part in parts:
        merged.merge(tally_of(part).counted())

    assert merged.counts == whole.counts
    assert merged.reasons == whole.reasons
    assert merged.models == whole.models
    assert merged.paid_records == whole.paid_records
    assert merged.paid_cost == whole.paid_cost
    for one, all_ in zip(merged.scores(), whole.scores(), strict=True):
        assert (one.passed, one.failed, one.errors) == (all_.passed, all_.failed, all_.errors)
        assert (one.min, one.max, one.histogram) == (all_.min, all_.max, all_.histogram)
        assert one.mean == pytest.approx(all_.mean, abs=1e-12)
        assert one.std == pytest.approx(all_.std, abs=1e-12)


def test_the_deviation_of_merged_scores_is_that_of_all_values() -> None:
    values = [0.1, 0.9, 0.9, 0.2, 0.55, 1.0, 0.0]
    merged = Tally([("tone", "llm_judge", 0.5)], lambda: 0.0)
    for value in values:
        part = Tally([("tone", "llm_judge", 0.5)], lambda: 0.0)
        record = Record(id="a", position=0, row=0, columns={})
        score = Score(name="tone", value=value, threshold=0.5)
        part.settle(Passed(record=record, output={}, scores=(score,), answers=(), model="m"))
        merged.merge(part.counted())
    [score] = merged.scores()
    assert score.mean == pytest.approx(statistics.fmean(values))
    assert score.std == pytest.approx(statistics.pstdev(values))


def test_percentiles_of_merged_latencies_are_those_of_all() -> None:
    whole, merged = Tally([], lambda: 0.0), Tally([], lambda: 0.0)
    for start in (0, 50, 100):
        part = Tally([], lambda: 0.0)
        for n in range(start, start + 50):
            part._latencies.add(0.01 + n / 10)
            whole._latencies.add(0.01 + n / 10)
        merged.merge(part.counted())
    assert merged.spending() == whole.spending()

"""Real sentences, asked whole and in samples: what the samples say of the whole is true as often as they claim."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.bench import Bench
from loom_dagster.prompt_tests import Observed
from loom_dagster.prompt_tests.agreement import accuracy, confusion, kappa, macro_f1
from loom_dagster.prompt_tests.distributional import run_distributional
from loom_dagster.prompt_tests.drawing import Row, draw
from loom_dagster.prompt_tests.gathering import at_once
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.prompt_tests.table import Reference
from loom_dagster.prompt_tests.verdicts import Sampled, Verdict
from loom_dagster.spec import FieldSpec
from loom_dagster.spec.suites import DistributionalTest
from tests.journeys.project import Project

DATA = Path(os.environ.get("LOOM_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
PROMPT = """---
version: v1
examples:
  - input: {text: "Great, wonderful, excellent: I love it, it works very well and the food was delicious and the film funny"}
    output: {sentiment: positive}
  - input: {text: "Bad, terrible, awful, a waste of money and time: it does not work, the service was slow, I was disappointed"}
    output: {sentiment: negative}
---
Is this positive or negative? {{ input.text }}
"""
SUITE = """
pipeline: classify
distributional_tests:
  - name: agrees
    type: agreement
    reference: label
    sample_size: 3000
    assertions: [accuracy > 0.5]
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "sentiment2.parquet").exists(), reason="LOOM_DATA_DIR has no sentiment2.parquet"
)
def test_intervals_of_samples_hold_what_all_sentences_come_to(project: Project) -> None:
    project.write("prompts/classify.txt", PROMPT)
    project.write("tests/classify_test.yaml", SUITE)
    project.pipeline(extract={"source": str(DATA / "sentiment2.parquet"), "key": "id"})
    answers, rows = _asked_whole(project)
    said = [str((answers[row.columns["text"]].output or {}).get("sentiment")) for row in rows]
    whole = confusion([row.columns["label"] for row in rows], said).counts
    truth = [float(accuracy(whole)), float(kappa(whole)), float(macro_f1(whole))]
    assert 0.5 < truth[0] < 1.0
    # bounds that are the truth: nothing may be said, and the whole sample is asked
    samples = [_sample(rows, answers, seed, truth) for seed in range(200)]
    for at, value in enumerate(truth):
        held = [s.findings[at].interval for s in samples]
        assert sum(i is not None and i.low <= value <= i.high for i in held) >= 0.95 * len(samples)
    assert sum(s.verdict is not Verdict.UNDECIDED for s in samples) <= 0.05 * len(samples)
    # bounds that are far off are decided soon
    far = [_sample(rows, answers, seed, [0.2, -0.5, 0.2]) for seed in range(20)]
    assert all(s.passed and s.certain for s in far)


def _asked_whole(project: Project) -> tuple[dict[str, Observed], list[Row]]:
    loom = Loom.open(project.root)
    with Bench(loom, project.root / "tests" / "classify_test.yaml") as bench:
        test = bench.items[0].spec
        assert isinstance(test, DistributionalTest)
        rows = list(bench._samples.of(test).drawn.rows)

        async def ask() -> list[Observed]:
            async with bench.answering.asker() as asker:
                return await at_once(lambda row: asker.ask(row.columns), rows)

        answers = {row.columns["text"]: seen for row, seen in zip(rows, asyncio.run(ask()), strict=True)}
    assert len(rows) > 2_500 and all(a.simulated for a in answers.values())
    return answers, rows


def _sample(rows: list[Row], answers: Mapping[str, Observed], seed: int, bounds: list[float]) -> Sampled:
    """Of 250."""

    class Recorded:
        async def ask(self, columns: Mapping[str, Any], *, sample: int = 0) -> Observed:
            return answers[columns["text"]]

    assertions = [
        f"{name} > {bound}" for name, bound in zip(("accuracy", "kappa", "f1"), bounds, strict=True)
    ]
    test = DistributionalTest.model_validate(
        {"name": "t", "type": "agreement", "reference": "label", "sample_size": 250, "seed": seed, "assertions": assertions}
    )  # fmt: skip
    names = Names(fields={"sentiment": FieldSpec(type="string")}, evaluators=[])
    reference = Reference(field="sentiment", column="label")
    return asyncio.run(
        run_distributional(test, draw(rows, 250, seed), Recorded(), names=names, reference=reference)
    )

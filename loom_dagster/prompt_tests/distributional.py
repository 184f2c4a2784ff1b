"""What holds for many records: a sample is asked in growing pieces until the verdict is certain or all of it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from loom_dagster.errors import Misconfigured, OverBudget
from loom_dagster.prompt_tests.claims import Claim, Claims
from loom_dagster.prompt_tests.drawing import Drawn
from loom_dagster.prompt_tests.expressions import parse
from loom_dagster.prompt_tests.gathering import at_once
from loom_dagster.prompt_tests.looks import Look, looks
from loom_dagster.prompt_tests.nodes import Call, Combined, Compared, Constant, Name
from loom_dagster.prompt_tests.observed import Asks
from loom_dagster.prompt_tests.ranges import together
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.prompt_tests.table import HALLUCINATED, Reference, Table
from loom_dagster.prompt_tests.verdicts import Finding, Sampled, Verdict
from loom_dagster.records import dollars
from loom_dagster.spec.suites import DistributionalTest

__all__ = ["claims_of", "run_distributional"]

Progress = Callable[[int, int], None]
"""Rows asked, of so many planned."""


def claims_of(test: DistributionalTest, names: Names) -> list[Claim]:
    """The assertions of ``test``. Raises Misconfigured with the column, before anything is asked."""
    if test.type == "hallucination_rate":
        rate = Call(0, "fraction", (Name(0, HALLUCINATED),))
        bound = Constant(0, test.threshold)
        return [Claim(f"hallucination_rate < {test.threshold:g}", Compared(0, "<", rate, bound))]
    if test.type == "cost_budget":
        size, most = test.sample_size, test.max_cost or 0.0
        cost = Combined(0, "*", Call(0, "mean", (Name(0, ("cost",)),)), Constant(0, float(size)))
        text = f"cost of {size:,} records < {dollars(most)}"
        return [Claim(text, Compared(0, "<", cost, Constant(0, most)))]
    scope = names.of_sample(agreement=test.type == "agreement")
    parsed = [parse(text, scope) for text in test.assertions]
    return [Claim(one.text, one.node) for one in parsed]


async def run_distributional(
    test: DistributionalTest,
    drawn: Drawn,
    asks: Asks,
    *,
    names: Names,
    truth: Mapping[str, float] | None = None,
    reference: Reference | None = None,
    progress: Progress | None = None,
) -> Sampled:
    """Ask ``drawn`` until the verdict is certain. ``truth``: the evaluators (name, threshold) of a hallucination rate;
    ``reference``: what an agreement is with. Raises Misconfigured and Outage; a spend cap that is reached leaves the
    verdict open."""
    claims = Claims(claims_of(test, names), 1 - test.confidence)
    if not drawn.rows:
        raise Misconfigured(f"`{test.name}` has no records to sample", fix="look at its source")
    table = Table(truth=truth or {}, reference=reference)
    findings: list[Finding] = []
    look, reason = Look(n=0, planned=len(drawn.rows), spends=False), ""
    for look in looks(len(drawn.rows)):
        rows = drawn.rows[len(table.rows) : look.n]
        try:
            seen = await at_once(lambda row: asks.ask(row.columns), rows)
        except OverBudget as error:
            if not findings:
                raise
            reason = f"stopped after {len(table.rows):,} of {look.planned:,}: {error.what}"
            break
        table.rows.extend(zip(rows, seen, strict=True))
        findings = claims.look(table.estimated, look)
        if progress is not None:
            progress(look.n, look.planned)
        if together("and", [f.verdict for f in findings]) is not Verdict.UNDECIDED:
            break
    return _result(test, drawn, table, findings, reason)


def _result(
    test: DistributionalTest, drawn: Drawn, table: Table, findings: Sequence[Finding], reason: str
) -> Sampled:
    seen = [observed for _, observed in table.rows]
    costs = [one.cost for one in seen if one.cost is not None]
    cost = sum(costs) if len(costs) == len(seen) else None
    verdict = together("and", [f.verdict for f in findings])
    planned = len(drawn.rows)
    certain = verdict is not Verdict.UNDECIDED and len(seen) < planned
    return Sampled(
        name=test.name,
        type=test.type,
        verdict=verdict,
        findings=tuple(findings),
        planned=planned,
        available=drawn.available,
        seen=len(seen),
        seed=test.seed,
        certain=certain,
        saved=cost / len(seen) * (planned - len(seen)) if certain and cost is not None else None,
        cost=cost,
        paid=sum(one.paid for one in seen),
        reused=sum(one.reused for one in seen),
        unanswered=sum(one.output is None for one in seen),
        simulated=any(one.simulated for one in seen),
        reason=reason,
        warnings=tuple(_warnings(test, drawn, table)),
    )


def _warnings(test: DistributionalTest, drawn: Drawn, table: Table) -> list[str]:
    found = []
    if drawn.available < test.sample_size:
        found.append(
            f"sample_size is {test.sample_size:,} and there are {drawn.available:,} records: all of them were used"
        )
    found += [f"{n:,} of {len(table.rows):,} left out: no {of}" for of, n in table.missing.items() if n]
    return found

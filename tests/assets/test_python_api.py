"""`@loom_assets` and `LoomResource`: pipelines with a function of one's own around each run."""

# no `from __future__ import annotations`: Dagster wants the context's type itself
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import LoomResource, loom_assets
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions

SEEN: list[Any] = []


def wrapped(desk: Any, loom: Any, **keywords: Any) -> dg.Definitions:
    @loom_assets(project=desk.root, open_loom=lambda _root: loom, **keywords)
    def reviews(
        context: dg.AssetExecutionContext, loom: dg.ResourceParam[LoomResource], region: dg.ResourceParam[str]
    ) -> Iterator[Any]:
        context.log.info(f"in {region}")
        yield from loom.run(context)
        SEEN.append(loom.released("p"))

    return dg.Definitions.merge(reviews, dg.Definitions(resources={"region": "eu"}))


def test_a_function_of_ones_own_is_the_step_and_gate_and_load_are_as_ever(desk: Any) -> None:
    desk.write("p")
    desk.write("q")
    loom = desk.loom()
    defs = wrapped(desk, loom, select=["p"])
    ran = desk.run(defs)
    assert ran.ok, ran.failures
    assert ran.materialized == {"p/transformed", "p/quarantine", "file/data/out/p.parquet"}
    assert set(ran.checks) == {"shape", "quality_gate"}
    assert SEEN.pop().id == "p-1"
    assert loom.loads == [("p", "p-1")]


def test_the_options_of_the_dagster_run_reach_the_function(desk: Any) -> None:
    desk.write("p")
    loom = desk.loom()
    ran = desk.run(wrapped(desk, loom), options={"limit": 1})
    assert ran.ok, ran.failures
    assert loom.ran == [("p", RunOptions(limit=1))]
    assert ran.materialized == set()


def test_a_held_batch_is_not_loaded_whatever_the_function_does(desk: Any, script: Any) -> None:
    desk.write("p")
    loom = desk.loom(p=script(status="held"))
    ran = desk.run(wrapped(desk, loom))
    assert not ran.checks["quality_gate"].passed
    assert loom.loads == []


def test_the_resource_is_there_for_assets_of_ones_own_and_says_where_run_belongs(desk: Any) -> None:
    @dg.asset
    def mine(context: dg.AssetExecutionContext, loom: dg.ResourceParam[LoomResource]) -> None:
        assert loom.released("p") is None
        list(loom.run(context))

    desk.write("p")
    defs = dg.Definitions.merge(wrapped(desk, desk.loom()), dg.Definitions(assets=[mine]))
    ran = desk.run(defs, "mine")
    assert ran.failures == {"mine": "loom.run() belongs in a function of @loom_assets"}


def test_a_selection_of_nothing_is_refused_with_the_nearest_name(desk: Any) -> None:
    desk.write("reviews")
    with pytest.raises(Misconfigured, match="`revews` selects no pipeline") as refused:
        desk.definitions(desk.loom(), select=["revews"])
    assert "reviews" in str(refused.value.fix)

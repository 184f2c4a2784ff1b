"""The assets, checks and jobs that 200 pipelines become, written as one would in Dagster: the other side of loading.py."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

__all__ = ["build"]

DAILY = dg.DailyPartitionsDefinition(start_date="2026-01-01")


class Options(dg.ConfigurableResource):  # type: ignore[type-arg]
    """As the options of a run."""

    limit: int | None = None
    model: str | None = None
    offline: bool = False


class Reader(dg.IOManager):
    """As the IO manager."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise dg.Failure("writes nothing")

    def load_input(self, context: dg.InputContext) -> None:
        raise dg.Failure("reads nothing")


def build(pipelines: int) -> dg.Definitions:
    """Definitions with, a pipeline, a source, three assets with partitions, four checks, a job and a sensor."""
    assets: list[Any] = [dg.AssetSpec(["prompts", f"classify_{n}"], kinds={"prompt"}) for n in range(5)]
    assets.append(dg.AssetSpec(["context", "domain"], kinds={"context"}))
    checks: list[dg.AssetChecksDefinition] = []
    jobs: list[Any] = []
    sensors: list[dg.SensorDefinition] = []
    made: list[dg.AssetKey] = []
    for n in range(pipelines):
        name = f"pipeline_{n:03}"
        found = _pipeline(name, n)
        assets += found[0]
        checks.append(found[1])
        jobs.append(found[2])
        made += found[3]
        sensors.append(_sensor(name))
    jobs.append(dg.define_asset_job("tag_tier_silver", selection=dg.AssetSelection.assets(*made)))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        sensors=sensors,
        resources={"reader": Reader(), "options": Options()},
        executor=dg.in_process_executor,
    )


def _sensor(name: str) -> dg.SensorDefinition:
    @dg.sensor(name=f"{name}__new_data", job_name=name, minimum_interval_seconds=60)
    def new_data(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason("nothing new")

    return new_data


def _spec(key: list[str], n: int, role: str, deps: list[dg.AssetKey]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=deps,
        description=f"What is {role} of place {n}",
        metadata={"dagster/uri": "/".join(key), "pipeline": n, "version": "1.0.0"},
        group_name=f"pipeline_{n:03}",
        code_version="1",
        owners=["team:reviews"],
        tags={"tier": "silver", "pipeline": f"p{n}", "role": role},
        kinds={"llm", "parquet"},
        skippable=True,
        partitions_def=DAILY,
    ).with_io_manager_key("reader")


def _pipeline(name: str, n: int) -> tuple[list[Any], dg.AssetChecksDefinition, Any, list[dg.AssetKey]]:
    source = dg.AssetSpec(["file", "data", f"in_{n}.csv"], kinds={"csv"}, group_name="sources")
    texts = [dg.AssetKey(["prompts", f"classify_{n % 5}"]), dg.AssetKey(["context", "domain"])]
    transformed = _spec([name, "transformed"], n, "transformed", [source.key, *texts])
    quarantine = _spec([name, "quarantine"], n, "quarantine", [source.key])
    loaded = _spec(["file", "data", f"out_{n}.parquet"], n, "loaded", [transformed.key])

    @dg.multi_asset(name=f"{name}__run", specs=[transformed, quarantine], can_subset=False)
    def run(context: dg.AssetExecutionContext, options: Options) -> Iterator[Any]:
        yield dg.MaterializeResult(transformed.key)
        yield dg.MaterializeResult(quarantine.key)

    @dg.multi_asset_check(
        name=f"{name}__checks",
        specs=[
            dg.AssetCheckSpec("agrees", asset=transformed.key),
            dg.AssetCheckSpec("says_why", asset=transformed.key),
            dg.AssetCheckSpec("rejection_rate", asset=transformed.key),
            dg.AssetCheckSpec("quality_gate", asset=transformed.key, blocking=True),
        ],
        can_subset=False,
    )
    def check() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(passed=True, check_name="agrees")

    @dg.multi_asset(name=f"{name}__load", specs=[loaded], can_subset=False)
    def load(context: dg.AssetExecutionContext, options: Options) -> Iterator[Any]:
        yield dg.MaterializeResult(loaded.key)

    keys = [transformed.key, quarantine.key, loaded.key]
    job = dg.define_asset_job(name, selection=dg.AssetSelection.assets(*keys))
    return [source, run, load], check, job, keys

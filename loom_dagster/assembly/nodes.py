"""A run whose records are settled on a Ray cluster: what its workers and its till are made of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from loom_dagster.assembly.model_problems import models_of
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.clock import SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import Redactor
from loom_dagster.ledger import Budgets, RunHandle
from loom_dagster.pipeline import Engine
from loom_dagster.settings import RunOptions, Settings

if TYPE_CHECKING:
    from loom_dagster.cluster.settle import OnRay
    from loom_dagster.cluster.worker import Identity, Kit

__all__ = ["engine_of", "on_ray"]


def engine_of(ready: Prepared, source: pa.Schema) -> Engine | None:
    """The engine of a pipeline whose records have these columns; None: this process. Raises Misconfigured."""
    execution = ready.execution
    if not execution.by_ray:
        return None
    from loom_dagster.cluster.connect import look

    where = ready.file.where("execution", "address") if ready.spec.execution else "[tool.loom.execution]"
    files = [f"the {name}" for name in ready.settings.in_files]
    if files and execution.outside:
        raise Misconfigured(
            f"{' and '.join(files)} of this project {'are files' if len(files) > 1 else 'is a file'}, which a cluster "
            f"at `{execution.address}` cannot reach",
            where=where,
            fix="keep them in Postgres ([tool.loom] ledger and answers), or run on a node of the cluster: "
            "`address: auto`",
            kind="cluster",
        )
    look(execution.address, where)
    return on_ray(ready, source)


def on_ray(ready: Prepared, source: pa.Schema) -> OnRay:
    """Everything that workers and till are made of."""
    from loom_dagster.cluster.bundle import bundle
    from loom_dagster.cluster.settle import OnRay
    from loom_dagster.cluster.worker import versions_here
    from loom_dagster.gateway.variables import variables_of
    from loom_dagster.ledger.process import this_process

    settings = ready.settings
    bare = replace(
        settings,
        connections={},
        channels={},
        alerts=(),
        ledger=None,
        answers=None,
        dagster_storage=None,
        telemetry=None,
    )
    environ = dict[str, str]()
    for _, model in models_of(ready):
        environ |= variables_of(model, ready.prices, os.environ)
    return OnRay(
        execution=ready.execution,
        kits=lambda handle: NodeKits(
            identity=versions_here(ready.fingerprint()),
            pipeline=ready.spec.name,
            settings=bare,
            options=ready.options,
            partition=ready.partition,
            now=ready.now,
            handle=replace(handle, token=""),
            columns=source.serialize().to_pybytes(),
            redaction=None if ready.redactor is None else ready.redactor.identity,
        ),
        tills=lambda handle: RunTills(
            settings=settings, handle=handle, budgets=ready.budgets, owner=this_process()
        ),
        bundle=lambda: bundle(settings.root, [settings.pipelines, settings.prompts, settings.context]),
        environ=environ,
        pinned=bool(settings.in_files),
    )


@dataclass(frozen=True, kw_only=True)
class NodeKits:
    """See ``cluster.worker.Kits``. ``columns``: the source's schema. ``redaction`` tells which key its texts were
    replaced with, which no worker needs."""

    identity: Identity
    pipeline: str
    settings: Settings
    options: RunOptions
    partition: str
    now: datetime | None
    handle: RunHandle
    columns: bytes
    redaction: str | None

    def make(self, folder: Path) -> Kit:
        """The same parts as a local run's, of the project's files in ``folder``. Raises Misconfigured."""
        from loom_dagster.assembly.prepare import prepare
        from loom_dagster.assembly.routes import pace_of, parts_of, route_of, stamp_of
        from loom_dagster.cluster.worker import Kit
        from loom_dagster.gateway import Gateway
        from loom_dagster.release.rows import Rows
        from loom_dagster.spec import load_project

        settings = replace(self.settings, root=folder)
        ready = prepare(
            load_project(settings).pipeline(self.pipeline),
            settings,
            self.options,
            _no_table,
            scratch=folder,
            partition=self.partition,
            now=self.now,
            without=("source",),
        )
        if self.redaction is not None:
            ready.redactor = _SameKey(self.redaction)
        parts = parts_of(ready)
        source = pa.ipc.read_schema(pa.BufferReader(self.columns))
        evaluators = [(e.name, e.type, e.threshold) for e in parts.spec.evaluate.evaluators]
        return Kit(
            fingerprint=ready.fingerprint(),
            gateway=lambda line, heard, noted: Gateway(
                line.store,
                spend=line.spend,
                prices=ready.prices,
                patience=settings.outage_patience,
                shares=line.shares,
                listen=heard,
                note=noted,
            ),
            route=lambda asks, samples: route_of(
                parts, asks, self.handle, root=folder, columns=source.names, samples=samples
            ),
            rows=Rows(
                source,
                parts.schema.arrow,
                [name for name, _, _ in evaluators],
                stamp_of(parts, self.handle.run_id),
            ),
            evaluators=evaluators,
            pace=pace_of(parts),
            limited=bool(ready.budgets.limits()),
        )


def _no_table(name: str) -> NoReturn:
    raise Misconfigured(f"the table of `{name}` is read by the run's own process")


class _SameKey(Redactor):
    """Stands for the key that the run's own process has."""

    def __init__(self, identity: str) -> None:
        super().__init__(b"")
        self._identity = identity

    @property
    def identity(self) -> str:
        return self._identity


@dataclass(frozen=True, kw_only=True)
class RunTills:
    """See ``cluster.actors.Tills``. Goes to the till's node by a call, as its settings may hold a password."""

    settings: Settings = field(repr=False)
    handle: RunHandle
    budgets: Budgets
    owner: Any

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        """Raises Misconfigured when ledger or answers cannot be opened there."""
        from loom_dagster.ledger import Ledger, ledger_address, place_of_answers
        from loom_dagster.ledger.till import Till

        with (
            contextlib.closing(place_of_answers(self.settings).open()) as answers,
            Ledger(ledger_address(self.settings)) as ledger,
        ):
            till = Till(ledger, answers, self.handle, self.budgets, self.owner, clock=SystemClock())
            try:
                yield till
            finally:
                await till.close()

"""A project in a temporary folder, a Dagster instance of its own, and a loom whose runs are scripted.

The scripted loom fits the Protocol `Runs`, so that every outcome a run can have can be had at will;
`test_with_the_real_loom.py` runs the same assets for real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assets.build import build_definitions
from loom_dagster.events import Listener, Note, Progress, RunStarted, StageDone, ignore
from loom_dagster.ledger import BudgetUse
from loom_dagster.pipeline import Counts, LoadResult, Outcome, ScoreSummary, Spending, Stop, Verdict
from loom_dagster.prompts import TextFile
from loom_dagster.settings import RunOptions, load_settings
from loom_dagster.spec import load_project

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """As release.Snapshot, as far as this room looks at it."""

    id: str
    transformed: Path
    quarantine: Path
    verdict_passed: bool
    verdict_reason: str
    data_version: str
    outcome: Mapping[str, Any]
    pass_rate: float | None = 0.5
    threshold: float | None = 0.9
    created_at: datetime = NOW
    released_at: datetime | None = None
    released_by: str | None = None
    why: str | None = None
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Entry:
    record_id: str
    resolved_at: datetime | None = None
    resolution: str | None = None


@dataclass(kw_only=True)
class Script:
    """What a run of one pipeline will be like."""

    status: str = "succeeded"
    passed: Sequence[str] = ("a", "b")
    quarantined: Sequence[str] = ("c",)
    deferred: int = 0
    lost: int = 0
    snapshot: bool = True
    stopped_by: str | None = None
    stopped_kind: str | None = None
    raises: BaseException | None = None
    released: bool | None = None  # None: as the status says
    released_by: str | None = None
    scores: Sequence[ScoreSummary] | None = None
    during: Callable[[Listener, Stop | None], None] | None = None


@dataclass
class ScriptedLoom:
    root: Path
    scripts: dict[str, Script] = field(default_factory=dict)
    snapshots: dict[str, list[Snapshot]] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    ran: list[tuple[str, RunOptions]] = field(default_factory=list)
    loads: list[tuple[str, str]] = field(default_factory=list)
    load_raises: Exception | None = None

    def __post_init__(self) -> None:
        self.settings = load_settings(self.root, {})
        self.project = load_project(self.settings)

    triggers: Any = None

    def identity(self, name: str) -> tuple[str, Sequence[TextFile]]:
        return f"code-of-{name}", ()

    def texts(self, name: str) -> Sequence[TextFile]:
        return ()

    def run(
        self,
        name: str,
        options: RunOptions | None = None,
        *,
        listen: Listener = ignore,
        stop: Stop | None = None,
        dagster_run_id: str | None = None,
    ) -> Outcome:
        script = self.scripts.get(name, Script())
        options = options or RunOptions()
        self.ran.append((name, options))
        run_id = f"{name}-{len(self.ran)}"
        tell(listen, name, run_id)
        if script.during is not None:
            script.during(listen, stop)
        if script.raises is not None:
            raise script.raises
        status = "interrupted" if stop is not None and stop.requested else script.status
        counts = Counts(
            extracted=len(script.passed) + len(script.quarantined) + script.deferred + script.lost,
            passed=len(script.passed),
            quarantined=len(script.quarantined),
            deferred=script.deferred,
        )
        held = status != "succeeded"
        outcome = Outcome(
            run_id=run_id,
            pipeline=name,
            version="1",
            status=status,  # type: ignore[arg-type]
            counts=counts,
            verdict=Verdict(passed=not held, reason="50% passed, 90% wanted", pass_rate=0.5, threshold=0.9),
            trial=options.trial,
            simulated=True,
            released=(not held if script.released is None else script.released) and not options.trial,
            data_version=f"data-{run_id}",
            scores=script.scores if script.scores is not None else [score("shape")],
            spending=Spending(
                cost={"transform": 0.25, "evaluate": 0.5},
                calls=3,
                reused=2,
                p50=0.1,
                p95=0.2,
                p99=0.3,
                budgets=[BudgetUse(name="run", limit=5.0, spent=0.75, unconfirmed=0.25)],
            ),
            versions={"prompt": "v1", "context": {"domain": "abc"}},
            columns=[("id", "string"), ("text", "string")],
            sample=[{"id": i, "text": "x" * 1000, "more": {"deep": [1, None]}} for i in script.passed],
            quarantine_sample=[{"record_id": i, "reason": "shape 0.00 < 1.00"} for i in script.quarantined],
            reasons={"shape 0.00 < 1.00": len(script.quarantined)},
            stopped_by=script.stopped_by,
            stopped_kind=script.stopped_kind,
        )
        if not script.snapshot or options.trial:
            return outcome
        return self._keep(outcome, script, released=outcome.released)

    def _keep(self, outcome: Outcome, script: Script, *, released: bool) -> Outcome:
        folder = self.root / ".loom" / "datasets" / outcome.run_id
        folder.mkdir(parents=True)
        ids = pa.array(script.passed, pa.string())
        pq.write_table(
            pa.table({"id": ids, "_loom_run_id": [outcome.run_id] * len(ids)}), folder / "t.parquet"
        )
        bad = pa.array(script.quarantined, pa.string())
        pq.write_table(pa.table({"record_id": bad, "reason": ["bad"] * len(bad)}), folder / "q.parquet")
        outcome = replace(
            outcome,
            snapshot=outcome.run_id,
            transformed_path=str(folder / "t.parquet"),
            quarantine_path=str(folder / "q.parquet"),
        )
        snapshot = Snapshot(
            id=outcome.run_id,
            transformed=folder / "t.parquet",
            quarantine=folder / "q.parquet",
            verdict_passed=outcome.verdict.passed and script.released_by is None,
            verdict_reason=outcome.verdict.reason,
            data_version=outcome.data_version,
            outcome=outcome.as_dict(),
            released_at=NOW if released else None,
            released_by=(script.released_by or "gate") if released else None,
            why="looked at it" if released else None,
            counts=asdict(outcome.counts),
        )
        self.snapshots.setdefault(outcome.pipeline, []).append(snapshot)
        return outcome

    def load(
        self, name: str, options: RunOptions | None = None, *, dagster_run_id: str | None = None
    ) -> LoadResult:
        if self.load_raises is not None:
            raise self.load_raises
        snapshot = self.released(name)
        assert snapshot is not None
        self.loads.append((name, snapshot.id))
        rows = pq.read_table(snapshot.transformed).num_rows
        destination = self.project.pipeline(name).spec.load.destination
        if rows == 0:
            return LoadResult(loaded=False, destination=destination, mode="upsert", reason="it is empty")
        return LoadResult(
            loaded=True, destination=destination, mode="upsert", rows=rows, snapshot=snapshot.id
        )

    def verdict(self, name: str, partition: str = "") -> Any:
        return next(reversed(self.snapshots.get(name, [])), None)

    def released(self, name: str, partition: str = "") -> Any:
        return next((s for s in reversed(self.snapshots.get(name, [])) if s.released_at is not None), None)

    def quarantine(self, name: str, *, resolved: bool = False) -> Sequence[Any]:
        return self.entries.get(name, [])


def score(name: str, passed: int = 2, failed: int = 1, errors: int = 0) -> ScoreSummary:
    return ScoreSummary(
        name=name, type="regex", threshold=1.0, passed=passed, failed=failed, errors=errors,
        mean=0.6, std=0.1, min=0.0, max=1.0, histogram=[1, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    )  # fmt: skip


def tell(listen: Listener, name: str, run_id: str) -> None:
    listen(
        RunStarted(
            pipeline=name, version="1", run_id=run_id, resumed=False, model="offline/demo", simulated=True
        )
    )
    listen(Progress(pipeline=name, extracted=3, transformed=2, passed=2, quarantined=1, deferred=0, cost=0.1,
                    exhausted=False))  # fmt: skip
    listen(StageDone(pipeline=name, stage="transform", records=3, seconds=1.5))
    listen(Note(pipeline=name, text="the breaker opened"))


@dataclass
class Desk:
    """A project to work on. ``home``: a Dagster home that exists already, since making one takes long."""

    root: Path
    home: Path
    instance: dg.DagsterInstance

    def write(self, name: str, *, file: str | None = None, **over: Any) -> None:
        """A pipeline `name`; `source`, `destination`, `evaluate`, `description` as wanted."""
        path = self.root / "pipelines" / f"{file or name}.yaml"
        path.write_text(pipeline_yaml(name, **over), encoding="utf-8")

    def loom(self, **scripts: Script) -> ScriptedLoom:
        return ScriptedLoom(self.root, scripts)

    def definitions(self, loom: Any, *extra: Any, **keywords: Any) -> dg.Definitions:
        defs = build_definitions(self.root, open_loom=lambda _root: loom, **keywords)
        return dg.Definitions.merge(defs, dg.Definitions(assets=list(extra))) if extra else defs

    def run(
        self,
        defs: dg.Definitions,
        *selected: str,
        options: Mapping[str, Any] | None = None,
        checks_only: bool = False,
    ) -> Ran:
        """As if someone had clicked it: assets by user string; none means all."""
        everything = dg.AssetSelection.all()
        selection = dg.AssetSelection.assets(*[key(s) for s in selected]) if selected else everything
        if checks_only:
            selection = dg.AssetSelection.checks_for_assets(*[key(s) for s in selected])
        job = dg.define_asset_job("clicked", selection=selection)
        defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if options:
            config["resources"] = {"loom_options": {"config": dict(options)}}
        result = defs.resolve_job_def("clicked").execute_in_process(
            instance=self.instance, raise_on_error=False, run_config=config
        )
        return Ran(result)


@dataclass
class Ran:
    """What one Dagster run did, in short."""

    result: dg.ExecuteInProcessResult

    @property
    def ok(self) -> bool:
        return self.result.success

    @property
    def materialized(self) -> set[str]:
        events = self.result.filter_events(lambda e: e.event_type_value == "ASSET_MATERIALIZATION")
        return {e.asset_key.to_user_string() for e in events if e.asset_key is not None}

    def materialization(self, asset: str) -> dg.AssetMaterialization:
        for event in self.result.all_events:
            if event.event_type_value == "ASSET_MATERIALIZATION" and event.asset_key == key(asset):
                return event.step_materialization_data.materialization
        raise AssertionError(f"{asset} was not materialized; {self.materialized} were")

    def metadata(self, asset: str) -> dict[str, Any]:
        return {k: v.value for k, v in self.materialization(asset).metadata.items()}

    @property
    def checks(self) -> dict[str, Any]:
        return {e.check_name: e for e in self.result.get_asset_check_evaluations()}

    @property
    def failures(self) -> dict[str, str]:
        found = {}
        for event in self.result.filter_events(lambda e: e.is_step_failure):
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else None
            found[event.step_key] = said or data.error.to_string()
        return found

    def events(self, kind: str) -> list[dg.DagsterEvent]:
        return self.result.filter_events(lambda e: e.event_type_value == kind)


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey(text.split("/"))


def pipeline_yaml(
    name: str,
    *,
    source: str = "data/in.csv",
    destination: str | None = None,
    evaluate: str = "{evaluators: [{name: shape, type: regex, pattern: x}], batch_threshold: 0.5}",
    description: str | None = None,
    prompt: str = "prompts/p.txt",
    extract: str = "",
    load: str = "",
    labels: str = "",
) -> str:
    destination = destination or f"data/out/{name}.parquet"
    about = f"description: {description}\n" if description else ""
    return (
        f"name: {name!r}\nversion: 1.0.0\n{about}{labels}"
        f"extract:\n  source: {source!r}\n  key: id\n{extract}"
        f"transform:\n  prompt: {prompt}\n"
        f"evaluate: {evaluate}\n"
        f"load:\n  destination: {destination!r}\n{load}"
    )


@pytest.fixture(scope="session")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """Real, on disk, and slow to make: shared by tests that look at their own runs only."""
    with new_instance(tmp_path_factory.mktemp("home")) as instance:
        yield instance


@pytest.fixture
def own_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with new_instance(tmp_path) as instance:
        yield instance


def new_instance(home: Path) -> dg.DagsterInstance:
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return dg.DagsterInstance.from_config(str(home))


@pytest.fixture(scope="session")
def memory_instance() -> Iterator[dg.DagsterInstance]:
    """Five times as fast as one on disk; shared likewise."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def desk(tmp_path: Path, memory_instance: dg.DagsterInstance, shared_instance: dg.DagsterInstance) -> Desk:
    root = tmp_path / "project"
    for folder in (root / "pipelines", root / "prompts"):
        folder.mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.loom]\nmodel = 'offline/demo'\n")
    (root / "prompts" / "p.txt").write_text("Say something of {{ input.text }}\n")
    return Desk(root=root, home=Path(shared_instance.root_directory), instance=memory_instance)


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def entry() -> type[Entry]:
    return Entry


@pytest.fixture
def summary() -> Callable[..., ScoreSummary]:
    return score

"""What pipelines read, as assets that can be observed: sources, prompts and contexts, with data versions.

The data version of a text is its content, that of a source how it looks from outside. Sensors note both when they
change, so does a run for what it reads, and so does the button `Observe`. A new version marks what depends on it
as out of date; an edit of a prompt also changes the code version of `transformed`, which Dagster knows after the
code location is loaded again.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from loom_dagster.assets.graph import Graph, Lane, Node
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.errors import LoomError
from loom_dagster.spec import why_unwatched

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs

__all__ = ["VERSION_TAG", "Inputs", "observation", "observed_assets"]

VERSION_TAG = "dagster/data_version"


def observed_assets(
    graph: Graph, spec: Callable[[Node], dg.AssetSpec], *, runs: "Runs"
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Sources and texts. A source that cannot be watched is there all the same, without the button."""
    readers = {lane.reads.path: lane for lane in reversed(graph.lanes) if lane.reads is not None}
    watched = [node for node in graph.sources if _is_watched(readers[node.path])]
    of_text = {text.path: lane for lane in reversed(graph.lanes) for text in lane.texts}
    found: list[dg.AssetsDefinition | dg.AssetSpec] = []
    found += [spec(node) for node in graph.sources if node not in watched]
    if watched:
        look = {node: functools.partial(_source_version, readers[node.path], runs) for node in watched}
        found.append(_observed("sources__observe", spec, look))
    if graph.texts:
        look = {node: functools.partial(_content, node, of_text[node.path], runs) for node in graph.texts}
        found.append(_observed("prompts__observe", spec, look))
    return found


def _observed(
    name: str, spec: Callable[[Node], dg.AssetSpec], look: Mapping[Node, Callable[[], str]]
) -> dg.AssetsDefinition:
    """One step for any of them; those that can be looked at are noted, whatever becomes of the others."""
    specs = {node: spec(node) for node in look}
    by_key = {found.key: look[node] for node, found in specs.items()}

    def observe(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        failed: list[str] = []
        for key in sorted(context.selected_asset_keys):
            try:
                version = by_key[key]()
            except LoomError as error:
                failed.append(str(error))
            else:
                yield dg.ObserveResult(key, data_version=dg.DataVersion(version))
        if failed:
            raise dg.Failure("\n".join(failed))

    with warnings.catch_warnings():
        # the decorator is marked beta, and what it stands in for is superseded
        warnings.simplefilter("ignore", dg.BetaWarning)
        decorate: Callable[..., dg.AssetsDefinition] = dg.multi_observable_source_asset(
            specs=list(specs.values()), name=name, can_subset=True
        )
    return decorate(observe)


def observation(key: dg.AssetKey, version: str) -> dg.AssetObservation:
    """A note of how something looks now."""
    return dg.AssetObservation(key, tags={VERSION_TAG: version})


def _is_watched(lane: Lane) -> bool:
    """As a whole: partitions are looked at one by one, by their sensor."""
    extract = lane.file.spec.extract
    return extract.partitions is None and why_unwatched(extract) is None


def _source_version(lane: Lane, runs: "Runs") -> str:
    return runs.triggers.source_version(lane.name)


def _content(node: Node, lane: Lane, runs: "Runs") -> str:
    return next(text.digest[:16] for text in runs.texts(lane.name) if text.path == node.text)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run of a pipeline reads, noted by it before it reads: so its tables are out of date for what
    changes after that, and for nothing else."""

    lane: Lane
    translator: LoomTranslator
    runs: "Runs"

    def note(self, context: dg.AssetExecutionContext, *, trial: bool) -> None:
        """What differs from the newest note; nothing of a trial. What cannot be looked at is left to the run to
        fail on."""
        if trial:
            return
        step = context.op_execution_context.get_step_execution_context()
        for node, look in self._looks():
            key = self.translator.key(node)
            known = step.maybe_fetch_and_get_input_asset_version_info(key)
            if node.role == "source" and known is None:
                continue  # nobody watches it
            try:
                version = look()
            except LoomError:
                continue
            if known is None or known.data_version is None or known.data_version.value != version:
                context.log_event(observation(key, version))
                step.wipe_input_asset_version_info(key)  # it was looked up when the step began

    def _looks(self) -> Sequence[tuple[Node, Callable[[], str]]]:
        lane, runs = self.lane, self.runs
        found = [(node, functools.partial(_content, node, lane, runs)) for node in lane.texts]
        source = lane.reads
        if source is None or source.role != "source" or not _is_watched(lane):
            return found
        return [(source, functools.partial(_source_version, lane, runs)), *found]

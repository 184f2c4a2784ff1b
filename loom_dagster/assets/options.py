"""Run options as one resource, shared by all ops of a run; set it in the launchpad or by `loom run`.

No secret is ever in it: Dagster keeps run config in its database.
"""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from loom_dagster.settings import RunOptions

__all__ = ["OPTIONS_KEY", "LoomOptions"]

OPTIONS_KEY = "loom_options"


class LoomOptions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """How this run differs from what the YAML says. Without `load`, the first three make it a
    trial: nothing is loaded or published, and no asset counts as materialized."""

    limit: int | None = Field(default=None, ge=1, description="Take only the first records. A trial.")
    model: str | None = Field(default=None, description="Another model for the transform. A trial.")
    offline: bool = Field(default=False, description="The built-in offline model: free, simulated. A trial.")
    fresh: bool = Field(default=False, description="Do not continue a run that did not end.")
    full_refresh: bool = Field(default=False, description="Read an incremental source from its beginning.")
    load: bool = Field(default=False, description="Publish and load a run that would be a trial.")
    strict: bool = Field(default=False, description="Refuse prompts that were edited and not locked.")
    params: dict[str, str] = Field(default={}, description="Values for the source's query.")

    def run_options(self) -> RunOptions:
        """The same, as the rest of the code knows it."""
        return RunOptions(
            limit=self.limit,
            model=self.model,
            offline=self.offline,
            fresh=self.fresh,
            full_refresh=self.full_refresh,
            load=self.load,
            strict=self.strict,
            params=dict(self.params),
        )

"""The ``execution`` block: where a pipeline's records are settled."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from loom_dagster.execution import Engine, Execution, checked_address
from loom_dagster.spec.blocks import Block, Count, Text

__all__ = ["ExecutionSpec", "execution_of"]


class ExecutionSpec(Block):
    """Where records are settled: in this process, or by ``workers`` on a Ray cluster (``engine: ray``). ``address``: ``auto``
    (the cluster of this machine, or RAY_ADDRESS), ``HOST:PORT`` of its head, or ``ray://HOST:PORT`` from outside of it. What is not
    said here is as ``[tool.loom.execution]`` says. It changes where work is done, not what comes of it."""

    engine: Engine = "local"
    address: Annotated[Text, Field(min_length=1), AfterValidator(checked_address)] = "auto"
    workers: Count = 2


def execution_of(own: ExecutionSpec | None, project: Execution) -> Execution:
    """What a pipeline says of it, key by key before what its project says."""
    said = own.model_dump(exclude_unset=True) if own is not None else {}
    return Execution(
        engine=said.get("engine", project.engine),
        address=said.get("address", project.address),
        workers=said.get("workers", project.workers),
    )

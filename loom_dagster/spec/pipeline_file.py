"""One file in ``pipelines/``, read: its spec, and where in the file everything stands."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.spec.checks import check_spec
from loom_dagster.spec.explain import explain
from loom_dagster.spec.files import read_text, shown_path
from loom_dagster.spec.findings import as_problems, refusal
from loom_dagster.spec.later import refuse_later
from loom_dagster.spec.models import Pipeline
from loom_dagster.spec.reader import Document, read_yaml

__all__ = ["PipelineFile", "parse_pipeline", "read_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFile:
    """A pipeline without errors. ``path`` is absolute; ``problems`` are warnings."""

    spec: Pipeline
    path: Path
    document: Document = field(repr=False)
    problems: tuple[Problem, ...] = ()

    def where(self, *loc: str | int) -> str:
        """``pipelines/x.yaml:12``: the best known line for a place like ("transform", "prompt")."""
        return self.document.where(*loc)

    def line(self, *loc: str | int) -> int:
        """The best known line (1-based) for a place in the file."""
        return self.document.line(*loc)


def read_pipeline(path: Path, root: Path) -> PipelineFile:
    """The pipeline in a file of the project at ``root``.

    Raises Misconfigured with every problem of the file.
    """
    try:
        text = read_text(path, root)
    except Misconfigured as error:
        problem = Problem(what=error.what, where=error.where, fix=error.fix)
        raise refusal([problem], "") from error
    return parse_pipeline(text, file=shown_path(path, root), path=path)


def parse_pipeline(
    text: str, *, file: str = "pipelines/pipeline.yaml", path: Path | None = None
) -> PipelineFile:
    """The pipeline in a text. Raises Misconfigured with every problem found."""
    document = read_yaml(text, file=file)
    tree, findings = refuse_later(document)
    findings += document.findings
    spec = None
    try:
        spec = Pipeline.model_validate(tree)
    except ValidationError as error:
        findings += explain(error, Pipeline, document)
        with suppress(ValidationError):  # only unknown keys: the rest can be checked all the same
            spec = Pipeline.model_validate(tree, extra="ignore")
    if spec is not None:
        findings += check_spec(spec, document)
    problems = as_problems(file, findings)
    if spec is None or any(p.level == "error" for p in problems):
        raise refusal(problems, f"{file} is not a pipeline that can run")
    return PipelineFile(spec=spec, path=path or Path(file), document=document, problems=problems)

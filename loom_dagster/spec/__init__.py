"""What users write: pipelines as YAML, read into frozen models, every problem with its file and line."""

from loom_dagster.spec.execution import execution_of
from loom_dagster.spec.explain import explain
from loom_dagster.spec.files import read_text, shown_path
from loom_dagster.spec.findings import Finding, as_problems, nearest, refusal
from loom_dagster.spec.later import VERSION
from loom_dagster.spec.models import Block, EvaluatorSpec, Fields, FieldSpec, Name, Pipeline, load_mode
from loom_dagster.spec.pipeline_file import PipelineFile, parse_pipeline, read_pipeline
from loom_dagster.spec.places import in_partition, is_stream, names_partition, same_place, upstream_name
from loom_dagster.spec.project import Project, load_project
from loom_dagster.spec.reader import Document, read_yaml
from loom_dagster.spec.scalars import Plain, resolve
from loom_dagster.spec.schema import json_schema
from loom_dagster.spec.watching import why_unwatched

__all__ = [
    "VERSION",
    "Block",
    "Document",
    "EvaluatorSpec",
    "FieldSpec",
    "Fields",
    "Finding",
    "Name",
    "Pipeline",
    "PipelineFile",
    "Plain",
    "Project",
    "as_problems",
    "execution_of",
    "explain",
    "in_partition",
    "is_stream",
    "json_schema",
    "load_mode",
    "load_project",
    "names_partition",
    "nearest",
    "parse_pipeline",
    "read_pipeline",
    "read_text",
    "read_yaml",
    "refusal",
    "resolve",
    "same_place",
    "shown_path",
    "upstream_name",
    "why_unwatched",
]
